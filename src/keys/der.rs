//! The part of DER (X.690) that an `RSAPublicKey` (RFC 8017 appendix A.1.1) needs.
//!
//! Written by hand, because aws-lc-rs returns modulus and exponent only with its feature `ring-io`, which adds a second
//! version of the library `untrusted` to the program.

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// Returns modulus and exponent of a DER `RSAPublicKey`, big-endian without leading zeros.
pub(super) fn rsa_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (body, []) = element(SEQUENCE, der)? else {
        return None;
    };
    let (modulus, rest) = element(INTEGER, body)?;
    let (exponent, []) = element(INTEGER, rest)? else {
        return None;
    };
    Some((magnitude(modulus)?, magnitude(exponent)?))
}

/// Splits off the first element, which must have `tag`: returns its content and the rest.
fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (length, rest) = length(rest)?;
    (found == tag).then(|| rest.split_at_checked(length))?
}

fn length(der: &[u8]) -> Option<(usize, &[u8])> {
    match *der {
        [short @ 0..=0x7f, ref rest @ ..] => Some((short.into(), rest)),
        [0x81, one, ref rest @ ..] => Some((one.into(), rest)),
        [0x82, high, low, ref rest @ ..] => Some((u16::from_be_bytes([high, low]).into(), rest)),
        _ => None,
    }
}

/// A positive integer without the leading zero that marks it as positive.
fn magnitude(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [0, rest @ ..] if rest.first().is_some_and(|first| *first > 0x7f) => Some(rest),
        [1..=0x7f, ..] => Some(integer),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modulus_and_exponent_are_found() {
        let der = [
            0x30, 0x09, 0x02, 0x02, 0x00, 0x81, 0x02, 0x03, 0x01, 0x00, 0x01,
        ];
        assert_eq!(rsa_public_key(&der), Some((&[0x81][..], &[1, 0, 1][..])));
    }

    #[test]
    fn long_lengths_are_read() {
        let long = |length: usize, prefix: &[u8]| {
            let mut integer = vec![0x02];
            integer.extend(prefix);
            integer.extend(vec![0x7f; length]);
            integer.extend([0x02, 0x01, 0x03]);
            let size = u16::try_from(integer.len()).unwrap().to_be_bytes();
            [&[0x30, 0x82, size[0], size[1]], &integer[..]].concat()
        };
        assert_eq!(
            rsa_public_key(&long(200, &[0x81, 200])).unwrap().0,
            [0x7f; 200]
        );
        assert_eq!(
            rsa_public_key(&long(300, &[0x82, 1, 44])).unwrap().0,
            [0x7f; 300]
        );
    }

    #[test]
    fn anything_else_is_refused() {
        let cases: [&[u8]; 8] = [
            &[],
            &[0x30],
            &[0x30, 0x00],
            &[0x31, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x03],
            &[0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x83],
            &[0x30, 0x06, 0x02, 0x01, 0x05, 0x02, 0x01, 0x03, 0x00],
            &[0x30, 0x07, 0x02, 0x02, 0x00, 0x05, 0x02, 0x01, 0x03],
            &[0x30, 0x80, 0x02, 0x01, 0x05, 0x02, 0x01, 0x03],
        ];
        for der in cases {
            assert_eq!(rsa_public_key(der), None, "{der:x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(der in proptest::collection::vec(any::<u8>(), 0..40)) {
            rsa_public_key(&der);
        }
    }
}

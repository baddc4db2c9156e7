//! Base62 with the alphabet in ASCII order (`0-9A-Za-z`) and fixed widths.
//!
//! Since the alphabet is in ASCII order and widths are fixed, texts sort like the numbers they encode. So "is it below
//! 2^256" is a comparison of texts.

use zeroize::{Zeroize as _, Zeroizing};

use super::Entropy;

/// The digits, in ASCII order.
pub const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The number of characters that encode 256 bits.
pub const WIDTH_256: usize = 43;

/// The number of characters that encode 32 bits.
pub const WIDTH_32: usize = 6;

/// The largest result of [`encode_256`]: 2^256 - 1.
const MAX_256: &[u8; WIDTH_256] = b"yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1";

/// Whether `text` uses only the alphabet.
pub fn is_base62(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_alphanumeric)
}

/// Encodes 256 bits, big-endian, as 43 characters.
pub fn encode_256(bytes: &[u8; 32]) -> [u8; WIDTH_256] {
    let mut limbs = [0_u32; 8];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *limb = u32::from_be_bytes(*chunk);
    }
    let mut text = [0; WIDTH_256];
    for character in text.iter_mut().rev() {
        *character = ALPHABET[divide(&mut limbs) as usize];
    }
    limbs.zeroize();
    text
}

/// Divides in place by 62 and returns the remainder.
fn divide(limbs: &mut [u32; 8]) -> u32 {
    let mut remainder = 0_u64;
    for limb in limbs {
        let value = remainder << 32 | u64::from(*limb);
        // Both fit: the quotient since `remainder` < 62, the remainder by definition.
        *limb = u32::try_from(value / 62).unwrap_or(u32::MAX);
        remainder = value % 62;
    }
    u32::try_from(remainder).unwrap_or(0)
}

/// Whether `text` is the encoding of some 256-bit value.
pub fn is_canonical_256(text: &[u8]) -> bool {
    text.len() == WIDTH_256 && is_base62(text) && text <= MAX_256.as_slice()
}

/// Decodes what [`encode_256`] returns; `None` for any other text.
pub fn decode_256(text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if !is_canonical_256(text) {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for character in text {
        let digit = ALPHABET.binary_search(character).ok()?;
        let mut carry = u32::try_from(digit).ok()?;
        for byte in bytes.iter_mut().rev() {
            let product = u32::from(*byte) * 62 + carry;
            *byte = product.to_be_bytes()[3];
            carry = product >> 8;
        }
    }
    Some(bytes)
}

/// Encodes 32 bits as six characters.
pub fn encode_32(mut value: u32) -> [u8; WIDTH_32] {
    let mut text = [0; WIDTH_32];
    for character in text.iter_mut().rev() {
        *character = ALPHABET[(value % 62) as usize];
        value /= 62;
    }
    text
}

/// Fills `text` with characters, each uniformly random.
pub fn random(text: &mut [u8], entropy: &mut dyn Entropy) {
    // 248 is the largest multiple of 62 in a byte; greater values would favour the first digits.
    const FAIR: u8 = 248;
    let mut filled = 0;
    while filled < text.len() {
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        for byte in bytes
            .into_iter()
            .filter(|byte| *byte < FAIR)
            .take(text.len() - filled)
        {
            text[filled] = ALPHABET[usize::from(byte % 62)];
            filled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::SeededEntropy;

    /// An independent decoder: digit by digit into 33 bytes, big-endian.
    fn decode(text: &[u8]) -> [u8; 33] {
        let mut value = [0_u8; 33];
        for character in text {
            let mut carry = ALPHABET.iter().position(|c| c == character).unwrap();
            for byte in value.iter_mut().rev() {
                let product = usize::from(*byte) * 62 + carry;
                *byte = u8::try_from(product & 255).unwrap();
                carry = product >> 8;
            }
        }
        value
    }

    #[test]
    fn the_bounds_of_256_bits() {
        assert_eq!(&encode_256(&[0; 32]), &[b'0'; WIDTH_256]);
        assert_eq!(&encode_256(&[255; 32]), MAX_256);
        assert!(is_canonical_256(MAX_256));
        let mut above = *MAX_256;
        above[WIDTH_256 - 1] += 1;
        assert!(!is_canonical_256(&above), "2^256 does not fit");
        assert!(!is_canonical_256(&[b'z'; WIDTH_256]));
        assert!(!is_canonical_256(&[b'0'; WIDTH_256 - 1]));
        assert!(!is_canonical_256(&[b'-'; WIDTH_256]));
    }

    #[test]
    fn decoding_is_the_inverse_of_encoding() {
        for value in [[0; 32], [255; 32], [7; 32]] {
            assert_eq!(*decode_256(&encode_256(&value)).unwrap(), value);
        }
        assert_eq!(decode_256(&[b'z'; WIDTH_256]), None);
        assert_eq!(decode_256(b""), None);
    }

    #[test]
    fn the_bounds_of_32_bits() {
        assert_eq!(&encode_32(0), b"000000");
        assert_eq!(&encode_32(61), b"00000z");
        assert_eq!(&encode_32(62), b"000010");
        assert_eq!(&encode_32(u32::MAX), b"4gfFC3");
    }

    #[test]
    fn random_text_uses_every_digit_about_equally() {
        let mut text = vec![0; 62 * 1000];
        random(&mut text, &mut SeededEntropy::new(1));
        for digit in ALPHABET {
            let count = text.split(|c| c == digit).count() - 1;
            // Six standard deviations around 1000.
            assert!(
                (810..1190).contains(&count),
                "{} came {count} times",
                char::from(*digit)
            );
        }
    }

    #[test]
    fn bytes_that_would_favour_the_first_digits_are_skipped() {
        struct All(u8);

        impl Entropy for All {
            fn fill(&mut self, bytes: &mut [u8]) {
                for byte in bytes {
                    *byte = self.0;
                    self.0 = self.0.wrapping_add(1);
                }
            }
        }

        let mut text = [0; 248 + 1];
        random(&mut text, &mut All(0));
        let expected: Vec<u8> = ALPHABET.repeat(4);
        assert_eq!(text[..248], expected[..]);
        assert_eq!(text[248], b'0', "from the first byte of another round");
        random(&mut text, &mut All(247));
        assert_eq!(text[..2], *b"z0", "247 is the largest byte used");
        assert_eq!(text[1 + 248 - 1], b'z');
    }

    proptest! {
        #[test]
        fn encoding_keeps_the_number_and_its_order(a: [u8; 32], b: [u8; 32]) {
            let (x, y) = (encode_256(&a), encode_256(&b));
            prop_assert_eq!(&decode(&x)[1..], &a[..]);
            prop_assert!(is_canonical_256(&x));
            prop_assert_eq!(a.cmp(&b), x.cmp(&y));
        }

        #[test]
        fn encoding_32_keeps_the_number(value: u32) {
            prop_assert_eq!(&decode(&encode_32(value))[29..], &value.to_be_bytes()[..]);
        }
    }
}

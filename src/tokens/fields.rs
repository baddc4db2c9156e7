//! Several texts as one sequence of bytes, for hashes and MACs: the length of each, as eight bytes, big-endian, precedes
//! it. So two lists of texts never give the same bytes.
//!
//! Not for Credentials: their seal has an encoding of its own, see `mac`.

use aws_lc_rs::digest::{SHA256, digest};

/// Appends the fields.
pub fn append<F: AsRef<[u8]>>(bytes: &mut Vec<u8>, fields: impl IntoIterator<Item = F>) {
    for field in fields {
        let field = field.as_ref();
        bytes.extend((field.len() as u64).to_be_bytes());
        bytes.extend(field);
    }
}

/// Encodes the fields.
pub fn encode<F: AsRef<[u8]>>(fields: impl IntoIterator<Item = F>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    append(&mut bytes, fields);
    bytes
}

/// Returns the SHA-256 of the encoded fields.
pub fn sha256<F: AsRef<[u8]>>(fields: impl IntoIterator<Item = F>) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, &encode(fields)).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_length_precedes_each_field() {
        let expected = b"\0\0\0\0\0\0\0\x02ab\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01c";
        assert_eq!(encode(["ab", "", "c"]), expected);
    }

    #[test]
    fn two_lists_never_give_the_same_bytes() {
        let lists: [&[&str]; 7] = [
            &[],
            &[""],
            &["", ""],
            &["ab"],
            &["a", "b"],
            &["", "ab"],
            &["ab", ""],
        ];
        let distinct: BTreeSet<Vec<u8>> = lists.iter().map(|list| encode(*list)).collect();
        assert_eq!(distinct.len(), lists.len());
    }
}

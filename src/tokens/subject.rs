//! The subjects (`sub`) of people: UUIDs of version 8 (RFC 9562 section 5.8), so that no client id can equal one.

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Builder;

/// Returns the subject of a User whose resource has this uid. The same uid always gives the same subject.
pub fn subject_of_uid(uid: &str) -> String {
    let hash = digest(
        &SHA256,
        format!("symbolon.dev/subject/user\n{uid}").as_bytes(),
    );
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    let subject = Builder::from_custom_bytes(bytes).into_uuid();
    subject.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_uuid_of_version_8_that_depends_on_the_uid_alone() {
        let subject = subject_of_uid("b6f6ee4e-2c39-4d0c-a5cb-1b5bd2e2f3a1");
        let uuid: uuid::Uuid = subject.parse().unwrap();
        assert_eq!(uuid.get_version_num(), 8);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(uuid.to_string(), subject);
        assert_eq!(
            subject,
            subject_of_uid("b6f6ee4e-2c39-4d0c-a5cb-1b5bd2e2f3a1")
        );
        assert_ne!(subject, subject_of_uid(""));
    }
}

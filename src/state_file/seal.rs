//! Proof that this program wrote a file. A repository may contain any file in place of ours, and `git pull` and `git
//! checkout` replace an ignored file without notice; but no repository knows the secret of the state folder. Pure,
//! except for generating the secret.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Separates these proofs from any other use of the same secret.
const CONTEXT: &[u8] = b"symbolon.dev/state-file\0";
/// Separates names of files from proofs.
const NAME_CONTEXT: &[u8] = b"symbolon.dev/state-file-name\0";
/// Starts the last line of a sealed file; a comment in YAML.
const LINE: &[u8] = b"# written here: ";
/// The length of the secret in bytes.
const LENGTH: usize = 32;

/// Seals files with the secret of a state folder (HMAC-SHA-256 over path and content).
pub struct Seal(hmac::Key);

impl Seal {
    /// Generates a secret, and its text for [`Seal::parse`].
    pub(super) fn generate() -> io::Result<(Self, Zeroizing<String>)> {
        let mut secret = Zeroizing::new([0; LENGTH]);
        let made = rand::fill(&mut *secret);
        made.map_err(|_| io::Error::other("the system has no randomness"))?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
        Ok((Self::of(&secret), text))
    }

    /// Parses a secret; `None` if the text is not one.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
        let secret: &[u8; LENGTH] = secret.as_slice().try_into().ok()?;
        Some(Self::of(secret))
    }

    fn of(secret: &[u8; LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Returns a file name of 32 hexadecimal digits for `of`. It cannot be guessed, so no repository can contain a file, or a
    /// link, of this name.
    pub fn name(&self, of: &str) -> String {
        let tag = hmac::sign(&self.0, &[NAME_CONTEXT, of.as_bytes()].concat());
        let mut first = [0; 16];
        first.copy_from_slice(&tag.as_ref()[..16]);
        format!("{:032x}", u128::from_be_bytes(first))
    }

    /// Returns `content` with a last line that proves that it was written here as the file at `path`.
    pub fn sealed(&self, path: &Path, content: &[u8]) -> Zeroizing<Vec<u8>> {
        // Reserve the full capacity: a growing buffer would leave unwiped copies behind.
        let mut file = Zeroizing::new(Vec::with_capacity(content.len() + 80));
        file.extend_from_slice(content);
        if !file.ends_with(b"\n") {
            file.push(b'\n');
        }
        let proof = hmac::sign(&self.0, &proven(path, &file));
        let proof = URL_SAFE_NO_PAD.encode(proof);
        file.extend_from_slice(LINE);
        file.extend_from_slice(proof.as_bytes());
        file.push(b'\n');
        file
    }

    /// Returns the content of a sealed file; `None` if it was not written here, was written at another path, or was
    /// changed since.
    pub fn opened<'a>(&self, path: &Path, file: &'a [u8]) -> Option<&'a [u8]> {
        let lines = file.strip_suffix(b"\n")?;
        let start = lines.iter().rposition(|byte| *byte == b'\n')? + 1;
        let (content, line) = lines.split_at(start);
        let proof = URL_SAFE_NO_PAD.decode(line.strip_prefix(LINE)?).ok()?;
        let is_right = hmac::verify(&self.0, &proven(path, content), &proof).is_ok();
        is_right.then_some(content)
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal([redacted])")
    }
}

/// The bytes that a proof covers. No path contains a zero byte, so two files never encode to the same bytes.
fn proven(path: &Path, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let path = path.as_os_str().as_bytes();
    Zeroizing::new([CONTEXT, path, b"\0", content].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_trusted_only_at_its_path_with_its_content_and_secret() {
        let (seal, text) = Seal::generate().unwrap();
        let (other, _) = Seal::generate().unwrap();
        let (here, there) = (Path::new("keys/ns/a.yaml"), Path::new("keys/ns/b.yaml"));
        for content in ["a: 1\n", "a: 1", "", "a\n# written here: x\n"] {
            let file = seal.sealed(here, content.as_bytes());
            let read = seal.opened(here, &file).unwrap();
            assert_eq!(read.trim_ascii_end(), content.trim_end().as_bytes());
            assert_eq!(
                Seal::parse(text.as_bytes()).unwrap().opened(here, &file),
                Some(read)
            );
            assert_eq!(seal.opened(there, &file), None, "moved");
            assert_eq!(other.opened(here, &file), None, "sealed for another folder");
            for at in 0..file.len() {
                let mut changed = file.to_vec();
                changed[at] ^= 1;
                assert_eq!(seal.opened(here, &changed), None, "{at}");
                assert_eq!(seal.opened(here, &file[..at]), None, "cut at {at}");
            }
            let longer = [&**file, b"b: 2\n"].concat();
            assert_eq!(seal.opened(here, &longer), None);
            let before = [b"b: 2\n", &**file].concat();
            assert_eq!(seal.opened(here, &before), None);
        }
        for file in [
            &b""[..],
            b"\n",
            b"a: 1\n",
            b"# written here: \n",
            b"a\n# written here: \n",
        ] {
            assert_eq!(seal.opened(here, file), None);
        }
    }

    #[test]
    fn a_secret_is_32_bytes_and_is_not_printed() {
        let (seal, text) = Seal::generate().unwrap();
        assert_eq!(format!("{seal:?}"), "Seal([redacted])");
        let longer = format!("{}AAAA", *text);
        for text in ["", "AAAA", &text[1..], &longer, "not base64!"] {
            assert!(Seal::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}

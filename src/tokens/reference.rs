//! Reference tokens: opaque strings that the server looks up at every request.
//!
//! ```text
//! <prefix><kind>_  <id: 16 base62>  <secret: 43 base62 of 256 random bits>  <checksum: 6 base62 of CRC-32/ISO-HDLC>
//! sym     sat   _  gJ3v0bQx91LmZk2T …
//! ```
//!
//! The fixed prefix lets scanners find leaked tokens. The checksum refuses junk before any look-up. The ID finds the
//! record. The SHA-256 of the *whole* string, compared in constant time, decides. A password hash is not needed: the
//! secret has 256 random bits, and a slow hash would only help to exhaust the server.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Entropy, SecretString, base62, hex};

const ID_LENGTH: usize = 16;
const KIND_LENGTH: usize = 3;
/// The length of what follows the prefix: kind, underscore, ID, secret, checksum.
const TAIL_LENGTH: usize = KIND_LENGTH + 1 + ID_LENGTH + base62::WIDTH_256 + base62::WIDTH_32;

/// The longest reference token in bytes. Anything longer is refused unread.
pub const MAX_LENGTH: usize = Prefix::MAX_LENGTH + TAIL_LENGTH;

/// What a reference token stands for. No kind is accepted in place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Acts as a client's system user. Issued for a `ServiceAccessToken`.
    ServiceAccessToken,
    /// Acts as the person who created it.
    PersonalAccessToken,
    /// Authenticates a client at the token endpoint (RFC 6749 section 2.3.1).
    ClientSecret,
    /// An authorization code (RFC 6749 section 4.1.2).
    AuthorizationCode,
    /// A refresh token (RFC 6749 section 1.5).
    RefreshToken,
    /// The cookie of a person's session.
    Session,
    /// A pushed authorization request (RFC 9126).
    PushedRequest,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::ServiceAccessToken,
        Self::PersonalAccessToken,
        Self::ClientSecret,
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::Session,
        Self::PushedRequest,
    ];

    /// Returns the three letters used in the token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceAccessToken => "sat",
            Self::PersonalAccessToken => "pat",
            Self::ClientSecret => "sec",
            Self::AuthorizationCode => "cod",
            Self::RefreshToken => "ref",
            Self::Session => "ses",
            Self::PushedRequest => "par",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The start of an installation's tokens: 1 to 16 characters of `[a-z0-9]`, by default `sym`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    bytes: [u8; Self::MAX_LENGTH],
    length: u8,
}

impl Prefix {
    /// The longest prefix in characters.
    pub const MAX_LENGTH: usize = 16;

    /// Returns the prefix as text.
    pub fn as_str(&self) -> &str {
        // Always ASCII: only `from_str` and `default` construct one.
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl Default for Prefix {
    fn default() -> Self {
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes[..3].copy_from_slice(b"sym");
        Self { bytes, length: 3 }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a [`Prefix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reference token prefix has 1 to 16 characters, each of a-z or 0-9")]
pub struct InvalidPrefix;

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !is_prefix(text.as_bytes()) {
            return Err(InvalidPrefix);
        }
        let mut bytes = [0; Self::MAX_LENGTH];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        let length = u8::try_from(text.len()).map_err(|_| InvalidPrefix)?;
        Ok(Self { bytes, length })
    }
}

fn is_prefix(text: &[u8]) -> bool {
    (1..=Prefix::MAX_LENGTH).contains(&text.len())
        && text
            .iter()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
}

/// The public ID of a token: 16 base62 characters. It finds the record and appears in logs and status. It proves
/// nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId([u8; ID_LENGTH]);

impl TokenId {
    /// Generates a new ID, each character uniformly random (95 bits). Also used as `jti`.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        let mut id = [0; ID_LENGTH];
        base62::random(&mut id, entropy);
        Self(id)
    }

    /// Returns the ID as text.
    pub fn as_str(&self) -> &str {
        // Always ASCII: only `random` and `from_bytes` construct one.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let id: [u8; ID_LENGTH] = bytes.try_into().ok()?;
        base62::is_base62(&id).then_some(Self(id))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not a [`TokenId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token ID has 16 characters, each of 0-9, A-Z or a-z")]
pub struct InvalidTokenId;

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes()).ok_or(InvalidTokenId)
    }
}

impl TryFrom<String> for TokenId {
    type Error = InvalidTokenId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.as_str().to_owned()
    }
}

/// The SHA-256 of a whole reference token, prefix and checksum included: all that is stored of it.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Hashes `token`, whether or not it is well formed.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Returns the hash with these bytes, from a record.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    /// Constant time.
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0, f)
    }
}

impl fmt::Debug for TokenHash {
    /// Prints enough to tell two hashes apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(&self.0[..4], f)?;
        f.write_str("…")
    }
}

/// A text that is not a [`TokenHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token hash has 64 lower-case hexadecimal digits")]
pub struct InvalidTokenHash;

impl FromStr for TokenHash {
    type Err = InvalidTokenHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hex::read(text).map(Self).ok_or(InvalidTokenHash)
    }
}

impl TryFrom<String> for TokenHash {
    type Error = InvalidTokenHash;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TokenHash> for String {
    fn from(hash: TokenHash) -> Self {
        hash.to_string()
    }
}

/// A new token, and those parts of it that may be stored.
#[derive(Debug)]
pub struct Minted {
    /// The token itself, only for its owner.
    pub token: SecretString,
    /// The public ID.
    pub id: TokenId,
    /// The hash for the record.
    pub hash: TokenHash,
}

/// Generates a new token.
pub fn mint(prefix: &Prefix, kind: Kind, entropy: &mut dyn Entropy) -> Minted {
    let id = TokenId::random(entropy);
    let mut secret = Zeroizing::new([0; 32]);
    entropy.fill(&mut *secret);
    with_secret(prefix, kind, id, &secret)
}

/// Builds the token with this ID and these 256 bits.
pub fn with_secret(prefix: &Prefix, kind: Kind, id: TokenId, secret: &[u8; 32]) -> Minted {
    let token = assemble(prefix, kind, id, secret);
    Minted {
        hash: TokenHash::of(token.expose()),
        token,
        id,
    }
}

/// Returns the 256 bits of a token that [`parse`] accepts.
pub fn secret_of(token: &str) -> Option<Zeroizing<[u8; 32]>> {
    let end = token.len().checked_sub(base62::WIDTH_32)?;
    let start = end.checked_sub(base62::WIDTH_256)?;
    base62::decode_256(token.as_bytes().get(start..end)?)
}

fn assemble(prefix: &Prefix, kind: Kind, id: TokenId, secret: &[u8; 32]) -> SecretString {
    // Reserve the exact capacity: a growing string would leave an unwiped copy behind.
    let mut token = String::with_capacity(prefix.as_str().len() + TAIL_LENGTH);
    token.push_str(prefix.as_str());
    token.push_str(kind.as_str());
    token.push('_');
    token.push_str(id.as_str());
    let mut digits = base62::encode_256(secret);
    token.extend(digits.iter().copied().map(char::from));
    digits.zeroize();
    let checksum = base62::encode_32(crc32fast::hash(token.as_bytes()));
    token.extend(checksum.into_iter().map(char::from));
    SecretString::from(token)
}

/// A well-formed token from a request. Only its record decides whether it is valid.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// The prefix; the caller compares it with the installation's.
    pub prefix: &'a str,
    /// The kind that the token claims to be.
    pub kind: Kind,
    /// The ID to look up.
    pub id: TokenId,
    /// The hash to compare with the record's.
    pub hash: TokenHash,
}

/// Why a text is not a reference token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Too short or too long.
    #[error("wrong length for a reference token")]
    Length,
    /// A character in the wrong place, or a secret of 2^256 or more.
    #[error("wrong shape for a reference token")]
    Shape,
    /// An unknown kind.
    #[error("unknown kind of reference token")]
    Kind,
    /// Mistyped, truncated or made up.
    #[error("wrong checksum")]
    Checksum,
}

/// Parses an untrusted text. Cheap checks come first, before anything is hashed or looked up. Allocates nothing.
///
/// # Errors
/// [`Malformed`] for every text that [`mint`] cannot produce.
pub fn parse(token: &str) -> Result<Presented<'_>, Malformed> {
    let prefix_length = token
        .len()
        .checked_sub(TAIL_LENGTH)
        .ok_or(Malformed::Length)?;
    if !(1..=Prefix::MAX_LENGTH).contains(&prefix_length) {
        return Err(Malformed::Length);
    }
    let (prefix, kind, id, secret, checksum) =
        split(token, prefix_length).ok_or(Malformed::Shape)?;
    if !is_prefix(prefix.as_bytes()) || !base62::is_canonical_256(secret.as_bytes()) {
        return Err(Malformed::Shape);
    }
    let id = TokenId::from_bytes(id.as_bytes()).ok_or(Malformed::Shape)?;
    let kind = Kind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or(Malformed::Kind)?;
    let summed = &token.as_bytes()[..token.len() - base62::WIDTH_32];
    if base62::encode_32(crc32fast::hash(summed)) != checksum.as_bytes() {
        return Err(Malformed::Checksum);
    }
    Ok(Presented {
        prefix,
        kind,
        id,
        hash: TokenHash::of(token),
    })
}

/// Splits at the fixed places; `None` if a cut falls inside a character or the underscore is missing.
fn split(token: &str, prefix_length: usize) -> Option<(&str, &str, &str, &str, &str)> {
    let (prefix, rest) = token.split_at_checked(prefix_length)?;
    let (kind, rest) = rest.split_at_checked(KIND_LENGTH)?;
    let (id, rest) = rest.strip_prefix('_')?.split_at_checked(ID_LENGTH)?;
    let (secret, checksum) = rest.split_at_checked(base62::WIDTH_256)?;
    Some((prefix, kind, id, secret, checksum))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::SeededEntropy;

    fn token(prefix: &str, kind: Kind, seed: u64) -> String {
        mint(
            &prefix.parse().unwrap(),
            kind,
            &mut SeededEntropy::new(seed),
        )
        .token
        .expose()
        .to_owned()
    }

    /// Appends the right checksum to `body`, as any attacker can.
    fn with_checksum(body: &str) -> String {
        let checksum = base62::encode_32(crc32fast::hash(body.as_bytes()));
        format!("{body}{}", std::str::from_utf8(&checksum).unwrap())
    }

    fn any_token() -> impl Strategy<Value = String> {
        ("[a-z0-9]{1,16}", 0..Kind::ALL.len(), any::<u64>())
            .prop_map(|(prefix, kind, seed)| token(&prefix, Kind::ALL[kind], seed))
    }

    #[test]
    fn the_secret_of_a_token_reads_back() {
        for seed in 0..50 {
            let mut secret = [0; 32];
            SeededEntropy::new(seed).fill(&mut secret);
            let id = TokenId::random(&mut SeededEntropy::new(seed));
            let made = with_secret(&Prefix::default(), Kind::RefreshToken, id, &secret);
            assert_eq!(secret_of(made.token.expose()).as_deref(), Some(&secret));
            assert_eq!(parse(made.token.expose()).unwrap().hash, made.hash);
        }
        for bad in ["", "short", &"é".repeat(40), &"-".repeat(72)] {
            assert_eq!(secret_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_format_is_fixed() {
        let crc = crc32fast::hash(b"123456789");
        assert_eq!(crc, 0xCBF4_3926, "the check value of CRC-32/ISO-HDLC");
        let text = with_checksum(&format!("symsat_{}{}", "A".repeat(16), "0".repeat(43)));
        insta::assert_snapshot!(text, @"symsat_AAAAAAAAAAAAAAAA00000000000000000000000000000000000000000001iwEUs");
        assert!(parse(&text).is_ok());
        assert_eq!(text.len(), 3 + TAIL_LENGTH);
    }

    #[test]
    fn empty_blank_and_wrapped_tokens_are_refused_before_look_up() {
        let good = token("sym", Kind::ServiceAccessToken, 1);
        let cases = [
            String::new(),
            " ".into(),
            "\t\n".into(),
            " ".repeat(72),
            "\0".repeat(72),
            format!(" {good}"),
            format!("{good} "),
            format!("{good}\n"),
            format!("\u{feff}{good}"),
            format!("Bearer {good}"),
            "é".repeat(36),
            "x".repeat(1 << 20),
        ];
        for case in cases {
            assert!(parse(&case).is_err(), "{case:?}");
        }
    }

    #[test]
    fn a_valid_checksum_does_not_make_a_wrong_form_valid() {
        let id = "A".repeat(16);
        let secret = "0".repeat(43);
        let cases = [
            (format!("symxyz_{id}{secret}"), Malformed::Kind),
            (format!("SYMsat_{id}{secret}"), Malformed::Shape),
            (format!("symSAT_{id}{secret}"), Malformed::Kind),
            (format!("symsat-{id}{secret}"), Malformed::Shape),
            (format!("sat_{id}{secret}"), Malformed::Length),
            (
                format!("{}sat_{id}{secret}", "p".repeat(17)),
                Malformed::Length,
            ),
            (
                format!("symsat_{}-{secret}", "A".repeat(15)),
                Malformed::Shape,
            ),
            (format!("symsat_{id}{}+", "0".repeat(42)), Malformed::Shape),
            // 62^43 - 1 exceeds 2^256 - 1: some texts encode no 256-bit value.
            (format!("symsat_{id}{}", "z".repeat(43)), Malformed::Shape),
        ];
        for (body, why) in cases {
            assert_eq!(parse(&with_checksum(&body)).unwrap_err(), why, "{body}");
        }
    }

    #[test]
    fn only_short_lower_case_prefixes_exist() {
        for good in ["s", "sym", "0a", "abcdefghijklmnop"] {
            assert_eq!(good.parse::<Prefix>().unwrap().as_str(), good);
        }
        for bad in ["", "Sym", "sy_m", "sy m", "ß", "abcdefghijklmnopq"] {
            assert_eq!(bad.parse::<Prefix>(), Err(InvalidPrefix), "{bad:?}");
        }
        assert_eq!(Prefix::default(), "sym".parse().unwrap());
    }

    #[test]
    fn ids_and_hashes_have_one_spelling() {
        let id = "Zz09AAAAAAAAAAAA";
        assert_eq!(
            serde_json::to_string(&id.parse::<TokenId>().unwrap()).unwrap(),
            format!("\"{id}\"")
        );
        for bad in [
            "",
            "Zz09AAAAAAAAAAA",
            "Zz09AAAAAAAAAAAAA",
            "Zz09AAAAAAAAAAA-",
            "Zz09AAAAAAAAAA\u{e9}",
        ] {
            assert!(
                serde_json::from_value::<TokenId>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
        let hash = TokenHash::of("abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), hex);
        assert_eq!(
            serde_json::from_value::<TokenHash>(hex.into()).unwrap(),
            hash
        );
        for bad in [
            "",
            &hex[1..],
            &hex.to_uppercase(),
            &format!("{hex}0"),
            &hex.replace('b', "g"),
        ] {
            assert!(
                serde_json::from_value::<TokenHash>(bad.into()).is_err(),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_minted_token_prints_nothing_of_itself() {
        let minted = mint(
            &Prefix::default(),
            Kind::ClientSecret,
            &mut SeededEntropy::new(3),
        );
        let secret = &minted.token.expose()[23..];
        assert!(!format!("{minted:?}").contains(secret));
        let text = minted.token.expose().to_owned();
        assert!(!format!("{:?}", parse(&text).unwrap()).contains(secret));
    }

    proptest! {
        #[test]
        fn a_minted_token_reads_back(prefix in "[a-z0-9]{1,16}", kind in 0..3_usize, seed: u64) {
            let kind = Kind::ALL[kind];
            let minted = mint(&prefix.parse().unwrap(), kind, &mut SeededEntropy::new(seed));
            let presented = parse(minted.token.expose()).unwrap();
            prop_assert_eq!(presented.prefix, prefix);
            prop_assert_eq!(presented.kind, kind);
            prop_assert_eq!(presented.id, minted.id);
            prop_assert_eq!(presented.hash, minted.hash);
        }

        #[test]
        fn two_mints_share_nothing(a: u64, b: u64) {
            prop_assume!(a != b);
            let mint = |seed| mint(&Prefix::default(), Kind::ClientSecret, &mut SeededEntropy::new(seed));
            let (a, b) = (mint(a), mint(b));
            prop_assert!(a.id != b.id && a.hash != b.hash && a.token != b.token);
        }

        #[test]
        fn every_truncation_is_refused(token in any_token()) {
            for cut in 0..token.len() {
                prop_assert!(parse(&token[..cut]).is_err());
                prop_assert!(parse(&token[token.len() - cut..]).is_err());
            }
        }

        #[test]
        fn every_extension_is_refused(token in any_token(), more in "\\PC{1,12}") {
            let (after, before) = (format!("{token}{more}"), format!("{more}{token}"));
            prop_assert!(parse(&after).is_err() && parse(&before).is_err());
        }

        #[test]
        fn every_case_flip_is_refused(token in any_token()) {
            for (at, _) in token.char_indices().filter(|(_, c)| c.is_ascii_alphabetic()) {
                let mut flipped = token.clone().into_bytes();
                flipped[at] ^= 0x20;
                prop_assert!(parse(std::str::from_utf8(&flipped).unwrap()).is_err());
            }
            prop_assert!(parse(&token.to_uppercase()).is_err());
            prop_assert!(parse(&token.to_lowercase()).is_err());
        }

        #[test]
        fn every_single_substitution_is_refused(token in any_token(), at in 0..85_usize, by in "[ -~]") {
            let at = at % token.len();
            prop_assume!(token[at..=at] != by);
            let mut changed = token;
            changed.replace_range(at..=at, &by);
            prop_assert!(parse(&changed).is_err());
        }

        #[test]
        fn any_text_is_refused_without_a_panic(text in "\\PC{0,100}") {
            prop_assert!(parse(&text).is_err());
        }
    }
}

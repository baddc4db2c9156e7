//! Which passwords may be chosen, and which hashes are taken.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::tokens::SeededEntropy;

const NAMES: Names<'_> = Names {
    person: &["alice", "alice.meyer@mail.example.org", "al"],
    host: "id.example.com",
};
/// What another program could have chosen.
const CHEAP: Cost = Cost {
    memory: 32,
    passes: 1,
    lanes: 1,
};

fn password(text: &str) -> Password {
    Password::new(text).unwrap()
}

fn checked(text: &str) -> Result<(), Fault> {
    check(&password(text), NAMES)
}

#[rstest]
#[case::words("correct horse battery staple")]
#[case::no_spaces("velvetcometorbitlantern")]
#[case::another_language("mein hund heisst bello")]
#[case::another_script("съешь ещё этих мягких булок")]
#[case::han("我今天早上吃了两个苹果和一根香蕉")]
#[case::emoji("🦊🐢🌵🚲🎺🧀🪁🦉🍄🐙🎲🧭🥁🪴🦔")]
#[case::of_a_generator("x7Qm2vKp9TzL4wRd")]
#[case::leading_and_trailing_spaces("  a wolf in the attic  ")]
#[case::sixty_four_characters("Wq7 zebra lantern 41 orbit-mosaic; quilted harbor & velvet comet")]
#[case::contains_a_short_name("walnut palace tomorrow")]
fn a_good_password_is_long_and_nothing_else(#[case] text: &str) {
    assert_eq!(checked(text), Ok(()), "{text}");
}

#[rstest]
#[case::empty("", Fault::TooShort)]
#[case::fourteen("x7Qm2vKp9TzL4w", Fault::TooShort)]
#[case::many_bytes_few_characters("我今天早上吃了两个苹果", Fault::TooShort)]
#[case::composed_of_two(
    "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}",
    Fault::TooShort
)]
#[case::line_break("correct horse\nbattery staple", Fault::ControlCharacter)]
#[case::nul("correct horse\0battery staple", Fault::ControlCharacter)]
#[case::name("my name is ALICE indeed", Fault::ContainsName)]
#[case::local_part("zebra Alice.Meyer lantern", Fault::ContainsName)]
#[case::host("zebra at ID.example.com", Fault::ContainsName)]
#[case::repeated("passwordpassword", Fault::Common)]
#[case::repeated_thrice("letmeinletmeinletmein", Fault::Common)]
#[case::with_a_number("password12345678", Fault::Common)]
#[case::with_signs("P@ssw0rdP@ssw0rd!", Fault::Common)]
#[case::digits("123456789012345", Fault::Common)]
#[case::one_character("aaaaaaaaaaaaaaaaaaaaaaaa", Fault::Common)]
#[case::one_character_of_another_script("ああああああああああああああああ", Fault::Common)]
#[case::keyboard("qwertyuiopasdfgh", Fault::Common)]
#[case::alphabet("abcdefghijklmnop", Fault::Common)]
#[case::site("meyermeyerexample", Fault::Common)]
fn a_bad_password_is_refused(#[case] text: &str, #[case] fault: Fault) {
    assert_eq!(checked(text), Err(fault), "{text}");
}

#[test]
fn the_length_is_bounded_before_and_after_normalisation() {
    assert!(Password::new(&"a".repeat(MAX_LENGTH)).is_ok());
    assert_eq!(
        Password::new(&"a".repeat(MAX_LENGTH + 1)).unwrap_err(),
        TooLong
    );
    // U+1D160 has four bytes, and twelve in NFC.
    let grows = "\u{1d160}".repeat(MAX_LENGTH / 4);
    assert_eq!(Password::new(&grows).unwrap_err(), TooLong);
}

#[rstest]
#[case::composed("caf\u{e9}", "cafe\u{301}")]
#[case::no_break_space("a b", "a\u{a0}b")]
#[case::wide_space("a b", "a\u{3000}b")]
#[case::hangul("\u{d55c}", "\u{1112}\u{1161}\u{11ab}")]
fn the_same_password_typed_elsewhere_is_the_same(#[case] one: &str, #[case] other: &str) {
    assert_eq!(password(one).bytes(), password(other).bytes());
}

#[rstest]
#[case::case("a", "A")]
#[case::ligature("ﬁ", "fi")]
#[case::wide("ａ", "a")]
#[case::space_at_the_end("a", "a ")]
fn different_passwords_stay_different(#[case] one: &str, #[case] other: &str) {
    assert_ne!(password(one).bytes(), password(other).bytes());
}

#[test]
fn a_hash_verifies_its_password_alone() {
    let mut entropy = SeededEntropy::new(1);
    let text = hash(&password("correct horse battery"), &mut entropy);
    assert!(
        text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{text}"
    );
    let phc = Phc::parse(&text).unwrap();
    let right = Comparison::Right { is_outdated: false };
    assert_eq!(phc.verify(&password("correct horse battery")), right);
    assert_eq!(
        phc.verify(&password("correct horse batterz")),
        Comparison::Wrong
    );
    let again = hash(&password("correct horse battery"), &mut entropy);
    assert_ne!(text, again, "each hash has a salt of its own");
    assert_eq!(format!("{phc:?}").matches("redacted").count(), 1);
}

#[test]
fn no_one_has_a_hash_of_the_same_cost() {
    let no_one = Phc::of_no_one(&mut SeededEntropy::new(1));
    assert_eq!(no_one.function, Function::Argon2id(COST));
    assert_eq!(
        (no_one.salt.len(), no_one.hash.len()),
        (SALT_LENGTH, HASH_LENGTH)
    );
    assert_eq!(no_one.verify(&password("")), Comparison::Wrong);
}

fn cheap(text: &str) -> String {
    let hash = argon2id(&password(text), b"somesalt123", CHEAP, 32).unwrap();
    let (salt, hash) = (
        STANDARD_NO_PAD.encode(b"somesalt123"),
        STANDARD_NO_PAD.encode(&*hash),
    );
    format!("$argon2id$v=19$m=32,t=1,p=1${salt}${hash}")
}

#[test]
fn an_imported_hash_is_right_and_outdated() {
    let outdated = Comparison::Right { is_outdated: true };
    let phc = Phc::parse(&cheap("a")).unwrap();
    assert_eq!(phc.verify(&password("a")), outdated);
    assert_eq!(phc.verify(&password("b")), Comparison::Wrong);
    let mut wanted = [0; 32];
    let iterations = NonZeroU32::new(1000).unwrap();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA512,
        iterations,
        b"0123456789abcdef",
        b"a",
        &mut wanted,
    );
    let (salt, hash) = (
        STANDARD_NO_PAD.encode(b"0123456789abcdef"),
        STANDARD_NO_PAD.encode(wanted),
    );
    let phc = Phc::parse(&format!("$pbkdf2-sha512$i=1000${salt}${hash}")).unwrap();
    assert_eq!(phc.verify(&password("a")), outdated);
    assert_eq!(phc.verify(&password("b")), Comparison::Wrong);
    let phc = Phc::parse(&format!("$pbkdf2-sha256$i=1000${salt}${hash}")).unwrap();
    assert_eq!(phc.verify(&password("a")), Comparison::Wrong);
}

#[rstest]
#[case::empty("", Unsupported::Malformed)]
#[case::plaintext("correct horse battery staple", Unsupported::Malformed)]
#[case::without_a_hash(
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQxMjM0NTY3OA",
    Unsupported::Malformed
)]
#[case::without_a_cost("$argon2id$v=19$m=19456,p=1$SALT$HASH", Unsupported::Malformed)]
#[case::argon2i("$argon2i$v=19$m=19456,t=2,p=1$SALT$HASH", Unsupported::Function)]
#[case::old_version("$argon2id$v=16$m=19456,t=2,p=1$SALT$HASH", Unsupported::Function)]
#[case::no_version("$argon2id$m=19456,t=2,p=1$SALT$HASH", Unsupported::Function)]
#[case::with_a_key(
    "$argon2id$v=19$m=19456,t=2,p=1,keyid=AAAA$SALT$HASH",
    Unsupported::Function
)]
#[case::scrypt("$scrypt$ln=15,r=8,p=1$SALT$HASH", Unsupported::Function)]
#[case::bcrypt(
    "$2b$12$EXRkfkdmXn2gzds2SSitu.MW9.gAVqa9eLS1//RYtYCmB1eLHg.9q",
    Unsupported::Malformed
)]
#[case::much_memory("$argon2id$v=19$m=65537,t=1,p=1$SALT$HASH", Unsupported::Cost)]
#[case::all_memory("$argon2id$v=19$m=4294967295,t=1,p=1$SALT$HASH", Unsupported::Cost)]
#[case::much_time("$argon2id$v=19$m=65536,t=5,p=1$SALT$HASH", Unsupported::Cost)]
#[case::all_time("$argon2id$v=19$m=8,t=4294967295,p=1$SALT$HASH", Unsupported::Cost)]
#[case::many_lanes("$argon2id$v=19$m=19456,t=2,p=17$SALT$HASH", Unsupported::Cost)]
#[case::no_time("$argon2id$v=19$m=19456,t=0,p=1$SALT$HASH", Unsupported::Cost)]
#[case::many_iterations("$pbkdf2-sha256$i=2000001$SALT$HASH", Unsupported::Cost)]
#[case::no_iterations("$pbkdf2-sha256$i=0$SALT$HASH", Unsupported::Malformed)]
#[case::short_hash(
    "$argon2id$v=19$m=19456,t=2,p=1$SALT$AAAAAAAAAAAAAA",
    Unsupported::Cost
)]
fn other_hashes_are_refused_before_they_cost_anything(
    #[case] text: &str,
    #[case] reason: Unsupported,
) {
    let salt = STANDARD_NO_PAD.encode([1; 16]);
    let hash = STANDARD_NO_PAD.encode([2; 32]);
    let text = text.replace("SALT", &salt).replace("HASH", &hash);
    assert_eq!(Phc::parse(&text).unwrap_err(), reason, "{text}");
}

#[test]
fn common_costs_of_other_programs_are_accepted() {
    let (salt, hash) = (
        STANDARD_NO_PAD.encode([1; 16]),
        STANDARD_NO_PAD.encode([2; 32]),
    );
    for cost in [
        "m=65536,t=3,p=4",
        "m=65536,t=4,p=1",
        "m=47104,t=1,p=1",
        "m=12288,t=3,p=1",
    ] {
        let phc = Phc::parse(&format!("$argon2id$v=19${cost}${salt}${hash}"));
        assert!(phc.is_ok(), "{cost}: {phc:?}");
    }
    let phc = Phc::parse(&format!("$pbkdf2-sha256$i=600000,l=32${salt}${hash}"));
    assert!(phc.is_ok(), "{phc:?}");
}

#[test]
fn a_changed_hash_never_verifies() {
    let text = cheap("a");
    for at in 0..text.len() {
        for other in *b"A1$,=" {
            let mut changed = text.clone().into_bytes();
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            let Ok(phc) = Phc::parse(&changed) else {
                continue;
            };
            let is_right = phc.verify(&password("a")) != Comparison::Wrong;
            assert_eq!(is_right, changed == text, "{changed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_judged(text in any::<String>(), name in any::<String>(), host in any::<String>()) {
        let password = Password::new(&text);
        prop_assert_eq!(password.is_err(), text.len() > MAX_LENGTH);
        if let Ok(password) = password {
            let twice = Password::new(password.0.expose()).unwrap();
            prop_assert_eq!(password.bytes(), twice.bytes());
            let names = Names { person: &[&name], host: &host };
            prop_assert!(check(&password, names) != Ok(()) || text.len() >= MIN_LENGTH);
        }
    }

    /// What the estimator sees as words, dates, repetitions and sequences.
    #[test]
    fn any_pattern_is_judged(parts in proptest::collection::vec("password|1990-01-0[0-9]|[0-9]{1,8}|[a-z]{1,3}|(ab){1,9}|é{1,5}|٣{1,6}| ", 1..20)) {
        let password = Password::new(&parts.concat()).unwrap();
        let _ = check(&password, NAMES);
    }

    #[test]
    fn any_text_is_parsed_as_a_hash(text in any::<String>(), tail in r"[a-z0-9=,$]{0,80}") {
        let _ = Phc::parse(&text);
        let _ = Phc::parse(&format!("$argon2id$v=19${tail}"));
    }
}

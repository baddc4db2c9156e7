//! Templates of Secrets: what they may contain, and how their values are rendered.
//!
//! `$(name)` is a placeholder and `$(name|base64)` the same in base64. `$$(` stands for a literal `$(`, and every
//! other dollar for itself, so that shell scripts and password hashes need no escaping. Rendered values have the type
//! that is wiped when dropped, since they may contain a token. Not here: Secrets themselves, and who may write them.

pub mod secret_metadata;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::problem::suggest::{nearest, shown};
use crate::resources::{
    ANNOTATION_NAMES, DATA_KEYS, LABEL_NAMES, OWN_CLIENT_KEYS, OWN_TOKEN_KEYS, OwnerKind,
    RESERVED_ANNOTATIONS, RESERVED_LABELS, Template,
};
use crate::tokens::SecretString;
use secret_metadata::is_reserved;

/// Largest number of placeholders: a Secret has at most 1 MiB, and a placeholder grows when it is rendered.
const MAX_PLACEHOLDERS: usize = 256;
/// Largest size of a template in bytes: the operator keeps the template of every object.
const MAX_BYTES: usize = 32 << 10;

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// `token` or `client-secret`: what was issued.
    Issued,
    ClientId,
    Issuer,
    TokenUrl,
}

/// Returns the placeholders that templates of a kind may use.
const fn names(kind: OwnerKind) -> [(&'static str, Name); 4] {
    let issued = match kind {
        OwnerKind::OAuthClient => "client-secret",
        OwnerKind::ServiceAccessToken => "token",
    };
    [
        (issued, Name::Issued),
        ("client-id", Name::ClientId),
        ("issuer", Name::Issuer),
        ("token-url", Name::TokenUrl),
    ]
}

/// Returns the first placeholder that a text writes in the form of a shell, `${name}`.
pub(super) fn in_shell_form(kind: OwnerKind, text: &str) -> Option<&'static str> {
    let mut names = names(kind).into_iter().map(|(name, _)| name);
    names.find(|name| text.contains(&format!("${{{name}}}")))
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// Text without a placeholder.
    Plain(&'a str),
    /// The text between `$(` and `)`.
    Placeholder(&'a str),
    /// The rest of the text from a `$(` without a closing bracket.
    Open(&'a str),
}

/// Returns the first part of a text that is not empty, and the rest.
fn first(text: &str) -> (Part<'_>, &str) {
    if let Some(rest) = text.strip_prefix("$$(") {
        return (Part::Plain("$("), rest);
    }
    if let Some(inside) = text.strip_prefix("$(") {
        return match inside.split_once(')') {
            Some((name, rest)) => (Part::Placeholder(name), rest),
            None => (Part::Open(text), ""),
        };
    }
    // One dollar at a time: the next one may begin a placeholder.
    let end = match text.find('$') {
        Some(0) => 1,
        other => other.unwrap_or(text.len()),
    };
    (Part::Plain(&text[..end]), &text[end..])
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part;
        (part, rest) = first(rest);
        Some(part)
    })
}

/// Returns what a placeholder stands for, and whether it asks for base64; `None` if it is unknown.
fn known(kind: OwnerKind, inside: &str) -> Option<(Name, bool)> {
    let (name, in_base64) = match inside.strip_suffix("|base64") {
        Some(name) => (name, true),
        None => (inside, false),
    };
    let found = names(kind).into_iter().find(|(known, _)| *known == name)?;
    Some((found.1, in_base64))
}

/// Returns what is wrong with a value of a template's data; `None` if nothing is.
pub(super) fn text_fault(kind: OwnerKind, text: &str) -> Option<String> {
    let wrong = parts(text).find(|part| match part {
        Part::Plain(_) => false,
        Part::Placeholder(inside) => known(kind, inside).is_none(),
        Part::Open(_) => true,
    })?;
    let list: Vec<String> = names(kind).map(|(name, _)| format!("$({name})")).into();
    let list = format!(
        "{}, each with |base64 before the closing bracket if you need it; $$( stands for $(",
        list.join(", ")
    );
    Some(match wrong {
        Part::Placeholder(inside) => {
            let meant = meant(kind, inside)
                .map(|meant| format!("did you mean `$({meant})`? "))
                .unwrap_or_default();
            format!(
                "`$({})` is not a placeholder: {meant}The placeholders are {list}",
                shown(inside)
            )
        }
        Part::Plain(_) | Part::Open(_) => {
            format!("a placeholder has no closing bracket: the placeholders are {list}")
        }
    })
}

fn meant(kind: OwnerKind, inside: &str) -> Option<String> {
    let inside = inside.trim();
    let (name, end) = match inside.split_once('|') {
        Some((name, _)) => (name.trim(), "|base64"),
        None => (inside, ""),
    };
    let issued = names(kind)[0].0;
    let name = match name {
        "token" | "secret" | "client-secret" | "password" => issued,
        _ => nearest(name, names(kind).map(|(known, _)| known))?,
    };
    Some(format!("{name}{end}"))
}

/// A rule: whether it holds, its field, and its message.
type Rule = (bool, &'static str, &'static str);

fn broken(
    rules: impl IntoIterator<Item = Rule>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let broken = rules.into_iter().filter(|(holds, ..)| !holds);
    broken.map(|(_, field, words)| (field, words))
}

/// Returns the fields of labels and annotations that break a rule, each with the rule's message. `reserved` are the
/// messages for labels and for annotations in reserved domains.
pub(super) fn metadata_faults(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    [reserved_labels, reserved_annotations]: [&'static str; 2],
) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let are_names = |map: &BTreeMap<String, String>| map.keys().all(|key| is_name(key));
    let are_free = |map: &BTreeMap<String, String>| !map.keys().any(|key| is_reserved(key));
    broken([
        (are_names(labels), "labels", LABEL_NAMES),
        (are_free(labels), "labels", reserved_labels),
        (are_names(annotations), "annotations", ANNOTATION_NAMES),
        (are_free(annotations), "annotations", reserved_annotations),
    ])
}

/// Returns the fields of a template that break a rule, each with the rule's message, which is the same as in the
/// definition. The schema checks the values of `data`.
pub(super) fn faults(
    kind: OwnerKind,
    template: &Template,
    alias: Option<&str>,
) -> Vec<(&'static str, String)> {
    let (labels, annotations, data) = (&template.labels, &template.annotations, &template.data);
    let own = |key: &String| is_own(kind, alias, key);
    let of_metadata = metadata_faults(labels, annotations, [RESERVED_LABELS, RESERVED_ANNOTATIONS]);
    let of_data = broken([
        (data.keys().all(|key| is_data_key(key)), "data", DATA_KEYS),
        (!data.keys().any(own), "data", own_keys(kind)),
    ]);
    let mut faults: Vec<_> = of_metadata
        .chain(of_data)
        .map(|(field, words)| (field, words.to_owned()))
        .collect();
    if data.values().map(|text| placeholders(text)).sum::<usize>() > MAX_PLACEHOLDERS {
        faults.push((
            "data",
            format!("data must have at most {MAX_PLACEHOLDERS} placeholders"),
        ));
    }
    let all = [labels, annotations, data];
    let texts = all.into_iter().flatten();
    if texts
        .map(|(key, text)| key.len() + text.len())
        .sum::<usize>()
        > MAX_BYTES
    {
        faults.push((
            "data",
            format!(
                "labels, annotations and data must have at most {} KiB together: put long texts into a ConfigMap",
                MAX_BYTES >> 10
            ),
        ));
    }
    faults
}

fn placeholders(text: &str) -> usize {
    parts(text)
        .filter(|part| matches!(part, Part::Placeholder(_)))
        .count()
}

const fn own_keys(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::OAuthClient => OWN_CLIENT_KEYS,
        OwnerKind::ServiceAccessToken => OWN_TOKEN_KEYS,
    }
}

/// Returns whether the operator itself writes a key of data.
pub fn is_own(kind: OwnerKind, alias: Option<&str>, key: &str) -> bool {
    let keys: &[&str] = match kind {
        OwnerKind::OAuthClient => &["client-id", "client-secret", "issuer", "token-url"],
        OwnerKind::ServiceAccessToken => &["token", "issuer"],
    };
    keys.contains(&key) || alias == Some(key)
}

/// Returns whether a key is a qualified name:
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.
pub(super) fn is_name(key: &str) -> bool {
    let (domain, name) = match key.split_once('/') {
        Some((domain, name)) => (Some(domain), name),
        None => (None, key),
    };
    let ends_well = |text: &str| {
        let bytes = text.as_bytes();
        let is_good = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        is_good(bytes.first()) && is_good(bytes.last())
    };
    let is_label = |label: &str| {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        ends_well(label) && label.bytes().all(is_good)
    };
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    domain.is_none_or(|domain| domain.split('.').all(is_label))
        && name.len() <= 63
        && ends_well(name)
        && name.bytes().all(is_good)
}

fn is_data_key(key: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let plain = key.strip_prefix('.').unwrap_or(key);
    (1..=251).contains(&plain.len()) && !plain.starts_with('.') && plain.bytes().all(is_good)
}

/// The values of placeholders.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The token or client secret.
    pub issued: &'a SecretString,
    /// The client id.
    pub client_id: &'a str,
    /// The Identity's issuer.
    pub issuer: &'a str,
    /// URL of the token endpoint.
    pub token_url: &'a str,
}

impl Values<'_> {
    fn get(&self, name: Name) -> &str {
        match name {
            Name::Issued => self.issued.expose(),
            Name::ClientId => self.client_id,
            Name::Issuer => self.issuer,
            Name::TokenUrl => self.token_url,
        }
    }
}

/// Renders a text. An unknown placeholder, which admission refuses, stays unchanged.
pub fn render(kind: OwnerKind, text: &str, values: &Values<'_>) -> SecretString {
    let filled = |part: Part<'_>, each: &mut dyn FnMut(&str)| match part {
        Part::Plain(plain) | Part::Open(plain) => each(plain),
        Part::Placeholder(inside) => match known(kind, inside) {
            Some((name, false)) => each(values.get(name)),
            Some((name, true)) => each(&Zeroizing::new(STANDARD.encode(values.get(name)))),
            None => ["$(", inside, ")"].into_iter().for_each(each),
        },
    };
    // The exact capacity: a buffer that grows would leave copies of secrets in memory.
    let mut length = 0;
    parts(text).for_each(|part| filled(part, &mut |piece| length += piece.len()));
    let mut rendered = String::with_capacity(length);
    parts(text).for_each(|part| filled(part, &mut |piece| rendered.push_str(piece)));
    SecretString::from(rendered)
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;
    use crate::resources::{CLIENT_TEXT, TOKEN_TEXT};

    const CLIENT: OwnerKind = OwnerKind::OAuthClient;
    const TOKEN: OwnerKind = OwnerKind::ServiceAccessToken;

    fn rendered(kind: OwnerKind, text: &str) -> String {
        let issued = SecretString::from("s3cret".to_owned());
        let values = Values {
            issued: &issued,
            client_id: "shop.web",
            issuer: "https://id.example.com",
            token_url: "https://id.example.com/connect/token",
        };
        render(kind, text, &values).expose().to_owned()
    }

    #[test]
    fn placeholders_are_filled_in_and_every_other_dollar_is_itself() {
        for (text, is) in [
            ("", ""),
            ("plain ) ( text", "plain ) ( text"),
            ("$(token)", "s3cret"),
            ("Bearer $(token)\n", "Bearer s3cret\n"),
            ("$(token|base64)", "czNjcmV0"),
            (
                "$(client-id):$(token)@$(issuer)",
                "shop.web:s3cret@https://id.example.com",
            ),
            ("$(token-url)", "https://id.example.com/connect/token"),
            ("$$(token)", "$(token)"),
            ("$$$(token)", "$$(token)"),
            ("$5 ${HOME} $$ $1$abc", "$5 ${HOME} $$ $1$abc"),
            ("ends with $", "ends with $"),
            ("é$(client-id)é", "éshop.webé"),
        ] {
            assert_eq!(text_fault(TOKEN, text), None, "{text}");
            assert_eq!(rendered(TOKEN, text), is, "{text}");
        }
        assert_eq!(
            rendered(CLIENT, "$(client-secret|base64)$(client-secret)"),
            "czNjcmV0s3cret"
        );
    }

    #[test]
    fn an_unknown_placeholder_is_refused_with_a_suggestion() {
        for (kind, text, says) in [
            (
                TOKEN,
                "$(tokn)",
                "`$(tokn)` is not a placeholder: did you mean `$(token)`?",
            ),
            (TOKEN, "$(client-secret)", "did you mean `$(token)`?"),
            (
                CLIENT,
                "$(token|base64)",
                "did you mean `$(client-secret|base64)`?",
            ),
            (
                CLIENT,
                "$(CLIENT_ID|b64)",
                "did you mean `$(client-id|base64)`?",
            ),
            (CLIENT, "$( issuer )", "did you mean `$(issuer)`?"),
            (TOKEN, "$(token|hex)", "did you mean `$(token|base64)`?"),
            (
                TOKEN,
                "$()",
                "`$()` is not a placeholder: The placeholders are $(token), ",
            ),
            (TOKEN, "a $(token", "no closing bracket"),
            (TOKEN, "$(whoami)", "; $$( stands for $("),
        ] {
            let fault = text_fault(kind, text).unwrap();
            assert!(fault.contains(says), "{text}: {fault}");
        }
    }

    /// The pattern in the definition, which the API server checks, and this code are the same rule.
    #[test]
    fn the_pattern_accepts_exactly_what_can_be_filled_in() {
        let words = [
            "$",
            "$$",
            "(",
            ")",
            "|base64",
            "token",
            "client-secret",
            "issuer",
            "x",
            "\n",
        ];
        let patterns = [(TOKEN, TOKEN_TEXT), (CLIENT, CLIENT_TEXT)]
            .map(|(kind, pattern)| (kind, Regex::new(pattern).unwrap()));
        let mut text = String::new();
        let mut accepted = 0;
        for mut number in 0..words.len().pow(5) {
            text.clear();
            for _ in 0..5 {
                text.push_str(words[number % words.len()]);
                number /= words.len();
            }
            for (kind, pattern) in &patterns {
                let is_good = text_fault(*kind, &text).is_none();
                assert_eq!(pattern.is_match(&text), is_good, "{kind:?} {text:?}");
                accepted += usize::from(is_good);
            }
        }
        assert!(accepted > 1000);
    }

    #[test]
    fn names_and_keys_are_what_the_api_server_accepts() {
        for (key, is_good) in [
            ("a", true),
            ("Team_1.x", true),
            ("example.com/a", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("/a", false),
            ("Example.com/a", false),
            ("a/b/c", false),
            ("a b", false),
        ] {
            assert_eq!(is_name(key), is_good, "{key}");
        }
        assert!(is_name(&"x".repeat(63)) && !is_name(&"x".repeat(64)));
        for (key, is_good) in [
            (".netrc", true),
            ("config.json", true),
            ("A_b-1", true),
            ("", false),
            (".", false),
            ("..", false),
            ("..data", false),
            ("a/b", false),
        ] {
            assert_eq!(is_data_key(key), is_good, "{key}");
        }
        assert!(is_data_key(&"x".repeat(251)) && !is_data_key(&"x".repeat(252)));
    }

    #[test]
    fn a_template_cannot_grow_without_bounds() {
        let mut template = Template::default();
        template
            .data
            .insert("a".into(), "$(token)".repeat(MAX_PLACEHOLDERS));
        assert_eq!(faults(TOKEN, &template, None), []);
        template.data.insert("b".into(), "$(issuer)".into());
        assert_eq!(faults(TOKEN, &template, None).len(), 1);
        template.data.clear();
        for number in 0..8 {
            template
                .data
                .insert(number.to_string(), "é".repeat((4 << 9) - 1));
        }
        assert_eq!(faults(TOKEN, &template, None), []);
        template.annotations.insert("a".into(), "x".repeat(4096));
        assert_eq!(faults(TOKEN, &template, None).len(), 1);
        template = Template::default();
        template.data.insert("password".into(), "x".into());
        assert_eq!(faults(TOKEN, &template, None), []);
        let fault = faults(TOKEN, &template, Some("password"));
        assert_eq!(fault, [("data", OWN_TOKEN_KEYS.to_owned())]);
    }
}

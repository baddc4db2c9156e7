//! The pages that people see: each page in each language, with hostile texts, and in a real browser. People also use
//! `examples/webapp` with the quickstart.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod browser;
mod hostile;
mod html;
mod samples;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod support;
mod webapp;

use std::collections::BTreeMap;

use samples::{Sample, Words};
use symbolon::pages::{Language, LocalPath, Page, Theme, ThemeFields};

/// The most that a page may weigh, with its style and its logo.
const MAX_BYTES: usize = 50 * 1024;

fn theme() -> Theme {
    let fields = ThemeFields {
        name: "Example Inc.",
        logo: Some(samples::LOGO),
        ..ThemeFields::default()
    };
    Theme::new(fields).unwrap()
}

/// Every page in a language.
fn pages(language: Language) -> Vec<Sample> {
    samples::all(language, &theme(), &Words::ordinary())
}

fn html(page: &Page) -> &str {
    std::str::from_utf8(&page.body).unwrap()
}

fn header<'p>(page: &'p Page, name: &str) -> Vec<&'p str> {
    let named = page.headers.iter().filter(|(it, _)| *it == name);
    named.map(|(_, value)| value.as_str()).collect()
}

/// The policy, as its directives with their sources.
fn policy(page: &Page) -> BTreeMap<&str, &str> {
    let [policy] = header(page, "content-security-policy")[..] else {
        panic!("one policy");
    };
    let directives = policy.split("; ");
    directives
        .map(|directive| directive.split_once(' ').unwrap())
        .collect()
}

/// The style is left out, since it is the same on every page.
#[test]
fn pages_in_english() {
    // The hash of the style changes with every change of the style.
    let styles = regex::Regex::new("style-src '[^']*'").unwrap();
    for sample in pages(Language::English) {
        let body = html(&sample.page);
        let (before, rest) = body.split_once("<style>").unwrap();
        let (_, after) = rest.split_once("</style>").unwrap();
        let headers =
            sample.page.headers.iter().filter(|(name, _)| {
                ["content-security-policy", "retry-after", "allow"].contains(name)
            });
        let headers: Vec<String> = headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let status = sample.page.status;
        let headers = styles
            .replace(&headers.join("\n"), "style-src '…'")
            .into_owned();
        insta::assert_snapshot!(
            sample.name,
            format!("{status}\n{headers}\n\n{before}<style>…</style>{after}")
        );
    }
}

#[test]
fn every_page_is_valid_html() {
    for language in Language::ALL {
        for sample in pages(language) {
            let errors = html::parse(&sample.page).errors;
            assert!(errors.is_empty(), "{}: {errors:?}", sample.name);
            // Markup in an attribute would be read out as it is.
            let attributes = html::attributes(&html::parse(&sample.page));
            let markup = attributes
                .iter()
                .find(|value| value.contains(['<', '\u{2068}']));
            assert_eq!(markup, None, "{}", sample.name);
        }
    }
}

#[test]
fn every_page_has_the_headers_that_protect_it() {
    for sample in pages(Language::German) {
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("content-language", "de"),
        ] {
            assert_eq!(header(&sample.page, name), [value], "{}", sample.name);
        }
        let permissions = header(&sample.page, "permissions-policy");
        assert!(permissions[0].contains("camera=()"), "{}", sample.name);
        let policy = policy(&sample.page);
        assert_eq!(policy["default-src"], "'none'");
        assert_eq!(policy["base-uri"], "'none'");
        assert_eq!(policy["frame-ancestors"], "'none'");
        assert!(
            policy.values().all(|it| !it.contains("unsafe")),
            "{policy:?}"
        );
    }
}

/// Chromium and Safari would refuse the redirect to the client otherwise.
#[test]
fn a_form_may_go_to_a_client_only_where_its_answer_does() {
    for sample in pages(Language::English) {
        let body = html(&sample.page);
        let forms = policy(&sample.page).get("form-action").copied();
        let wanted = match sample.name {
            _ if !body.contains("<form") => Some("'none'"),
            name if name.starts_with("enrolment") => Some("'self'"),
            _ => None,
        };
        assert_eq!(forms, wanted, "{}", sample.name);
    }
}

#[test]
fn the_policy_allows_each_inline_text_by_its_hash_and_no_other() {
    use base64::Engine as _;
    let hash = |text: &str| {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        format!("'sha256-{hash}'")
    };
    for sample in pages(Language::English) {
        let document = html::parse(&sample.page);
        for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
            let texts = html::texts_of(&document, element);
            assert!(texts.len() <= 1, "{}", sample.name);
            let wanted = texts.first().map(|text| hash(text));
            let found = policy(&sample.page).get(directive).copied();
            assert_eq!(found, wanted.as_deref(), "{}", sample.name);
        }
        let body = html(&sample.page);
        assert!(!body.contains(" style="), "{}", sample.name);
        let is_handler = |element: &String| element.split(' ').any(|it| it.starts_with("on"));
        assert!(
            !html::skeleton(&document).iter().any(is_handler),
            "{}",
            sample.name
        );
    }
}

#[test]
fn frames_are_those_of_the_session_and_no_others() {
    let pages = pages(Language::English);
    for sample in &pages {
        let document = html::parse(&sample.page);
        let frames = html::attributes_of(&document, "iframe", "src");
        let sources = policy(&sample.page).get("frame-src").copied();
        if sample.name.contains("frames") {
            assert_eq!(frames, samples::FRAMES, "{}", sample.name);
            assert_eq!(sources, Some("http://one.example http://two.example:8080"));
        } else {
            assert_eq!(frames, [""; 0], "{}", sample.name);
            assert_eq!(sources, None, "{}", sample.name);
        }
    }
}

#[test]
fn each_language_renders_each_page_with_the_same_elements() {
    let english = pages(Language::English);
    for language in Language::ALL {
        for (sample, original) in pages(language).iter().zip(&english) {
            let document = html::parse(&sample.page);
            assert_eq!(
                html::skeleton(&document),
                html::skeleton(&html::parse(&original.page)),
                "{} in {language:?}",
                sample.name
            );
            let lang = html::attributes_of(&document, "html", "lang");
            assert_eq!(lang, [language.tag()]);
            let words = html::visible(&document);
            // Fluent writes what it does not find like this.
            assert!(!words.contains("{$") && !words.contains('{'), "{words}");
            let is_translated = words != html::visible(&html::parse(&original.page));
            assert_eq!(
                is_translated,
                language != Language::English,
                "{}",
                sample.name
            );
        }
    }
}

#[test]
fn a_page_with_an_error_says_so_first() {
    for sample in pages(Language::English) {
        let document = html::parse(&sample.page);
        let title = html::texts_of(&document, "title").concat();
        let is_error = sample.page.status >= 400;
        assert_eq!(title.starts_with("Error: "), is_error, "{title}");
        let alerts = html::attributes_of(&document, "[role=alert]", "tabindex");
        assert_eq!(alerts.len(), usize::from(is_error), "{}", sample.name);
        // The message has the focus.
        let focused = html::count(&document, "[role=alert][autofocus]");
        assert_eq!(focused, usize::from(is_error), "{}", sample.name);
        assert!(
            html::count(&document, "[autofocus]") <= 1,
            "{}",
            sample.name
        );
        assert_eq!(html::count(&document, "h1"), 1, "{}", sample.name);
    }
}

#[test]
fn a_time_to_wait_is_told_to_programs_too() {
    let pages = pages(Language::English);
    let mut waits = 0;
    for sample in &pages {
        let is_wait = matches!(sample.page.status, 429 | 503);
        let header = header(&sample.page, "retry-after");
        assert_eq!(header.len(), usize::from(is_wait), "{}", sample.name);
        waits += usize::from(is_wait);
    }
    assert!(waits >= 6);
}

#[test]
fn every_field_has_a_label_and_the_descriptions_that_it_names() {
    for sample in pages(Language::English) {
        let document = html::parse(&sample.page);
        let selector = "input:not([type=hidden])";
        for id in html::attributes_of(&document, selector, "id") {
            let labels = html::count(&document, &format!("label[for={id}]"));
            assert_eq!(labels, 1, "{}: {id}", sample.name);
        }
        for ids in html::attributes_of(&document, "[aria-describedby]", "aria-describedby") {
            for id in ids.split(' ') {
                let count = html::count(&document, &format!("#{id}"));
                assert_eq!(count, 1, "{}: {id}", sample.name);
            }
        }
    }
}

#[test]
fn password_managers_find_one_form_with_the_username_and_the_password() {
    for sample in pages(Language::English) {
        let document = html::parse(&sample.page);
        assert!(html::count(&document, "form") <= 1, "{}", sample.name);
        let passwords = html::attributes_of(&document, "form input[type=password]", "autocomplete");
        let wanted: &[&str] = match sample.name {
            name if name.starts_with("sign-in") => &["current-password"],
            name if name.starts_with("enrolment") => &["new-password"; 2],
            _ => &[],
        };
        assert_eq!(passwords, wanted, "{}", sample.name);
        let usernames = html::count(&document, "form input[autocomplete=username]");
        assert_eq!(
            usernames,
            usize::from(!wanted.is_empty()),
            "{}",
            sample.name
        );
        // Nothing prevents pasting, and no limit cuts what is pasted.
        assert_eq!(html::count(&document, "[maxlength]"), 0, "{}", sample.name);
    }
}

#[test]
fn links_to_other_languages_name_them_in_their_own_words() {
    let path = LocalPath::new("/id/connect/authorize?flow=x&ui_locales=fr").unwrap();
    let theme = theme();
    let context = symbolon::pages::Context {
        language: Language::English,
        theme: &theme,
        other_languages: &[(Language::French, path)],
    };
    let page = samples::not_found(&context);
    let document = html::parse(&page);
    let links = html::attributes_of(&document, "footer a[lang=fr]", "href");
    assert_eq!(links, ["/id/connect/authorize?flow=x&ui_locales=fr"]);
    assert_eq!(html::texts_of(&document, "footer a"), ["Français"]);
}

#[test]
fn a_page_weighs_at_most_50_kib() {
    let longest = "<".repeat(9_000);
    let heaviest = Words::long(&longest);
    let logo = format!("data:image/png;base64,{}", "A".repeat(10_200));
    let fields = ThemeFields {
        name: &longest,
        logo: Some(&logo),
        ..ThemeFields::default()
    };
    let theme = Theme::new(fields).unwrap();
    for language in Language::ALL {
        for sample in samples::all(language, &theme, &heaviest) {
            let bytes = sample.page.body.len();
            assert!(bytes <= MAX_BYTES, "{}: {bytes} bytes", sample.name);
        }
    }
}

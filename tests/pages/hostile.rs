//! Texts that users, clients and tenants chose reach no page unescaped, and cannot disguise what the page says.

use proptest::prelude::*;
use rstest::rstest;
use symbolon::characters::is_escaped;
use symbolon::pages::Language;

use crate::html;
use crate::samples::{self, Words};

/// What Fluent isolates texts with, in the title of the window.
const ISOLATES: [char; 2] = ['\u{2068}', '\u{2069}'];

/// A page with these words has the elements and attributes of the ordinary page, shows no character that is invisible or
/// changes others, and returns its hidden fields unchanged.
fn changes_only_texts(text: &str, language: Language) {
    let theme = crate::theme();
    let ordinary = samples::all(language, &theme, &Words::ordinary());
    let hostile = samples::all(language, &theme, &Words::hostile(text));
    for (sample, wanted) in hostile.iter().zip(&ordinary) {
        let name = sample.name;
        let document = html::parse(&sample.page);
        let skeleton = html::skeleton(&document);
        assert_eq!(
            skeleton,
            html::skeleton(&html::parse(&wanted.page)),
            "{name}: {text:?}"
        );
        let shown = html::visible(&document);
        let is_hidden = |c: char| is_escaped(c) && c != '\n' && !ISOLATES.contains(&c);
        assert!(!shown.contains(is_hidden), "{name}: {text:?}");
        let isolates = |text: &str| text.matches(ISOLATES).count();
        assert_eq!(
            isolates(&shown),
            isolates(&html::visible(&html::parse(&wanted.page)))
        );
        for value in html::attributes_of(&document, "input[name=flow],input[name=state]", "value") {
            assert_eq!(value, text, "{name}");
        }
        // The policy and all other headers owe nothing to the words.
        assert_eq!(sample.page.headers, wanted.page.headers, "{name}: {text:?}");
        // What leads on is the same.
        for attribute in ["href", "action", "src"] {
            let selector = format!("[{attribute}]");
            let of = |page| {
                let document = html::parse(page);
                let found = html::attributes_of(&document, &selector, attribute);
                found.into_iter().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(of(&sample.page), of(&wanted.page), "{name}: {text:?}");
        }
    }
}

#[rstest]
#[case::script("<script>alert(1)</script>")]
#[case::attribute("\" autofocus onfocus=\"alert(1)")]
#[case::attribute_in_single_quotes("' onmouseover='alert(1)")]
#[case::no_quotes("x onclick=alert(1)")]
#[case::end_of_the_title("</title><script>alert(1)</script>")]
#[case::end_of_the_style("</style><img src=x onerror=alert(1)>")]
#[case::end_of_the_script("</script><svg onload=alert(1)>")]
#[case::end_of_a_field("\"></form><form action=//evil.example>")]
#[case::comment("<!-- ")]
#[case::character_reference("&lt;b&gt; &#x3c;b&#62; &amp;lt;")]
#[case::own_isolation("</bdi><h1>Signed in</h1><bdi>")]
#[case::isolation_of_fluent("\u{2069}a\u{2068}")]
#[case::direction("\u{202e}moc.elpmaxe//:sptth")]
#[case::marks("\u{200e}\u{200f}\u{61c}")]
#[case::invisible("a\u{200b}\u{feff}b")]
#[case::placeholder("{ $person } {{ texts }} {% block %}")]
#[case::meta("<meta http-equiv=refresh content=0;url=//evil.example>")]
#[case::base("<base href=//evil.example>")]
#[case::template("${alert(1)} `x`")]
#[case::surrogates("\u{10ffff}\u{e000}")]
fn a_hostile_text_changes_only_texts(#[case] text: &str) {
    for language in Language::ALL {
        changes_only_texts(text, language);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A browser normalises line ends and NUL in the values of fields.
    #[test]
    fn any_text_changes_only_texts(text in "[^\r\n\0]{0,40}", language in 0_usize..3) {
        changes_only_texts(&text, Language::ALL[language]);
    }

    #[test]
    fn any_markup_changes_only_texts(parts in proptest::collection::vec(
        proptest::sample::select(vec![
            "<", ">", "\"", "'", "&", "/", "=", "`", "--", "!", " ", "script", "style", "bdi", "form", "input", "x",
            "\u{2068}", "\u{2069}", "\u{202e}", ";", "#60;", "lt;", "]]>", "<![CDATA[",
        ]), 0..16)
    ) {
        changes_only_texts(&parts.concat(), Language::English);
    }
}

//! Texts that users, clients and tenants chose reach no page unescaped, and cannot disguise what the page says.

use std::sync::LazyLock;

use proptest::prelude::*;
use rstest::rstest;
use symbolon::characters::is_escaped;
use symbolon::pages::Language;

use crate::html;
use crate::samples::{self, Sample, Words};

/// What Fluent isolates texts with, in the title of the window.
const ISOLATES: [char; 2] = ['\u{2068}', '\u{2069}'];

/// What words must not change about a page.
#[derive(Debug, PartialEq, Eq)]
struct Unchanged {
    name: &'static str,
    skeleton: Vec<String>,
    links: Vec<String>,
    isolates: usize,
    headers: Vec<(&'static str, String)>,
}

impl Unchanged {
    fn of(sample: &Sample, document: &scraper::Html) -> Self {
        let links = ["href", "action", "src"].into_iter().flat_map(|attribute| {
            let selector = format!("[{attribute}]");
            html::attributes_of(document, &selector, attribute)
        });
        Self {
            name: sample.name,
            skeleton: html::skeleton(document),
            links: links.map(str::to_owned).collect(),
            isolates: html::visible(document).matches(ISOLATES).count(),
            headers: sample.page.headers.clone(),
        }
    }

    /// The pages with ordinary words.
    fn ordinary(language: Language) -> &'static [Self] {
        static PAGES: LazyLock<[Vec<Unchanged>; 3]> = LazyLock::new(|| {
            Language::ALL.map(|language| {
                let pages = crate::pages(language);
                let unchanged = |sample| Unchanged::of(sample, &html::parse(&sample.page));
                pages.iter().map(unchanged).collect()
            })
        });
        let index = Language::ALL.iter().position(|it| *it == language);
        &PAGES[index.unwrap()]
    }
}

/// A page with these words has the elements, links and headers of the ordinary page, shows no character that is invisible
/// or changes others, and returns its hidden fields unchanged.
fn changes_only_texts(text: &str, language: Language) {
    let hostile = samples::all(language, &crate::theme(), &Words::hostile(text));
    for (sample, wanted) in hostile.iter().zip(Unchanged::ordinary(language)) {
        let name = sample.name;
        let document = html::parse(&sample.page);
        assert_eq!(
            &Unchanged::of(sample, &document),
            wanted,
            "{name}: {text:?}"
        );
        let shown = html::visible(&document);
        let is_hidden = |c: char| is_escaped(c) && c != '\n' && !ISOLATES.contains(&c);
        assert!(!shown.contains(is_hidden), "{name}: {text:?}");
        for value in html::attributes_of(&document, "input[name=flow],input[name=state]", "value") {
            assert_eq!(value, text, "{name}");
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
    changes_only_texts(text, Language::English);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

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

//! The languages of the pages, and their texts in Fluent files (`locales/`), compiled in.

use std::fmt;
use std::sync::LazyLock;

use askama::filters::{Escaper as _, HtmlSafe};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;

use super::text::Shown;

/// A language of the pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Language {
    /// English, which a person gets who asks for none of the languages.
    #[default]
    English,
    /// German.
    German,
    /// French.
    French,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::English, Self::German, Self::French];

    /// Returns the tag (BCP 47), as in `ui_locales` and in the attribute `lang`.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::French => "fr",
        }
    }

    /// Returns the language with this tag.
    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|it| it.tag().eq_ignore_ascii_case(tag))
    }

    /// Returns the name of the language in the language itself.
    pub const fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
            Self::French => "Français",
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::English => include_str!("locales/en.ftl"),
            Self::German => include_str!("locales/de.ftl"),
            Self::French => include_str!("locales/fr.ftl"),
        }
    }

    /// Returns the texts in this language.
    pub(super) fn texts(self) -> &'static Texts {
        static ENGLISH: LazyLock<Texts> = LazyLock::new(|| Texts::new(Language::English));
        static GERMAN: LazyLock<Texts> = LazyLock::new(|| Texts::new(Language::German));
        static FRENCH: LazyLock<Texts> = LazyLock::new(|| Texts::new(Language::French));
        match self {
            Self::English => &ENGLISH,
            Self::German => &GERMAN,
            Self::French => &FRENCH,
        }
    }
}

/// The texts in one language. Fluent isolates the direction of what is put into a text (U+2068 and U+2069).
pub(super) struct Texts(FluentBundle<FluentResource>);

/// HTML that needs no escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Html(String);

/// What Fluent puts around what is put into a text.
const ISOLATES: [char; 2] = ['\u{2068}', '\u{2069}'];

impl HtmlSafe for Html {}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Html {
    /// Returns a text of this program that is HTML.
    pub(super) fn of_own(html: &str) -> Self {
        Self(html.to_owned())
    }

    /// Returns a text of others, isolated.
    pub(super) fn shown(text: &Shown) -> Self {
        Self::isolated(&format!("\u{2068}{text}\u{2069}"))
    }

    /// Escapes a text, and turns Fluent's isolation into `<bdi>`. Nothing that others wrote contains these characters:
    /// [`Shown`] leaves them out.
    fn isolated(text: &str) -> Self {
        let mut html = String::with_capacity(text.len() + 32);
        // Writing into a string does not fail.
        let _ = askama::filters::Html.write_escaped_str(&mut html, text);
        Self(
            html.replace('\u{2068}', "<bdi>")
                .replace('\u{2069}', "</bdi>"),
        )
    }
}

impl Texts {
    fn new(language: Language) -> Self {
        let tag: LanguageIdentifier = language.tag().parse().unwrap_or_default();
        let mut bundle = FluentBundle::new_concurrent(vec![tag]);
        // A test reads the files and accepts no error.
        let resource = FluentResource::try_new(language.source().to_owned())
            .unwrap_or_else(|(resource, _)| resource);
        let _ = bundle.add_resource(resource);
        Self(bundle)
    }

    /// Returns a text.
    pub(super) fn say(&self, key: &str) -> Html {
        Html::isolated(&self.plain(key, &FluentArgs::new()))
    }

    /// Returns a text with something that others wrote.
    pub(super) fn say_of(&self, key: &str, variable: &str, value: &Shown) -> Html {
        let mut values = FluentArgs::new();
        values.set(variable, value.as_str());
        Html::isolated(&self.plain(key, &values))
    }

    /// Returns a text with a number, in the grammatical form that the number needs.
    pub(super) fn count(&self, key: &str, variable: &str, number: u64) -> Html {
        let mut values = FluentArgs::new();
        values.set(variable, FluentValue::from(number));
        Html::isolated(&self.plain(key, &values))
    }

    /// Returns a text with a number, as plain text for an attribute.
    pub(super) fn label(&self, key: &str, variable: &str, number: u64) -> String {
        let mut values = FluentArgs::new();
        values.set(variable, FluentValue::from(number));
        self.plain(key, &values).replace(ISOLATES, "")
    }

    /// Returns the title of a window: the name of the page, and the name of the Identity.
    pub(super) fn title(&self, page: &str, name: &Shown, is_error: bool) -> String {
        let mut values = FluentArgs::new();
        values.set("page", self.plain(page, &FluentArgs::new()));
        values.set("name", name.as_str());
        let key = if is_error { "window-error" } else { "window" };
        self.plain(key, &values)
    }

    fn plain(&self, key: &str, values: &FluentArgs<'_>) -> String {
        let Some(pattern) = self.0.get_message(key).and_then(|message| message.value()) else {
            // A test looks up every text that a page uses.
            return key.to_owned();
        };
        let mut text = String::new();
        // Fluent writes the name of a variable that has no value. A test finds these too.
        let _ = self
            .0
            .write_pattern(&mut text, pattern, Some(values), &mut Vec::new());
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::Path;

    use regex::Regex;

    use super::*;

    /// Each message of a language with the variables that it reads.
    fn messages(language: Language) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let variable = Regex::new(r"\$(\w+)").unwrap();
        let mut messages = BTreeMap::<_, BTreeSet<_>>::new();
        let mut current = "";
        for line in language.source().lines().filter(|it| !it.starts_with('#')) {
            if let Some((id, _)) = line.split_once(" =").filter(|_| !line.starts_with(' ')) {
                assert!(
                    !messages.contains_key(id),
                    "{id} stands twice in {language:?}"
                );
                current = id;
            }
            let variables = variable.captures_iter(line).filter_map(|it| it.get(1));
            if !line.is_empty() {
                let own = messages.entry(current).or_default();
                own.extend(variables.map(|it| it.as_str()));
            }
        }
        messages
    }

    #[test]
    fn a_language_is_found_by_its_tag() {
        for language in Language::ALL {
            assert_eq!(Language::of_tag(language.tag()), Some(language));
        }
        assert_eq!(Language::of_tag("DE"), Some(Language::German));
        assert_eq!(Language::of_tag("nl"), None);
    }

    #[test]
    fn every_file_is_valid() {
        for language in Language::ALL {
            let resource = FluentResource::try_new(language.source().to_owned());
            let resource =
                resource.unwrap_or_else(|(_, errors)| panic!("{language:?}: {errors:?}"));
            let mut bundle = FluentBundle::new_concurrent(Vec::new());
            bundle.add_resource(resource).unwrap();
        }
    }

    #[test]
    fn each_language_has_each_message_with_the_same_variables() {
        let english = messages(Language::English);
        assert!(english.len() > 100);
        for language in Language::ALL {
            assert_eq!(messages(language), english, "{language:?}");
        }
    }

    #[test]
    fn no_two_languages_share_a_sentence() {
        let sentences = |language: Language| -> BTreeSet<&str> {
            let lines = language
                .source()
                .lines()
                .filter_map(|it| it.split_once(" = "));
            lines
                .map(|(_, text)| text)
                .filter(|it| it.split(' ').count() > 4)
                .collect()
        };
        let [english, german, french] = Language::ALL.map(sentences);
        for (one, other) in [(&english, &german), (&english, &french), (&german, &french)] {
            let shared: Vec<_> = one
                .intersection(other)
                .filter(|it| !it.contains("{ $page }"))
                .collect();
            assert!(shared.is_empty(), "{shared:?}");
        }
    }

    /// A text that is missing would show its name to a person, and a text that no page uses misleads translators.
    #[test]
    fn the_pages_use_each_message_and_no_other() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages");
        let mut code = String::new();
        for folder in [folder.clone(), folder.join("templates")] {
            for file in fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                if file.is_file() {
                    let text = fs::read_to_string(file).unwrap();
                    code.push_str(text.split("#[cfg(test)]").next().unwrap());
                }
            }
        }
        let messages = messages(Language::English);
        let used: BTreeSet<&str> = Regex::new(r#""([a-z]+(?:-[a-z]+)*)""#)
            .unwrap()
            .captures_iter(&code)
            .filter_map(|it| it.get(1))
            .map(|it| it.as_str())
            .collect();
        let unused: Vec<_> = messages.keys().filter(|it| !used.contains(**it)).collect();
        assert!(unused.is_empty(), "no page uses {unused:?}");
        let call =
            Regex::new(r#"\b(say|say_of|count|label)\(\s*"([^"]+)"(?:,\s*"([^"]+)")?"#).unwrap();
        let mut calls = 0;
        for found in call.captures_iter(&code) {
            let variables = messages
                .get(&found[2])
                .unwrap_or_else(|| panic!("{} is missing", &found[2]));
            let given: BTreeSet<&str> = found.get(3).map(|it| it.as_str()).into_iter().collect();
            assert_eq!(*variables, given, "{}", &found[2]);
            calls += 1;
        }
        assert!(calls > 60, "{calls} calls");
    }

    #[test]
    fn what_others_wrote_is_escaped_and_isolated() {
        let texts = Language::English.texts();
        let name = Shown::new("<b>\u{202e}&", 20);
        let html = texts.say_of("sign-in-client", "client", &name).to_string();
        assert_eq!(html, "To continue to <bdi>&#60;b&#62;\u{fffd}&#38;</bdi>");
    }

    #[test]
    fn a_number_takes_the_form_of_its_language() {
        let told = |language: Language, minutes| {
            language
                .texts()
                .count("problem-too-many", "minutes", minutes)
                .to_string()
        };
        assert!(told(Language::English, 1).contains("one minute"));
        assert!(told(Language::English, 2).contains("<bdi>2</bdi> minutes"));
        assert!(told(Language::German, 2).contains("<bdi>2</bdi> Minuten"));
        assert!(told(Language::French, 1).contains("une minute"));
    }
}

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

//! The language of a page (BCP 47, RFC 4647 section 3.4): what the client asks for with `ui_locales`, then what the
//! person chose (a cookie), then what the browser prefers (`Accept-Language`, RFC 9110 section 12.5.4).

/// The longest `Accept-Language` that is read, in bytes. Of a longer one, the start is read.
const MAX_HEADER: usize = 1024;
/// The largest number of languages that are read of each list.
const MAX_LANGUAGES: usize = 16;
/// The longest language tag, in bytes.
const MAX_TAG: usize = 35;

/// What says which language a person reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes<'a> {
    /// The values of `ui_locales`, the preferred first.
    pub ui_locales: &'a [String],
    /// The cookie.
    pub cookie: Option<&'a str>,
    /// The header `Accept-Language`.
    pub accept_language: Option<&'a str>,
}

/// Chooses one of the `supported` languages, which are tags such as `en` or `pt-BR`; the first one if no wish
/// matches. `None` if `supported` is empty.
pub fn choose<'s>(supported: &[&'s str], wishes: Wishes<'_>) -> Option<&'s str> {
    let asked = wishes.ui_locales.iter().map(String::as_str);
    let asked = asked.take(MAX_LANGUAGES).chain(wishes.cookie);
    let accepted = accepted(wishes.accept_language.unwrap_or_default());
    let mut languages = asked.chain(accepted);
    let found = languages.find_map(|language| look_up(supported, language));
    found.or(supported.first().copied())
}

/// Returns the supported language for a tag: the same one, else the same without its last parts, else another variant
/// of the same language.
fn look_up<'s>(supported: &[&'s str], tag: &str) -> Option<&'s str> {
    let is_tag = tag.len() <= MAX_TAG
        && tag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !is_tag {
        return None;
    }
    let mut rest = tag;
    loop {
        let mut same = supported
            .iter()
            .filter(|known| known.eq_ignore_ascii_case(rest));
        if let Some(known) = same.next() {
            return Some(*known);
        }
        match rest.rsplit_once('-') {
            Some((shorter, _)) => rest = shorter,
            None => break,
        }
    }
    let language = |tag: &'s str| tag.split('-').next().unwrap_or_default();
    let mut variants = supported.iter().copied();
    variants.find(|known| !rest.is_empty() && language(known).eq_ignore_ascii_case(rest))
}

/// Returns the languages of the header, the preferred first, without those that are refused (`q=0`).
fn accepted(header: &str) -> impl Iterator<Item = &str> {
    let start = &header[..header.floor_char_boundary(MAX_HEADER)];
    let listed = start.split(',').take(MAX_LANGUAGES);
    let mut languages: Vec<(u16, &str)> = listed
        .filter_map(|item| {
            let (tag, parameters) = item.split_once(';').unwrap_or((item, ""));
            Some((quality(parameters)?, tag.trim_ascii()))
        })
        .filter(|(quality, _)| *quality > 0)
        .collect();
    // Stable: of equal quality, the first is preferred.
    languages.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    languages.into_iter().map(|(_, tag)| tag)
}

/// Reads a quality in thousandths (RFC 9110 section 12.4.2); `None` if it is malformed.
fn quality(parameters: &str) -> Option<u16> {
    let parameters = parameters.trim_ascii();
    if parameters.is_empty() {
        return Some(1000);
    }
    let value = parameters
        .strip_prefix(['q', 'Q'])?
        .trim_ascii_start()
        .strip_prefix('=')?
        .trim_ascii();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_fraction = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{fraction:0<3}")
        .parse()
        .ok()
        .filter(|_| is_fraction);
    match (whole, thousandths?) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const SUPPORTED: [&str; 4] = ["en", "de", "fr", "pt-BR"];

    fn by_header(header: &str) -> &'static str {
        let wishes = Wishes {
            accept_language: Some(header),
            ..Wishes::default()
        };
        choose(&SUPPORTED, wishes).unwrap()
    }

    #[rstest]
    #[case::plain("de", "de")]
    #[case::region("de-CH", "de")]
    #[case::case_does_not_matter("DE-ch", "de")]
    #[case::exact("pt-br", "pt-BR")]
    #[case::other_region("pt-PT", "pt-BR")]
    #[case::language_alone("pt", "pt-BR")]
    #[case::script("de-Latn-CH-1996", "de")]
    #[case::order("fr, de", "fr")]
    #[case::quality("fr;q=0.5, de;q=0.8, en;q=0.1", "de")]
    #[case::quality_of_one("fr;q=0.9, de;q=1.000", "de")]
    #[case::refused("de;q=0, fr;q=0.1", "fr")]
    #[case::unsupported_first("ja, ko;q=0.9, fr;q=0.2", "fr")]
    #[case::any("*", "en")]
    #[case::nothing("", "en")]
    #[case::malformed_quality("de;q=2, fr;q=0.1", "fr")]
    #[case::malformed_parameter("de;x=1, fr", "fr")]
    #[case::long_fraction("de;q=0.1234, fr;q=0.1", "fr")]
    #[case::no_tag("d e, ../de, de;;, fr", "fr")]
    #[case::spaces(" de ; q = 0.7 ,\tfr;q=0.8", "fr")]
    #[case::hyphens("-, --, de-, fr", "de")]
    fn the_browser_prefers(#[case] header: &str, #[case] language: &str) {
        assert_eq!(by_header(header), language);
    }

    #[test]
    fn the_client_comes_before_the_person_and_the_browser() {
        let locales = ["ja".to_owned(), "fr-CA".to_owned()];
        let all = Wishes {
            ui_locales: &locales,
            cookie: Some("de"),
            accept_language: Some("pt"),
        };
        assert_eq!(choose(&SUPPORTED, all), Some("fr"));
        let unknown = Wishes {
            ui_locales: &locales[..1],
            ..all
        };
        assert_eq!(choose(&SUPPORTED, unknown), Some("de"));
        let odd = Wishes {
            ui_locales: &[],
            cookie: Some("<script>"),
            ..all
        };
        assert_eq!(choose(&SUPPORTED, odd), Some("pt-BR"));
        assert_eq!(choose(&SUPPORTED, Wishes::default()), Some("en"));
        assert_eq!(choose(&[], all), None);
    }

    #[test]
    fn lists_are_bounded() {
        let long = format!("{}de", "ja,".repeat(MAX_LANGUAGES));
        assert_eq!(by_header(&long), "en");
        let long = format!("{}, de", "a".repeat(MAX_HEADER));
        assert_eq!(by_header(&long), "en");
        // The end is in the middle of a character.
        assert_eq!(
            by_header(&format!("de,{}é", "a".repeat(MAX_HEADER - 4))),
            "de"
        );
        let many = vec!["ja".to_owned(); MAX_LANGUAGES];
        let many = [many, vec!["de".to_owned()]].concat();
        let wishes = Wishes {
            ui_locales: &many,
            ..Wishes::default()
        };
        assert_eq!(choose(&SUPPORTED, wishes), Some("en"));
    }

    proptest! {
        #[test]
        fn any_header_gives_a_supported_language(header in any::<String>(), cookie in any::<String>()) {
            let wishes = Wishes { ui_locales: &[], cookie: Some(&cookie), accept_language: Some(&header) };
            let language = choose(&SUPPORTED, wishes).unwrap();
            prop_assert!(SUPPORTED.contains(&language));
        }

        #[test]
        fn any_list_of_qualities_gives_the_best(mut qualities in proptest::collection::vec(1..=1000_u16, 4)) {
            qualities.dedup();
            let parts: Vec<String> = qualities.iter().zip(SUPPORTED).map(|(quality, tag)| {
                format!("{tag};q={}.{:03}", quality / 1000, quality % 1000)
            }).collect();
            let best = qualities.iter().zip(SUPPORTED).rev().max_by_key(|(quality, _)| **quality).unwrap().1;
            prop_assert_eq!(by_header(&parts.join(",")), best);
        }
    }
}

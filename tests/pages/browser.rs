//! The pages in Debian's Chromium, driven by Playwright and judged by axe.
//!
//! Chromium, Playwright and axe are installed once. Screenshots are in `target/pages`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};
use symbolon::pages::Language;

use crate::samples::{self, Sample, Words};
use crate::support::install::{FOR_NODE, npm, printed_by};
use crate::support::post_json;

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pages");

pub(crate) fn target() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("pages")
}

/// The path of Chromium, and the environment that it needs.
fn chromium() -> Value {
    let printed = printed_by(&Path::new(SOURCES).join("chromium.sh"));
    let mut lines = printed.lines();
    let program = lines.next().unwrap();
    let environment = match lines.next().filter(|it| !it.is_empty()) {
        None => json!({}),
        Some(libraries) => {
            let root = program.split("/usr/lib/").next().unwrap();
            let fonts = format!("{root}/fonts.conf");
            json!({ "LD_LIBRARY_PATH": libraries, "FONTCONFIG_FILE": fonts })
        }
    };
    json!({ "program": program, "environment": environment })
}

/// The script with its browser, which all tests share. It ends when its standard input closes, with this process.
struct Browser {
    url: String,
    _script: Child,
}

fn browser() -> &'static Browser {
    static BROWSER: OnceLock<Browser> = OnceLock::new();
    BROWSER.get_or_init(|| {
        let scripts = ["browser.mjs", "webapp.mjs"];
        let node = npm("pages", &Path::new(SOURCES).join("node"), &scripts);
        let mut script = Command::new("node")
            .arg(node.join("browser.mjs"))
            .arg(chromium().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}: {FOR_NODE}"));
        let output = script.stdout.take().unwrap();
        let mut url = String::new();
        BufReader::new(output).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "browser.mjs: its output is above");
        Browser {
            url: url.trim().to_owned(),
            _script: script,
        }
    })
}

/// Lets the script act on pages, and returns what it tells.
fn browse(act: &str, viewports: &str, screenshots: &str, pages: &[Sample]) -> Value {
    let pages: Vec<Value> = pages
        .iter()
        .map(|Sample { name, page }| {
            let headers: serde_json::Map<_, _> = page
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone().into()))
                .collect();
            let body = crate::html(page);
            json!({ "name": name, "status": page.status, "headers": headers, "body": body })
        })
        .collect();
    ask(&json!({
        "act": act,
        "pages": pages,
        "screenshots": target().join("screenshots").join(screenshots),
        "viewports": viewports,
    }))
}

/// Gives the script a task, and returns what it tells.
pub(crate) fn ask(task: &Value) -> Value {
    let (status, seen) = post_json(&browser().url, task);
    assert_eq!(status, 200, "browser.mjs: {seen}");
    seen
}

/// The element that has the focus when a page is opened.
fn focus(page: &Sample) -> &'static str {
    match page.name {
        _ if page.page.status >= 400 => "alert",
        "sign-in" | "sign-in-bare" => "username",
        "sign-in-hint" | "sign-in-again" | "enrolment" => "password",
        _ => "",
    }
}

fn is_sound(language: Language, viewports: &str) {
    let pages = crate::pages(language);
    let seen = browse("look", viewports, language.tag(), &pages);
    let seen = seen.as_array().unwrap();
    assert_eq!(seen.len(), pages.len());
    let mut faults = Vec::new();
    for (facts, page) in seen.iter().zip(&pages) {
        for kind in ["violations", "incomplete", "overflow", "complaints"] {
            for fault in facts[kind].as_array().unwrap() {
                faults.push(format!("{}: {kind}: {fault}", page.name));
            }
        }
        if facts["focus"] != focus(page) {
            faults.push(format!("{}: focus: {}", page.name, facts["focus"]));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// In light and dark mode, on small and large screens: no violation of a rule of axe, nothing that axe cannot judge,
/// nothing to scroll sideways, no complaint of the browser, and the focus where it should be.
#[test]
fn english_pages_are_accessible() {
    is_sound(Language::English, "all");
}

#[test]
fn german_pages_are_accessible() {
    is_sound(Language::German, "small");
}

#[test]
fn french_pages_are_accessible() {
    is_sound(Language::French, "small");
}

#[test]
fn a_theme_of_any_colours_is_readable() {
    use symbolon::pages::{Theme, ThemeFields};
    for (name, accent, accent_dark) in [
        ("yellow", "#ffee00", "#fff8c0"),
        ("black", "#000000", "#101010"),
        ("grey", "#808080", "#777777"),
    ] {
        let fields = ThemeFields {
            name,
            accent: Some(accent),
            accent_dark: Some(accent_dark),
            ..ThemeFields::default()
        };
        let theme = Theme::new(fields).unwrap();
        let mut pages = samples::all(Language::English, &theme, &Words::ordinary());
        pages.retain(|page| ["sign-in-wrong", "consent", "flow-expired"].contains(&page.name));
        assert_eq!(pages.len(), 3);
        let seen = browse("look", "small", name, &pages);
        for facts in seen.as_array().unwrap() {
            assert_eq!(facts["violations"], json!([]), "{name}");
        }
    }
}

#[test]
fn long_and_hostile_texts_stay_in_their_place() {
    let theme = crate::theme();
    let long = "W".repeat(300);
    let mut pages = samples::all(Language::German, &theme, &Words::hostile(&long));
    let with_words = [
        "sign-in-again",
        "consent",
        "enrolment",
        "confirm-sign-out",
        "signed-out-frames-back",
        "not-allowed",
    ];
    pages.retain(|page| with_words.contains(&page.name));
    assert_eq!(pages.len(), with_words.len());
    let seen = browse("look", "small", "long", &pages);
    for facts in seen.as_array().unwrap() {
        assert_eq!(facts["overflow"], json!([]), "{}", facts["name"]);
        assert_eq!(facts["violations"], json!([]), "{}", facts["name"]);
    }
    for text in [
        "<script>globalThis.ran=1</script><img src=x onerror=globalThis.ran=1>",
        "\" autofocus onfocus=globalThis.ran=1 x=\"",
        "</title></style></script><svg onload=globalThis.ran=1>",
    ] {
        let pages = samples::all(Language::English, &theme, &Words::hostile(text));
        let seen = browse("load", "", "", &pages);
        let wanted: Vec<Value> = pages
            .iter()
            .map(|page| json!({ "name": page.name, "complaints": [], "ran": false }))
            .collect();
        assert_eq!(seen, json!(wanted), "{text}");
    }
}

/// By keyboard alone, with and without JavaScript.
#[test]
fn every_form_works_with_and_without_javascript() {
    let seen = browse("use", "", "", &crate::pages(Language::English));
    assert_eq!(seen["pasted"], "pasted password");
    for mode in ["scripted", "plain"] {
        let seen = &seen[mode];
        let own = |body: &str| {
            json!([{
                "method": "POST",
                "url": "localhost/id/connect/sign-in",
                "body": format!("flow=kQ9_sealed.value&{body}"),
            }])
        };
        for (act, body) in [
            (
                "signIn",
                "username=alice&password=correct+horse&remember=yes&decision=accept",
            ),
            ("refuseSignIn", "username=&password=&decision=refuse"),
            (
                "signInAfterError",
                "username=alice&password=correct+horse&remember=yes&decision=accept",
            ),
            ("allow", "decision=accept"),
            ("deny", "decision=refuse"),
            (
                "enrol",
                "username=alice&password=correct+horse+battery&repeated=correct+horse+battery&decision=accept",
            ),
            ("signOut", "decision=accept"),
        ] {
            assert_eq!(seen[act], own(body), "{mode}: {act}");
        }
        let answer = json!([{
            "method": "POST",
            "url": "app.example/callback?tenant=1&x=y",
            "body": "code=a-code&state=kQ9_sealed.value&iss=http%3A%2F%2Fid.example",
        }]);
        assert_eq!(seen["answer"], answer, "{mode}");
        for act in ["signedOut", "signedOutWithoutAnswers"] {
            let mut urls: Vec<_> = seen[act]
                .as_array()
                .unwrap()
                .iter()
                .map(|request| request["url"].as_str().unwrap().to_owned())
                .collect();
            // The way back comes last.
            assert_eq!(
                urls.pop().as_deref(),
                Some("app.example/signed-out?state=a%26b")
            );
            urls.sort_unstable();
            let frames = samples::FRAMES.map(|uri| uri.trim_start_matches("http://"));
            assert_eq!(urls, frames, "{mode}: {act}");
        }
    }
}

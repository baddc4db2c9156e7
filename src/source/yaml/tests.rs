use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn values(text: &str) -> Vec<Value> {
    let parsed = parse(text);
    assert_eq!(parsed.faults, [], "{text}");
    parsed
        .documents
        .into_iter()
        .map(|document| document.value)
        .collect()
}

/// Returns each fault as the text at its place and its message.
fn faults(text: &str) -> Vec<(String, String)> {
    let faults = parse(text).faults;
    faults
        .into_iter()
        .map(|fault| (text[fault.span].to_owned(), fault.message))
        .collect()
}

fn fault(text: &str) -> (String, String) {
    let mut faults = faults(text);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn a_file_holds_several_documents() {
    assert_eq!(
        values("a: 1\n---\nb: 2\n--- # c\n# nothing\n---\nc: 3"),
        [json!({"a": 1}), json!({"b": 2}), json!({"c": 3})]
    );
    assert_eq!(
        values("---\r\na: 1\r\n---\r\nb: 2\r\n"),
        [json!({"a": 1}), json!({"b": 2})]
    );
    assert_eq!(values("\u{feff}a: 1"), [json!({"a": 1})]);
    assert_eq!(values(""), [json!(null); 0]);
}

#[test]
fn lists_are_replaced_by_their_items() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {kind: A}\n- {kind: B}\n";
    assert_eq!(values(list), [json!({"kind": "A"}), json!({"kind": "B"})]);
    let of_one_kind =
        "apiVersion: symbolon.dev/v1alpha1\nkind: ScopeList\nitems: [{metadata: {name: a}}]";
    assert_eq!(
        values(of_one_kind),
        [
            json!({"apiVersion": "symbolon.dev/v1alpha1", "kind": "Scope", "metadata": {"name": "a"}})
        ]
    );
    assert_eq!(
        values("kind: AllowList\nspec: {}"),
        [json!({"kind": "AllowList", "spec": {}})]
    );
}

#[test]
fn json_is_read_with_its_places() {
    let text = "{\"a\": {\"b\\u00e9\": [1, 2.0, \"\\ud83d\\ude00\"]}}\n{\"c\": null}";
    let parsed = parse(text);
    assert_eq!(parsed.faults, []);
    assert_eq!(
        parsed.documents[0].value,
        json!({"a": {"bé": [1, 2, "😀"]}})
    );
    assert_eq!(
        &text[parsed.documents[0].spans.find("/a/bé/1").value],
        "2.0"
    );
    assert_eq!(
        &text[parsed.documents[1].spans.find("/c").key.unwrap()],
        "\"c\""
    );
    assert_eq!(values("{a: b, c: [d]}"), [json!({"a": "b", "c": ["d"]})]);
}

#[test]
fn invalid_json_is_a_fault() {
    for (text, place, message) in [
        (
            "{\"a\": \"b}",
            "\"",
            "this is not JSON: a string has no end or an invalid escape",
        ),
        ("{\"a\" 1 \"b\": {", "1", "this is not JSON: expected ':'"),
        (
            "{\"a\": 1, \"a\": 2}",
            "\"a\"",
            "`a` is written twice: remove one",
        ),
        ("{\"a\": [1 2", "2", "this is not JSON: expected ','"),
        ("{\"a\": nul]", "n", "this is not JSON: expected a value"),
    ] {
        assert_eq!(
            fault(text),
            (place.to_owned(), message.to_owned()),
            "{text}"
        );
    }
}

#[test]
fn every_part_has_its_place() {
    let text = "# é\nkind: Scope\nspec:\n  audiences:\n  - 'a'\n  - \"b\"\n  of/it: {x: 1}\n";
    let spans = &parse(text).documents[0].spans;
    let at = |pointer: &str| spans.find(pointer);
    assert_eq!(&text[at("/kind").value], "Scope");
    assert_eq!(&text[at("/spec/audiences/1").value], "\"b\"");
    assert_eq!(&text[at("/spec/audiences").key.unwrap()], "audiences");
    assert_eq!(&text[at("/spec/of~1it/x").value], "1");
    assert_eq!(&text[at("/spec/of~1it").value], "{x: 1}");
    let missing = at("/spec/value");
    assert_eq!(
        (missing.exact, &text[missing.key.unwrap()]),
        (false, "spec")
    );
}

#[test]
fn places_count_from_the_start_of_the_file() {
    let text = "a: 1\n---\nkind: List\nitems:\n- b: 2\n";
    let documents = parse(text).documents;
    assert_eq!(&text[documents[1].spans.find("/b").value], "2");
    let text = "a: 1\n---\n\tb: 2\n---\nc: [\n";
    assert!(parse(text).faults.iter().all(|fault| fault.span.start >= 9));
}

#[test]
fn a_fault_hides_no_other_document() {
    let parsed = parse("a: 1\n---\nb: [\n---\nc: 3\n---\nd: {{ x }}: {\n---\ne: 5");
    assert_eq!(parsed.documents.len(), 3);
    assert_eq!(
        parsed.faults[0].message,
        "this '[' is not closed: write ']' at its end"
    );
    assert!(
        parsed.faults[1]
            .message
            .ends_with("this looks like a template: render it first")
    );
}

#[test]
fn anchors_aliases_and_merges_work_as_in_kubectl() {
    assert_eq!(
        values("a: &x {b: 1}\nc: *x"),
        [json!({"a": {"b": 1}, "c": {"b": 1}})]
    );
    assert_eq!(
        values("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}"),
        [json!({"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}})]
    );
    assert_eq!(
        values("x: &x {b: 1}\ny: &y {b: 2, c: 2}\nd:\n  <<: [*x, *y]\n"),
        [json!({"x": {"b": 1}, "true": {"b": 2, "c": 2}, "d": {"b": 1, "c": 2}})]
    );
    assert_eq!(values("'<<': 1"), [json!({"<<": 1})]);
    let text = "a: &x {b: 1}\nc: *x";
    assert_eq!(&text[parse(text).documents[0].spans.find("/c").value], "*x");
}

#[test]
fn surprising_readings_of_kubectl_are_faults() {
    for (text, place, message) in [
        ("a: 1\nb: 2\na: 3", "a", "`a` is written twice: remove one"),
        (
            "a: &x {b: 1}\nc: {b: 2, <<: *x}",
            "<<",
            "move '<<' above `b`: otherwise kubectl uses the merged value",
        ),
        (
            "a: {<<: 1}",
            "<<",
            "'<<' needs an object or a list of objects",
        ),
        (
            "a: !secret b",
            "b",
            "a tag has no meaning in a manifest: remove it, or put the text in quotes",
        ),
        (
            "a: .inf",
            ".inf",
            "JSON has no .inf: write a number, or put it in quotes",
        ),
        ("a: !!int b", "b", "this is not of type int"),
        ("~: 1", "~", "a key must be a string: put it in quotes"),
        ("[a]: 1", "[", "a key must be a string: put it in quotes"),
        (
            "a: &x [*x]",
            "*x",
            "this alias refers to a value that contains it",
        ),
        (
            "a: 1\n...\nb: 2",
            "",
            "kubectl ignores everything after '...': write '---' on a line of its own instead",
        ),
        (
            "--- {a: 1}",
            " {a: 1}",
            "kubectl allows nothing after '---': begin the document on the next line",
        ),
        ("a: b\0", "\0", "this is not a text: it contains a NUL byte"),
    ] {
        let (found, told) = fault(text);
        assert_eq!(told, message, "{text}");
        assert!(found == place || place.is_empty(), "{text}: {found}");
    }
}

#[test]
fn a_duplicate_key_is_a_fault_with_both_places() {
    let text = "spec:\n  a: 1\n  b: 2\n  a: 3\n";
    let fault = parse(text).faults.remove(0);
    assert_eq!(
        (fault.span, fault.related),
        (22..23, Some((8..9, "first here".to_owned())))
    );
}

#[test]
fn tags_of_the_core_schema_are_accepted() {
    assert_eq!(
        values("{a: !!str 5, b: !!int '5', c: !!map {}, d: !!seq [], e: !!null '', f: !!bool on}"),
        [json!({"a": "5", "b": 5, "c": {}, "d": [], "e": null, "f": true})]
    );
}

#[test]
fn the_number_of_faults_is_bounded() {
    let text = format!("# symbolon.dev\n{}", "a: b\n".repeat(20_000));
    let faults = parse(&text).faults;
    assert_eq!(faults.len(), 101);
    assert!(faults[100].message.contains("more than 100 faults"));
}

#[test]
fn alias_bombs_and_deep_nesting_are_faults() {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let before = vec![format!("*a{}", n - 1); 9].join(", ");
        writeln!(laughs, "a{n}: &a{n} [{before}]").unwrap();
    }
    let repeats = "the anchors and aliases of this file repeat too much: write the values out";
    assert_eq!(fault(&laughs).1, repeats);

    let long = format!(
        "a: &a {}\nb: [{}x]",
        "y".repeat(100_000),
        "*a, ".repeat(2000)
    );
    assert_eq!(fault(&long).1, repeats);
    let many = format!("[{}]", "1, ".repeat(200_001));
    assert!(fault(&many).1.contains("more than 200000 values"));

    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(fault(&deep).1, "this is nested more than 64 levels deep");
    let deep = format!("{{\"a\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(fault(&deep).1.contains("deep"));

    let mut chain = "a0: &a0 [x]\n".to_owned();
    for n in 1..10 {
        let (open, close, before) = ("[".repeat(30), "]".repeat(30), n - 1);
        writeln!(chain, "a{n}: &a{n} {open}*a{before}{close}").unwrap();
    }
    assert_eq!(fault(&chain).1, "this is nested more than 64 levels deep");

    let (_, parsed) = parse_bytes(&vec![b' '; LONGEST + 1]);
    assert!(parsed.faults[0].message.contains("longer than 1 MiB"));
    let keys: Vec<_> = (0..100_000).map(|n| format!("\"k{n}\":1")).collect();
    assert_eq!(values(&format!("{{{}}}", keys.join(","))).len(), 1);
}

/// Small documents and files must not add up to more than their text justifies.
#[test]
fn aliases_repeat_no_more_than_in_proportion_to_the_file() {
    let mut bomb = "kind: ConfigMap\na0: &a0 [1, 1, 1, 1]\n".to_owned();
    for n in 1..12 {
        writeln!(bomb, "a{n}: &a{n} [*a{}, *a{}]", n - 1, n - 1).unwrap();
    }
    for count in [1, 300] {
        let text = vec![bomb.clone(); count].join("---\n");
        let parsed = parse(&text);
        assert!(!parsed.faults.is_empty());
        let read: usize = parsed
            .documents
            .iter()
            .map(|document| document.value.to_string().len())
            .sum();
        assert!(read <= 20 * text.len() + 5000, "{read} of {}", text.len());
    }
    // Ordinary use: one block of settings for many containers.
    let block = "common: &common {image: registry.example.com/app, env: [{name: A, value: b}]}\n";
    let uses = "- <<: *common\n  name: another\n".repeat(50);
    assert_eq!(parse(&format!("{block}containers:\n{uses}")).faults, []);
}

#[test]
fn a_long_kind_or_version_of_a_list_is_not_copied_into_its_items() {
    let long = "x".repeat(1000);
    for (kind, version) in [("Scope", &*long), (&*long, "v1")] {
        let list = format!(
            r#"{{"apiVersion":"{version}","kind":"{kind}List","items":[{}]}}"#,
            vec!["{}"; 1000].join(",")
        );
        let read = parse(&list);
        assert_eq!((read.documents.len(), read.faults.len()), (1000, 0));
        let written: usize = read
            .documents
            .iter()
            .map(|document| document.value.to_string().len())
            .sum();
        assert!(written < 10 * list.len(), "{written} of {}", list.len());
    }
}

#[test]
fn the_number_of_json_values_is_bounded() {
    let list = format!(r#"{{"a":[{}]}}"#, vec!["1"; 200_000].join(","));
    assert!(
        parse(&list).faults[0]
            .message
            .contains("more than 200000 values")
    );
}

#[test]
fn written_keys_replace_many_merged_keys() {
    let (merged, written): (String, String) = (0..20_000)
        .map(|n| (format!("  k{n}: 1\n"), format!("  k{n}: 2\n")))
        .unzip();
    let read = values(&format!("a: &a\n{merged}b:\n  <<: *a\n{written}"));
    assert_eq!(read[0]["b"]["k19999"], json!(2));
    assert_eq!(read[0]["b"].as_object().unwrap().len(), 20_000);
}

#[test]
fn invalid_utf8_is_a_fault_with_its_line() {
    assert_eq!(
        parse_bytes(b"a: 1\nb: \xff\n").1.faults[0].message,
        "this file is not UTF-8: see line 2"
    );
}

#[test]
fn faults_in_documents_of_other_tools_are_marked() {
    assert!(!parse("apiVersion: v1\nkind: {{ .Values.kind }}: x: y").faults[0].ours);
    assert!(parse("apiVersion: symbolon.dev/v1alpha1\nspec: [").faults[0].ours);
}

proptest! {
    #[test]
    fn no_text_causes_a_panic(text in "[-a-c:{}\\[\\],&*!<>|'\"#%? \t\n\u{feff}é.0~/\\\\]{0,64}") {
        let parsed = parse(&text);
        for fault in &parsed.faults {
            prop_assert!(text.get(fault.span.clone()).is_some(), "{fault:?}");
        }
        for document in &parsed.documents {
            prop_assert!(text.get(document.spans.range()).is_some());
        }
    }

    #[test]
    fn written_json_reads_back_as_the_same_value(value in prop::collection::btree_map(".*", prop::collection::vec(any::<i64>(), 0..3), 0..5)) {
        let value = serde_json::to_value(value).unwrap();
        prop_assume!(!value["items"].is_array());
        prop_assert_eq!(parse(&value.to_string()).documents.remove(0).value, value);
    }
}

#[test]
fn a_secret_is_recognised_in_a_document_that_cannot_be_read() {
    for secret in [
        "kind: Secret",
        "a: [\nkind:   'Secret'",
        "{\"kind\" : \"Secret\",,",
        "items:\n- {kind: SecretList, x",
        "apiVersion: v1\nkind: !!str Secret\nstringData: {a: b}",
        "apiVersion: v1\nkind: >-\n  Secret\ndata: {a: b}",
        "apiVersion: v1\nkind: &k Secret\nDATA: {a: b}",
        "{\"kind\": \"\\u0053ecret\", \"data\": {",
        "kind: secret\nstringData:\n  a: b",
        "k\0i\0n\0d\0",
    ] {
        for (before, after) in [("", ""), ("kind: Scope\n---\n", "\n---\nkind: Scope")] {
            let text = format!("{before}{secret}{after}");
            assert!(has_secret(&text), "{text}");
        }
    }
    for other in [
        "kind: Scope\nname: Secret",
        "Secret: kind",
        "kindSecret:",
        "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nspec: {secret: {template: {data: {a: b}}}}",
        "metadata: {name: database}",
        "",
    ] {
        assert!(!has_secret(other), "{other}");
    }
}

//! The scanner compared with `serde_json`, in chunks of every size, and the memory that it holds.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// What a scanner passed on: objects, whether they were cut, and the metadata of the list.
#[derive(Debug, Default, PartialEq)]
struct Read {
    items: Vec<(Value, bool)>,
    metadata: Option<Value>,
    bad_lines: usize,
}

fn read(
    framing: Framing,
    keep: Keep,
    chunks: impl IntoIterator<Item = impl AsRef<[u8]>>,
) -> Result<Read, MalformedResponse> {
    let mut scanner = Scanner::new(framing, keep);
    let mut read = Read::default();
    for chunk in chunks {
        scanner.push(chunk.as_ref(), &mut |piece| match piece {
            Piece::Item { json, is_cut, .. } => {
                read.items
                    .push((serde_json::from_slice(json).unwrap(), is_cut));
            }
            Piece::ListMetadata(json) => {
                read.metadata = Some(serde_json::from_slice(json).unwrap());
            }
            Piece::BadLine => read.bad_lines += 1,
        })?;
    }
    scanner.finish().map(|()| read)
}

fn read_whole(framing: Framing, keep: Keep, text: &str) -> Read {
    read(framing, keep, [text]).unwrap()
}

fn object() -> Value {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {
            "annotations": {"a/b": "\"}],\\", "symbolon.dev/rotate": "1\u{e9}\\\"", "k8s.io/initial-events-end": "true"},
            "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 3, "finalizers": ["x"],
            "labels": {"team": "a", "symbolon.dev/client": "ci"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
            "name": "a", "namespace": "b", "resourceVersion": "7", "uid": "u",
            "ownerReferences": [{"name": "o"}],
        },
        "spec": {"scopes": ["x{", "y]"], "n": [-1.5e3, true, null, {}], "managedFields": 1, "labels": {"z": "z"}},
        "status": {"uses": [{"epoch": 1}], "revoked": ["id"], "enrollment": {"nonce": "1"}, "endedAt": "x", "conditions": [{"type": "Ready"}]},
    })
}

/// Keeps the parts of a parsed object that [`Keep::SPEC`] keeps of an unparsed one.
fn kept(mut object: Value) -> Value {
    let Some(fields) = object.as_object_mut() else {
        return object;
    };
    let only = |map: &mut Map<String, Value>, known: &dyn Fn(&str) -> bool| {
        map.retain(|name, _| known(name));
    };
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        only(metadata, &|name| {
            let known = [
                "labels",
                "annotations",
                "name",
                "namespace",
                "uid",
                "resourceVersion",
            ];
            let others = ["generation", "creationTimestamp", "deletionTimestamp"];
            known.contains(&name) || others.contains(&name)
        });
        for field in ["labels", "annotations"] {
            if let Some(Value::Object(map)) = metadata.get_mut(field) {
                only(map, &|name| {
                    name.starts_with("symbolon.dev/")
                        || (field == "annotations" && name == "k8s.io/initial-events-end")
                });
            }
        }
    }
    if let Some(Value::Object(status)) = fields.get_mut("status") {
        only(status, &|name| {
            ["uses", "revoked", "enrollment", "endedAt"].contains(&name)
        });
    }
    object
}

#[test]
fn each_reader_gets_exactly_the_parts_that_it_asks_for() {
    let text = object().to_string();
    let of = |keep| read_whole(Framing::Object, keep, &text).items.remove(0).0;
    assert_eq!(of(Keep::SPEC), kept(object()));
    let mut live = kept(object());
    live["status"] = object()["status"].clone();
    assert_eq!(of(Keep::LIVE), live);
    let mut metadata = kept(object());
    metadata.as_object_mut().unwrap().remove("spec");
    metadata["status"] = json!({});
    metadata["metadata"]["ownerReferences"] = json!([{"name": "o"}]);
    assert_eq!(of(Keep::METADATA), metadata);
    assert_eq!(
        of(Keep::LABELS)["metadata"]["labels"],
        object()["metadata"]["labels"]
    );
    let mut whole = object();
    whole["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("managedFields");
    assert_eq!(of(Keep::WHOLE), whole);
}

#[test]
fn a_list_is_passed_on_object_by_object_wherever_its_chunks_end() {
    let metadata = json!({"resourceVersion": "9", "continue": "more", "remainingItemCount": 3});
    let items = json!([object(), {"metadata": null}, 7, "x", {}, object()]);
    let list = json!({"kind": "L", "apiVersion": "v1", "metadata": metadata, "items": items});
    let expected = Read {
        items: items
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (kept(it.clone()), false))
            .collect(),
        metadata: Some(metadata),
        bad_lines: 0,
    };
    for text in [
        list.to_string(),
        serde_json::to_string_pretty(&list).unwrap(),
    ] {
        for end in 0..=text.len() {
            let chunks = [&text.as_bytes()[..end], &text.as_bytes()[end..]];
            assert_eq!(
                read(Framing::List, Keep::SPEC, chunks).as_ref(),
                Ok(&expected),
                "{end}"
            );
            let broken = read(Framing::List, Keep::SPEC, [&text.as_bytes()[..end]]);
            assert_eq!(broken.is_ok(), end == text.len(), "broken off at {end}");
        }
        let bytes = text.as_bytes().chunks(1);
        assert_eq!(
            read(Framing::List, Keep::SPEC, bytes).as_ref(),
            Ok(&expected)
        );
    }
    for empty in [
        r#"{"items":[],"metadata":{}}"#,
        r#"{"metadata":{},"items":null}"#,
        r#" { "metadata" : { } , "items" : [ ] } "#,
    ] {
        let read = read_whole(Framing::List, Keep::SPEC, empty);
        assert_eq!(
            (read.items, read.metadata),
            (vec![], Some(json!({}))),
            "{empty}"
        );
    }
}

#[test]
fn a_bad_line_of_a_watch_spoils_no_other_line() {
    let event = |kind: &str| json!({"type": kind, "object": object()}).to_string();
    let line = |kind: &str| (json!({"type": kind, "object": kept(object())}), false);
    for bad in [
        "7",
        "[",
        "{\"type\":",
        "{\"type\":\"ADDED\",\"obj",
        "{\"type\":\"a",
        "{]",
        "}",
        "{} {",
        "{\"a\" 1}",
        "{\"a\":}",
        "{\"object\":[{\"a",
    ] {
        let text = format!("{}\n{bad}\n\n{}\r\n", event("ADDED"), event("DELETED"));
        for end in 0..text.len() {
            let chunks = [&text.as_bytes()[..end], &text.as_bytes()[end..]];
            let read = read(Framing::Events, Keep::SPEC, chunks).unwrap();
            let mut items = read.items;
            items.retain(|(item, _)| *item != json!({}));
            assert_eq!(items, [line("ADDED"), line("DELETED")], "{bad} at {end}");
            assert_eq!(read.bad_lines, 1, "{bad} at {end}");
        }
    }
    let cut_off = format!("{}\n{{\"type\":", event("ADDED"));
    assert_eq!(
        read_whole(Framing::Events, Keep::SPEC, &cut_off).items,
        [line("ADDED")]
    );
}

#[test]
fn an_object_of_another_shape_is_passed_on_too() {
    for (odd, kept) in [
        (json!({}), json!({})),
        (
            json!({"metadata": 7, "spec": "text"}),
            json!({"metadata": 7, "spec": "text"}),
        ),
        (
            json!({"metadata": {"annotations": null, "labels": []}}),
            json!({"metadata": {"annotations": null, "labels": []}}),
        ),
        (json!({"status": null}), json!({"status": null})),
        (json!({"status": [1, "a"]}), json!({"status": [1, "a"]})),
        (
            json!({"status": 1.5, "kind": true}),
            json!({"status": 1.5, "kind": true}),
        ),
    ] {
        let read = read_whole(Framing::Object, Keep::SPEC, &odd.to_string());
        assert_eq!(read.items, [(kept, false)], "{odd}");
    }
}

#[test]
fn skipped_values_may_be_nested_to_any_depth() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let text = format!("{{\"status\":{{\"conditions\":{deep}}},\"kind\":\"a\"}}");
    let read = read_whole(Framing::Object, Keep::SPEC, &text);
    assert_eq!(read.items, [(json!({"status": {}, "kind": "a"}), false)]);
}

/// The scanner reports faults of the response itself; the parser of a value reports the value's faults.
#[test]
fn a_response_that_is_not_a_list_is_refused() {
    for text in [
        "",
        "[]",
        "7",
        "{",
        "{\"items\":[{]}",
        "{\"items\":[,]}",
        "{\"items\":[1 2]}",
        "{\"items\":[]",
        "{} x",
        "{\"a\":1,}",
    ] {
        assert_eq!(
            read(Framing::List, Keep::SPEC, [text]),
            Err(MalformedResponse),
            "{text}"
        );
    }
}

/// An object with too large labels, annotations or spec keeps its name, and the objects beside it stay complete.
#[test]
fn a_part_that_is_too_large_is_left_out_and_the_object_keeps_its_name() {
    let large = "x".repeat(MAX_KEPT);
    let many = |prefix: &str| -> Map<String, Value> {
        let name = |n: usize| format!("{prefix}{n}");
        (0..10_000)
            .map(|n| (name(n), "y".repeat(100).into()))
            .collect()
    };
    let deep = serde_json::from_str(&format!("{}{}", "[".repeat(120), "]".repeat(120)))
        .unwrap_or(Value::Null);
    assert!(deep.is_array());
    let metadata = json!({"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1"});
    let with = |field: &str, value: Value| {
        let mut metadata = metadata.clone();
        metadata[field] = value;
        json!({"metadata": metadata, "spec": {"a": 1}})
    };
    let references: Vec<Value> = (0..10_000)
        .map(|n| json!({"name": "z".repeat(100), "uid": n}))
        .collect();
    for (keep, object, loses_spec) in [
        (
            Keep::SPEC,
            json!({"metadata": metadata, "spec": {"a": large}}),
            true,
        ),
        (
            Keep::SPEC,
            json!({"metadata": metadata, "spec": {"a": deep}}),
            true,
        ),
        (
            Keep::SPEC,
            with("annotations", json!({"symbolon.dev/rotate": large})),
            false,
        ),
        (
            Keep::SPEC,
            with("labels", Value::Object(many("symbolon.dev/"))),
            false,
        ),
        (
            Keep::LABELS,
            with("labels", Value::Object(many("a"))),
            false,
        ),
        (
            Keep::WHOLE,
            with("annotations", Value::Object(many("a"))),
            false,
        ),
        (
            Keep::METADATA,
            with("ownerReferences", references.into()),
            false,
        ),
    ] {
        let list = json!({"metadata": {"resourceVersion": "9"}, "items": [object, self::object()]});
        let text = list.to_string();
        let read = read(Framing::List, keep, text.as_bytes().chunks(4096)).unwrap();
        let (first, is_cut) = &read.items[0];
        assert!(is_cut);
        for field in ["name", "namespace", "uid", "resourceVersion"] {
            assert_eq!(first["metadata"][field], metadata[field]);
        }
        assert!(!loses_spec || first.get("spec").is_none());
        assert!(!read.items[1].1, "the other object is complete");
        assert_eq!(read.metadata, Some(json!({"resourceVersion": "9"})));
    }
}

/// Parts of an object that are not read cost no memory, however large they are.
#[test]
fn the_bytes_held_do_not_grow_with_unread_parts() {
    let labels: Map<String, Value> = (0..8_000)
        .map(|n| (format!("label-{n}"), "v".repeat(60).into()))
        .collect();
    let annotations = json!({"a": "v".repeat(256 << 10)});
    let fields: Map<String, Value> = (0..8_000)
        .map(|n| (format!("f:label-{n}"), json!({})))
        .collect();
    let mut fat = object();
    fat["metadata"]["labels"] = labels.into();
    fat["metadata"]["annotations"] = annotations;
    fat["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:metadata": {"f:labels": fields}}}]);
    fat["status"]["conditions"] = json!([{"message": "m".repeat(300 << 10)}]);
    let fat = fat.to_string();
    assert!(fat.len() > 1 << 20);
    for (framing, keep, begin, between, end) in [
        (Framing::List, Keep::SPEC, "{\"items\":[", ",", "]}"),
        (Framing::List, Keep::METADATA, "{\"items\":[", ",", "]}"),
        (
            Framing::Events,
            Keep::SPEC,
            "{\"type\":\"ADDED\",\"object\":",
            "}\n{\"type\":\"ADDED\",\"object\":",
            "}\n",
        ),
    ] {
        let mut scanner = Scanner::new(framing, keep);
        let (mut most, mut objects, mut bytes) = (0, 0, 0);
        let mut push = |text: &str| {
            for chunk in text.as_bytes().chunks(8192) {
                let mut sink = |piece: Piece<'_>| {
                    if let Piece::Item {
                        bytes: of_one,
                        is_cut,
                        ..
                    } = piece
                    {
                        assert!(!is_cut);
                        objects += 1;
                        bytes += of_one;
                    }
                };
                scanner.push(chunk, &mut sink).unwrap();
                most = most.max(scanner.held());
            }
        };
        push(begin);
        for number in 0..40 {
            push(if number == 0 { "" } else { between });
            push(&fat);
        }
        push(end);
        assert_eq!(objects, 40);
        assert!(bytes >= 40 * fat.len(), "{bytes}");
        assert!(
            most < 8 << 10,
            "{most} bytes held of objects of {} bytes",
            fat.len()
        );
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-4000..4000).prop_map(|n| Value::from(f64::from(n) / 4.0)),
        "\\PC{0,8}".prop_map(Value::from),
        "[\"\\\\{}\\[\\],:\n\t ]{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        prop::sample::select(vec![
            "metadata",
            "labels",
            "annotations",
            "status",
            "uses",
            "revoked",
            "enrollment",
            "spec",
            "items",
            "name",
            "type",
            "object",
            "managedFields",
            "symbolon.dev/rotate",
            "ownerReferences",
            "uid",
            "kind",
        ])
        .prop_map(str::to_owned),
        "[a-z\"\\\\ é]{0,4}",
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A Secret with the given numbers of data keys, labels and owners.
fn secret(keys: usize, length: usize, labels: usize, owners: usize) -> Value {
    let texts = |many: usize, text: &str| -> Map<String, Value> {
        let text = Value::from(text);
        (0..many)
            .map(|n| (format!("{n:x}"), text.clone()))
            .collect()
    };
    let owner = json!({"apiVersion": "v1", "kind": "a,{[", "name": "o", "uid": "u"});
    json!({
        "apiVersion": "v1", "data": texts(keys, &"A".repeat(length)), "kind": "Secret",
        "metadata": {"labels": texts(labels, "l"), "name": "a", "ownerReferences": vec![owner; owners], "uid": "u"},
    })
}

fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(values).sum(),
        Value::Object(map) => map.values().map(values).sum::<usize>(),
        _ => 0,
    }
}

#[test]
fn a_malformed_response_stays_malformed() {
    for framing in [Framing::List, Framing::Object] {
        let mut scanner = Scanner::new(framing, Keep::WHOLE);
        assert!(scanner.push(b"{}\0", &mut |_| {}).is_err());
        assert!(scanner.finish().is_err());
        assert!(scanner.push(b"\n{}", &mut |_| {}).is_err());
        assert!(scanner.finish().is_err());
    }
}

proptest! {
    /// An accepted object costs a bounded number of bytes when parsed, whatever its form, and no smaller object is
    /// refused.
    #[test]
    fn a_rewritten_object_is_bounded_in_bytes_and_values(
        keys in 0..1_300usize, length in 0..600usize, labels in 0..400usize, owners in 0..100usize, chunk in 1..9_000usize,
    ) {
        let secret = secret(keys, length, labels, owners);
        let text = secret.to_string();
        let read = read(Framing::Object, Keep::REWRITTEN, text.as_bytes().chunks(chunk)).unwrap();
        let (object, is_cut) = &read.items[0];
        prop_assert_eq!(&object["metadata"]["name"], "a");
        let parsed = object.to_string().len() + 110 * values(object);
        prop_assert!(parsed <= MAX_REWRITTEN + (16 << 10) + 110 * (MAX_REWRITTEN_VALUES + 20), "{}", parsed);
        let fits = text.len() <= MAX_REWRITTEN && values(&secret) + 3 <= MAX_REWRITTEN_VALUES;
        let is_large = text.len() > MAX_REWRITTEN + (16 << 10) || values(&secret) > MAX_REWRITTEN_VALUES + 20;
        prop_assert!(!(*is_cut && fits), "{} bytes, {} values", text.len(), values(&secret));
        prop_assert!(*is_cut || (!is_large && *object == secret), "{} bytes, {} values", text.len(), values(&secret));
    }

    #[test]
    fn the_scanner_and_serde_json_agree(
        items in prop::collection::vec(any_json(), 0..4), metadata in any_json(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        is_pretty in any::<bool>(),
    ) {
        let list = json!({"metadata": metadata, "other": metadata, "items": items});
        let text = if is_pretty { serde_json::to_string_pretty(&list) } else { serde_json::to_string(&list) }.unwrap();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        ends.extend([0, text.len()]);
        ends.sort_unstable();
        let chunks: Vec<&[u8]> = ends.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let expected = Read {
            items: items.into_iter().map(|item| (kept(item), false)).collect(),
            metadata: Some(metadata),
            bad_lines: 0,
        };
        prop_assert_eq!(read(Framing::List, Keep::SPEC, chunks), Ok(expected));
    }

    #[test]
    fn any_bytes_are_taken_without_a_panic(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"{}[]\",:\\\n1tn".to_vec())], 0..60)) {
        for framing in [Framing::List, Framing::Events, Framing::Object] {
            let mut scanner = Scanner::new(framing, Keep::WHOLE);
            let pushed = scanner.push(&bytes, &mut |_| {});
            prop_assert!(pushed.is_ok() || framing != Framing::Events);
            prop_assert!(scanner.finish().is_err() || framing == Framing::Events || pushed.is_ok());
        }
    }
}

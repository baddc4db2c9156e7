//! Fuzz target: responses that are parsed while they arrive.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use serde_json::Value;

use super::{Framing, Keep, MAX_KEPT, MAX_METADATA, MalformedResponse, Piece, Scanner};
use crate::fuzzing::Input;

type Read = Result<Vec<(u8, Vec<u8>, usize, bool)>, MalformedResponse>;

/// A response gives the same pieces however it is split into chunks. A piece is never longer than its source or than
/// the limit. Each item of a list that `serde_json` accepts gives one piece, which is JSON unless it was cut. The first
/// bytes select the form, the parts to hold and the length of chunks.
pub fn stream(data: &[u8]) {
    let mut input = Input(data);
    let framings = [Framing::List, Framing::Events, Framing::Object];
    let framing = framings[input.below(framings.len())];
    let keeps = [
        Keep::SPEC,
        Keep::LIVE,
        Keep::OWNED,
        Keep::METADATA,
        Keep::LABELS,
        Keep::WHOLE,
        Keep::REWRITTEN,
    ];
    let keep = keeps[input.below(keeps.len())];
    let length = 1 + input.below(16);
    let answer = input.0;
    let whole = read(framing, keep, [answer].into_iter());
    assert_eq!(read(framing, keep, answer.chunks(length)), whole);
    for (_, json, bytes, _) in whole.iter().flatten() {
        assert!(json.len() <= bytes + 32 && json.len() <= MAX_KEPT + MAX_METADATA);
    }
    let Ok(value) = serde_json::from_slice::<Value>(answer) else {
        return;
    };
    let expected = match framing {
        Framing::List if value["items"].is_array() => value["items"].as_array().cloned(),
        Framing::Object if value.is_object() => Some(vec![value]),
        _ => None,
    };
    if let (Some(expected), Ok(pieces)) = (expected, whole) {
        let items: Vec<_> = pieces.iter().filter(|(kind, ..)| *kind == 0).collect();
        // Repeated fields may be two lists of items.
        assert!(items.len() >= expected.len(), "{items:?}");
        for (_, json, _, is_cut) in items {
            assert!(*is_cut || serde_json::from_slice::<Value>(json).is_ok());
        }
    }
}

fn read<'a>(framing: Framing, keep: Keep, chunks: impl Iterator<Item = &'a [u8]>) -> Read {
    let mut scanner = Scanner::new(framing, keep);
    let mut pieces = Vec::new();
    for chunk in chunks {
        scanner.push(chunk, &mut |piece| {
            pieces.push(match piece {
                Piece::Item {
                    json,
                    bytes,
                    is_cut,
                } => (0, json.to_vec(), bytes, is_cut),
                Piece::ListMetadata(json) => (1, json.to_vec(), json.len(), false),
                Piece::BadLine => (2, Vec::new(), 0, false),
            });
        })?;
    }
    scanner.finish().map(|()| pieces)
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_responses_give_the_same_pieces_in_any_chunks() {
        replay("stream", super::stream);
    }
}

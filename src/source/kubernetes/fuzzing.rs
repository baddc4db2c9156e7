//! Fuzz targets for objects from an API server, which may be hostile.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use serde_json::Value;

use super::raw::Raw;
use super::{WatchChange, WatchedKind};
use crate::directory::{Change, Directory, Settings, Sizes};
use crate::resources::{Kind, ManagedKind};
use crate::tokens::MacKey;

/// The rules: any JSON object decodes to its value. Every kind accepts any object. An applied change is not news. A
/// deletion leaves nothing behind.
pub fn raw(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    let Ok(Raw(kept)) = serde_json::from_slice::<Raw>(data) else {
        assert!(!value.is_object(), "any object decodes");
        return;
    };
    assert_eq!(kept, value);
    let key = MacKey::from_bytes(&[7; 32]).unwrap();
    let kinds = Kind::ALL.map(WatchedKind::Kind);
    let managed = ManagedKind::ALL.map(WatchedKind::Managed);
    let others = [
        WatchedKind::Namespaces,
        WatchedKind::ManagedSecrets,
        WatchedKind::ImportedSecrets,
    ];
    for watched_kind in kinds.into_iter().chain(managed).chain(others) {
        let raw = Raw(kept.clone());
        let gone = watched_kind.deleted(&raw);
        let seen = watched_kind.applied(raw, &Settings::default(), Some(&key));
        let (Some(WatchChange::Object { change, .. }), WatchChange::Object { change: gone, .. }) =
            (seen, gone)
        else {
            continue;
        };
        let mut directory = Directory::new(Settings::default());
        directory.apply(change.clone());
        assert!(!directory.is_news(&change), "{change:?}");
        directory.apply(gone.clone());
        assert!(!directory.is_news(&gone), "{gone:?}");
        assert_eq!(directory.sizes(), Sizes::default());
        if let Change::Upsert(_) = change {
            assert!(directory.is_news(&change), "nothing is left");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn the_corpus_of_objects_decodes_as_json_values() {
        replay("raw", super::raw);
    }
}

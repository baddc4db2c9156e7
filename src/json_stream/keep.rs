//! Which parts of an object the program reads, and how much of each.

use super::{MAX_KEPT, MAX_METADATA, MAX_OURS, MAX_REWRITTEN, MAX_REWRITTEN_VALUES, MAX_VALUES};

/// The prefix of all labels and annotations that the program reads.
const OURS: &[u8] = b"symbolon.dev/";
/// The annotation on the bookmark that ends the initial events of a watch.
const INITIAL_END: &[u8] = b"k8s.io/initial-events-end";

/// The parts of an object to hold; the scanner skips the rest. `managedFields` is never held: an object that is written
/// back without it keeps its managed fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    labels: Which,
    annotations: Which,
    owner_references: bool,
    /// All other fields of `metadata`.
    other_metadata: bool,
    /// Everything except `metadata` and `status`.
    body: bool,
    status: Status,
    /// The most bytes of one object.
    bytes: usize,
    /// The most values of one object, not counting field names.
    values: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    Ours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    All,
    /// The fields that can revoke: `status.uses` and `status.revoked`, which only Credentials have, and
    /// `status.enrollment` and `status.endedAt`, which only Users have.
    Revoking,
}

impl Keep {
    /// The spec of an object of our kinds, to be judged.
    pub const SPEC: Self = Self {
        labels: Which::Ours,
        annotations: Which::Ours,
        owner_references: false,
        other_metadata: false,
        body: true,
        status: Status::Revoking,
        bytes: MAX_KEPT,
        values: usize::MAX,
    };
    /// Like `SPEC`, with the status: an object that is read live.
    pub const LIVE: Self = Self {
        status: Status::All,
        ..Self::SPEC
    };
    /// Like `LIVE`, with the owner references.
    pub const OWNED: Self = Self {
        owner_references: true,
        ..Self::LIVE
    };
    /// An object that was requested as metadata only.
    pub const METADATA: Self = Self {
        owner_references: true,
        body: false,
        ..Self::SPEC
    };
    /// The labels of a Namespace, which selectors match.
    pub const LABELS: Self = Self {
        labels: Which::All,
        body: false,
        ..Self::SPEC
    };
    /// The whole object.
    pub const WHOLE: Self = Self {
        labels: Which::All,
        annotations: Which::All,
        owner_references: true,
        other_metadata: true,
        body: true,
        status: Status::All,
        bytes: MAX_KEPT,
        values: MAX_VALUES,
    };
    /// A whole Secret or Credential that is changed and written back. A pass holds several copies, and tenants write
    /// Secrets, so an object larger than the operator's own can be is not read at all.
    pub const REWRITTEN: Self = Self {
        bytes: MAX_REWRITTEN,
        values: MAX_REWRITTEN_VALUES,
        ..Self::WHOLE
    };
}

/// The place of a value in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValuePlace {
    /// A list.
    List,
    /// The list's `items`.
    Items,
    /// A watch event.
    Event,
    /// An object.
    Object,
    /// The object's `metadata`.
    Metadata,
    /// The object's labels.
    Labels,
    /// The object's annotations.
    Annotations,
    /// The object's `status`.
    Status,
}

/// What happens to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldAction {
    /// It is copied.
    Copy,
    /// It is skipped.
    Drop,
    /// Its fields are decided one by one, if it has fields.
    Enter(ValuePlace),
}

impl Keep {
    /// Decides what happens to the field `name` of a value at `place`. A name with escapes counts as unknown: the API
    /// server escapes none of the names used here.
    pub(super) fn fate(self, place: ValuePlace, name: &[u8]) -> FieldAction {
        let copy_if = |is_kept: bool| {
            if is_kept {
                FieldAction::Copy
            } else {
                FieldAction::Drop
            }
        };
        match (place, name) {
            (ValuePlace::List, b"items") => FieldAction::Enter(ValuePlace::Items),
            (ValuePlace::List, name) => copy_if(name == b"metadata"),
            (ValuePlace::Items, _) => FieldAction::Drop,
            (ValuePlace::Event, b"object") => FieldAction::Enter(ValuePlace::Object),
            // A `Status` may come in place of an event.
            (ValuePlace::Event, name) => copy_if(matches!(name, b"type" | b"code" | b"reason")),
            (ValuePlace::Object, b"metadata") => FieldAction::Enter(ValuePlace::Metadata),
            (ValuePlace::Object, b"status") => match self.status {
                Status::All => copy_if(self.body),
                Status::Revoking => FieldAction::Enter(ValuePlace::Status),
            },
            (ValuePlace::Object, name) => {
                copy_if(self.body || matches!(name, b"apiVersion" | b"kind" | b"code" | b"reason"))
            }
            (ValuePlace::Status, name) => {
                let revokes = matches!(name, b"uses" | b"revoked" | b"enrollment" | b"endedAt");
                copy_if(self.body && revokes)
            }
            (ValuePlace::Metadata, b"labels") => FieldAction::Enter(ValuePlace::Labels),
            (ValuePlace::Metadata, b"annotations") => FieldAction::Enter(ValuePlace::Annotations),
            (ValuePlace::Metadata, b"ownerReferences") => copy_if(self.owner_references),
            (ValuePlace::Metadata, name) => {
                copy_if(is_name(name) || self.other_metadata && name != b"managedFields")
            }
            (ValuePlace::Labels, name) => copy_if(is_kept(self.labels, name)),
            (ValuePlace::Annotations, name) => {
                copy_if(name == INITIAL_END || is_kept(self.annotations, name))
            }
        }
    }
}

/// Bytes allowed beyond the limits for the fields that identify an object.
const SPARE: usize = 16 << 10;

impl Keep {
    /// Returns how many bytes may be held after a part of a value at `place` is added. The fields that identify an
    /// object always fit.
    pub(super) fn most_bytes(self, place: ValuePlace) -> usize {
        let most = |which| match which {
            Which::All => MAX_METADATA.min(self.bytes),
            Which::Ours => MAX_OURS,
        };
        match place {
            ValuePlace::Labels => most(self.labels),
            ValuePlace::Annotations => most(self.annotations),
            ValuePlace::Metadata | ValuePlace::Event | ValuePlace::List => self.bytes + SPARE,
            ValuePlace::Items | ValuePlace::Object | ValuePlace::Status => self.bytes,
        }
    }

    /// Returns the same limit for a part of the owner references.
    pub(super) fn most_references(self) -> usize {
        MAX_METADATA.min(self.bytes)
    }

    /// Returns how many values may be held.
    pub(super) const fn most_values(self) -> usize {
        self.values
    }
}

fn is_kept(which: Which, name: &[u8]) -> bool {
    which == Which::All || name.starts_with(OURS)
}

/// Whether a field of `metadata` identifies the object or its state.
const fn is_name(field: &[u8]) -> bool {
    matches!(
        field,
        b"name"
            | b"namespace"
            | b"uid"
            | b"resourceVersion"
            | b"generation"
            | b"creationTimestamp"
            | b"deletionTimestamp"
    )
}

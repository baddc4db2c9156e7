//! Which parts of an object are read by somebody, and how much of them.

use super::{
    MOST_KEPT, MOST_METADATA, MOST_OURS, MOST_REWRITTEN, MOST_REWRITTEN_VALUES, MOST_VALUES,
};

/// Labels and annotations that this program reads have a name that begins so.
const OURS: &[u8] = b"symbolon.dev/";
/// On the bookmark that ends the first events of a watch.
const INITIAL_END: &[u8] = b"k8s.io/initial-events-end";

/// What of an object is held; the rest is skipped while it comes in. `managedFields` is never held: an object that is
/// written back without it keeps what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    labels: Which,
    annotations: Which,
    owner_references: bool,
    /// Fields of `metadata` that are not named here.
    other_metadata: bool,
    /// What is neither `metadata` nor `status`.
    body: bool,
    status: Status,
    /// Bytes of one object.
    bytes: usize,
    /// Values of one object, names of fields not counted.
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
    /// `status.uses` and `status.revoked`, which Credentials alone have.
    OfCredentials,
}

impl Keep {
    /// Of an object of our kinds, what is judged: the spec.
    pub const SPEC: Self = Self {
        labels: Which::Ours,
        annotations: Which::Ours,
        owner_references: false,
        other_metadata: false,
        body: true,
        status: Status::OfCredentials,
        bytes: MOST_KEPT,
        values: usize::MAX,
    };
    /// Of an object that is read live: the same, and its status.
    pub const LIVE: Self = Self {
        status: Status::All,
        ..Self::SPEC
    };
    /// The same, and to whom it belongs.
    pub const OWNED: Self = Self {
        owner_references: true,
        ..Self::LIVE
    };
    /// Of an object of which metadata was asked for.
    pub const METADATA: Self = Self {
        owner_references: true,
        body: false,
        ..Self::SPEC
    };
    /// Of a Namespace: its labels, which selectors match.
    pub const LABELS: Self = Self {
        labels: Which::All,
        body: false,
        ..Self::SPEC
    };
    /// All of it.
    pub const WHOLE: Self = Self {
        labels: Which::All,
        annotations: Which::All,
        owner_references: true,
        other_metadata: true,
        body: true,
        status: Status::All,
        bytes: MOST_KEPT,
        values: MOST_VALUES,
    };
    /// All of a Secret or a Credential, which is changed and written back. A pass holds some copies of it, and tenants
    /// write Secrets: so it is not read at all where it is larger than ours can be.
    pub const REWRITTEN: Self = Self {
        bytes: MOST_REWRITTEN,
        values: MOST_REWRITTEN_VALUES,
        ..Self::WHOLE
    };
}

/// Where in an answer a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The answer to a list.
    List,
    /// Its `items`.
    Items,
    /// An event of a watch.
    Event,
    /// An object.
    Object,
    /// Its `metadata`.
    Metadata,
    /// Its labels.
    Labels,
    /// Its annotations.
    Annotations,
    /// Its `status`.
    Status,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is held as it stands.
    Copy,
    /// It is skipped.
    Drop,
    /// Each of its fields is looked at, if it has fields.
    Enter(Place),
}

impl Keep {
    /// What becomes of the field `name` of a value at `place`. A name that was written with escapes is an unknown one:
    /// the API server escapes none of those that matter.
    pub(super) fn fate(self, place: Place, name: &[u8]) -> Fate {
        let copy_if = |is_kept: bool| if is_kept { Fate::Copy } else { Fate::Drop };
        match (place, name) {
            (Place::List, b"items") => Fate::Enter(Place::Items),
            (Place::List, name) => copy_if(name == b"metadata"),
            (Place::Items, _) => Fate::Drop,
            (Place::Event, b"object") => Fate::Enter(Place::Object),
            // A `Status` may come in place of an event.
            (Place::Event, name) => copy_if(matches!(name, b"type" | b"code" | b"reason")),
            (Place::Object, b"metadata") => Fate::Enter(Place::Metadata),
            (Place::Object, b"status") => match self.status {
                Status::All => copy_if(self.body),
                Status::OfCredentials => Fate::Enter(Place::Status),
            },
            (Place::Object, name) => {
                copy_if(self.body || matches!(name, b"apiVersion" | b"kind" | b"code" | b"reason"))
            }
            (Place::Status, name) => copy_if(self.body && matches!(name, b"uses" | b"revoked")),
            (Place::Metadata, b"labels") => Fate::Enter(Place::Labels),
            (Place::Metadata, b"annotations") => Fate::Enter(Place::Annotations),
            (Place::Metadata, b"ownerReferences") => copy_if(self.owner_references),
            (Place::Metadata, name) => {
                copy_if(is_name(name) || self.other_metadata && name != b"managedFields")
            }
            (Place::Labels, name) => copy_if(is_kept(self.labels, name)),
            (Place::Annotations, name) => {
                copy_if(name == INITIAL_END || is_kept(self.annotations, name))
            }
        }
    }
}

/// Bytes beyond the bounds for what names an object.
const SPARE: usize = 16 << 10;

impl Keep {
    /// How much may be held when a part of a value at `place` is added. What names an object fits in any case.
    pub(super) fn most_bytes(self, place: Place) -> usize {
        let most = |which| match which {
            Which::All => MOST_METADATA.min(self.bytes),
            Which::Ours => MOST_OURS,
        };
        match place {
            Place::Labels => most(self.labels),
            Place::Annotations => most(self.annotations),
            Place::Metadata | Place::Event | Place::List => self.bytes + SPARE,
            Place::Items | Place::Object | Place::Status => self.bytes,
        }
    }

    /// The same where the part is a list of owners.
    pub(super) fn most_references(self) -> usize {
        MOST_METADATA.min(self.bytes)
    }

    /// How many values may be held.
    pub(super) const fn most_values(self) -> usize {
        self.values
    }
}

fn is_kept(which: Which, name: &[u8]) -> bool {
    which == Which::All || name.starts_with(OURS)
}

/// Fields of `metadata` that say which object it is, and which state of it.
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

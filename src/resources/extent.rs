//! What is not announced yet: kinds, fields and values that the types have, and that no definition, reference or check
//! shows, because nothing serves them.
//!
//! [`PEOPLE`] is the only switch. Everything else asks for an [`Extent`].

/// Whether everything about people is announced. After setting it to `true`, run `just generate`.
pub(super) const PEOPLE: bool = false;

/// Which kinds, fields and values exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extent {
    /// Those that are announced: what users see.
    #[default]
    Announced,
    /// All of them. Tests prepare for their announcement with it.
    Whole,
}

impl Extent {
    /// Returns whether everything about people exists.
    pub const fn has_people(self) -> bool {
        PEOPLE || matches!(self, Self::Whole)
    }
}

//! The keyed hash of tables with a fixed size: no caller can choose to collide with another.

/// Builds hashers with a random key.
#[cfg(not(test))]
pub(crate) type Keyed = std::hash::RandomState;

/// Builds hashers with a fixed key, since tests need callers that certainly do not collide.
#[cfg(test)]
pub(crate) type Keyed = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

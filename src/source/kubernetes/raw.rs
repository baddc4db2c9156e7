//! An object with only the parts that are read: [`crate::json_stream::Keep`].
//!
//! Any JSON object decodes: an invalid object must not stop the watch of all others.

use serde::de::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// The kept parts of an object.
#[derive(Clone, Debug)]
pub(super) struct Raw(pub(super) Value);

impl Raw {
    pub(super) fn metadata(&self, field: &str) -> &str {
        self.0["metadata"][field].as_str().unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Map::deserialize(deserializer).map(|object| Self(Value::Object(object)))
    }
}

//! From a raw object to the change of a row: judged first, then applied.

use serde_json::Value;

use crate::directory::settings::Settings;
use crate::directory::tables::{Change, Row};
use crate::directory::{ObjectKey, admit};
use crate::resources::{Credential, Kind};
use crate::tokens::MacKey;

impl Change {
    /// Returns the change that a raw object of a user's kind stands for. An object that is being deleted counts as
    /// deleted: others' finalizers must not keep its tokens alive. `None` if the object has no usable metadata, or is
    /// a Credential: those go through [`Change::credential`].
    pub fn object(kind: Kind, raw: &Value, settings: &Settings) -> Option<Self> {
        let metadata = raw.get("metadata")?;
        if metadata
            .get("deletionTimestamp")
            .is_some_and(|value| !value.is_null())
        {
            let namespace = metadata
                .get("namespace")
                .and_then(Value::as_str)
                .unwrap_or_default();
            return Some(Self::Delete(
                kind,
                ObjectKey::new(namespace, metadata.get("name")?.as_str()?),
            ));
        }
        let row = match kind {
            Kind::Identity => Row::Identity(Box::new(admit::identity(raw, settings)?)),
            Kind::Scope => Row::Scope(Box::new(admit::scope(raw, settings)?)),
            Kind::OAuthClient => Row::Client(Box::new(admit::client(raw, settings)?)),
            Kind::ServiceAccessToken => {
                Row::ServiceToken(Box::new(admit::service_token(raw, settings)?))
            }
            Kind::User => Row::User(Box::new(admit::user(raw, settings)?)),
            Kind::Credential => return None,
        };
        Some(Self::Upsert(row))
    }

    /// Returns the change that a Credential stands for. The seals are checked with the Identity's key.
    pub fn credential(credential: &Credential, key: Option<&MacKey>) -> Option<Self> {
        Some(Self::Upsert(Row::Credential(Box::new(admit::credential(
            credential, key,
        )?))))
    }
}

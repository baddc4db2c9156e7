//! A Kubernetes Secret: read, changed in the operator's own fields, and written back as a whole.
//!
//! It is kept as raw JSON, so that annotations, labels and finalizers of others survive, and fields that are newer than
//! this program. It never prints its data, and wipes it when dropped. Not here: any decision about whether to write.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use super::api::Precondition;
use crate::directory::ObjectKey;
use crate::resources::{
    ANNOTATION_FENCE, ANNOTATION_OWNER, ANNOTATION_PLACEHOLDER, API_VERSION, CredentialOwner, Kind,
    LABEL_MANAGED, SecretVersion, Template,
};
use crate::tokens::SecretString;

/// A Secret.
#[derive(Clone, PartialEq)]
pub struct SecretObject(Map<String, Value>);

/// An object that a Secret is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretOwner<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its name. Its namespace is the Secret's.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

impl<'a> From<&'a CredentialOwner> for SecretOwner<'a> {
    fn from(owner: &'a CredentialOwner) -> Self {
        Self {
            kind: owner.kind.kind(),
            name: &owner.name,
            uid: &owner.uid,
        }
    }
}

/// Who a Secret belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The given owner.
    Ours,
    /// No one, but its annotation names the given owner: a restore removes owner references.
    Adoptable,
    /// An earlier object with the owner's kind and name. Garbage collection is about to delete it.
    Predecessor,
    /// Another object.
    Foreign,
}

impl SecretObject {
    /// Wraps a Secret from the API server or from a file.
    pub const fn new(manifest: Map<String, Value>) -> Self {
        Self(manifest)
    }

    /// Creates a Secret for `owner` that holds nothing yet.
    pub fn placeholder<'o>(
        key: &ObjectKey,
        owner: impl Into<SecretOwner<'o>>,
        secret_type: &str,
    ) -> Self {
        let metadata = json!({ "namespace": &*key.namespace, "name": &*key.name });
        let fields = [
            ("apiVersion", "v1".into()),
            ("kind", "Secret".into()),
            ("metadata", metadata),
            ("type", secret_type.into()),
        ];
        let mut secret = Self(
            fields
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
        );
        secret.claim(owner);
        secret.set_annotation(ANNOTATION_PLACEHOLDER, Some("true"));
        secret
    }

    /// Returns the manifest, including the secret data.
    pub const fn expose(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Returns its namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.metadata("namespace"), self.metadata("name"))
    }

    /// Returns its uid and version.
    pub fn version(&self) -> SecretVersion {
        SecretVersion {
            secret_uid: self.metadata("uid").to_owned(),
            secret_version: self.metadata("resourceVersion").to_owned(),
        }
    }

    /// Returns a precondition for exactly this state.
    pub fn precondition(&self) -> Precondition {
        let SecretVersion {
            secret_uid,
            secret_version,
        } = self.version();
        Precondition {
            uid: secret_uid,
            resource_version: secret_version,
        }
    }

    /// Returns when it was created.
    pub fn created(&self) -> Option<Timestamp> {
        self.metadata("creationTimestamp").parse().ok()
    }

    /// Whether it is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.field("metadata")["deletionTimestamp"].is_string()
    }

    /// Whether its data is immutable.
    pub fn is_immutable(&self) -> bool {
        *self.field("immutable") == Value::Bool(true)
    }

    /// Whether it has an owner reference.
    pub fn has_owner(&self) -> bool {
        self.references().next().is_some()
    }

    /// Whether its label says that the operator manages it.
    pub fn is_managed(&self) -> bool {
        self.field("metadata")["labels"][LABEL_MANAGED] == "true"
    }

    /// Whether it has this type. A type never changes.
    pub fn has_type(&self, wanted: &str) -> bool {
        match self.field("type").as_str() {
            None | Some("") => wanted == Template::OPAQUE,
            Some(secret_type) => secret_type == wanted,
        }
    }

    /// Returns the value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.field("metadata")["labels"][name].as_str()
    }

    /// Returns the value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.field("metadata")["annotations"][name].as_str()
    }

    /// Returns the keys of its data.
    pub fn data_keys(&self) -> impl Iterator<Item = &str> {
        let data = self.field("data").as_object();
        data.into_iter().flatten().map(|(key, _)| key.as_str())
    }

    /// Returns the text under a key of its data; `None` if it is missing or not text.
    pub fn text(&self, key: &str) -> Option<SecretString> {
        let bytes = Zeroizing::new(STANDARD.decode(self.field("data")[key].as_str()?).ok()?);
        std::str::from_utf8(&bytes)
            .ok()
            .map(|text| SecretString::from(text.to_owned()))
    }

    /// Returns the bytes under a key of its data; `None` if they are missing or not base64.
    pub fn bytes(&self, key: &str) -> Option<Zeroizing<Vec<u8>>> {
        let text = self.field("data")[key].as_str()?;
        STANDARD.decode(text).ok().map(Zeroizing::new)
    }

    /// Whether a key of its data holds anything.
    pub fn has_text(&self, key: &str) -> bool {
        self.field("data")[key]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    }

    /// Returns who it belongs to, from the point of view of `owner`.
    pub fn ownership<'o>(&self, owner: impl Into<SecretOwner<'o>>) -> Ownership {
        let owner = owner.into();
        if let Some(controller) = self
            .references()
            .find(|reference| reference["controller"] == Value::Bool(true))
        {
            return if controller["uid"] == owner.uid {
                Ownership::Ours
            } else if controller["kind"] == owner.kind.as_str() && controller["name"] == owner.name
            {
                Ownership::Predecessor
            } else {
                Ownership::Foreign
            };
        }
        if self.field("metadata")["annotations"][ANNOTATION_OWNER] == owner_text(owner).as_str() {
            Ownership::Adoptable
        } else {
            Ownership::Foreign
        }
    }

    /// Whether it was created for exactly this owner, according to its reference and its annotation.
    pub fn is_made_for<'o>(&self, owner: impl Into<SecretOwner<'o>>) -> bool {
        let owner = owner.into();
        self.ownership(owner) == Ownership::Ours
            && self.annotation(ANNOTATION_OWNER) == Some(&*owner_text(owner))
    }

    /// Makes it the owner's: sets the reference, the annotation and the label.
    pub fn claim<'o>(&mut self, owner: impl Into<SecretOwner<'o>>) {
        let owner = owner.into();
        let references = self.claimed_references(owner);
        edit(&mut self.0, "metadata", |metadata| {
            metadata.insert("ownerReferences".to_owned(), Value::Array(references));
            edit(metadata, "annotations", |annotations| {
                annotations.insert(ANNOTATION_OWNER.to_owned(), owner_text(owner).into());
            });
            edit(metadata, "labels", |labels| {
                labels.insert(LABEL_MANAGED.to_owned(), "true".into());
            });
        });
    }

    /// Returns all references of others, and the operator's own in its previous place.
    fn claimed_references(&self, owner: SecretOwner<'_>) -> Vec<Value> {
        let ours = json!({
            "apiVersion": API_VERSION,
            "kind": owner.kind.as_str(),
            "name": owner.name,
            "uid": owner.uid,
            "controller": true,
            "blockOwnerDeletion": false,
        });
        let mut references: Vec<Value> = self.references().cloned().collect();
        match references
            .iter_mut()
            .find(|reference| reference["uid"] == owner.uid)
        {
            Some(old) => *old = ours,
            None => references.push(ours),
        }
        references
    }

    /// Whether it equals `before` except for its version, and for labels and annotations that mean nothing to the
    /// operator.
    pub fn differs_in_marks_only(&self, before: &Self) -> bool {
        let ours = [ANNOTATION_OWNER, ANNOTATION_PLACEHOLDER, ANNOTATION_FENCE];
        let (now, then) = (self.field("metadata"), before.field("metadata"));
        let fields = ["uid", "deletionTimestamp", "ownerReferences"];
        fields.iter().all(|field| now[field] == then[field])
            && ours
                .iter()
                .all(|name| now["annotations"][name] == then["annotations"][name])
            && self.is_managed() == before.is_managed()
            && ["data", "type", "immutable"]
                .iter()
                .all(|field| self.field(field) == before.field(field))
    }

    /// Returns this Secret with the data of another.
    #[must_use]
    pub fn with_data_of(mut self, other: &Self) -> Self {
        let data = other.field("data").clone();
        if let Some(mut old) = self.0.insert("data".to_owned(), data) {
            old.as_object_mut()
                .into_iter()
                .flatten()
                .for_each(|(_, value)| wipe(value));
        }
        self
    }

    /// Sets the text under a key of its data.
    pub fn set_text(&mut self, key: &str, text: &str) {
        self.set_encoded(key, &Zeroizing::new(STANDARD.encode(text)));
    }

    /// Sets the base64 value under a key of its data.
    pub fn set_encoded(&mut self, key: &str, base64: &str) {
        edit(&mut self.0, "data", |data| {
            if let Some(mut old) = data.insert(key.to_owned(), base64.into()) {
                wipe(&mut old);
            }
        });
    }

    /// Moves `stringData` into `data`, as the API server does with what people write.
    pub fn encode_texts(&mut self) {
        let Some(Value::Object(texts)) = self.0.remove("stringData") else {
            return;
        };
        for (key, mut text) in texts {
            if let Some(text) = text.as_str() {
                self.set_text(&key, text);
            }
            wipe(&mut text);
        }
    }

    /// Sets or removes a label.
    pub fn set_label(&mut self, name: &str, value: Option<&str>) {
        self.set_metadata("labels", name, value);
    }

    /// Sets or removes an annotation.
    pub fn set_annotation(&mut self, name: &str, value: Option<&str>) {
        self.set_metadata("annotations", name, value);
    }

    fn set_metadata(&mut self, field: &str, name: &str, value: Option<&str>) {
        edit(&mut self.0, "metadata", |metadata| {
            edit(metadata, field, |texts| match value {
                Some(value) => drop(texts.insert(name.to_owned(), value.into())),
                None => drop(texts.remove(name)),
            });
        });
    }

    /// Removes a key of its data.
    pub fn remove_key(&mut self, key: &str) {
        if let Some(Value::Object(data)) = self.0.get_mut("data")
            && let Some(mut old) = data.remove(key)
        {
            wipe(&mut old);
        }
    }

    /// Removes every key that holds `text`, except those in `keep`.
    pub fn forget_text(&mut self, text: &SecretString, keep: &[&str]) {
        let encoded = Zeroizing::new(STANDARD.encode(text.expose()));
        if let Some(Value::Object(data)) = self.0.get_mut("data") {
            data.retain(|key, value| keep.contains(&key.as_str()) || *value != encoded.as_str());
        }
    }

    /// Changes only its version, so that a late write on the previous version fails. `mark` must be new each time,
    /// because a write that changes nothing creates no version.
    pub fn fence(&mut self, mark: &str) {
        self.set_annotation(ANNOTATION_FENCE, Some(mark));
    }

    /// Removes the annotations of a placeholder and of a fence, which are no longer needed.
    pub fn unmark(&mut self) {
        self.set_annotation(ANNOTATION_FENCE, None);
        self.set_annotation(ANNOTATION_PLACEHOLDER, None);
    }

    /// Whether it has been a placeholder ever since its creation.
    pub fn is_placeholder(&self) -> bool {
        self.field("metadata")["annotations"][ANNOTATION_PLACEHOLDER].is_string()
    }

    fn field(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn metadata(&self, field: &str) -> &str {
        self.field("metadata")[field].as_str().unwrap_or_default()
    }

    /// Whether it was created for an OAuthClient, a ServiceAccessToken or a User, according to its annotation or a controller
    /// reference.
    pub fn was_made_for_an_owner(&self) -> bool {
        let mut references = self.references();
        self.annotation(ANNOTATION_OWNER).is_some()
            || references.any(|reference| reference["controller"] == true)
    }

    fn references(&self) -> impl Iterator<Item = &Value> {
        self.field("metadata")["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
    }
}

impl Drop for SecretObject {
    fn drop(&mut self) {
        for field in ["data", "stringData"] {
            if let Some(Value::Object(data)) = self.0.get_mut(field) {
                data.values_mut().for_each(wipe);
            }
        }
    }
}

impl fmt::Debug for SecretObject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SecretVersion {
            secret_uid,
            secret_version,
        } = self.version();
        write!(
            out,
            "Secret({}, uid {secret_uid}, version {secret_version}, [redacted])",
            self.key()
        )
    }
}

fn wipe(value: &mut Value) {
    if let Value::String(text) = value {
        text.zeroize();
    }
}

/// Returns the value of [`ANNOTATION_OWNER`] for an owner.
fn owner_text(owner: SecretOwner<'_>) -> String {
    format!("{}/{}", owner.kind.as_str(), owner.name)
}

/// Changes the object under `field`. Creates it if it is missing or not an object.
fn edit(map: &mut Map<String, Value>, field: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut inner = match map.remove(field) {
        Some(Value::Object(inner)) => inner,
        _ => Map::new(),
    };
    change(&mut inner);
    map.insert(field.to_owned(), Value::Object(inner));
}

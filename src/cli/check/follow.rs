//! Which finding follows from another one.
//!
//! One mistake in an Identity breaks every object that refers to it. Such a finding is a note that points to its cause,
//! so that the report has one error for one mistake. A finding stays an error if its cause is in a file that is not
//! checked: the report has no error for that one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::super::manifests::World;
use super::near::Near;
use super::references::{client_of, gateway_scopes, identity_of, scope_values, value_at};
use crate::directory::problem::suggest::shown;
use crate::directory::{ObjectKey, Problem, Reason, Severity};
use crate::resources::Kind;
use crate::source::manifest::{Manifest, ManifestObject, SourceText};

/// The place of a fault that others follow from.
#[derive(Clone)]
pub(super) struct RootFault {
    pub(super) source: Arc<SourceText>,
    pub(super) span: Range<usize>,
    /// The object that has the fault, such as `Identity platform/main`.
    subject: String,
    /// Whether the report has this fault as an error.
    is_judged: bool,
}

/// The relation of a finding to its cause.
pub(super) struct Follows {
    pub(super) cause: RootFault,
    /// Whether another object has the same fault. Otherwise the object that this one refers to has a fault.
    is_same: bool,
}

impl Follows {
    /// Returns whether the finding is reported as a note: the report has its cause as an error.
    pub(super) const fn is_note(&self) -> bool {
        self.cause.is_judged
    }

    /// Returns the message and the help of the finding.
    pub(super) fn words(&self, message: String) -> (String, Option<String>) {
        let at = self.cause.source.position(self.cause.span.start);
        let place = format!("{}:{}:{}", self.cause.source.name, at.line, at.column);
        if self.is_same {
            (message, Some(format!("the same as at {place}")))
        } else if self.cause.is_judged {
            let subject = &self.cause.subject;
            let message =
                format!("this follows from the fault of {subject} at {place}: correct that first");
            (message, None)
        } else {
            let subject = &self.cause.subject;
            (message, Some(format!("{subject} has a fault: see {place}")))
        }
    }
}

/// A field of an object, which identifies a problem.
type Place = (Kind, ObjectKey, String);

/// The causes of findings.
#[derive(Default)]
pub(super) struct Causes {
    /// The first fault of each object, or the cause that it follows from.
    objects: BTreeMap<(Kind, ObjectKey), RootFault>,
    /// The same by kind and name, for references to the wrong namespace.
    names: BTreeMap<(Kind, Arc<str>), RootFault>,
    /// Objects that cannot be read.
    lost: BTreeMap<(Option<Kind>, ObjectKey), RootFault>,
    /// The faults of Scopes by their values.
    values: BTreeMap<String, RootFault>,
    /// The fields of OAuthClients that request scopes which do not exist.
    asked: BTreeMap<Place, RootFault>,
    /// The first place of each message about another object.
    told: HashMap<(Reason, String), (Place, RootFault)>,
    /// OAuthClients whose ServiceAccessTokens report the missing system user.
    reported: BTreeSet<ObjectKey>,
}

impl Causes {
    /// Finds the causes among all manifests. `problems` judges one object.
    pub(super) fn find(
        world: &World,
        near: &Near,
        context: &[Manifest],
        judged: &[Manifest],
        problems: impl Fn(&ManifestObject, Timestamp) -> Vec<Problem>,
        now: Timestamp,
    ) -> Self {
        let mut causes = Self::default();
        for (manifests, is_judged) in [(judged, true), (context, false)] {
            for manifest in manifests {
                causes.add_lost(manifest, is_judged);
            }
        }
        let mut seen = BTreeSet::new();
        // Causes come first: an OAuthClient refers to an Identity and to Scopes, a ServiceAccessToken to its client.
        for kind in Kind::ALL {
            for manifest in judged {
                let objects = manifest.objects.iter().filter(|it| it.kind == kind);
                for object in objects {
                    if seen.insert((kind, object.key.clone())) {
                        let found = problems(object, now);
                        causes.add(world, near, &manifest.source, object, found);
                    }
                }
            }
        }
        causes
    }

    fn add_lost(&mut self, manifest: &Manifest, is_judged: bool) {
        for lost in &manifest.lost {
            let Some(fault) = manifest.faults.get(lost.fault) else {
                continue;
            };
            if fault.severity != Severity::Error {
                continue;
            }
            let cause = RootFault {
                source: manifest.source.clone(),
                span: fault.span.clone(),
                subject: subject(lost.kind, &lost.key),
                is_judged,
            };
            if lost.kind == Some(Kind::Scope) {
                let ObjectKey { namespace, name } = &lost.key;
                let values = match &lost.value {
                    Some(value) => vec![value.clone()],
                    None => vec![name.to_string(), format!("{namespace}:{name}")],
                };
                for value in values {
                    self.values.entry(value).or_insert_with(|| cause.clone());
                }
            }
            self.lost
                .entry((lost.kind, lost.key.clone()))
                .or_insert(cause);
        }
    }

    fn add(
        &mut self,
        world: &World,
        near: &Near,
        source: &Arc<SourceText>,
        object: &ManifestObject,
        problems: Vec<Problem>,
    ) {
        let errors = problems
            .into_iter()
            .filter(|problem| problem.severity == Severity::Error);
        let (mut own, mut followed) = (None, None);
        for problem in errors {
            let cause = match self.of(world, near, object, &problem) {
                Some(follows) => {
                    let cause = follows.cause;
                    followed.get_or_insert_with(|| cause.clone());
                    cause
                }
                None => {
                    let cause = RootFault {
                        source: source.clone(),
                        span: object.place(&problem.path, &problem.message),
                        subject: subject(Some(object.kind), &object.key),
                        is_judged: true,
                    };
                    own.get_or_insert_with(|| cause.clone());
                    cause
                }
            };
            if problem.reason == Reason::SystemUserMissing {
                self.reported.extend(client_of(object));
            }
            let place = (object.kind, object.key.clone(), problem.path.clone());
            if object.kind == Kind::OAuthClient
                && problem.reason == Reason::ScopeNotFound
                && problem.path.starts_with("/spec/scopes/")
            {
                self.asked.insert(place.clone(), cause.clone());
            }
            if is_about_another(&problem) {
                self.told
                    .entry((problem.reason, problem.message))
                    .or_insert((place, cause));
            }
        }
        let Some(cause) = own.or(followed) else {
            return;
        };
        if object.kind == Kind::Scope {
            for value in scope_values(world, object) {
                self.values.entry(value).or_insert_with(|| cause.clone());
            }
        }
        self.names
            .entry((object.kind, object.key.name.clone()))
            .or_insert_with(|| cause.clone());
        self.objects
            .insert((object.kind, object.key.clone()), cause);
    }

    /// Returns what a problem of an object follows from.
    pub(super) fn of(
        &self,
        world: &World,
        near: &Near,
        object: &ManifestObject,
        problem: &Problem,
    ) -> Option<Follows> {
        if let Some(cause) = self.target(world, near, object, problem) {
            return Some(Follows {
                cause: cause.clone(),
                is_same: false,
            });
        }
        if !is_about_another(problem) || problem.severity != Severity::Error {
            return None;
        }
        let (place, cause) = self.told.get(&(problem.reason, problem.message.clone()))?;
        let (kind, key, path) = place;
        let is_itself = *kind == object.kind && *key == object.key && *path == problem.path;
        (!is_itself).then(|| Follows {
            cause: cause.clone(),
            is_same: true,
        })
    }

    /// Returns whether a warning of a client repeats what its ServiceAccessTokens report as an error.
    pub(super) fn is_reported(&self, object: &ManifestObject, problem: &Problem) -> bool {
        object.kind == Kind::OAuthClient
            && problem.severity == Severity::Warning
            && problem.reason == Reason::SystemUserMissing
            && self.reported.contains(&object.key)
    }

    /// Returns the fault of the object that a problem is about.
    fn target(
        &self,
        world: &World,
        near: &Near,
        object: &ManifestObject,
        problem: &Problem,
    ) -> Option<&RootFault> {
        match problem.reason {
            Reason::IdentityNotFound | Reason::IdentityNotReady => {
                let key = identity_of(world, object)?;
                self.fault(Kind::Identity, &key)
            }
            Reason::Pending => self.fault(Kind::OAuthClient, &client_of(object)?),
            Reason::ClientNotFound => {
                let key = client_of(object)?;
                let elsewhere = || self.names.get(&(Kind::OAuthClient, key.name.clone()));
                self.fault(Kind::OAuthClient, &key).or_else(elsewhere)
            }
            Reason::ScopeNotFound if object.kind == Kind::Identity => {
                let missing = |value: &&str| problem.message.contains(&format!("scope {value:?},"));
                self.values.get(gateway_scopes(object).find(missing)?)
            }
            Reason::ScopeNotFound => self.values.get(value_at(object, problem)?),
            Reason::ScopeNotGranted if object.kind == Kind::ServiceAccessToken => {
                let key = client_of(object)?;
                let client = world.client(&key)?;
                let asked = client.pointer("/spec/scopes")?.as_array()?;
                let values = asked.iter().filter_map(Value::as_str);
                // The client misspells a scope, and this token writes it correctly.
                let value = value_at(object, problem)?;
                let misspelt = near.nearest(value, values)?;
                let index = asked.iter().position(|asked| asked == misspelt)?;
                let place = (Kind::OAuthClient, key, format!("/spec/scopes/{index}"));
                let cause = self.asked.get(&place)?;
                near.is_scope(world, value).then_some(cause)
            }
            _ => None,
        }
    }

    fn fault(&self, kind: Kind, key: &ObjectKey) -> Option<&RootFault> {
        let unnamed = ObjectKey::new(&key.namespace, "");
        let lost = |kind, key: &ObjectKey| self.lost.get(&(kind, key.clone()));
        self.objects
            .get(&(kind, key.clone()))
            .or_else(|| lost(Some(kind), key))
            .or_else(|| lost(None, key))
            .or_else(|| self.objects.get(&(kind, unnamed.clone())))
            .or_else(|| lost(Some(kind), &unnamed))
    }
}

fn subject(kind: Option<Kind>, key: &ObjectKey) -> String {
    let kind = kind.map_or("the object", Kind::as_str);
    if key.name.is_empty() {
        format!(
            "{kind} without a name in namespace {}",
            shown(&key.namespace)
        )
    } else {
        format!("{kind} {}/{}", shown(&key.namespace), shown(&key.name))
    }
}

/// Returns whether a problem is about another object or about all objects of a namespace. Then the same message on
/// another object is the same mistake.
fn is_about_another(problem: &Problem) -> bool {
    matches!(
        problem.reason,
        Reason::IdentityNotFound
            | Reason::IdentityNotReady
            | Reason::ClientNotFound
            | Reason::ScopeNotFound
            | Reason::NamespaceNotAllowed
            | Reason::ScopeNotGranted
            | Reason::ReferenceTokensDisabled
            | Reason::SystemUserMissing
            | Reason::StorageRequired
            | Reason::Pending
    ) || problem.reason == Reason::LimitExceeded && problem.path.is_empty()
}

//! "Did you mean …" for names of objects. The time is bounded for the whole report, since the author of a manifest
//! chooses the number of names and of wrong names.

use std::cell::Cell;

use serde_json::Value;

use super::super::manifests::World;
use super::references::{client_of, identity_of, value_at};
use crate::directory::problem::suggest::{nearest, shown};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::source::manifest::{DEFAULT_NAMESPACE, ManifestObject};

/// The maximum number of names that a wrong name is compared with.
const MAX_NAMES: usize = 1000;
/// The maximum work of a report, in steps of a few nanoseconds: well below a second. A report of a few hundred faults
/// needs far less.
const MAX_STEPS: usize = 200_000_000;
/// The cost of looking at one object, in steps.
const LOOK: usize = 32;

/// Searches for names until the maximum work is spent.
pub(super) struct Near(Cell<usize>);

impl Default for Near {
    fn default() -> Self {
        Self(Cell::new(MAX_STEPS))
    }
}

impl Near {
    /// Spends steps. Returns whether there were enough; if not, none are left.
    fn spend(&self, steps: usize) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or_default());
        left.is_some()
    }

    /// Returns a help text with what the author may have meant: the name of an existing object, its namespace, or the
    /// namespace that the object itself lacks. It never repeats what is written.
    pub(super) fn help(
        &self,
        world: &World,
        object: &ManifestObject,
        problem: &Problem,
    ) -> Option<String> {
        match problem.reason {
            Reason::ScopeNotFound => self.scope(world, value_at(object, problem)?),
            Reason::ScopeNotGranted => {
                let written = value_at(object, problem)?;
                let client = world.client(&client_of(object)?)?;
                let asked = client.pointer("/spec/scopes").and_then(Value::as_array);
                let asked = asked.into_iter().flatten().filter_map(Value::as_str);
                if asked.clone().any(|value| value == written) {
                    return None;
                }
                let meant = self.nearest(written, asked).map(did_you_mean);
                meant.or_else(|| {
                    let exists = self.is_scope(world, written);
                    (!exists).then(|| self.scope(world, written)).flatten()
                })
            }
            Reason::ClientNotFound => self.client(world, &client_of(object)?),
            Reason::IdentityNotFound => self.identity(world, object),
            Reason::NamespaceNotAllowed => {
                let is_default = *object.key.namespace == *DEFAULT_NAMESPACE
                    && !object.spans.find("/metadata/namespace").exact;
                is_default
                    .then(|| "the object names no namespace: set metadata.namespace".to_owned())
            }
            _ => None,
        }
    }

    /// Returns whether a Scope has a value.
    pub(super) fn is_scope(&self, world: &World, value: &str) -> bool {
        let mut scopes = world.directory.scopes().take_while(|_| self.spend(LOOK));
        scopes.any(|it| it.record().is_some_and(|it| *it.value == *value))
    }

    fn scope(&self, world: &World, written: &str) -> Option<String> {
        let scopes = world.directory.scopes().take_while(|_| self.spend(LOOK));
        let values = scopes.filter_map(|it| Some(&*it.record()?.value));
        self.nearest(written, values).map(did_you_mean)
    }

    fn client(&self, world: &World, written: &ObjectKey) -> Option<String> {
        let known = || world.directory.clients().take_while(|_| self.spend(LOOK));
        let elsewhere = known().find(|it| it.key.name == written.name);
        if let Some(client) = elsewhere {
            return Some(format!(
                "OAuthClient {} is in namespace {}: a ServiceAccessToken must be in the namespace of its client",
                shown(&client.key.name),
                shown(&client.key.namespace)
            ));
        }
        let beside = known().filter(|it| it.key.namespace == written.namespace);
        self.nearest(&written.name, beside.map(|it| &*it.key.name))
            .map(did_you_mean)
    }

    fn identity(&self, world: &World, object: &ManifestObject) -> Option<String> {
        let known = || {
            world
                .directory
                .identities()
                .take_while(|_| self.spend(LOOK))
        };
        let Some(written) = identity_of(world, object) else {
            let mut known = known();
            let only = known.next().filter(|_| known.next().is_none())?;
            let ObjectKey { namespace, name } = &only.key;
            return Some(format!(
                "write `identityRef: {{name: {}, namespace: {}}}`, or check with --default-identity {}",
                shown(name),
                shown(namespace),
                shown(&only.key.to_string())
            ));
        };
        if let Some(same) = known().find(|it| it.key.name == written.name) {
            let namespace = shown(&same.key.namespace);
            let has_namespace = !object.value["spec"]["identityRef"]["namespace"].is_null();
            return Some(if has_namespace {
                format!("did you mean `namespace: {namespace}`?")
            } else {
                format!("add `namespace: {namespace}` to spec.identityRef")
            });
        }
        let beside = known().filter(|it| it.key.namespace == written.namespace);
        let near = self.nearest(&written.name, beside.map(|it| &*it.key.name));
        let anywhere = || self.nearest(&written.name, known().map(|it| &*it.key.name));
        near.or_else(anywhere).map(did_you_mean)
    }

    /// Returns the name that was probably meant, and never the written one.
    pub(super) fn nearest<'a>(
        &self,
        written: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Option<&'a str> {
        let known = known.filter(|name| *name != written);
        let affordable = |name: &&str| self.spend(written.len().saturating_mul(name.len()));
        let found = nearest(written, known.take(MAX_NAMES).take_while(affordable));
        // If the work was spent before the end, a later name might have been nearer.
        found.filter(|found| self.0.get() > 0 && is_likely(written, found))
    }
}

/// Returns whether a near name is likely the one that was meant: `orders.delete` is not a misspelling of
/// `orders.write`, although most of their letters are the same.
fn is_likely(written: &str, found: &str) -> bool {
    let split = |name| str::rsplit_once(name, ['.', ':', '/']);
    match (split(written), split(found)) {
        (Some((prefix, last)), Some((other, near))) if prefix == other => {
            nearest(last, [near]).is_some()
        }
        _ => true,
    }
}

fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{}`?", shown(meant))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::directory::Settings;
    use crate::source::manifest::Manifest;

    /// Returns a world with this number of scopes.
    fn world(scopes: usize) -> World {
        let scope = |n| {
            format!(
                "---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: s{n:04}, namespace: platform}}\nspec: {{value: orders.read.{n:04}, identityRef: {{name: main}}}}\n"
            )
        };
        let text: String = (0..scopes).map(scope).collect();
        let manifest = Manifest::read("scopes.yaml", text.as_bytes());
        assert!(manifest.faults.is_empty());
        World::new(Settings::default(), &[], &[manifest], Timestamp::UNIX_EPOCH)
    }

    fn help(near: &Near, world: &World, written: &str) -> Option<String> {
        near.scope(world, written)
    }

    #[test]
    fn a_name_is_compared_with_a_bounded_number_of_others() {
        let (near, world) = (Near::default(), world(2 * MAX_NAMES));
        let near_one = help(&near, &world, "orders.raed.0007");
        assert_eq!(near_one.unwrap(), "did you mean `orders.read.0007`?");
        let of_one = MAX_STEPS - near.0.get();
        assert!(of_one <= (MAX_NAMES + 1) * (LOOK + 16 * 16), "{of_one}");
        assert!(
            MAX_STEPS / of_one > 500,
            "the work suffices for hundreds of faults"
        );
    }

    #[test]
    fn the_work_of_a_report_is_bounded_for_any_number_of_wrong_names() {
        let world = world(100);
        let near = Near(Cell::new(100_000));
        let helped = (0..1000).filter(|_| help(&near, &world, "orders.raed.0007").is_some());
        let helped = helped.count();
        assert!((1..=100_000 / (100 * LOOK)).contains(&helped), "{helped}");
        assert_eq!(near.0.get(), 0);
        assert_eq!(
            help(&near, &world, "orders.raed.0007"),
            None,
            "no work is left"
        );
    }
}

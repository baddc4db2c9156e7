//! "Did you mean …" for names of objects. The time is bounded for the whole report, since the author of a manifest
//! chooses the number of names and of wrong names.

use std::cell::Cell;

use super::super::manifests::World;
use crate::directory::suggest::{nearest, shown};
use crate::directory::{ObjectKey, Reason};

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

    /// Returns a help text with the name of an existing object that the author may have meant.
    pub(super) fn help(
        &self,
        world: &World,
        object: &ObjectKey,
        reason: Reason,
        written: &str,
    ) -> Option<String> {
        let directory = &world.directory;
        let meant = match reason {
            Reason::ScopeNotFound => {
                let scopes = directory.scopes().take_while(|_| self.spend(LOOK));
                self.nearest(written, scopes.filter_map(|it| Some(&*it.record()?.value)))
            }
            Reason::ClientNotFound => {
                let clients = directory.clients().take_while(|_| self.spend(LOOK));
                let beside = clients.filter(|it| it.key.namespace == object.namespace);
                self.nearest(written, beside.map(|it| &*it.key.name))
            }
            Reason::IdentityNotFound => {
                let identities = directory.identities().take_while(|_| self.spend(LOOK));
                self.nearest(written, identities.map(|it| &*it.key.name))
            }
            _ => None,
        };
        meant.map(|meant| format!("did you mean `{}`?", shown(meant)))
    }

    fn nearest<'a>(&self, written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let affordable = |name: &&str| self.spend(written.len().saturating_mul(name.len()));
        let found = nearest(written, known.take(MAX_NAMES).take_while(affordable));
        // If the work was spent before the end, a later name might have been nearer.
        found.filter(|_| self.0.get() > 0)
    }
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
        let object = ObjectKey::new("shop", "backend");
        near.help(world, &object, Reason::ScopeNotFound, written)
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

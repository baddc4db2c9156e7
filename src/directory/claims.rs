//! Who asks for which name. The order makes one name's claims of one namespace a range, oldest first.

use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::OrdSet;
use jiff::Timestamp;

use super::ObjectKey;

/// A name that an object asks for. The order makes one name's claims of one namespace a range, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub value: Arc<str>,
    pub identity: ObjectKey,
    pub namespace: Arc<str>,
    pub created: Timestamp,
    pub name: Arc<str>,
}

/// Stands before all claims of a namespace on a name, so that finding the oldest makes no copy.
struct ClaimsOf<'a> {
    value: &'a str,
    identity: &'a ObjectKey,
    namespace: &'a str,
}

impl Equivalent<Claim> for ClaimsOf<'_> {
    fn equivalent(&self, _: &Claim) -> bool {
        false
    }
}

impl Comparable<Claim> for ClaimsOf<'_> {
    fn compare(&self, claim: &Claim) -> Ordering {
        self.value
            .cmp(&claim.value)
            .then_with(|| self.identity.cmp(&claim.identity))
            .then_with(|| self.namespace.cmp(&claim.namespace))
            .then(Ordering::Less)
    }
}

/// A name of an Identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    value: Arc<str>,
    identity: ObjectKey,
}

struct NameOf<'a>(&'a str, &'a ObjectKey);

impl Equivalent<Name> for NameOf<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        self.compare(name).is_eq()
    }
}

impl Comparable<Name> for NameOf<'_> {
    fn compare(&self, name: &Name) -> Ordering {
        self.0
            .cmp(&name.value)
            .then_with(|| self.1.cmp(&name.identity))
    }
}

/// All claims on one sort of name.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    all: OrdSet<Claim>,
    /// Names with more than one claim: few, so that most names need no look at `all`.
    contested: OrdSet<Name>,
}

impl Claims {
    pub(super) fn insert(&mut self, claim: Claim) {
        let name = claim.name_claimed();
        self.all.insert(claim);
        if self.has_several(&name) {
            self.contested.insert(name);
        }
    }

    pub(super) fn remove(&mut self, claim: &Claim) {
        self.all.remove(claim);
        let name = claim.name_claimed();
        if !self.has_several(&name) {
            self.contested.remove(&name);
        }
    }

    /// Whether more than one object asks for a name, may it or not.
    pub(super) fn is_contested(&self, value: &str, identity: &ObjectKey) -> bool {
        self.contested.contains(&NameOf(value, identity))
    }

    /// The oldest claim of a namespace on a name.
    pub(super) fn oldest(
        &self,
        value: &str,
        identity: &ObjectKey,
        namespace: &str,
    ) -> Option<ObjectKey> {
        let wanted = ClaimsOf {
            value,
            identity,
            namespace,
        };
        let first = self.all.get_next(&wanted)?;
        let same = first.is_on(value, identity) && *first.namespace == *namespace;
        same.then(|| ObjectKey {
            namespace: first.namespace.clone(),
            name: first.name.clone(),
        })
    }

    fn has_several(&self, name: &Name) -> bool {
        let first = ClaimsOf {
            value: &name.value,
            identity: &name.identity,
            namespace: "",
        };
        let from = (Bound::Included(&first), Bound::Unbounded);
        let claims = self.all.range::<_, ClaimsOf<'_>>(from);
        let on_it = claims.take_while(|claim| claim.is_on(&name.value, &name.identity));
        on_it.take(2).count() == 2
    }
}

impl Claim {
    fn is_on(&self, value: &str, identity: &ObjectKey) -> bool {
        *self.value == *value && self.identity == *identity
    }

    fn name_claimed(&self) -> Name {
        Name {
            value: self.value.clone(),
            identity: self.identity.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(value: &str, namespace: &str, second: i64) -> Claim {
        Claim {
            value: value.into(),
            identity: ObjectKey::new("platform", "main"),
            namespace: namespace.into(),
            created: Timestamp::from_second(second).unwrap(),
            name: format!("{namespace}-{second}").into(),
        }
    }

    #[test]
    fn a_name_is_contested_while_more_than_one_object_asks_for_it() {
        let identity = ObjectKey::new("platform", "main");
        let mut claims = Claims::default();
        let contested = |claims: &Claims| claims.is_contested("a", &identity);
        claims.insert(claim("a", "blue", 1));
        claims.insert(claim("b", "blue", 1));
        assert!(!contested(&claims));
        claims.insert(claim("a", "red", 0));
        claims.insert(claim("a", "blue", 2));
        assert!(contested(&claims));
        assert!(!claims.is_contested("a", &ObjectKey::new("platform", "other")));
        claims.remove(&claim("a", "red", 0));
        assert!(contested(&claims));
        claims.remove(&claim("a", "blue", 1));
        assert!(!contested(&claims));
        let oldest = claims.oldest("a", &identity, "blue");
        assert_eq!(oldest, Some(ObjectKey::new("blue", "blue-2")));
        assert_eq!(claims.oldest("a", &identity, "red"), None);
    }
}

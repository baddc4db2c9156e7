//! Explains what people may do: whether a client signs them in, and why a User may act and use a client or not.

use jiff::Timestamp;

use super::{NO_IDENTITY, RuleVerdict, Steps, absent, malformed, open_to};
use crate::directory::tables::record::{InteractiveRecord, UserRecord};
use crate::directory::values::duration::format_duration;
use crate::directory::{AcceptedClient, Barred, Directory, ObjectKey, PersonClient, Reason};
use crate::resources::{ConsentPolicy, ReferenceTokens};

impl Directory {
    /// Explains whether a client with the grant of authorization codes signs in people.
    pub(super) fn explain_interactive(&self, steps: &mut Steps, client: &AcceptedClient<'_>) {
        let Some(record) = &client.client.record.interactive else {
            return;
        };
        steps.problems.extend(self.interactive_problems(client));
        let (identity, namespace) = (client.identity, &*client.client.object.key.namespace);
        let key = &identity.object.key;
        steps.ask(
            "interactive",
            &[Reason::NamespaceNotAllowed],
            "/spec/grantTypes",
            || {
                let rule = &identity.record.interactive_clients;
                open_to("spec.access.interactiveClients", key, rule, namespace)
            },
        );
        steps.ask(
            "storage",
            &[Reason::StorageRequired],
            "/spec/grantTypes",
            || format!("Identity {key} stores what people do"),
        );
        let consent = match self.person_client(*client).consent {
            ConsentPolicy::Remember => "once for each scope",
            ConsentPolicy::Always => "each time",
            ConsentPolicy::Skip => "only if a request says prompt=consent",
        };
        steps.holds("consent", format!("people are asked for consent {consent}"));
        steps.holds("people", format!("it is open to {}", audience(record)));
        let whose = match client.client.record.reference_tokens {
            ReferenceTokens::None => return,
            ReferenceTokens::AuthenticatedUsers => "each of them",
            ReferenceTokens::AdministratorsOnly => "those whose User has role Administrator",
        };
        let (most, never) = (
            format_duration(identity.record.personal_tokens.max_lifetime),
            if identity.record.personal_tokens.may_never_expire {
                ", or for ever"
            } else {
                ""
            },
        );
        steps.holds(
            "personal-tokens",
            format!("{whose} may have personal access tokens of it, for at most {most}{never}"),
        );
    }

    /// Explains why a User may sign in now or not, and whether the person may use a client.
    pub fn explain_user(
        &self,
        key: &ObjectKey,
        client: Option<&ObjectKey>,
        now: Timestamp,
    ) -> Vec<RuleVerdict> {
        let Some(object) = self.user(key) else {
            return absent("User", key);
        };
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return malformed(problems),
        };
        let mut steps = Steps::new(self.user_problems(object));
        steps.holds(
            "well-formed",
            format!("its username is {:?}", record.username),
        );
        let is_served = steps.ask("identity", &NO_IDENTITY, "", || {
            let identity = record.identity.as_ref();
            let identity = identity.map(ToString::to_string).unwrap_or_default();
            format!("its Identity is {identity}, which is served")
        });
        if !is_served {
            return steps.finish();
        }
        for (rule, reason, holds) in [
            (
                "namespace",
                Reason::NamespaceNotAllowed,
                "it is in the namespace of its Identity",
            ),
            (
                "storage",
                Reason::StorageRequired,
                "its Identity stores what people do",
            ),
            (
                "name-held",
                Reason::ValueConflict,
                "no older User has its username or subject",
            ),
            (
                "quota",
                Reason::LimitExceeded,
                "it is among the oldest Users of its Identity",
            ),
        ] {
            steps.ask(rule, &[reason], "", || holds.to_owned());
        }
        steps.enabled(record.disabled);
        explain_validity(&mut steps, record, now);
        if let Some(client) = client {
            self.explain_use(&mut steps, record, client, now);
        }
        steps.finish()
    }

    fn explain_use(
        &self,
        steps: &mut Steps,
        record: &UserRecord,
        client: &ObjectKey,
        now: Timestamp,
    ) {
        let found = self.client(client);
        let accepted = found.and_then(|object| self.accepted_client(object).ok());
        let Some(accepted) = accepted.filter(|it| !it.client.record.disabled) else {
            let message = format!(
                "OAuthClient {client} is not served: explain it with `symbolon explain client {client}`"
            );
            steps.refuses("client", message);
            return;
        };
        let at = self.person_client(accepted);
        let Some(interactive) = at.accepted.client.record.interactive.as_ref() else {
            let message = format!(
                "OAuthClient {client} does not sign in people: add AuthorizationCode to its spec.grantTypes"
            );
            steps.refuses("client", message);
            return;
        };
        let open_to = audience(interactive);
        match self.person_at(&at, &record.subject, now) {
            Ok(person) => {
                steps.holds("client", format!("OAuthClient {client} is open to {open_to}"));
                self.explain_scopes_of(steps, &at, &person);
            }
            Err(Barred::ClientNotAllowed) => steps.refuses(
                "client",
                format!("OAuthClient {client} is open only to {open_to}: ask its team to change spec.users or spec.access, or add the person to one of the groups"),
            ),
            // The rules above say why.
            Err(_) => {}
        }
    }

    fn explain_scopes_of(
        &self,
        steps: &mut Steps,
        client: &PersonClient<'_>,
        person: &crate::directory::Person<'_>,
    ) {
        for value in &client.accepted.client.record.scopes {
            let Some(scope) = self.client_scope(client, value) else {
                steps.refuses("scope", format!("{value:?} is not granted to the client"));
                continue;
            };
            if !person.may_have(&scope) {
                let message = format!("{value:?} is only for people in a group of its spec.people");
                steps.refuses("scope", message);
                continue;
            }
            let released = person.released_by([&scope]);
            let claims = serde_json::to_value(&released).unwrap_or_default();
            let claims = claims.as_object().into_iter().flatten();
            let claims: Vec<_> = claims.map(|(name, _)| name.as_str()).collect();
            let told = if claims.is_empty() {
                String::new()
            } else {
                format!(", and releases {}", claims.join(", "))
            };
            steps.holds("scope", format!("{value:?} is granted{told}"));
        }
    }
}

fn explain_validity(steps: &mut Steps, record: &UserRecord, now: Timestamp) {
    match (record.not_before, record.not_after) {
        (Some(begin), _) if now < begin => {
            steps.refuses(
                "validity",
                format!("spec.notBefore is {begin}, in the future"),
            );
        }
        (_, Some(end)) if end <= now => {
            steps.refuses("validity", format!("spec.notAfter is {end}, in the past"));
        }
        (None, None) => {}
        _ => steps.holds("validity", "the present is between notBefore and notAfter"),
    }
}

/// Returns who may use a client.
fn audience(record: &InteractiveRecord) -> String {
    let types: Vec<_> = record
        .users
        .iter()
        .map(|kind| format!("{kind:?}"))
        .collect();
    let types = types.join(" and ");
    let Some(access) = &record.access else {
        return format!("all {types} people");
    };
    let listed = |what: &str, names: &[std::sync::Arc<str>]| {
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    };
    let groups = listed("in the groups", &access.groups);
    let users = listed("named", &access.users);
    let parts: Vec<_> = groups.into_iter().chain(users).collect();
    if parts.is_empty() {
        return "no one: its spec.access names no group and no User".to_owned();
    }
    format!("{types} people {}", parts.join(" or "))
}

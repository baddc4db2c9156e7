//! Everything to say about one object before it is applied: what keeps it from being served, and what is served but
//! could be safer.

use jiff::{SignedDuration, Timestamp};

use crate::directory::judge::served::AcceptedClient;
use crate::directory::names::{client_id_prefix, scope_prefix};
use crate::directory::schema::is_dns_label;
use crate::directory::tables::record::{
    ClientRecord, IdentityRecord, Object, SecretRecord, ServiceTokenRecord, UserRecord,
};
use crate::directory::template::in_shell_form;
use crate::directory::values::duration::format_duration;
use crate::directory::values::normal::is_normal_audience;
use crate::directory::{Directory, Lifetime, ObjectKey, Problem, Reason, StandardScope};
use crate::resources::{
    AUDIENCE_WORDS, GrantType, Kind, OwnerKind, ReferenceTokens, Retire, StorageType, WhenExceeded,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);

impl Directory {
    /// Returns the errors and warnings of an object of a user's kind in this directory; errors first.
    pub fn diagnose(&self, kind: Kind, key: &ObjectKey, now: Timestamp) -> Vec<Problem> {
        match kind {
            Kind::Identity => self
                .identity(key)
                .map(|object| self.of_identity(object, now)),
            Kind::Scope => self.scope(key).map(|object| self.scope_problems(object)),
            Kind::OAuthClient => self.client(key).map(|object| self.of_client(object)),
            Kind::ServiceAccessToken => self
                .service_token(key)
                .map(|object| self.of_service_token(object, now)),
            Kind::User => self.user(key).map(|object| self.of_user(object, now)),
            Kind::Credential => None,
        }
        .unwrap_or_default()
    }

    fn of_identity(&self, object: &Object<IdentityRecord>, now: Timestamp) -> Vec<Problem> {
        let mut problems = self.identity_problems(object);
        if let Some(record) = object.record() {
            problems.extend(weak_identity(record, now));
            problems.extend(lent_names(record));
            problems.extend(self.closed_gateways(object, record));
            problems.extend(useless_audiences(record));
        }
        problems
    }

    /// Returns a warning for each gateway that no token can pass, since a scope that it requires does not exist.
    fn closed_gateways(
        &self,
        object: &Object<IdentityRecord>,
        record: &IdentityRecord,
    ) -> Vec<Problem> {
        let required = record
            .gateways
            .iter()
            .flat_map(|(name, gateway)| gateway.scopes.iter().map(move |scope| (name, scope)));
        let missing =
            required.filter(|(_, scope)| self.scope_by_value(object, record, scope).is_none());
        missing
            .map(|(gateway, scope)| {
                let message = format!("gateway {gateway:?} requires scope {scope:?}, which does not exist, so that no token passes: create a Scope for it, or correct the value");
                Problem::warning(Reason::ScopeNotFound, "/spec/gateways", message)
            })
            .collect()
    }

    fn of_client(&self, object: &Object<ClientRecord>) -> Vec<Problem> {
        let mut problems = self.client_problems(object);
        problems.extend(self.secret_conflict(object));
        if let Ok(accepted) = self.accepted_client(object) {
            problems.extend(self.not_granted(&accepted));
            problems.extend(self.interactive_problems(&accepted));
            problems.extend(self.consent_is_asked(&accepted));
            problems.extend(self.unknown_users(&accepted));
            problems.extend(weak_interactive(&accepted));
            problems.extend(beyond_ceiling(
                accepted.client.record.access_token_lifetime,
                accepted.identity.record.max_access_token_lifetime,
                "/spec/tokens/accessTokenLifetime",
                &format!(
                    "limits.maxAccessTokenLifetime of Identity {}",
                    accepted.identity.object.key
                ),
            ));
            problems.extend(hasty_retirement(&accepted));
            problems.extend(self.oversized_token(&accepted));
            problems.extend(Self::unwritten_of_client(&accepted));
        }
        problems.extend(object.record().into_iter().flat_map(idle_client));
        problems.extend(object.record().into_iter().flat_map(|record| {
            let path = "/spec/authentication/secret/template/data";
            shell_placeholders(OwnerKind::OAuthClient, &record.secret, path)
        }));
        problems
    }

    /// Returns a warning for each User that a client's `access` names and that does not exist. Without any User of the
    /// Identity, those are simply not among the manifests.
    fn unknown_users(&self, client: &AcceptedClient<'_>) -> Vec<Problem> {
        let identity = &client.identity.object.key;
        if self.users_of(identity).next().is_none() {
            return Vec::new();
        }
        let interactive = client.client.record.interactive.as_deref();
        let access = interactive.and_then(|record| record.access.as_ref());
        let named = access.into_iter().flat_map(|access| access.users.iter());
        let is_known = |name: &str| {
            self.user(&ObjectKey::new(&identity.namespace, name))
                .is_some()
        };
        let unknown = named.enumerate().filter(|(_, name)| !is_known(name));
        unknown
            .map(|(index, name)| {
                let message = format!(
                    "there is no User {name:?} in namespace {}: correct the name, or remove it",
                    identity.namespace
                );
                let path = format!("/spec/access/users/{index}");
                Problem::warning(Reason::Pending, path, message)
            })
            .collect()
    }

    fn of_user(&self, object: &Object<UserRecord>, now: Timestamp) -> Vec<Problem> {
        let mut problems = self.user_problems(object);
        let Some(record) = object.record() else {
            return problems;
        };
        let ahead = record.revoke_issued_before.filter(|moment| now < *moment);
        let ahead = ahead.map(|_| Problem::warning(Reason::Invalid, "/spec/revokeIssuedBefore", "this time is in the future: until then everything that the person is issued is refused"));
        let over = record.not_after.filter(|end| *end <= now);
        let over = over.map(|_| {
            Problem::warning(
                Reason::Expired,
                "/spec/notAfter",
                "this time has passed, and the person can do nothing: move it, or delete the User",
            )
        });
        problems.extend(ahead);
        problems.extend(over);
        problems.extend(self.shared_address(object, record));
        problems
    }

    /// Returns a warning if another User has the same address: then no one can sign in with it.
    fn shared_address(&self, object: &Object<UserRecord>, record: &UserRecord) -> Option<Problem> {
        let (identity, email) = (record.identity.as_ref()?, record.email.as_ref()?);
        let mut others = self.users.by_address(identity, email);
        let other = others.find(|other| other.key != object.key)?;
        let message = format!(
            "User {} has the same address, so that neither can sign in with it: each of them needs the username",
            other.key
        );
        Some(Problem::warning(
            Reason::ValueConflict,
            "/spec/email",
            message,
        ))
    }

    fn of_service_token(
        &self,
        object: &Object<ServiceTokenRecord>,
        now: Timestamp,
    ) -> Vec<Problem> {
        let mut problems = self.service_token_problems(object, now);
        problems.extend(self.secret_conflict(object));
        problems.extend(self.unwritten_of_token(object));
        problems.extend(object.record().into_iter().flat_map(|record| {
            let path = "/spec/secret/template/data";
            shell_placeholders(OwnerKind::ServiceAccessToken, &record.secret, path)
        }));
        let lifetime = object.record().and_then(|record| record.lifetime);
        problems.extend(match lifetime {
            Some(Lifetime::Never) => Some(weak(
                "/spec/neverExpires",
                "a token that never expires stays valid until someone notices that it leaked: set a lifetime, and the operator renews the token",
            )),
            Some(Lifetime::For(lifetime)) if lifetime > YEAR => Some(weak(
                "/spec/lifetime",
                "a token that lives longer than a year is rarely replaced in time: reduce the lifetime, and the operator renews the token",
            )),
            _ => None,
        });
        problems
    }
}

/// Returns a warning for each value of a template that writes a placeholder in the form of a shell, `${name}`. The
/// Secret would contain that text unchanged.
fn shell_placeholders(
    kind: OwnerKind,
    secret: &SecretRecord,
    path: &str,
) -> impl Iterator<Item = Problem> {
    let data = secret.template.iter().flat_map(|template| &template.data);
    data.filter_map(move |(key, value)| {
        let name = in_shell_form(kind, value)?;
        let message = format!(
            "`${{{name}}}` is not a placeholder, so that the Secret would contain it as it is: write `$({name})`"
        );
        Some(weak(&format!("{path}/{key}"), &message))
    })
}

fn weak(path: &str, message: &str) -> Problem {
    Problem::warning(Reason::WeakChoice, path, message)
}

/// Returns a warning for each name that is granted to one namespace and has the prefix of another: a namespace with
/// that prefix as its name would own it.
fn lent_names(record: &IdentityRecord) -> impl Iterator<Item = Problem> {
    let clients = record
        .names
        .client_ids
        .iter()
        .map(|(name, given)| (name, client_id_prefix(name), given));
    let scopes = record
        .names
        .scopes
        .iter()
        .map(|(name, given)| (name, scope_prefix(name), given));
    let lent = clients.chain(scopes).filter_map(|(name, prefix, given)| {
        let prefix = prefix.filter(|prefix| is_dns_label(prefix))?;
        let to = given.iter().find(|namespace| ***namespace != *prefix)?;
        Some((name, prefix, to))
    });
    lent.map(|(name, prefix, to)| {
        let message = format!("{name:?} is granted to namespace {to}, but a namespace with the name {prefix} would own it: reserve that namespace, or choose a name without this prefix");
        weak("/spec/access/names", &message)
    })
}

/// Returns a warning for each audience that no Scope can have, since it is not in normal form. It grants and admits
/// nothing.
fn useless_audiences(record: &IdentityRecord) -> impl Iterator<Item = Problem> {
    let gateways = record.gateways.iter().map(|(name, gateway)| {
        let place = format!("gateway {name:?} requires");
        ("/spec/gateways", place, &gateway.audience)
    });
    let names = record.names.audiences.iter().map(|(audience, given)| {
        let place = format!("namespace {} is granted", given.join(", "));
        ("/spec/access/names", place, audience)
    });
    let useless = gateways
        .chain(names)
        .filter(|(.., audience)| !is_normal_audience(audience));
    useless.map(|(path, place, audience)| {
        let message =
            format!("{place} the audience {audience:?}, which no Scope can have: {AUDIENCE_WORDS}");
        weak(path, &message)
    })
}

fn weak_identity(record: &IdentityRecord, now: Timestamp) -> Vec<Problem> {
    let everything = record
        .names
        .scope_prefixes
        .iter()
        .find(|(prefix, _)| prefix.is_empty());
    let every_scope = everything.map(|(_, namespace)| {
        let message = format!(
            "\"*\" grants namespace {namespace} every scope value: write a prefix before the *"
        );
        weak("/spec/access/names", &message)
    });
    let ahead = record.revoked_ahead(now).map(|_| Problem::warning(Reason::Invalid, "/spec/revokeIssuedBefore", "this time is in the future: until then everything that was issued is refused, and no secret is issued"));
    let loopback = ["http://localhost", "http://127.0.0.1", "http://[::1]"];
    let clear = record.issuer.starts_with("http://")
        && !loopback.iter().any(|host| record.issuer.starts_with(host));
    let choices = [
        (
            clear,
            "/spec/issuer",
            "http lets others read secrets and tokens in transit: use https",
        ),
        (
            record.never_expiring_tokens,
            "/spec/limits/neverExpiringTokens",
            "tokens that never expire stay valid until someone notices that they leaked: set Deny, and the operator renews long-lived tokens",
        ),
        (
            record.personal_tokens.may_never_expire,
            "/spec/limits/neverExpiringPersonalTokens",
            "personal access tokens that never expire stay valid until someone notices that they leaked: set Deny, and people create new ones in time",
        ),
        (
            record.max_access_token_lifetime > DAY,
            "/spec/limits/maxAccessTokenLifetime",
            "APIs that do not introspect accept a JWT until it expires: set at most 24h",
        ),
        (
            record.when_stale == WhenExceeded::KeepServing,
            "/spec/staleness/whenExceeded",
            "a server that cannot reach the Kubernetes API keeps accepting what was revoked: use Refuse",
        ),
        (
            record.has_unproven_database,
            "/spec/storage/postgresql",
            "who controls the network between the pods and the database can read and change what is stored about people: set caSecretRef, so that the servers verify the database's certificate",
        ),
        (
            record.has_passwords && record.storage == StorageType::None,
            "/spec/login/password",
            "no one can sign in without a store: set spec.storage.type to SQLite or PostgreSQL",
        ),
    ];
    let choices = choices
        .into_iter()
        .filter(|(chosen, ..)| *chosen)
        .map(|(_, path, message)| weak(path, message));
    choices
        .chain(every_scope)
        .chain(ahead)
        .chain(ceilings(record))
        .collect()
}

fn ceilings(record: &IdentityRecord) -> impl Iterator<Item = Problem> {
    let access = beyond_ceiling(
        Some(record.access_token_lifetime),
        record.max_access_token_lifetime,
        "/spec/tokens/accessTokenLifetime",
        "limits.maxAccessTokenLifetime",
    );
    let service = beyond_ceiling(
        Some(record.service_token_lifetime),
        record.max_service_token_lifetime,
        "/spec/tokens/serviceTokenLifetime",
        "limits.maxServiceTokenLifetime",
    );
    access.into_iter().chain(service)
}

fn beyond_ceiling(
    asked: Option<SignedDuration>,
    most: SignedDuration,
    path: &str,
    ceiling: &str,
) -> Option<Problem> {
    let message = || {
        format!(
            "this is longer than {ceiling} ({}), which applies instead",
            format_duration(most)
        )
    };
    asked
        .filter(|asked| *asked > most)
        .map(|_| Problem::warning(Reason::LimitExceeded, path, message()))
}

/// A client with a valid access token does not use its secret, so a shorter silence proves nothing.
fn hasty_retirement(client: &AcceptedClient<'_>) -> Option<Problem> {
    let rotation = client.client.record.secret.rotation();
    let lifetime = client.access_token_lifetime();
    let is_hasty = rotation.retire == Retire::WhenAdopted
        && rotation.quiet_period.is_some_and(|quiet| quiet < lifetime);
    let message = format!(
        "this is shorter than the lifetime of the client's access tokens ({}): a client with a valid access token does not use its secret, which could be retired while in use; increase the period, or remove it",
        format_duration(lifetime)
    );
    let path = "/spec/authentication/secret/rotation/quietPeriod";
    is_hasty.then(|| weak(path, &message))
}

/// Returns warnings about weak choices of a client that signs in people.
fn weak_interactive(client: &AcceptedClient<'_>) -> Vec<Problem> {
    let record = client.client.record;
    let Some(interactive) = &record.interactive else {
        return Vec::new();
    };
    let asks_for_tokens = record
        .scopes
        .iter()
        .any(|scope| **scope == *StandardScope::OfflineAccess.as_str());
    let choices = [
        (
            !interactive.needs_pkce,
            "/spec/pkce",
            "without PKCE, a stolen code can be redeemed in another session (RFC 9700 section 2.1.1): remove this field if the application supports PKCE",
        ),
        (
            record.may_use(GrantType::RefreshToken) && !asks_for_tokens,
            "/spec/grantTypes",
            "RefreshToken has no effect without the scope offline_access: add it to scopes, or remove RefreshToken",
        ),
        (
            interactive
                .access
                .as_ref()
                .is_some_and(|access| access.groups.is_empty() && access.users.is_empty()),
            "/spec/access",
            "no one may use this client: name a group or a User, or remove access",
        ),
    ];
    let chosen = choices.into_iter().filter(|(is_chosen, ..)| *is_chosen);
    chosen
        .map(|(_, path, message)| weak(path, message))
        .collect()
}

/// Returns warnings about clients that can do nothing, which is rarely intended.
fn idle_client(record: &ClientRecord) -> impl Iterator<Item = Problem> {
    let nothing = !record.may_use(GrantType::ClientCredentials)
        && record.interactive.is_none()
        && record.audiences.is_empty()
        && record.reference_tokens == ReferenceTokens::None;
    let nothing = nothing.then(|| {
        weak(
            "/spec/grantTypes",
            "this client can do nothing: set grantTypes, resourceServer or referenceTokens",
        )
    });
    let nobody = record.reference_tokens == ReferenceTokens::AdministratorsOnly
        && record.system_user.is_none();
    let nobody = nobody.then(|| {
        let message = "a ServiceAccessToken of this client would have no system user to act as: set spec.systemUser.name";
        Problem::warning(Reason::SystemUserMissing, "/spec/referenceTokens", message)
    });
    let no_people = record.reference_tokens == ReferenceTokens::AuthenticatedUsers
        && record.interactive.is_none();
    let no_people = no_people.then(|| {
        weak(
            "/spec/referenceTokens",
            "people cannot use this client, so that they create no tokens of it: add AuthorizationCode to grantTypes, or use AdministratorsOnly",
        )
    });
    nothing.into_iter().chain(nobody).chain(no_people)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::directory::{Change, Settings, Severity};

    const PLATFORM: &str = "{issuer: 'https://id', access: {clients: {from: All}}}";

    /// Returns the warnings about the last of these objects. Each object is a kind and a spec; all are in one
    /// namespace.
    fn warnings(objects: &[(Kind, &str)]) -> Vec<(String, Reason)> {
        let mut directory = Directory::new(Settings {
            default_identity: Some(ObjectKey::new("ns", "identity")),
            ..Settings::default()
        });
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
        for (kind, spec) in objects {
            let spec: Value = serde_yaml::from_str(spec).unwrap();
            let metadata = json!({"namespace": "ns", "name": kind.as_str().to_lowercase(), "uid": "u", "creationTimestamp": now});
            let object = json!({"metadata": metadata, "spec": spec});
            directory.apply(Change::object(*kind, &object, &Settings::default()).unwrap());
        }
        let (kind, _) = objects.last().unwrap();
        let problems = directory.diagnose(
            *kind,
            &ObjectKey::new("ns", &kind.as_str().to_lowercase()),
            now,
        );
        let warnings = problems
            .into_iter()
            .filter(|problem| problem.severity == Severity::Warning);
        warnings
            .map(|problem| (problem.path, problem.reason))
            .collect()
    }

    fn one(path: &str, reason: Reason) -> Vec<(String, Reason)> {
        vec![(path.to_owned(), reason)]
    }

    #[test]
    fn good_choices_are_not_warned_of() {
        assert_eq!(warnings(&[(Kind::Identity, PLATFORM)]), []);
        assert_eq!(
            warnings(&[(Kind::Identity, "{issuer: 'http://127.0.0.1:8080/id'}")]),
            []
        );
        assert_eq!(
            warnings(&[
                (Kind::Identity, PLATFORM),
                (Kind::OAuthClient, "{grantTypes: [ClientCredentials]}")
            ]),
            []
        );
        assert_eq!(
            warnings(&[(
                Kind::ServiceAccessToken,
                "{clientRef: {name: c}, scopes: [a], lifetime: 8760h}"
            )]),
            []
        );
    }

    #[test]
    fn weak_choices_of_an_identity_are_warned_of() {
        for (spec, path, reason) in [
            (
                "{issuer: 'http://id.ns.svc'}",
                "/spec/issuer",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', limits: {neverExpiringTokens: Allow}}",
                "/spec/limits/neverExpiringTokens",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', limits: {neverExpiringPersonalTokens: Allow}}",
                "/spec/limits/neverExpiringPersonalTokens",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', limits: {maxAccessTokenLifetime: 25h}}",
                "/spec/limits/maxAccessTokenLifetime",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', staleness: {whenExceeded: KeepServing}}",
                "/spec/staleness/whenExceeded",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', access: {names: [{namespace: a, scopes: ['*']}]}}",
                "/spec/access/names",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', access: {names: [{namespace: a, clientIds: [b.c, a.d, e]}]}}",
                "/spec/access/names",
                Reason::WeakChoice,
            ),
            (
                "{issuer: 'https://id', revokeIssuedBefore: '2026-06-02T00:00:00Z'}",
                "/spec/revokeIssuedBefore",
                Reason::Invalid,
            ),
            (
                "{issuer: 'https://id', limits: {maxAccessTokenLifetime: 30m}}",
                "/spec/tokens/accessTokenLifetime",
                Reason::LimitExceeded,
            ),
            (
                "{issuer: 'https://id', tokens: {serviceTokenLifetime: 9000h}}",
                "/spec/tokens/serviceTokenLifetime",
                Reason::LimitExceeded,
            ),
            (
                "{issuer: 'https://id', gateways: [{name: api, audience: a, scopes: [b]}]}",
                "/spec/gateways",
                Reason::ScopeNotFound,
            ),
        ] {
            assert_eq!(
                warnings(&[(Kind::Identity, spec)]),
                one(path, reason),
                "{spec}"
            );
        }
    }

    #[test]
    fn a_quiet_period_that_is_shorter_than_access_tokens_live_is_warned_of() {
        let warned = |rotation: &str| {
            let client = format!(
                "{{identityRef: {{name: identity}}, grantTypes: [ClientCredentials], tokens: {{accessTokenLifetime: 2h}}, authentication: {{secret: {{rotation: {rotation}}}}}}}"
            );
            warnings(&[(Kind::Identity, PLATFORM), (Kind::OAuthClient, &client)])
        };
        let path = "/spec/authentication/secret/rotation/quietPeriod";
        assert_eq!(
            warned("{retire: WhenAdopted, quietPeriod: 1h}"),
            one(path, Reason::WeakChoice)
        );
        for good in [
            "{retire: WhenAdopted}",
            "{retire: WhenAdopted, quietPeriod: 2h}",
            "{quietPeriod: 1h}",
        ] {
            assert_eq!(warned(good), [], "{good}");
        }
    }

    #[test]
    fn a_key_that_templates_may_not_set_is_warned_of_until_the_identity_allows_it() {
        let client = "{identityRef: {name: identity}, grantTypes: [ClientCredentials], authentication: {secret: {template: {labels: {team: a, owner: b}, annotations: {x.io/a: b}}}}}";
        let allowing = "{issuer: 'https://id', access: {clients: {from: All}}, limits: {secretMetadata: {labels: [owner], annotations: ['x.io/*']}}}";
        let path = "/spec/authentication/secret/template";
        assert_eq!(
            warnings(&[(Kind::Identity, PLATFORM), (Kind::OAuthClient, client)]),
            [
                (format!("{path}/labels/owner"), Reason::LimitExceeded),
                (format!("{path}/annotations/x.io~1a"), Reason::LimitExceeded),
            ]
        );
        assert_eq!(
            warnings(&[(Kind::Identity, allowing), (Kind::OAuthClient, client)]),
            []
        );
    }

    #[test]
    fn an_audience_that_no_scope_can_have_is_warned_of_where_it_is_given_or_required() {
        for (spec, path) in [
            (
                "{issuer: 'https://id', access: {names: [{namespace: a, audiences: ['https://id/b/../c']}]}}",
                "/spec/access/names",
            ),
            (
                "{issuer: 'https://id', gateways: [{name: api, audience: 'https://ID'}]}",
                "/spec/gateways",
            ),
        ] {
            assert_eq!(
                warnings(&[(Kind::Identity, spec)]),
                one(path, Reason::WeakChoice),
                "{spec}"
            );
        }
    }

    #[test]
    fn weak_choices_of_clients_and_tokens_are_warned_of() {
        for (kind, spec, path, reason) in [
            (
                Kind::OAuthClient,
                "{grantTypes: []}",
                "/spec/grantTypes",
                Reason::WeakChoice,
            ),
            (
                Kind::OAuthClient,
                "{grantTypes: [], referenceTokens: AdministratorsOnly}",
                "/spec/referenceTokens",
                Reason::SystemUserMissing,
            ),
            (
                Kind::OAuthClient,
                "{grantTypes: [ClientCredentials], referenceTokens: AuthenticatedUsers}",
                "/spec/referenceTokens",
                Reason::WeakChoice,
            ),
            (
                Kind::OAuthClient,
                "{grantTypes: [ClientCredentials], tokens: {accessTokenLifetime: 48h}}",
                "/spec/tokens/accessTokenLifetime",
                Reason::LimitExceeded,
            ),
            (
                Kind::ServiceAccessToken,
                "{clientRef: {name: c}, scopes: [a], neverExpires: true}",
                "/spec/neverExpires",
                Reason::WeakChoice,
            ),
            (
                Kind::ServiceAccessToken,
                "{clientRef: {name: c}, scopes: [a], lifetime: 87600h}",
                "/spec/lifetime",
                Reason::WeakChoice,
            ),
        ] {
            let spec = spec.replacen(
                '{',
                "{identityRef: {name: identity}, ",
                usize::from(kind == Kind::OAuthClient),
            );
            assert_eq!(
                warnings(&[(Kind::Identity, PLATFORM), (kind, &spec)]),
                one(path, reason),
                "{spec}"
            );
        }
    }
}

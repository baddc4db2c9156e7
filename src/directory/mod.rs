//! The tables of what is served (Identities, Scopes, OAuthClients, ServiceAccessTokens and Credentials) and every
//! rule about them.
//!
//! Pure: no clock, no randomness, no IO, no Kubernetes client. A change to one object is cheap, and results do
//! not depend on the order of events, because each query computes its joins. The operator, the server and
//! `symbolon check` all ask this module, so that they cannot disagree.

pub mod admit;
pub mod counts;
mod explain;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod issued;
pub mod judge;
mod key;
pub mod names;
pub mod problem;
pub mod schema;
mod settings;
pub mod tables;
pub mod template;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod values;

pub use counts::{Counts, ReferenceCounts};
pub use explain::{RuleVerdict, Verdict};
pub use issued::end::{ends, entry_ends, is_entry_live};
pub use issued::personal::personal_token_end;
pub use issued::revoked::{Revocation, is_token_revoked, revocation};
pub use issued::seal::{is_sealed, sealed};
pub use issued::verify::{ActiveToken, AuthenticatedClient, Invalid, is_revoked};
pub use judge::desired::{
    Desired, IssuedClient, RotationRequests, RotationRules, SecretKind, Standing,
};
pub use judge::person::{Barred, Person};
pub use judge::person_client::PersonClient;
pub use judge::person_scope::{ApiScope, PersonScope, StandardScope};
pub use judge::scope::{audiences_of, is_audience_of};
pub use judge::served::{AcceptedClient, GrantedScope, Served};
pub use judge::user::{AcceptedUser, revoked_before};
pub use key::ObjectKey;
pub use problem::{Class, Problem, Reason, Severity};
pub use settings::Settings;
pub use tables::namespaces::Labels;
pub use tables::record::{CredentialRecord, Object, OwnerRecord};
pub use tables::{Change, Directory, Row, Sizes};
pub use values::cidr::{Cidr, NoCidr};
pub use values::duration::parse_duration;
pub use values::lifetime::Lifetime;
pub use values::normal::is_normal_audience;

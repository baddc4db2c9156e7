//! The length of a client's access tokens. The token endpoint, conditions and `symbolon check` use the same
//! calculation.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::scope::audiences_of;
use super::served::{AcceptedClient, GrantedScope};
use crate::directory::{Directory, Problem, Reason};
use crate::resources::GrantType;
use crate::tokens::jwt::MAX_LENGTH;
use crate::tokens::size::Outline;

/// Returns the largest length in bytes of an access token of `client` with these scopes and audiences.
pub fn access_token_length(
    client: &AcceptedClient<'_>,
    scopes: &[GrantedScope<'_>],
    audiences: &[Arc<str>],
) -> usize {
    let record = client.client.record;
    let outline = Outline {
        issuer: &client.identity.record.issuer,
        subject: &record.client_id,
        client_id: &record.client_id,
        client_uid: &client.client.object.uid,
        system_user: record.system_user.as_deref(),
    };
    outline.token_length(
        audiences.iter().map(|audience| &**audience),
        scopes.iter().map(|scope| &**scope.value()),
    )
}

impl Directory {
    /// Returns a warning if a client that requests no particular scope gets no token, since a token with all its
    /// scopes would exceed the limit. Smaller requests work.
    pub fn oversized_token(&self, client: &AcceptedClient<'_>) -> Option<Problem> {
        if !client.client.record.may_use(GrantType::ClientCredentials) {
            return None;
        }
        let granted = self.granted_scopes(client);
        let scopes: Vec<_> = granted
            .filter(|scope| !scope.scope.record.on_request)
            .collect();
        let audiences = scopes
            .iter()
            .flat_map(|scope| audiences_of(client.identity, scope.scope));
        let audiences: Vec<_> = audiences.collect::<BTreeSet<_>>().into_iter().collect();
        let length = access_token_length(client, &scopes, &audiences);
        (length > MAX_LENGTH).then(|| {
            let message = format!(
                "an access token with all scopes of this client has {length} bytes, more than the limit of {MAX_LENGTH}: request fewer scopes, or name a resource in each request"
            );
            Problem::warning(Reason::LimitExceeded, "/spec/scopes", message)
        })
    }
}

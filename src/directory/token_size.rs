//! How long a client's access tokens become: the token endpoint, conditions and `symbolon check` ask here.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::judge::{AcceptedClient, GrantedScope, audiences_of};
use super::{Directory, Problem, Reason};
use crate::tokens::jwt::MAX_LENGTH;
use crate::tokens::size::Outline;

/// Bytes that an access token of `client` with these scopes and audiences has at most.
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
    /// A warning where a client that asks for no scope in particular gets no token, because one with all its scopes
    /// would be longer than what is issued. Smaller requests work.
    pub fn oversized_token(&self, client: &AcceptedClient<'_>) -> Option<Problem> {
        if !client.client.record.client_credentials {
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
                "all scopes of this client make an access token of {length} bytes; at most {MAX_LENGTH} are issued: ask for fewer scopes or name a resource in each request"
            );
            Problem::warning(Reason::LimitExceeded, "/spec/scopes", message)
        })
    }
}

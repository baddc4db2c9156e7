//! Tests of `symbolon dev` as a user runs it: the built program on a copy of the quickstart.
//!
//! They measure and print times but never assert them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod compose;
mod edits;
mod files;
mod hostile;
mod imported;
mod leaks;
mod listen;
mod output;
mod rotation;
mod state;
mod store;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod support;
mod templates;
mod withdrawal;

use serde_json::Value;

use support::{Client, Dev, Folder, introspect};

const PLATFORM: &str = "1-platform.yaml";
const SHOP: &str = "2-shop.yaml";

/// The quickstart's gateway.
const GATEWAY: &str = "api";

/// A resource server that introspects tokens, in addition to the quickstart.
const API: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: api, namespace: platform}
spec:
  identityRef: {name: main}
  grantTypes: []
  resourceServer: {audiences: ['https://api.example.com']}
";

fn quickstart() -> Folder {
    Folder::copy_of("examples/quickstart")
}

/// Dev mode that serves the quickstart and [`API`].
struct Served {
    folder: Folder,
    dev: Dev,
}

impl Served {
    fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Like [`Self::start`], after a change of the folder.
    fn start_with(change: impl FnOnce(&Folder)) -> Self {
        let folder = quickstart();
        folder.write("3-api.yaml", API);
        change(&folder);
        let dev = Dev::start(&folder);
        Self { folder, dev }
    }

    /// The quickstart's client.
    fn backend(&self) -> Client {
        Client::of(
            &self
                .folder
                .secret("shop", "backend-client", "client-secret"),
        )
    }

    fn api(&self) -> Client {
        Client::of(
            &self
                .folder
                .secret("platform", "api-client", "client-secret"),
        )
    }

    /// The quickstart's service access token.
    fn token(&self) -> String {
        self.folder.secret("shop", "nightly-report-token", "token")["token"].clone()
    }

    /// Waits for the service access token that replaces `old`.
    fn token_after(&self, old: &str) -> String {
        self.folder
            .value_after("shop", "nightly-report-token", "token", old)
    }

    fn check(&self, token: &str) -> u16 {
        self.dev.check(GATEWAY, token)
    }

    fn introspect(&self, token: &str) -> Value {
        introspect(&self.api(), token)
    }

    fn is_active(&self, token: &str) -> bool {
        self.introspect(token)["active"] == true
    }
}

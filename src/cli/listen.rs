//! Listening on an address that an option gives.

use std::net::SocketAddr;

use anyhow::Context as _;
use tokio::net::TcpListener;

/// Listens on an address. An error names the option that gives it.
pub(super) async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}: give another address with {option}"))
}

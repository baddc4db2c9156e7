//! The server without a socket: a request in, a response out.

use std::convert::Infallible;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use tower::Service as _;

use super::admission::Admitted;
use super::places::Caller;
use super::request::{Arrival, check_host};
use super::router::Routes;
use super::state::{Config, State};
use super::{Revoker, Site, Uses, forwarded, reply};
use crate::oauth::{Endpoint, Refusal};

/// The header in which proxies name the callers that they forward for.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The server. Cheap to clone.
#[derive(Clone)]
pub struct App {
    state: State,
    routes: Arc<Routes>,
}

impl Deref for App {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl App {
    /// Creates a server with an empty directory and no keys.
    ///
    /// # Errors
    /// None in practice: it serializes an empty JWK Set.
    pub fn new(config: Config, revoker: impl Revoker) -> Result<Self, serde_json::Error> {
        Self::with_uses(config, revoker, Uses::ignored())
    }

    /// Creates a server like [`App::new`] that also reports uses of tokens.
    ///
    /// # Errors
    /// As [`App::new`].
    pub fn with_uses(
        config: Config,
        revoker: impl Revoker,
        uses: Uses,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            state: State::new(config, revoker, uses)?,
            routes: Arc::default(),
        })
    }

    /// Answers one request. `peer` is the other end of its connection. The request counts from now on, and not only
    /// when the future is polled: HTTP/2 makes a task of each request, and hundreds may wait for a processor.
    pub fn answer(
        &self,
        peer: Option<IpAddr>,
        request: Request<Body>,
    ) -> impl Future<Output = Response> + Send + use<> {
        let begun = self.begin(peer, request);
        async move {
            let (_admitted, answering) = match begun {
                Ok(begun) => begun,
                Err(refusal) => return reply::refused(refusal, None),
            };
            match answering.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }

    /// Decides whether to answer a request, and routes it.
    ///
    /// # Errors
    /// [`Refusal`] if the server does not answer it.
    fn begin(
        &self,
        peer: Option<IpAddr>,
        mut request: Request<Body>,
    ) -> Result<(Arc<Admitted>, RouteFuture<Infallible>), Refusal> {
        let shed = |cause| {
            self.metrics().shed(cause);
            Refusal::Overloaded
        };
        let mut admitted = self.admission().admit().map_err(shed)?;
        check_host(&request)?;
        let mut is_meant = self.is_meant(&request);
        let site = {
            let snapshot = self.publisher().current();
            snapshot.site().map(|site| {
                // A gateway sends the Host of the request that it asks about.
                is_meant |= Endpoint::CheckToken
                    .rest_of(&site.path, request.uri().path())
                    .is_some();
                let caller = peer.map(|peer| Origin::of(peer, site, &request));
                (self.routes.of(&site.path), caller)
            })
        };
        if !is_meant {
            return Err(Refusal::Misdirected);
        }
        let (mut router, origin) = site.ok_or(Refusal::Unavailable)?;
        // A trusted proxy that names no caller forwards for many callers: no share applies to it.
        let accountable = origin.filter(|origin| !origin.is_trusted);
        let caller = accountable.map(|origin| origin.address);
        admitted.count_for(caller).map_err(shed)?;
        let admitted = Arc::new(admitted);
        let arrival = Arrival {
            admitted: Arc::clone(&admitted),
            app: self.state.clone(),
            peer: origin.map(|origin| origin.address),
            caller: origin.map(|origin| Caller::new(origin.address, origin.is_trusted)),
            is_of_proxy: origin.is_some_and(|origin| origin.is_of_proxy),
        };
        request.extensions_mut().insert(arrival);
        Ok((admitted, router.call(request)))
    }
}

/// The caller that a request comes from.
#[derive(Clone, Copy)]
struct Origin {
    address: IpAddr,
    /// The address is that of a trusted proxy that names no caller.
    is_trusted: bool,
    /// The request came from a trusted proxy, whatever caller that names.
    is_of_proxy: bool,
}

impl Origin {
    fn of(peer: IpAddr, site: &Site, request: &Request<Body>) -> Self {
        let lists = request.headers().get_all(FORWARDED_FOR).iter();
        let lists = lists.map(HeaderValue::as_bytes);
        let address = forwarded::caller(peer, &site.trusted_proxies, lists);
        Self {
            address,
            is_trusted: site.trusts(address),
            is_of_proxy: site.trusts(peer),
        }
    }
}

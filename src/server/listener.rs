//! Sockets: accepting, bounding, and ending without dropping a request.
//!
//! The end has four steps. Readiness goes false, and connections are still accepted while load balancers notice. The
//! socket closes. Connections may finish, and HTTP/1 ones are told `Connection: close` with their next answer, HTTP/2 ones by
//! GOAWAY. What is left at the deadline is cut off.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Version};
use axum::response::Response;
use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::connection::{Activity, Fate, Watchdog, Watched};
use super::tls::Tls;
use super::{App, Limits, health};

/// How often keys are looked at for what their times say.
const KEY_PERIOD: Duration = Duration::from_secs(5);
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest head of an HTTP/1 request.
const MAX_HEAD: usize = 32 << 10;
/// The most header fields of a request.
const MAX_HEADERS: usize = 64;

/// What a connection that is one too many is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// Where the server is on its way to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Not ready any more, still accepting.
    Leaving,
    /// Not accepting any more.
    Closing,
    /// Nothing is waited for.
    Ended,
}

/// Answers requests of one port.
trait Handler: Clone + Send + Sync + 'static {
    fn handle(
        self,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response> + Send;
    /// Counts connections.
    fn connected(&self, by: i64);
    /// A connection was turned away.
    fn turned_away(&self, cause: &'static str);
}

impl Handler for App {
    async fn handle(self, peer: IpAddr, request: Request<Incoming>) -> Response {
        self.answer(Some(peer), request.map(Body::new)).await
    }

    fn connected(&self, by: i64) {
        self.metrics().connections().inc_by(by);
    }

    fn turned_away(&self, cause: &'static str) {
        self.metrics().shed(cause);
    }
}

#[derive(Clone)]
struct Health(axum::Router);

impl Handler for Health {
    async fn handle(mut self, _: IpAddr, request: Request<Incoming>) -> Response {
        match self.0.call(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn connected(&self, _: i64) {}

    fn turned_away(&self, _: &'static str) {}
}

/// Serves requests on `listener`, over TLS if there is any, health and metrics on `health`, until `shutdown` and the drain that follows it.
///
/// # Errors
/// None at present: faults of single connections end those, and a listener that cannot accept is tried again.
pub async fn run(
    listener: TcpListener,
    tls: Option<Tls>,
    health: TcpListener,
    app: App,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let (phase, ended) = watch::channel(Phase::Serving);
    let routes = health::router(app.clone());
    let health = tokio::spawn(accept(health, None, Health(routes), few(), ended));
    let turning = tokio::spawn(turn_keys(app.clone()));
    serve(listener, tls, app, shutdown).await;
    turning.abort();
    phase.send_replace(Phase::Closing);
    // A health port that panicked has nothing left to close.
    let _ = health.await;
    Ok(())
}

/// Serves health and metrics of a process for as long as it lives, as [`run`] does.
pub async fn serve_health(listener: TcpListener, routes: axum::Router) {
    let (_serving, phases) = watch::channel(Phase::Serving);
    accept(listener, None, Health(routes), few(), phases).await;
}

/// Whoever holds connections open must not keep the kubelet's probes out.
fn few() -> Limits {
    Limits {
        connections: 512,
        connections_per_peer: 8,
        drain: Duration::from_secs(1),
        ..Limits::default()
    }
}

async fn turn_keys(app: App) {
    let mut ticks = tokio::time::interval(KEY_PERIOD);
    loop {
        ticks.tick().await;
        if let Err(error) = app.publisher().turn_keys(super::now()) {
            tracing::error!(%error, "the keys could not be turned");
        }
    }
}

/// Serves requests on `listener` alone, as [`run`] does: for a process that tells of its health itself.
pub async fn run_embedded(listener: TcpListener, app: App, shutdown: CancellationToken) {
    let turning = tokio::spawn(turn_keys(app.clone()));
    serve(listener, None, app, shutdown).await;
    turning.abort();
}

/// Serves requests on `listener` until `shutdown` and the drain that follows it.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, app: App, shutdown: CancellationToken) {
    let limits = app.limits().clone();
    let (phase, phases) = watch::channel(Phase::Serving);
    let accepting = accept(listener, tls, app.clone(), limits.clone(), phases);
    let leaving = async {
        shutdown.cancelled().await;
        app.status().drain();
        phase.send_replace(Phase::Leaving);
        tokio::time::sleep(limits.lame_duck).await;
        phase.send_replace(Phase::Closing);
        tokio::time::sleep(limits.drain).await;
        phase.send_replace(Phase::Ended);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        () = accepting => {}
        never = leaving => match never {},
    }
}

/// Accepts until [`Phase::Closing`] and waits for the connections to end.
async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    handler: impl Handler,
    limits: Limits,
    mut phases: watch::Receiver<Phase>,
) {
    let port = Arc::new(Port::new(limits));
    let connections = TaskTracker::new();
    let open = |stream: TcpStream, peer: SocketAddr| match port.enter(peer.ip()) {
        Ok(place) => {
            // A socket that takes no option is about to fail anyway.
            let _ = stream.set_nodelay(true);
            let (handler, phases) = (handler.clone(), phases.clone());
            match &tls {
                None => connections.spawn(drive(stream, place, handler, phases)),
                Some(tls) => {
                    connections.spawn(secure(tls.acceptor(), stream, place, handler, phases))
                }
            };
        }
        Err(cause) => {
            handler.turned_away(cause);
            if tls.is_some() {
                return;
            }
            // What does not fit into the socket's buffer is not worth waiting for.
            let _ = stream.try_write(FULL);
        }
    };
    let mut closing = phases.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => open(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = reached(&mut closing, Phase::Closing) => break,
        }
    }
    // Who is in the queue has been told by the system that the connection stands.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        open(stream, peer);
    }
    drop(listener);
    connections.close();
    tokio::select! {
        () = connections.wait() => {}
        () = reached(&mut phases, Phase::Ended) => connections.wait().await,
    }
}

/// Waits for a phase; whoever drops the sender has ended everything.
async fn reached(phases: &mut watch::Receiver<Phase>, at: Phase) {
    let _ = phases.wait_for(|phase| *phase >= at).await;
}

/// One listening port: its limits and who is connected.
struct Port {
    limits: Limits,
    builder: Builder<TokioExecutor>,
    peers: Mutex<HashMap<IpAddr, usize>>,
    places: tokio::sync::Semaphore,
}

/// The place of one connection, given back when it ends.
struct Place {
    port: Arc<Port>,
    peer: IpAddr,
}

impl Port {
    fn new(limits: Limits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD)
            .http2()
            .max_concurrent_streams(128)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(64)
            .max_header_list_size(16 << 10)
            .max_send_buf_size(64 << 10);
        Self {
            places: tokio::sync::Semaphore::new(limits.connections),
            limits,
            builder,
            peers: Mutex::default(),
        }
    }

    fn enter(self: &Arc<Self>, peer: IpAddr) -> Result<Place, &'static str> {
        let place = self.places.try_acquire().map_err(|_| "connections")?;
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = peers.entry(peer).or_insert(0);
        if *count >= self.limits.connections_per_peer {
            return Err("connections_per_peer");
        }
        *count += 1;
        place.forget();
        Ok(Place {
            port: Arc::clone(self),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self
            .port
            .peers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = peers.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                peers.remove(&self.peer);
            }
        }
        self.port.places.add_permits(1);
    }
}

/// Serves one connection to its end, once TLS stands. Its place is taken from the first byte on.
async fn secure(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    place: Place,
    handler: impl Handler,
    mut phases: watch::Receiver<Phase>,
) {
    let deadline = place.port.limits.head_deadline;
    let handshake = tokio::time::timeout(deadline, acceptor.accept(stream));
    let stream = tokio::select! {
        stream = handshake => stream,
        () = reached(&mut phases, Phase::Ended) => return,
    };
    match stream {
        Ok(Ok(stream)) => drive(stream, place, handler, phases).await,
        // Who speaks no TLS, or too slowly. Probes of ports are too many to be logged.
        Ok(Err(_)) | Err(_) => handler.turned_away("tls_handshake"),
    }
}

/// Serves one connection to its end.
async fn drive(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    place: Place,
    handler: impl Handler,
    mut phases: watch::Receiver<Phase>,
) {
    let activity = Arc::new(Activity::default());
    let peer = place.peer;
    let service = {
        let (activity, phases, handler) = (Arc::clone(&activity), phases.clone(), handler.clone());
        service_fn(move |request: Request<Incoming>| {
            let version = request.version();
            let answering = activity.begin(version == Version::HTTP_2);
            let answer = handler.clone().handle(peer, request);
            let phases = phases.clone();
            async move {
                let mut response = answer.await;
                drop(answering);
                if version < Version::HTTP_2 && *phases.borrow() != Phase::Serving {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        })
    };
    let io = Watched::new(stream, Arc::clone(&activity));
    let connection = place
        .port
        .builder
        .serve_connection(io, service)
        .into_owned();
    let mut connection = std::pin::pin!(connection);
    let mut watchdog = Watchdog::new(&place.port.limits);
    let mut ticks = tokio::time::interval(watchdog.period());
    ticks.reset();
    handler.connected(1);
    let mut phase = *phases.borrow_and_update();
    loop {
        if phase >= Phase::Closing {
            watchdog.close();
            ticks = tokio::time::interval(watchdog.period());
            ticks.reset();
            if activity.is_http2() {
                connection.as_mut().graceful_shutdown();
            }
            // Told once; from here on only the end is new.
            phase = Phase::Serving;
        }
        tokio::select! {
            biased;
            // How it ended is the caller's business.
            _ = connection.as_mut() => break,
            changed = phases.changed() => {
                phase = *phases.borrow_and_update();
                if changed.is_err() || phase == Phase::Ended {
                    break;
                }
            }
            _ = ticks.tick() => match watchdog.look(&activity) {
                Fate::Stay => {}
                Fate::Close => connection.as_mut().graceful_shutdown(),
                Fate::Abort => break,
            },
        }
    }
    handler.connected(-1);
}

//! Sockets: accepting, bounding, and ending without dropping a request.
//!
//! The end has four steps. Readiness goes false, and connections are still accepted while load balancers notice. The
//! socket closes. Connections may finish, and HTTP/1 ones are told `Connection: close` with their next answer, HTTP/2 ones by
//! GOAWAY. What is left at the deadline is cut off.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, StatusCode, Version};
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, ready};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::activity::{Activity, Turn};
use super::answer::Answer;
use super::connection::{Fate, Watchdog, Watched};
use super::port::{MAX_HEADERS, Place, Port, bound_buffers, is_out_of_files};
use super::tls::Tls;
use super::{App, Limits, health, reply, turns};

/// How often keys are looked at for what their times say.
const KEY_PERIOD: Duration = Duration::from_secs(5);
/// How long to wait before the next attempt when a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before the next attempt to end connections whose peers make the server hold too much.
const RELIEF_PAUSE: Duration = Duration::from_millis(200);
/// What TLS keeps of an answer beside the socket's own buffer, in bytes.
const TLS_BUFFER: usize = 16 << 10;

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
    fn handle(self, peer: IpAddr, request: Request<Body>) -> impl Future<Output = Response> + Send;
    /// Counts connections.
    fn connected(&self, by: i64);
    /// A connection or a request was turned away, or a connection was ended before its time.
    fn turned_away(&self, cause: &'static str);
    /// Whether this peer is a proxy that speaks for many.
    fn is_trusted(&self, peer: IpAddr) -> bool;
    /// Whether every connection ends with its first answer.
    fn closes(&self) -> bool;
}

impl Handler for App {
    async fn handle(self, peer: IpAddr, request: Request<Body>) -> Response {
        self.answer(Some(peer), request).await
    }

    fn connected(&self, by: i64) {
        self.metrics().connections().inc_by(by);
    }

    fn turned_away(&self, cause: &'static str) {
        self.metrics().shed(cause);
    }

    fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusts(peer)
    }

    fn closes(&self) -> bool {
        false
    }
}

#[derive(Clone)]
struct Health(axum::Router);

impl Handler for Health {
    async fn handle(mut self, _: IpAddr, request: Request<Body>) -> Response {
        match self.0.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    fn connected(&self, _: i64) {}

    fn turned_away(&self, _: &'static str) {}

    fn is_trusted(&self, _: IpAddr) -> bool {
        false
    }

    fn closes(&self) -> bool {
        true
    }
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
    let port = health_port(app.limits());
    let health = tokio::spawn(accept(health, None, Health(routes), port, ended));
    let turning = tokio::spawn(turn_keys(app.clone()));
    serve(listener, tls, app, shutdown).await;
    turning.abort();
    phase.send_replace(Phase::Closing);
    // A health port that panicked has nothing left to close.
    let _ = health.await;
    Ok(())
}

/// Serves health and metrics of a process for as long as it lives, as [`run`] does.
pub async fn serve_health(listener: TcpListener, routes: axum::Router, limits: &Limits) {
    let (_serving, phases) = watch::channel(Phase::Serving);
    let port = health_port(limits);
    accept(listener, None, Health(routes), port, phases).await;
}

/// Probes come at once or never: connections that are held open must not keep the kubelet's out.
fn health_port(limits: &Limits) -> Port {
    let deadline = limits.head_deadline.min(Duration::from_secs(3));
    Port::of_health(Limits {
        connections: limits.health_connections,
        connections_per_peer: limits.health_connections.div_ceil(2),
        head_deadline: deadline,
        body_deadline: deadline,
        idle: deadline,
        held_bytes: 16 << 20,
        drain: Duration::from_secs(1),
        ..limits.clone()
    })
}

async fn turn_keys(app: App) {
    let mut ticks = tokio::time::interval(KEY_PERIOD);
    loop {
        ticks.tick().await;
        if let Err(error) = app.publisher().turn_keys(super::now()) {
            tracing::error!(%error, "the keys could not be turned");
        }
        app.noise().tell_in_time();
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
    let port = Port::new(limits.clone());
    let accepting = accept(listener, tls, app.clone(), port, phases);
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
    app.noise().tell();
}

/// Accepts until [`Phase::Closing`] and waits for the connections to end.
async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    handler: impl Handler,
    port: Port,
    mut phases: watch::Receiver<Phase>,
) {
    bound_buffers(&listener);
    let port = Arc::new(port);
    let connections = TaskTracker::new();
    let open = |stream: TcpStream, peer: SocketAddr| {
        let is_trusted = handler.is_trusted(peer.ip());
        match port.enter(peer.ip(), is_trusted) {
            Ok((place, has_ended_another)) => {
                if has_ended_another {
                    handler.turned_away("idle");
                }
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
        }
    };
    let mut closing = phases.clone();
    let mut relief = None;
    let mut failures = Failures::default();
    loop {
        let overloaded = match relief {
            Some(at) => Either::Left(tokio::time::sleep_until(at)),
            None => Either::Right(port.overloaded()),
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => open(stream, peer),
                Err(error) => {
                    if is_out_of_files(&error) && port.make_room() {
                        handler.turned_away("files");
                    }
                    failures.tell(&error);
                    // A caller that has gone already says nothing about the next.
                    if !is_of_one_connection(&error) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            () = overloaded => {
                for _ in 0..port.relieve() {
                    handler.turned_away("memory");
                }
                relief = port.is_overloaded().then(|| Instant::now() + RELIEF_PAUSE);
            }
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

/// Whether an error of `accept` is that of the connection, and not of the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Connections that could not be accepted, told at most once a second.
#[derive(Default)]
struct Failures {
    told: Option<Instant>,
    untold: u64,
}

impl Failures {
    fn tell(&mut self, error: &io::Error) {
        self.untold += 1;
        let now = Instant::now();
        let is_recent = |told: Instant| now - told < Duration::from_secs(1);
        if self.told.is_some_and(is_recent) {
            return;
        }
        self.told = Some(now);
        let count = std::mem::take(&mut self.untold);
        tracing::warn!(%error, count, "connections could not be accepted, will retry");
    }
}

/// Waits for a phase; whoever drops the sender has ended everything.
async fn reached(phases: &mut watch::Receiver<Phase>, at: Phase) {
    let _ = phases.wait_for(|phase| *phase >= at).await;
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
    let stream = {
        let Ok(_handshake) = place.shake_hands() else {
            handler.turned_away("handshakes");
            return;
        };
        let bounded = |tls: &mut ServerConnection| tls.set_buffer_limit(Some(TLS_BUFFER));
        // During the handshake, and beneath TLS after it.
        let activity = Arc::clone(&place.activity);
        let stream = InspectReader::new(stream, move |came: &[u8]| {
            if !came.is_empty() {
                activity.has_heard();
            }
        });
        let accepting = acceptor.accept_with(stream, bounded);
        let handshake = tokio::time::timeout(deadline, accepting);
        tokio::select! {
            stream = handshake => stream,
            () = place.activity.ended() => return,
            () = reached(&mut phases, Phase::Ended) => return,
        }
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
    let activity = Arc::clone(&place.activity);
    let (peer, most_kept) = (place.peer, place.port.limits.body);
    let service = {
        let (activity, phases, handler) = (Arc::clone(&activity), phases.clone(), handler.clone());
        service_fn(move |request: Request<Incoming>| {
            let version = request.version();
            activity.came(version == Version::HTTP_2);
            let answer = answer(&handler, &activity, peer, request, most_kept);
            let (activity, phases) = (Arc::clone(&activity), phases.clone());
            let closes = handler.closes();
            async move {
                let (mut response, turn) = answer.await;
                if version < Version::HTTP_2 && (closes || *phases.borrow() != Phase::Serving) {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                let account = |bytes| activity.made(bytes).with(turn);
                let accounted = |body| Answer::new(body, account);
                Ok::<_, Infallible>(response.map(accounted))
            }
        })
    };
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let connection = place
        .port
        .builder
        .serve_connection(io, service)
        .into_owned();
    let mut connection = std::pin::pin!(connection);
    let mut watchdog = Watchdog::new(&place.port.limits);
    let mut ticks = tokio::time::interval(watchdog.period());
    ticks.reset();
    let mut ended = std::pin::pin!(activity.ended());
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
            _ = poll_fn(|context| {
                activity.go_on();
                connection.as_mut().poll(context)
            }) => break,
            () = ended.as_mut() => break,
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
                Fate::Unread => {
                    handler.turned_away("unread");
                    break;
                }
            },
        }
    }
    handler.connected(-1);
}

/// An answer, with the turn of its request in HTTP/2.
type Answered = (Response, Option<Turn>);

/// Answers a request, once it is its turn, unless it asks for more than it may have. Up to `most_kept` bytes of its body
/// are taken in while it waits. In memory of its own: what waits to be answered or sent is small.
fn answer(
    handler: &impl Handler,
    activity: &Arc<Activity>,
    peer: IpAddr,
    request: Request<Incoming>,
    most_kept: usize,
) -> BoxFuture<'static, Answered> {
    if request.headers().len() > MAX_HEADERS {
        drop(activity.begin());
        let refusal = reply::empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        return Box::pin(ready((refusal, None)));
    }
    if activity.is_excessive() {
        drop(activity.begin());
        handler.turned_away("memory");
        return Box::pin(ready((reply::overloaded(), None)));
    }
    let turn = activity.try_turn();
    if turn.is_some() || !activity.is_http2() {
        return handle(handler, activity, peer, request.map(Body::new), turn);
    }
    let (handler, activity) = (handler.clone(), Arc::clone(activity));
    let (head, body) = request.into_parts();
    let waiting = turns::wait(activity, Box::new(head), body, most_kept);
    Box::pin(async move {
        let (activity, turn, request, _held) = waiting.await;
        handle(&handler, &activity, peer, request, turn).await
    })
}

fn handle(
    handler: &impl Handler,
    activity: &Arc<Activity>,
    peer: IpAddr,
    request: Request<Body>,
    turn: Option<Turn>,
) -> BoxFuture<'static, Answered> {
    let answering = activity.begin();
    let answer = handler.clone().handle(peer, request);
    Box::pin(async move {
        let response = answer.await;
        drop(answering);
        (response, turn)
    })
}

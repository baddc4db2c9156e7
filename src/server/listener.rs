//! Sockets: accepts connections, bounds them, and shuts down without dropping a request.
//!
//! A shutdown has four steps. The server reports that it is not ready, and still accepts connections until load
//! balancers have noticed. It closes the listening socket. It lets connections finish: HTTP/1 answers carry
//! `Connection: close`, and HTTP/2 connections get GOAWAY. At the deadline it cuts off the remaining connections.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_LENGTH};
use axum::http::{HeaderValue, Method, Request, StatusCode, Version};
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Either, ready};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_rustls::TlsAcceptor;
use tokio_util::io::InspectReader;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::activity::{Activity, Turn};
use super::answer::ResponseBody;
use super::connection::{ConnectionAction, Watchdog, Watched};
use super::memory::{self, Backstop};
use super::metrics::Shed;
use super::one_message::OneMessage;
use super::port::{MAX_HEAD_2, MAX_HEADERS, Place, Port, bound_buffers, is_out_of_files};
use super::tls::Tls;
use super::turns::{self, Taken};
use super::{App, ServerLimits, health, record_early, reply};
use crate::oauth::Refusal;

/// The period of the task that updates the phases of signing keys and reports refusals.
const KEY_PERIOD: Duration = Duration::from_secs(5);
/// The pause after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// The pause between two attempts to end connections whose peers make the server hold too much memory.
const RELIEF_PAUSE: Duration = Duration::from_millis(200);
/// The bytes of answers that TLS buffers in addition to the socket's own buffer.
const TLS_BUFFER: usize = 16 << 10;

/// The time for the last writes of revocations, after the drain.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The answer to a connection beyond the limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The phase of the server, up to its shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Reports not ready, still accepts connections.
    Leaving,
    /// Accepts no more connections, lets open ones finish.
    Closing,
    /// Cuts off the remaining connections.
    Ended,
}

/// Answers the requests of one port.
trait Handler: Clone + Send + Sync + 'static {
    /// Decides whether to answer the request, and returns its answer.
    fn handle(self, peer: IpAddr, request: Request<Body>) -> impl Future<Output = Response> + Send;
    /// Changes the number of open connections by `by`.
    fn connected(&self, by: i64);
    /// Counts a refused connection or request, or a connection that was ended early.
    fn turned_away(&self, cause: Shed);
    /// Returns whether this peer is a trusted proxy, which forwards for many callers.
    fn is_trusted(&self, peer: IpAddr) -> bool;
    /// Returns whether every connection ends after its first answer.
    fn closes(&self) -> bool;
    /// Returns how long a connection may be quiet between requests now; `None` for the limit of the port.
    fn idle_timeout(&self) -> Option<Duration>;
}

impl Handler for App {
    fn handle(self, peer: IpAddr, request: Request<Body>) -> impl Future<Output = Response> + Send {
        self.answer(Some(peer), request)
    }

    fn connected(&self, by: i64) {
        self.metrics().connections().inc_by(by);
    }

    fn turned_away(&self, cause: Shed) {
        self.metrics().shed(cause);
    }

    fn is_trusted(&self, peer: IpAddr) -> bool {
        self.trusts(peer)
    }

    fn closes(&self) -> bool {
        false
    }

    fn idle_timeout(&self) -> Option<Duration> {
        self.publisher().current().site()?.idle_timeout
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

    fn turned_away(&self, _: Shed) {}

    fn is_trusted(&self, _: IpAddr) -> bool {
        false
    }

    fn closes(&self) -> bool {
        true
    }

    fn idle_timeout(&self) -> Option<Duration> {
        None
    }
}

/// Serves requests on `listener`, over TLS if `tls` is given, and health and metrics on `health`, until `shutdown` and
/// the drain that follows it.
///
/// # Errors
/// None at present: a fault of a connection ends only that connection, and a failed accept is retried.
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
    let health = tokio::spawn(accept(health, None, Health(routes), port, None, ended));
    let turning = tokio::spawn(turn_keys(app.clone()));
    serve(listener, tls, app, shutdown).await;
    turning.abort();
    phase.send_replace(Phase::Closing);
    // If the health port panicked, nothing is left to close.
    let _ = health.await;
    Ok(())
}

/// Serves health and metrics of a process until the process ends. Has the same limits as the health port of [`run`].
pub async fn serve_health(listener: TcpListener, routes: axum::Router, limits: &ServerLimits) {
    let (_serving, phases) = watch::channel(Phase::Serving);
    let port = health_port(limits);
    accept(listener, None, Health(routes), port, None, phases).await;
}

/// Returns the health port. Its deadlines are short: probes send their requests at once, and connections that others
/// hold open must not keep the kubelet out.
fn health_port(limits: &ServerLimits) -> Port {
    let deadline = limits.head_deadline.min(Duration::from_secs(3));
    Port::of_health(ServerLimits {
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
            tracing::error!(%error, "could not update the key phases, the keys stay as they were");
        }
        app.noise().tell_in_time();
    }
}

/// Serves requests on `listener` like [`run`], but without a health port: for a process that has its own.
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
    let memory = Backstop::of_process();
    let mut ended = phases.clone();
    let accepting = async {
        accept(listener, tls, app.clone(), port, memory, phases).await;
        // The drain may have used up the time.
        let late = async {
            reached(&mut ended, Phase::Ended).await;
            tokio::time::sleep(LAST_WRITES).await;
        };
        tokio::select! {
            () = record_early::finish(&app) => {}
            () = late => {}
        }
        record_early::tell_lost(&app);
    };
    let leaving = async {
        shutdown.cancelled().await;
        app.status().drain();
        app.publisher().hurry_early();
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

/// Accepts connections until [`Phase::Closing`], then waits for them to end.
async fn accept(
    listener: TcpListener,
    tls: Option<Tls>,
    handler: impl Handler,
    port: Port,
    mut memory: Option<Backstop>,
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
                    handler.turned_away(Shed::Idle);
                }
                // If setting the option fails, the connection is about to fail anyway.
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
                // If the socket's buffer is full, the answer is not worth waiting for.
                let _ = stream.try_write(FULL);
            }
        }
    };
    let mut closing = phases.clone();
    let mut relief = None;
    let mut readings = tokio::time::interval(memory::PERIOD);
    readings.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
                        handler.turned_away(Shed::Files);
                    }
                    failures.tell(&error);
                    // A peer that has already gone says nothing about the next connection.
                    if !is_of_one_connection(&error) {
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            },
            () = overloaded => {
                for _ in 0..port.relieve() {
                    handler.turned_away(Shed::Memory);
                }
                relief = port.is_overloaded().then(|| Instant::now() + RELIEF_PAUSE);
            }
            _ = readings.tick(), if memory.is_some() => {
                if let Some(shortage) = memory.as_mut().and_then(Backstop::check) {
                    let count = port.give_up();
                    for _ in 0..count {
                        handler.turned_away(Shed::Memory);
                    }
                    tracing::warn!(
                        count, used = shortage.used, limit = shortage.limit,
                        "memory is short, connections ended",
                    );
                }
            }
            () = reached(&mut closing, Phase::Closing) => break,
        }
    }
    // The system has already accepted the queued connections, and their peers may have sent requests.
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

/// Returns whether an error of `accept` comes from the new connection and not from the listener (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Counts connections that could not be accepted, and logs them at most once a second.
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

/// Waits for a phase or a later one. A dropped sender counts as [`Phase::Ended`].
async fn reached(phases: &mut watch::Receiver<Phase>, at: Phase) {
    let _ = phases.wait_for(|phase| *phase >= at).await;
}

/// Completes the TLS handshake of a connection, then serves it to its end. The connection has its place already during
/// the handshake.
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
            handler.turned_away(Shed::Handshakes);
            return;
        };
        let bounded = |tls: &mut ServerConnection| tls.set_buffer_limit(Some(TLS_BUFFER));
        // Sees the encrypted bytes: those of the handshake and all later ones.
        let activity = Arc::clone(&place.activity);
        let stream = InspectReader::new(stream, move |came: &[u8]| {
            if !came.is_empty() {
                activity.has_heard(came.len());
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
        Ok(Ok(stream)) => drive(OneMessage(stream), place, handler, phases).await,
        // The peer does not speak TLS, or is too slow. Such connections, like those of port scanners, are too many for
        // the log.
        Ok(Err(_)) | Err(_) => handler.turned_away(Shed::TlsHandshake),
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
            let is_head = request.method() == Method::HEAD;
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
                let head = turns::fields(response.headers());
                if is_head {
                    leave_out_body(&mut response);
                }
                let accounted = |body: Body| {
                    let turn = if body.is_end_stream() {
                        activity.made_empty(head, turn);
                        None
                    } else {
                        turn
                    };
                    ResponseBody::new(body, |bytes| activity.made(bytes).with(turn))
                };
                Ok::<_, Infallible>(response.map(accounted))
            }
        })
    };
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let connection = place.builder().serve_connection(io, service).into_owned();
    let mut connection = std::pin::pin!(connection);
    let mut watchdog = Watchdog::new(&place.port.limits, place.is_trusted);
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
            // The connection was asked to end. From here on only `Ended` matters.
            phase = Phase::Serving;
        }
        tokio::select! {
            biased;
            // Whether it ended with an error does not matter here.
            _ = poll_fn(|context| {
                activity.go_on();
                let polled = connection.as_mut().poll(context);
                activity.settle();
                polled
            }) => break,
            () = ended.as_mut() => break,
            changed = phases.changed() => {
                phase = *phases.borrow_and_update();
                if changed.is_err() || phase == Phase::Ended {
                    break;
                }
            }
            _ = ticks.tick() => match watchdog.check(&activity, handler.idle_timeout()) {
                ConnectionAction::Stay => {}
                ConnectionAction::Close => connection.as_mut().graceful_shutdown(),
                ConnectionAction::Abort => break,
                ConnectionAction::Unread => {
                    handler.turned_away(Shed::Unread);
                    break;
                }
            },
        }
    }
    handler.connected(-1);
}

/// Leaves the body out of an answer to HEAD, which has none (RFC 9110 section 9.3.2), but not its length. `hyper` would
/// drop the body without sending it, and the answer would count as one that the peer gave up.
fn leave_out_body(response: &mut Response) {
    let length = response.body().size_hint().exact().filter(|it| *it > 0);
    *response.body_mut() = Body::empty();
    if let Some(length) = length {
        let headers = response.headers_mut();
        headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

/// An answer, and over HTTP/2 the turn of its request.
type Answered = (Response, Option<Turn>);

/// Answers a request when it has its turn. Refuses it if its head is too long or has too many fields, or if its peer
/// makes the port hold too much memory. While the request waits, its body is read, and about `most_kept` bytes of it
/// are kept. The future is boxed, so that waiting requests and answers take little memory.
fn answer(
    handler: &impl Handler,
    activity: &Arc<Activity>,
    peer: IpAddr,
    request: Request<Incoming>,
    most_kept: usize,
) -> BoxFuture<'static, Answered> {
    let is_too_long = activity.is_http2()
        && turns::length(request.method(), request.uri(), request.headers()) > MAX_HEAD_2.0;
    if is_too_long || request.headers().len() > MAX_HEADERS {
        drop(activity.begin());
        let refusal = reply::empty(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        return Box::pin(ready((refusal, None)));
    }
    if activity.is_excessive() {
        drop(activity.begin());
        handler.turned_away(Shed::Memory);
        return Box::pin(ready((reply::refused(Refusal::Overloaded, None), None)));
    }
    // While a CONNECT request waited, nothing would read the bytes that follow it.
    let is_connect = request.method() == Method::CONNECT;
    let turn = activity.try_turn();
    if turn.is_some() || is_connect || !activity.is_http2() {
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
    mut request: Request<Body>,
    turn: Option<Turn>,
) -> BoxFuture<'static, Answered> {
    let answering = activity.begin();
    let taken = turn.map(|turn| Arc::new(Taken::new(Arc::clone(activity), turn)));
    if let Some(taken) = &taken {
        request.extensions_mut().insert(Arc::clone(taken));
    }
    let answer = handler.clone().handle(peer, request);
    Box::pin(async move {
        let response = answer.await;
        drop(answering);
        (response, taken.and_then(|taken| taken.end()))
    })
}

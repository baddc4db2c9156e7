//! One listening port: its connections, and which of them end when there is no more room.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};

use hyper_util::rt::TokioExecutor;
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;

use super::ServerLimits;
use super::activity::Activity;
use super::load::Load;
use super::metrics::Shed;
use super::places::{Caller, Full, Places, Rule};
use crate::lock::lock;

/// The longest head of an HTTP/1 request in bytes: on the main port, and on the health port.
const MAX_HEAD: (usize, usize) = (32 << 10, 8 << 10);
/// The longest head of an HTTP/2 request in bytes, and the longest that is refused alone: a longer one ends its
/// connection, and with it the requests of other callers behind the same proxy. Envoy passes on at most 60 KiB by
/// default.
pub(super) const MAX_HEAD_2: (usize, u32) = (16 << 10, 64 << 10);
/// The most header fields of a request.
pub(super) const MAX_HEADERS: usize = 64;
/// The HTTP/2 flow-control windows in bytes: of one request body, and of a whole connection.
const WINDOWS: (u32, u32) = (64 << 10, 128 << 10);
/// The window of a whole connection of a trusted proxy. `h2` ends a connection whose small DATA frames exceed a budget
/// of half this window. A frame that no one reads takes up to 255 bytes of it, for good if its request was answered
/// before: so one caller could end the connection that a proxy shares between callers. Bodies are read at once, also
/// those that are refused or wait ([`turns`](super::turns)), so the window of each body still bounds what a peer makes
/// the server hold.
const WINDOW_OF_PROXY: u32 = 1 << 30;
/// The size in bytes of a socket's buffer in each direction. Linux allocates twice as much and charges it to the pod.
/// No answer and no usual head is larger.
const SOCKET_BUFFER: usize = 16 << 10;
/// The divisor of the number of connections that end at once when memory is short.
const GIVEN_UP: usize = 8;
/// The number of frames that the server refuses on a connection, because its requests are too many or broken, before it
/// ends the connection. A request with a body counts for at least two. Not for trusted proxies, whose callers would
/// together reach any number: there the peer must take the refusals ([`Activity::is_paused`]).
const MAX_REFUSED: usize = 256;

type Table = Mutex<Places<Arc<Activity>>>;

/// One listening port.
pub(super) struct Port {
    pub(super) limits: ServerLimits,
    builder: Builder<TokioExecutor>,
    /// For connections of trusted proxies.
    builder_of_proxies: Builder<TokioExecutor>,
    load: Arc<Load>,
    connections: Table,
    handshakes: Table,
    /// Connections that were told to end and still hold memory, each with its weight in bytes.
    ending: Mutex<Vec<(Weak<Activity>, usize)>>,
}

/// The place of one connection. Dropping it frees the place.
pub(super) struct Place {
    pub(super) port: Arc<Port>,
    pub(super) peer: IpAddr,
    pub(super) activity: Arc<Activity>,
    pub(super) is_trusted: bool,
    caller: Caller,
    id: u64,
}

/// The place of one handshake. Dropping it frees the place.
pub(super) struct Handshake<'a> {
    place: &'a Place,
    id: u64,
}

impl Port {
    pub fn new(limits: ServerLimits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .http1()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD.0)
            .http2()
            .max_concurrent_streams(limits.streams)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(MAX_REFUSED)
            .max_header_list_size(MAX_HEAD_2.1)
            .max_send_buf_size(64 << 10);
        let mut of_proxies = builder.clone();
        of_proxies
            .http2()
            .initial_connection_window_size(WINDOW_OF_PROXY)
            .max_local_error_reset_streams(None);
        Self::with(limits, builder, of_proxies)
    }

    /// Returns the port for probes and scrapes, which speak HTTP/1.
    pub fn of_health(limits: ServerLimits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new()).http1_only();
        builder
            .http1()
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD.1);
        let of_proxies = builder.clone();
        Self::with(limits, builder, of_proxies)
    }

    fn with(
        limits: ServerLimits,
        builder: Builder<TokioExecutor>,
        builder_of_proxies: Builder<TokioExecutor>,
    ) -> Self {
        let table = |most, share| Mutex::new(Places::new(most, share, Rule::NewestFirst));
        Self {
            load: Arc::new(Load::new(&limits)),
            connections: table(limits.connections, limits.connections_per_peer),
            handshakes: table(limits.handshakes, limits.handshakes_per_peer),
            ending: Mutex::default(),
            limits,
            builder,
            builder_of_proxies,
        }
    }

    /// Takes a place for a connection. Returns it, and whether another connection was ended for it.
    ///
    /// # Errors
    /// The cause, if no place is free.
    pub fn enter(self: &Arc<Self>, peer: IpAddr, is_trusted: bool) -> Result<(Place, bool), Shed> {
        let caller = Caller::new(peer, is_trusted);
        let activity = Arc::new(Activity::new(self.load.clone()));
        let now = self.load.now();
        let idle = |held: &Arc<Activity>| held.idle_since(now);
        let answered = |held: &Arc<Activity>| held.answered_since();
        let entered = lock(&self.connections).enter_or(caller, activity.clone(), idle, answered);
        let entered = entered.map_err(|full| match full {
            Full::All => Shed::Connections,
            Full::Share => Shed::ConnectionsPerPeer,
        })?;
        if let Some(ended) = &entered.ended {
            ended.end();
        }
        let place = Place {
            port: Arc::clone(self),
            peer,
            activity,
            is_trusted,
            caller,
            id: entered.id,
        };
        Ok((place, entered.ended.is_some()))
    }

    /// Ends the connection that has been idle for longest, of the peer that has most, because no file descriptor is
    /// left. Returns whether it ended one.
    pub fn make_room(&self) -> bool {
        let now = self.load.now();
        let idle = |held: &Arc<Activity>| held.idle_since(now);
        let answered = |held: &Arc<Activity>| held.answered_since();
        let ended = lock(&self.connections).end_idlest(idle, answered);
        ended.inspect(|ended| ended.end()).is_some()
    }

    /// Waits until peers make the port hold too much memory.
    pub async fn overloaded(&self) {
        self.load.exceeded.notified().await;
    }

    /// Returns whether peers make the port hold too much memory.
    pub fn is_overloaded(&self) -> bool {
        self.load.excess() > 0
    }

    /// Ends an eighth of the connections, because memory is short and the accounts do not say why. It ends the most
    /// suspect ones ([`Activity::suspected`]) and returns their number.
    pub fn give_up(&self) -> usize {
        let now = self.load.now();
        let since = |held: &Arc<Activity>| held.idle_since(now).or_else(|| held.answered_since());
        let mut connections = lock(&self.connections);
        let most = connections.count().div_ceil(GIVEN_UP);
        let ended = connections.end_many(most, |held| held.suspected(), since);
        for ended in &ended {
            ended.end();
        }
        ended.len()
    }

    /// Ends connections of the peers that make the port hold most, until the rest is within the limit. Returns how
    /// many.
    pub fn relieve(&self) -> usize {
        let now = self.load.now();
        let mut ending = lock(&self.ending);
        ending.retain(|(activity, _)| activity.strong_count() > 0);
        let mut leaving: usize = ending.iter().map(|(_, weight)| weight).sum();
        let before = ending.len();
        while self.load.excess() > leaving {
            let idle = |held: &Arc<Activity>| held.idle_since(now);
            let answered = |held: &Arc<Activity>| held.answered_since();
            let weigh = |held: &Arc<Activity>| held.weight();
            let heaviest = lock(&self.connections).end_heaviest(weigh, idle, answered);
            let Some(heaviest) = heaviest else { break };
            leaving += heaviest.weight();
            ending.push((Arc::downgrade(&heaviest), heaviest.weight()));
            heaviest.end();
        }
        ending.len() - before
    }
}

impl Place {
    /// Returns the settings of the connection.
    pub fn builder(&self) -> &Builder<TokioExecutor> {
        if self.is_trusted {
            &self.port.builder_of_proxies
        } else {
            &self.port.builder
        }
    }

    /// Takes a place for the connection's handshake, if necessary from a handshake of the peer that has most.
    ///
    /// # Errors
    /// [`Full`].
    pub fn shake_hands(&self) -> Result<Handshake<'_>, Full> {
        let mut handshakes = lock(&self.port.handshakes);
        let order = |held: &Arc<Activity>| Some(held.handshake_order());
        let entered = handshakes.enter(self.caller, self.activity.clone(), order)?;
        if let Some(ended) = entered.ended {
            ended.end();
        }
        Ok(Handshake {
            place: self,
            id: entered.id,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.port.connections).leave(self.caller, self.id);
    }
}

impl Drop for Handshake<'_> {
    fn drop(&mut self) {
        lock(&self.place.port.handshakes).leave(self.place.caller, self.id);
    }
}

/// Bounds the kernel's buffers of each connection, which Linux charges to the process's cgroup. Accepted sockets
/// inherit the bounds from their listener. If the system does not support that, its own bounds apply.
pub(super) fn bound_buffers(listener: &TcpListener) {
    #[cfg(unix)]
    {
        use rustix::net::sockopt;
        let _ = sockopt::set_socket_recv_buffer_size(listener, SOCKET_BUFFER);
        let _ = sockopt::set_socket_send_buffer_size(listener, SOCKET_BUFFER);
    }
    #[cfg(not(unix))]
    let _ = (listener, SOCKET_BUFFER);
}

/// Returns whether the process or the system has no file descriptor left.
pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        matches!(
            Errno::from_io_error(error),
            Some(Errno::MFILE | Errno::NFILE)
        )
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Opens connections of an address, each of which has sent this many bytes.
    fn connect(port: &Arc<Port>, address: u8, count: usize, sent: usize) -> Vec<Place> {
        let peer = IpAddr::from([10, 0, 0, address]);
        let enter = |_| {
            let (place, _) = port.enter(peer, false).unwrap();
            place.activity.has_read(sent);
            place
        };
        (0..count).map(enter).collect()
    }

    fn ended(places: &[Place]) -> usize {
        let told = |place: &&Place| place.activity.ended().now_or_never().is_some();
        places.iter().filter(told).count()
    }

    #[test]
    fn when_memory_is_short_connections_of_the_caller_that_sent_most_end() {
        let port = Arc::new(Port::new(ServerLimits::default()));
        let few = connect(&port, 1, 4, 10 << 20);
        let many = connect(&port, 2, 20, 100 << 10);
        assert_eq!(port.give_up(), 3);
        assert_eq!((ended(&few), ended(&many)), (0, 3));
        assert_eq!(port.give_up(), 3, "of 21");
    }

    /// The peer that holds the memory has something under way.
    #[test]
    fn when_memory_is_short_calm_connections_end_last() {
        let port = Arc::new(Port::new(ServerLimits::default()));
        let calm = connect(&port, 1, 9, 10 << 20);
        for place in &calm {
            place.activity.came(true);
            drop(place.activity.begin());
        }
        let unread = connect(&port, 2, 1, 1000);
        unread[0].activity.came(true);
        let _answer = unread[0].activity.made(10);
        assert_eq!(port.give_up(), 2);
        assert_eq!((ended(&calm), ended(&unread)), (1, 1));
    }

    #[test]
    fn a_connection_with_a_request_under_way_stays() {
        let port = Arc::new(Port::new(ServerLimits::default()));
        let places = connect(&port, 1, 2, 1000);
        let _answering: Vec<_> = places.iter().map(|place| place.activity.begin()).collect();
        assert_eq!(port.give_up(), 0);
        assert_eq!(ended(&places), 0);
    }
}

//! Listeners, and which connection they accept becomes whose. Knows nothing of paths and contents, and of a single connection only
//! that it ends.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access::Access;
use super::connection::{self, Service};
use super::exposition::Exposition;
use super::handshake::Handshakes;
use super::host::Hosts;
use super::limit::Limits;
use super::listener::{Address, BindError, Listener, Socket};
use super::seat::{Peer, Seats};
use super::tally::Tally;

/// How often an address that is taken is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Somewhere to listen.
#[derive(Debug)]
pub enum Door {
    Open(Listener),
    /// It could not be bound. It is tried again for as long as the agent runs.
    Shut(Address, BindError),
}

impl Door {
    /// Binds the address if that is possible now.
    pub fn at(address: Address) -> Door {
        match address.bind() {
            Ok(listener) => Door::Open(listener),
            Err(error) => Door::Shut(address, error),
        }
    }

    /// The TCP address, with the actual port if there is one.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self.address() {
            Address::Tcp(address) => Some(*address),
            Address::Socket(_) => None,
        }
    }

    fn address(&self) -> &Address {
        match self {
            Door::Open(listener) => listener.address(),
            Door::Shut(address, _) => address,
        }
    }
}

/// Serves the clients of all doors with `access` until `shutdown` resolves, then gives responses in flight [`Limits::grace`] to
/// finish. Uses up to [`POOL`](super::POOL) threads of the runtime's blocking pool, and one of its own with TLS.
///
/// Fails only if a listener cannot be registered with the runtime, or a thread not be started.
pub async fn serve(
    doors: Vec<Door>,
    access: Arc<Access>,
    hosts: Hosts,
    exposition: Arc<dyn Exposition>,
    limits: Limits,
    tally: Arc<Tally>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let handshakes = match access.scheme() {
        "https" => Some(Handshakes::start()?),
        _ => None,
    };
    let seats = Seats::new(limits, tally.shed.clone());
    let service = Service::new(access, hosts, exposition, limits, tally, seats, handshakes);
    let (stop, stopped) = watch::channel(());
    let mut open = JoinSet::new();
    for door in doors {
        open.spawn(attend(door, service.clone(), stopped.clone()));
    }
    drop(stopped);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = open.join_next() => ended.unwrap_or_else(|error| Err(io::Error::other(error)))?,
        }
    }
    drop(stop);
    // Each door gives its clients their time.
    while open.join_next().await.is_some() {}
    Ok(())
}

/// Accepts at one door.
async fn attend(door: Door, service: Arc<Service>, mut stopped: watch::Receiver<()>) -> io::Result<()> {
    let listener = tokio::select! {
        listener = open(door, &service) => listener,
        _ = stopped.changed() => return Ok(()),
    };
    let accepting = Accepting::new(&listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // In this order, so that ended connections are removed before a new one is accepted.
            biased;
            _ = stopped.changed() => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!(%error, "the task of a connection panicked: this is a bug in headroom");
                }
            }
            stream = accepting.accept() => receive(stream, &service, &mut connections, &stopped),
        }
    }
    drop((accepting, listener));
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(service.limits.grace, ended).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Waits until the door can be opened, and says so.
async fn open(mut door: Door, service: &Service) -> Listener {
    let mut said = None;
    loop {
        let label = door.address().label();
        door = match door {
            Door::Open(listener) => {
                match listener.address() {
                    Address::Tcp(at) => tracing::info!("serving metrics at {}://{at}/metrics", service.scheme()),
                    Address::Socket(path) => tracing::info!("listening on the socket {}", path.display()),
                }
                service.tally.listener(label, true);
                return listener;
            }
            Door::Shut(address, error) => {
                let why = format!("{:#}", anyhow::Error::from(error));
                if said.as_ref() != Some(&why) {
                    tracing::warn!("{why}; everything else goes on, and it is tried again every {RETRY:?}");
                }
                service.tally.listener(label, false);
                said = Some(why);
                sleep(RETRY).await;
                Door::at(address)
            }
        };
    }
}

/// Gives a new connection its place, and its task.
fn receive(stream: Stream, service: &Arc<Service>, connections: &mut JoinSet<()>, stopped: &watch::Receiver<()>) {
    let Some(seat) = service.seats.take(stream.peer()) else {
        service.seats.turn_away();
        match stream {
            Stream::Tcp(stream, _) => connection::refuse(stream, connection::BUSY),
            // Few at a time: a crowd that is turned away takes no more.
            Stream::Unix(stream, _) => {
                if let Ok(place) = service.refusals.clone().try_acquire_owned() {
                    connections.spawn(async move {
                        connection::refuse_unix(stream, connection::BUSY).await;
                        drop(place);
                    });
                }
            }
        }
        return;
    };
    let id = seat.id();
    let (service_, stopped) = (service.clone(), stopped.clone());
    let task = match stream {
        Stream::Tcp(stream, _) => connections.spawn(service_.tcp(stream, seat, stopped)),
        Stream::Unix(stream, _) => connections.spawn(service_.unix(stream, seat, stopped)),
    };
    service.seats.occupy(id, task);
}

enum Accepting {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream, Peer),
    Unix(UnixStream, Peer),
}

impl Stream {
    fn peer(&self) -> Peer {
        match self {
            Stream::Tcp(_, peer) | Stream::Unix(_, peer) => *peer,
        }
    }
}

impl Accepting {
    /// Takes its own descriptor of the listener, whose file goes with the original.
    fn new(listener: &Listener) -> io::Result<Accepting> {
        Ok(match &listener.socket {
            Socket::Tcp(socket) => Accepting::Tcp(TcpListener::from_std(socket.try_clone()?)?),
            Socket::Unix(socket) => Accepting::Unix(UnixListener::from_std(socket.try_clone()?)?),
        })
    }

    async fn accept(&self) -> Stream {
        use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        loop {
            match self.one().await {
                Ok(stream) => return stream,
                Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
                Err(error) => {
                    // Out of descriptors or memory: the connection stays in the backlog, and an immediate retry would spin.
                    tracing::warn!(%error, "cannot accept connections");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    async fn one(&self) -> io::Result<Stream> {
        match self {
            Accepting::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok(Stream::Tcp(stream, Peer::of(address.ip())))
            }
            Accepting::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok(Stream::Unix(stream, Peer::User(uid)))
            }
        }
    }
}

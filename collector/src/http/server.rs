//! Connections and what each may cost. Knows nothing of paths and contents.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

use super::access::{Access, Terms, Verdict};
use super::exposition::Exposition;
use super::limit::Limits;
use super::route;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Bytes of a response that wait in the kernel, which doubles the figure. Left to itself it takes up to 4 MiB for each
/// client that does not read, and charges them to the agent's cgroup.
const SEND_BUFFER: usize = 128 * 1024;
/// What is answered to a connection too many.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";
/// What is answered to a client that speaks plain HTTP where TLS is asked for.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 27\r\nconnection: close\r\n\r\nonly HTTPS is spoken here.\n";
/// How a connection that speaks TLS begins: with a record of its handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A bound address. Connections wait in the kernel until [`serve`] takes them.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes any that is free. Needs no runtime.
    pub fn bind(address: SocketAddr) -> Result<Listener, BindError> {
        let open = || {
            let socket = TcpListener::bind(address)?;
            socket.set_nonblocking(true)?;
            sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
            rustix::net::listen(&socket, BACKLOG)?;
            Ok(Listener { address: socket.local_addr()?, socket })
        };
        open().map_err(|error: io::Error| match error.kind() {
            ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Other(address, error),
        })
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Why an address could not be bound.
#[derive(Debug)]
pub enum BindError {
    /// Another process listens there.
    InUse(SocketAddr),
    /// Anything else: no such address here, or a port that needs privileges.
    Other(SocketAddr, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::InUse(address) => write!(f, "cannot listen on {address}: another process does already"),
            BindError::Other(address, _) => write!(f, "cannot listen on {address}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::InUse(_) => None,
            BindError::Other(_, error) => Some(error),
        }
    }
}

/// Answers those who have `access` until `shutdown` resolves, then gives responses in flight [`Limits::grace`] to finish.
/// Whatever is refused because there is too much of it is added to `shed`.
///
/// Fails only if the listener cannot be handed to the runtime, whose blocking pool it uses up to [`POOL`](super::POOL).
pub async fn serve(
    listener: Listener,
    access: Arc<Access>,
    exposition: Arc<dyn Exposition>,
    limits: Limits,
    shed: Arc<AtomicU64>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener.socket)?;
    let router = route::router(exposition, &limits, shed.clone());
    let shared = Arc::new(Shared { access, router, limits, shed });
    let mut connections = JoinSet::new();
    let (stop, stopped) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            // In this order, so that what has ended is off the books before the next is counted.
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a request failed");
                }
            }
            stream = accept(&listener) => {
                if connections.len() < limits.connections {
                    connections.spawn(shared.clone().limited(stream, stopped.clone()));
                } else {
                    shared.shed.fetch_add(1, Ordering::Relaxed);
                    refuse(stream, BUSY);
                }
            }
        }
    }
    drop(listener);
    drop(stop);
    let ended = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.grace, ended).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn accept(listener: &tokio::net::TcpListener) -> TcpStream {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) => {}
            Err(error) => {
                // Out of descriptors or memory: the connection stays in the backlog, and trying again at once would spin.
                tracing::warn!(%error, "cannot accept connections");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// What all connections share.
struct Shared {
    access: Arc<Access>,
    router: Router,
    limits: Limits,
    shed: Arc<AtomicU64>,
}

impl Shared {
    /// Gives a connection an end.
    async fn limited(self: Arc<Shared>, stream: TcpStream, stopped: watch::Receiver<()>) {
        // Only a hint: without it the last packet of a response may wait for an acknowledgement.
        stream.set_nodelay(true).ok();
        let limits = self.limits;
        match timeout(limits.head + limits.response, self.handshake(stream, stopped)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("connection broken: {error:#}"),
            Err(_) => tracing::debug!("connection too slow"),
        }
    }

    /// Speaks TLS first where that is asked for. A handshake that is not over when the endpoint ends is not waited for.
    async fn handshake(self: Arc<Shared>, stream: TcpStream, mut stopped: watch::Receiver<()>) -> Result<()> {
        let terms = tokio::select! {
            terms = self.access.terms() => terms,
            _ = stopped.changed() => return Ok(()),
        };
        let Some(tls) = terms.tls.clone() else { return self.exchange(stream, terms, stopped).await };
        let shaken = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
                refuse(stream, PLAIN);
                return Ok(None);
            }
            TlsAcceptor::from(tls).accept(stream).await.map(Some)
        };
        let shaken = tokio::select! {
            shaken = timeout(self.limits.head, shaken) => shaken.context("TLS handshake too slow")?,
            _ = stopped.changed() => return Ok(()),
        };
        match shaken.context("TLS handshake")? {
            Some(stream) => self.exchange(stream, terms, stopped).await,
            None => Ok(()),
        }
    }

    /// One request, one response. Scrapes are seconds apart, and a connection kept alive between them would hold a place for
    /// nothing; hyper's timeout for heads runs while idle too, and would close it just as a scrape every five seconds comes.
    async fn exchange(
        self: Arc<Shared>,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        terms: Arc<Terms>,
        mut stopped: watch::Receiver<()>,
    ) -> Result<()> {
        let limits = self.limits;
        let service = service_fn(move |request: Request<Incoming>| {
            let (shared, terms) = (self.clone(), terms.clone());
            async move { Ok::<_, Infallible>(shared.answer(request, &terms).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .keep_alive(false)
                .half_close(true)
                .timer(TokioTimer::new())
                .header_read_timeout(limits.head)
                // hyper panics below its own minimum.
                .max_buf_size(limits.head_bytes.max(8 * 1024))
                .serve_connection(TokioIo::new(stream), service)
        );
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    async fn answer(&self, request: Request<Incoming>, terms: &Terms) -> Response {
        let verdict = self.access.admit(terms, request.headers(), self.limits.queue).await;
        if verdict == Verdict::Busy {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
        let mut response = match verdict.refusal() {
            Some(refusal) => refusal,
            None => match self.router.clone().oneshot(request.map(Body::new)).await {
                Ok(response) => response,
                Err(never) => match never {},
            },
        };
        response.headers_mut().extend(terms.headers());
        response
    }
}

/// Never waits. The socket is new, so the answer fits into its buffer; and what was already sent is read, as closing
/// over unread bytes resets the connection and may take the answer with it.
fn refuse(stream: TcpStream, answer: &[u8]) {
    let Ok(mut stream) = stream.into_std() else { return };
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(answer);
    let _ = stream.shutdown(Shutdown::Write);
}

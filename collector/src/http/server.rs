//! Connections, TLS and limits. Knows nothing of paths and contents.

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

/// Connections that may wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;
/// Socket send buffer in bytes; the kernel doubles it. Its default grows up to 4 MiB for each client that does not read,
/// charged to the agent's cgroup.
const SEND_BUFFER: usize = 128 * 1024;
/// Response to a connection above the limit.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";
/// Response to plain HTTP on a TLS listener.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 18\r\nconnection: close\r\n\r\nHTTPS is required\n";
/// First byte of a TLS connection: content type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// A bound address. Connections wait in the kernel until [`serve`] takes them.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Binds `address`; port 0 takes any free port. Needs no runtime.
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

    /// The address, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Why an address could not be bound.
#[derive(Debug)]
pub enum BindError {
    InUse(SocketAddr),
    /// No such address on this host, or a privileged port, for example.
    Other(SocketAddr, io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::InUse(address) => write!(f, "cannot listen on {address}: another process uses it"),
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

/// Serves clients with `access` until `shutdown` resolves, then gives responses in flight [`Limits::grace`] to finish. Adds
/// requests rejected by a limit to `shed`. Uses up to [`POOL`](super::POOL) threads of the runtime's blocking pool.
///
/// Fails only if the listener cannot be registered with the runtime.
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
            // In this order, so that ended connections are removed before a new one is counted.
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "the task of a connection panicked: this is a bug in headroom");
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
                // Out of descriptors or memory: the connection stays in the backlog, and an immediate retry would spin.
                tracing::warn!(%error, "cannot accept connections");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// State shared by all connections.
struct Shared {
    access: Arc<Access>,
    router: Router,
    limits: Limits,
    shed: Arc<AtomicU64>,
}

impl Shared {
    /// Serves a connection with an overall timeout.
    async fn limited(self: Arc<Shared>, stream: TcpStream, stopped: watch::Receiver<()>) {
        // Without it the last packet of a response may wait for an acknowledgement. Failure is harmless.
        stream.set_nodelay(true).ok();
        let limits = self.limits;
        match timeout(limits.head + limits.response, self.handshake(stream, stopped)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("connection failed: {error:#}"),
            Err(_) => tracing::debug!("connection timed out"),
        }
    }

    /// Does the TLS handshake if configured. Shutdown aborts a handshake.
    async fn handshake(self: Arc<Shared>, stream: TcpStream, mut stopped: watch::Receiver<()>) -> Result<()> {
        let terms = tokio::select! {
            terms = self.access.terms() => terms,
            _ = stopped.changed() => return Ok(()),
        };
        let Some(tls) = terms.tls.clone() else { return self.exchange(stream, terms, stopped).await };
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
                refuse(stream, PLAIN);
                return Ok(None);
            }
            TlsAcceptor::from(tls).accept(stream).await.map(Some)
        };
        let result = tokio::select! {
            result = timeout(self.limits.head, handshake) => result.context("TLS handshake timed out")?,
            _ = stopped.changed() => return Ok(()),
        };
        match result.context("TLS handshake")? {
            Some(stream) => self.exchange(stream, terms, stopped).await,
            None => Ok(()),
        }
    }

    /// One request and one response. No keep-alive: scrapes are seconds apart, so an idle connection would only occupy a slot,
    /// and hyper's head timeout also runs while idle and would close it just when a scrape every five seconds arrives.
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

/// Sends a fixed response without waiting. The socket is new, so the response fits into its buffer. Received bytes are read
/// first, because closing a socket with unread bytes resets the connection and may discard the response.
fn refuse(stream: TcpStream, answer: &[u8]) {
    let Ok(mut stream) = stream.into_std() else { return };
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(answer);
    let _ = stream.shutdown(Shutdown::Write);
}

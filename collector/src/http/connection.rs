//! One connection: TLS, its time limits, and whether its request is admitted. Knows nothing of listeners, paths and contents.

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::access::{Access, Terms, Verdict};
use super::denial::Denial;
use super::exposition::Exposition;
use super::follow::Stopping;
use super::group;
use super::handshake::Handshakes;
use super::host::Hosts;
use super::limit::Limits;
use super::problem;
use super::request::Client;
use super::route::{self, SMALL};
use super::seat::{Peer, Seat, Seats};
use super::stream::Watched;
use super::tally::Tally;

/// Response to a connection above the limit.
pub(super) const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    retry-after: 1\r\ncontent-length: 21\r\nconnection: close\r\n\r\ntoo many connections\n";
/// Response to plain HTTP on a TLS listener.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 18\r\nconnection: close\r\n\r\nHTTPS is required\n";
/// So many at the same time.
const REFUSALS: usize = 64;
/// How long the request of somebody who is turned away is waited for.
const REQUEST: Duration = Duration::from_secs(1);
/// First byte of a TLS connection: content type of a handshake record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;

/// What all connections share.
pub(super) struct Service {
    access: Arc<Access>,
    hosts: Hosts,
    router: Router,
    /// Whose members see what belongs to others.
    group: Option<u32>,
    pub limits: Limits,
    pub tally: Arc<Tally>,
    pub seats: Arc<Seats>,
    /// Connections that get a 503 because all places are taken.
    pub refusals: Arc<Semaphore>,
    /// With TLS.
    handshakes: Option<Handshakes>,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// A certificate protects the name.
    Tls,
    Loopback,
    Network,
    /// From this user, by the kernel's word.
    Socket(u32),
}

impl Service {
    pub fn new(
        access: Arc<Access>,
        hosts: Hosts,
        exposition: Arc<dyn Exposition>,
        limits: Limits,
        tally: Arc<Tally>,
        seats: Arc<Seats>,
        handshakes: Option<Handshakes>,
    ) -> Arc<Service> {
        let (cutting, group) = (seats.clone(), exposition.group());
        let router = route::router(exposition, &limits, Box::new(move |body| cutting.cut_readers(body)));
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        Arc::new(Service { access, hosts, router, group, limits, tally, seats, refusals, handshakes })
    }

    pub fn scheme(&self) -> &'static str {
        self.access.scheme()
    }

    pub async fn tcp(self: Arc<Service>, stream: TcpStream, seat: Seat, mut stopped: watch::Receiver<()>) {
        // Without it the last packet of a response may wait for an acknowledgement. Failure is harmless.
        stream.set_nodelay(true).ok();
        let seat = Arc::new(seat);
        let (service, mine) = (self.clone(), seat.clone());
        self.limited(&seat, async move {
            let terms = tokio::select! {
                terms = service.access.terms() => terms,
                _ = stopped.changed() => return Ok(()),
            };
            let loopback = stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
            let way = if loopback { Way::Loopback } else { Way::Network };
            let stream = Watched { stream, moved: mine.moved.clone() };
            let (Some(tls), Some(handshakes)) = (terms.tls.clone(), &service.handshakes) else {
                return service.clone().exchange(stream, terms, (way, None), mine, stopped).await;
            };
            let shake = async {
                let mut first = [0];
                if stream.stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
                    refuse(stream.stream, PLAIN);
                    service.tally.denials.add(Denial::Handshake, mine.peer);
                    return Ok(None);
                }
                handshakes.shake(tls, stream).await.map(Some)
            };
            let shaken = tokio::select! {
                shaken = timeout(service.limits.head, shake) => shaken.context("TLS handshake timed out"),
                _ = stopped.changed() => return Ok(()),
            };
            let shaken = shaken.and_then(|shaken| shaken.context("TLS handshake"));
            match shaken.inspect_err(|_| service.tally.denials.add(Denial::Handshake, mine.peer))? {
                Some(stream) => service.clone().exchange(stream, terms, (Way::Tls, None), mine, stopped).await,
                None => Ok(()),
            }
        })
        .await;
    }

    pub async fn unix(self: Arc<Service>, stream: UnixStream, seat: Seat, stopped: watch::Receiver<()>) {
        let seat = Arc::new(seat);
        let (service, mine) = (self.clone(), seat.clone());
        self.limited(&seat, async move {
            let Peer::User(uid) = mine.peer else { return Ok(()) };
            let terms = service.access.terms().await;
            let peer = stream.peer_cred().context("ask who it is")?;
            let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
            let member = service.group.is_some_and(|group| group::is_member(&stream, peer.gid(), group));
            let all = is_own(uid) || member;
            let line = stream.as_fd().try_clone_to_owned().context("watch the connection")?;
            let client = Client { uid, pid, all, line: Arc::new(line) };
            let stream = Watched { stream, moved: mine.moved.clone() };
            service.exchange(stream, terms, (Way::Socket(uid), Some(client)), mine, stopped).await
        })
        .await;
    }

    /// Serves a connection with its timeouts.
    async fn limited(&self, seat: &Seat, served: impl Future<Output = Result<()>>) {
        let limits = &self.limits;
        let all = limits.head + limits.queue + limits.response;
        let late = async {
            sleep(all).await;
            while seat.follows() {
                sleep(all).await;
            }
        };
        tokio::select! {
            served = served => {
                if let Err(error) = served {
                    tracing::debug!("connection failed: {error:#}");
                }
            }
            () = late => tracing::debug!("connection timed out"),
            () = seat.stalled() => {
                self.seats.turn_away();
                tracing::debug!("a client did not read its response");
            }
        }
    }

    /// One request and one response. No keep-alive: scrapes are seconds apart, so an idle connection would only occupy a place,
    /// and hyper's head timeout also runs while idle and would close it just when a scrape every five seconds arrives.
    async fn exchange(
        self: Arc<Service>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        terms: Arc<Terms>,
        (way, client): (Way, Option<Client>),
        seat: Arc<Seat>,
        mut stopped: watch::Receiver<()>,
    ) -> Result<()> {
        let limits = self.limits;
        let stopping = Stopping(stopped.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (shared, terms, seat) = (self.clone(), terms.clone(), seat.clone());
            request.extensions_mut().insert(stopping.clone());
            if let Some(client) = &client {
                request.extensions_mut().insert(client.clone());
            }
            async move { Ok::<_, Infallible>(shared.answer(request, &terms, way, seat).await) }
        });
        let connection = http1::Builder::new()
            .keep_alive(false)
            .half_close(true)
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            // hyper panics below its own minimum.
            .max_buf_size(limits.head_bytes.max(8 * 1024))
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            result = connection.as_mut() => return Ok(result?),
            _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
        }
        Ok(connection.await?)
    }

    async fn answer(&self, mut request: Request<Incoming>, terms: &Terms, way: Way, seat: Arc<Seat>) -> Response {
        let api = route::below_api(request.uri().path()).is_some();
        let refusal = self.refusal(&request, terms, way, &seat).await;
        let mut response = match refusal {
            Some(refusal) => refusal,
            None => {
                seat.answer();
                request.extensions_mut().insert(seat);
                match self.router.clone().oneshot(request.map(Body::new)).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        if api {
            response = problem::of_text(response).await;
        }
        response.headers_mut().extend(terms.headers());
        response
    }

    /// The answer to a request that is not admitted.
    async fn refusal(&self, request: &Request<Incoming>, terms: &Terms, way: Way, seat: &Seat) -> Option<Response> {
        let denials = &self.tally.denials;
        if way == Way::Loopback
            && let Some(name) = self.hosts.foreign(request.uri(), request.headers())
        {
            denials.add(Denial::Host, seat.peer);
            let text = format!("{name:?} is no name of this host: use localhost or an address, or set allowed_hosts\n");
            return Some((StatusCode::MISDIRECTED_REQUEST, text).into_response());
        }
        if let Way::Socket(uid) = way {
            // They could read the passwords, or whether the agent lives does not need any.
            if is_own(uid) || request.uri().path().starts_with(SMALL) {
                return None;
            }
            if terms.needs_certificate() {
                let text = "clients need a certificate (web_config), which a socket cannot check: ask as root\n";
                return Some((StatusCode::FORBIDDEN, text).into_response());
            }
        }
        let verdict = self.access.admit(terms, request.headers(), self.limits.queue).await;
        match verdict {
            Verdict::Busy => self.seats.turn_away(),
            Verdict::Wrong if request.headers().contains_key(AUTHORIZATION) => denials.add(Denial::Password, seat.peer),
            Verdict::Wrong | Verdict::Right => {}
        }
        verdict.refusal()
    }
}

/// Root, or the agent's user.
fn is_own(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Sends a fixed response without waiting. The socket is new, so the response fits into its buffer. Received bytes are read
/// first, because closing a socket with unread bytes resets the connection and may discard the response.
pub(super) fn refuse(stream: TcpStream, answer: &[u8]) {
    let Ok(mut stream) = stream.into_std() else { return };
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write(answer);
    let _ = stream.shutdown(Shutdown::Write);
}

/// The same on a Unix socket. Who writes to a closed one gets an error and may never read the answer, so this waits for a moment until
/// the request is there.
pub(super) async fn refuse_unix(stream: UnixStream, answer: &'static [u8]) {
    let _ = timeout(REQUEST, stream.readable()).await;
    let _ = stream.try_read(&mut [0; 4096]);
    let _ = stream.try_write(answer);
}

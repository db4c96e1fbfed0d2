//! Finds the running agent and asks it: over its socket, or its address. Knows HTTP; not what the answers mean.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use collector_core::api::problem::Problem;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::config::error::Place;
use crate::config::load::Effective;
use crate::config::setting;
use crate::http::Address;

/// Timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest accepted body in bytes: far above what the maximum number of workloads needs.
const MAX_BODY: usize = 256 << 20;

pub struct Client {
    runtime: Runtime,
    addresses: Vec<Address>,
}

/// A response with this status, and its body.
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Client {
    /// For the agent at these addresses: the first that an agent listens on.
    pub fn at(addresses: Vec<Address>) -> Result<Client> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        Ok(Client { runtime, addresses })
    }

    /// For the agent where this configuration says that it is: at the socket or the address that the command line or the environment
    /// names, or else at the socket and then at the address.
    pub fn of(effective: &Effective) -> Result<Client> {
        Client::at(addresses(effective))
    }

    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// # Errors
    /// If nobody listens at any address ([`is_absent`] then holds), or at the first where somebody does, but does not answer.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.get_within(path, TIMEOUT)
    }

    pub fn get_within(&self, path: &str, limit: Duration) -> Result<Answer> {
        self.send(Method::GET, path, None, limit)
    }

    /// A request of any kind, with JSON as its body, whose answer comes within this time.
    ///
    /// # Errors
    /// As for [`Client::get`].
    pub fn send(&self, method: Method, path: &str, body: Option<Vec<u8>>, limit: Duration) -> Result<Answer> {
        let mut absent = None;
        let content = Content { method, path, body: body.map(Bytes::from) };
        for address in &self.addresses {
            let answer = self.runtime.block_on(async { timeout(limit, ask(address, &content)).await });
            let answer = answer.unwrap_or_else(|late| Err(late.into()));
            match answer {
                Err(error) if is_absent(&error) => {
                    absent = Some(error.context(format!("no agent answers at {address}")))
                }
                answer => return answer.with_context(|| format!("the agent at {address}")),
            }
        }
        Err(absent.unwrap_or_else(|| anyhow::anyhow!("no socket and no address is configured")))
    }

    /// The body of a page that exists.
    pub fn page(&self, path: &str) -> Result<Bytes> {
        let Answer { status, body } = self.get(path)?;
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(Refusal::Password.into()),
            StatusCode::FORBIDDEN => Err(Refusal::Other(said(&body)).into()),
            StatusCode::BAD_REQUEST if problem(&body).is_none() => Err(Refusal::Https.into()),
            status => bail!("HTTP status {status}: {}", said(&body)),
        }
    }
}

/// What a body says that is not the page.
fn said(body: &[u8]) -> String {
    problem(body).map_or_else(|| String::from_utf8_lossy(body).trim().to_owned(), |problem| problem.detail)
}

/// The API says what is wrong as a problem, a listener as text.
fn problem(body: &[u8]) -> Option<Problem> {
    serde_json::from_slice(body).ok()
}

/// Why an agent that is there gives no page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Refusal {
    Password,
    Https,
    /// What the agent says.
    Other(String),
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Password => {
                "it requires a password (web_config), which this command cannot send: ask it over its socket, as root"
            }
            Refusal::Https => {
                "it requires HTTPS (web_config), which this command does not support: ask it over its socket"
            }
            Refusal::Other(text) => text,
        })
    }
}

/// Whether there is no agent. That this user may not ask it is something else.
pub fn is_absent(error: &anyhow::Error) -> bool {
    let absent = |error: &std::io::Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
    error.chain().filter_map(|cause| cause.downcast_ref()).any(absent)
}

/// Whether there is an agent that this user may not ask so.
pub fn is_forbidden(error: &anyhow::Error) -> bool {
    let forbidden = |error: &std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    error.chain().any(|cause| cause.is::<Refusal>() || cause.downcast_ref().is_some_and(forbidden))
}

/// A text as a part of a path or of a query.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: u8| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(one).collect()
}

fn addresses(effective: &Effective) -> Vec<Address> {
    let config = &effective.config;
    let named = |key| {
        let origin = setting::find(key).and_then(|setting| effective.origin(setting));
        matches!(origin, Some(Place::Flag(_) | Place::Variable(_)))
    };
    let socket = config.socket.clone().map(Address::Socket);
    let address = Address::Tcp(reachable(config.listen));
    match socket {
        Some(socket) if named("socket") => vec![socket],
        Some(socket) if !named("listen") => vec![socket, address],
        _ => vec![address],
    }
}

/// What is sent, to whichever agent is there.
struct Content<'a> {
    method: Method,
    path: &'a str,
    body: Option<Bytes>,
}

async fn ask(address: &Address, content: &Content<'_>) -> Result<Answer> {
    match address {
        Address::Tcp(at) => exchange(TcpStream::connect(at).await?, &at.to_string(), content).await,
        Address::Socket(at) => exchange(UnixStream::connect(at).await?, "localhost", content).await,
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    host: &str,
    content: &Content<'_>,
) -> Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(content.method.clone()).uri(content.path).header(HOST, host);
    if content.body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Full::new(content.body.clone().unwrap_or_default()))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    Ok(Answer { status, body: body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes() })
}

/// The loopback address for an agent that listens on all addresses.
pub fn reachable(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    listen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load};

    #[test]
    fn an_unspecified_address_becomes_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9843"), "127.0.0.1:9843");
        assert_eq!(at("[::]:9843"), "[::1]:9843");
        assert_eq!(at("10.0.0.1:9843"), "10.0.0.1:9843");
    }

    #[test]
    fn what_is_named_is_asked_alone_and_the_socket_before_the_address() {
        let of = |flags: &[(&str, &str)], variables: &[(&str, &str)]| {
            let flags = flags.iter().map(|(key, value)| (setting::find(key).unwrap(), (*value).to_owned())).collect();
            let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let effective = load(&Layers { file: Some("/dev/null".into()), environment, flags }).unwrap();
            addresses(&effective).iter().map(Address::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&[], &[]), ["/run/headroom/headroom.sock", "127.0.0.1:9843"]);
        assert_eq!(of(&[("listen", "127.0.0.1:1")], &[]), ["127.0.0.1:1"]);
        assert_eq!(of(&[], &[("HEADROOM_LISTEN", "127.0.0.1:1")]), ["127.0.0.1:1"]);
        assert_eq!(of(&[("socket", "/a")], &[("HEADROOM_LISTEN", "127.0.0.1:1")]), ["/a"]);
        assert_eq!(of(&[], &[("HEADROOM_SOCKET", "/a")]), ["/a"]);
        assert_eq!(of(&[("socket", "")], &[]), ["127.0.0.1:9843"]);
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_the_problem_or_of_the_text() {
        let body = serde_json::to_vec(&Problem::new(403, "ask as root")).unwrap();
        assert_eq!(said(&body), "ask as root");
        assert_eq!(said(b"HTTPS is required\n"), "HTTPS is required");
    }

    #[test]
    fn nobody_there_is_absent_and_a_refusal_is_not() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::at(vec![Address::Socket("/nowhere/headroom.sock".into()), Address::Tcp(free)]).unwrap();
        let error = client.get("/").err().unwrap();
        assert!(is_absent(&error) && !is_forbidden(&error), "{error:?}");
        assert!(format!("{error:#}").starts_with(&format!("no agent answers at {free}: ")), "{error:#}");
        let refused = anyhow::Error::from(std::io::Error::from(ErrorKind::PermissionDenied)).context("the agent at /a");
        assert!(is_forbidden(&refused) && !is_absent(&refused));
        for refusal in [Refusal::Password, Refusal::Https, Refusal::Other("no".to_owned())] {
            let error = anyhow::Error::from(refusal).context("the agent at /a");
            assert!(is_forbidden(&error) && !is_absent(&error), "{error:?}");
        }
    }
}

//! One GET after the other to a server on this host, over a connection that is known to arrive where it should. No redirects, no proxies,
//! and a bounded answer. Knows nothing about what is asked for.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::place::Way;
use super::room::{Hold, Room};
use super::socket;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_millis(300);
/// Bytes of the head of an answer.
const HEAD: usize = 64 << 10;
/// The connection must be in the namespace's table by then: looks, and the time between them.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(10);
/// What is sent as the user agent.
pub const AGENT: &str = concat!("headroom/", env!("CARGO_PKG_VERSION"));

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// The room that the body takes.
    pub _hold: Hold,
}

/// A connection to a server.
pub struct Link {
    sender: SendRequest<Empty<Bytes>>,
    host: HeaderValue,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Connects to the first address that answers.
    ///
    /// # Errors
    /// Why none does.
    pub async fn open(way: &Way) -> Result<Link, String> {
        let (addresses, net) = match way {
            Way::Own(addresses) => (addresses, None),
            Way::Container(addresses, net) => (addresses, Some(net)),
        };
        let mut why = "it has no address".to_owned();
        for address in addresses {
            match timeout(CONNECT, TcpStream::connect(address)).await {
                Err(_) => why = format!("connecting to {address} takes longer than {CONNECT:?}"),
                Ok(Err(error)) => why = format!("connect to {address}: {error}"),
                Ok(Ok(stream)) => {
                    if let Some(net) = net {
                        arrived(&stream, net).await?;
                    }
                    return Link::over(stream, *address).await;
                }
            }
        }
        Err(why)
    }

    async fn over(stream: TcpStream, address: SocketAddr) -> Result<Link, String> {
        let host = HeaderValue::from_str(&address.to_string()).map_err(|error| error.to_string())?;
        let mut builder = Builder::new();
        builder.max_buf_size(HEAD);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // Its errors come with the request.
        let task = tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(Link { sender, host, task })
    }

    /// Whether another request can be sent.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// The answer to a GET.
    ///
    /// # Errors
    /// Why there is none that can be used.
    pub async fn get(&mut self, path: &str, room: &Room) -> Result<Answer, String> {
        let request = Request::get(path)
            .header(HOST, self.host.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "*/*")
            .body(Empty::new())
            .map_err(|error| error.to_string())?;
        self.sender.ready().await.map_err(said)?;
        let response = self.sender.send_request(request).await.map_err(said)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(redirects(status.as_u16()));
        }
        let (body, hold) = read(response, room).await?;
        Ok(Answer { status: status.as_u16(), body, _hold: hold })
    }
}

pub fn redirects(status: u16) -> String {
    format!("it redirects to another place (HTTP status {status}), which is not followed")
}

async fn read(response: Response<Incoming>, room: &Room) -> Result<(Vec<u8>, Hold), String> {
    let (mut body, mut bytes, mut hold) = (response.into_body(), Vec::new(), room.hold());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("its answer ends in the middle: {}", said(error)))?;
        let Ok(data) = frame.into_data() else { continue };
        hold.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, hold))
}

/// Whoever makes a network namespace gives it any address, so one may be that of another host: nothing is sent unless the connection's
/// other end is in that namespace.
async fn arrived(stream: &TcpStream, net: &Path) -> Result<(), String> {
    let ends = || -> io::Result<_> { Ok((stream.local_addr()?, stream.peer_addr()?)) };
    let (client, server) = ends().map_err(|error| error.to_string())?;
    for look in 0..LOOKS {
        match socket::has(net, client, server) {
            Ok(true) => return Ok(()),
            Ok(false) => sleep(PAUSE * look).await,
            Err(error) => return Err(format!("the sockets of its container cannot be listed: {error}")),
        }
    }
    Err(format!("what answers at {server} is not in its container, so it is not asked"))
}

/// What went wrong, in words.
fn said(error: hyper::Error) -> String {
    if error.is_parse() {
        return "what listens there does not answer with HTTP".to_owned();
    }
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return "it closed the connection without an answer".to_owned();
    }
    let mut text = error.to_string();
    if let Some(cause) = std::error::Error::source(&error) {
        text += &format!(": {cause}");
    }
    text
}

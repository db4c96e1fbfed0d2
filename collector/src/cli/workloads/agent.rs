//! The agent that runs here, asked over its own endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::api::workloads::Summary;
use crate::config::Config;
use crate::http::WORKLOADS;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of an answer: far more than the most workloads that an agent keeps.
const LARGEST: usize = 256 << 20;

/// A running agent.
pub struct Agent {
    address: SocketAddr,
    runtime: Runtime,
}

impl Agent {
    /// The agent that listens where the configuration says; an error if none answers there.
    pub fn find(config: &Config) -> Result<Agent> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let agent = Agent { address: reachable(config.listen), runtime };
        agent.read()?;
        Ok(agent)
    }

    /// What it knows now.
    pub fn read(&self) -> Result<Summary> {
        let address = self.address;
        let answer = self.runtime.block_on(async { timeout(PATIENCE, get(address)).await });
        let text = answer.unwrap_or_else(|late| Err(late.into()));
        let text = text.with_context(|| format!("no agent answers at {address}"))?;
        serde_json::from_slice(&text).with_context(|| format!("what answers at {address} is no agent of this version"))
    }
}

async fn get(address: SocketAddr) -> Result<Bytes> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(WORKLOADS).header(HOST, address.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => bail!("it asks for a password (web_config), which this command does not know"),
        StatusCode::BAD_REQUEST => bail!("it answers HTTPS alone (web_config), which this command does not speak"),
        status => bail!("it answers {status}"),
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    Ok(body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes())
}

/// Where to knock for one who listens everywhere.
fn reachable(mut listen: SocketAddr) -> SocketAddr {
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

    #[test]
    fn who_listens_everywhere_is_found_here() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9843"), "127.0.0.1:9843");
        assert_eq!(at("[::]:9843"), "[::1]:9843");
        assert_eq!(at("10.0.0.1:9843"), "10.0.0.1:9843");
    }

    #[test]
    fn nobody_there_is_an_error_that_says_where() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = Config { listen: free, ..Config::default() };
        let error = format!("{:#}", Agent::find(&config).err().unwrap());
        assert!(error.starts_with(&format!("no agent answers at {free}: ")), "{error}");
    }
}

//! Reads workloads from the running agent over its HTTP endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use collector_core::api::workloads::Summary;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::config::Config;
use crate::http::WORKLOADS;

/// Timeout of one request.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest accepted body in bytes: far above what the maximum number of workloads needs.
const MAX_BODY: usize = 256 << 20;

pub struct Agent {
    address: SocketAddr,
    runtime: Runtime,
}

impl Agent {
    /// Connects to the agent at the configured address; fails if none answers.
    pub fn find(config: &Config) -> Result<Agent> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let agent = Agent { address: reachable(config.listen), runtime };
        agent.read()?;
        Ok(agent)
    }

    pub fn read(&self) -> Result<Summary> {
        let address = self.address;
        let answer = self.runtime.block_on(async { timeout(TIMEOUT, get(address)).await });
        let text = answer.unwrap_or_else(|late| Err(late.into()));
        let text = text.with_context(|| format!("no agent answers at {address}"))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("the answer from {address} is not from an agent of this version"))
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
        StatusCode::UNAUTHORIZED => bail!("it requires a password (web_config), which this command cannot send"),
        StatusCode::BAD_REQUEST => bail!("it requires HTTPS (web_config), which this command does not support"),
        status => bail!("HTTP status {status}"),
    }
    let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
    Ok(body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes())
}

/// The loopback address for an agent that listens on all addresses.
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
    fn an_unspecified_address_becomes_loopback() {
        let at = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(at("0.0.0.0:9843"), "127.0.0.1:9843");
        assert_eq!(at("[::]:9843"), "[::1]:9843");
        assert_eq!(at("10.0.0.1:9843"), "10.0.0.1:9843");
    }

    #[test]
    fn a_refused_connection_is_an_error_with_the_address() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = Config { listen: free, ..Config::default() };
        let error = format!("{:#}", Agent::find(&config).err().unwrap());
        assert!(error.starts_with(&format!("no agent answers at {free}: ")), "{error}");
    }
}

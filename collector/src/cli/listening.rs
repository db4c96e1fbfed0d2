//! What `headroom doctor` says about the agent's addresses: whether an agent runs, whether others can reach it, and who is in its way.

use std::net::SocketAddr;

use anyhow::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::client::{Client, is_absent};
use crate::config::Config;
use crate::http::Address;
use crate::source::Finding;

/// The series of an agent that cannot listen on its address.
const SHUT: &str = "headroom_listener_up{listener=\"tcp\"} 0";

pub fn finding(config: &Config) -> Finding {
    let (ok, is) = match running(config) {
        Ok(Some(said)) => said,
        Ok(None) => free(config.listen),
        Err(error) => (false, format!("{error:#}")),
    };
    Finding { key: "endpoint", title: "endpoint", ok, is }
}

/// What the running agent says, if there is one.
fn running(config: &Config) -> Result<Option<(bool, String)>> {
    let Some(socket) = &config.socket else { return Ok(None) };
    let (shown, listen) = (socket.display(), config.listen);
    match Client::at(vec![Address::Socket(socket.clone())])?.page("/metrics") {
        Ok(metrics) if String::from_utf8_lossy(&metrics).lines().any(|line| line == SHUT) => {
            let taken = format!("an agent answers at {shown}, but another process has its TCP address");
            Ok(Some((false, format!("{taken}: `ss -ltnp` shows which, and the agent listens once it is free"))))
        }
        Ok(_) => Ok(Some((true, format!("an agent answers at {shown}, and should at {listen}")))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the address can be bound. Nothing listens there meanwhile.
fn free(listen: SocketAddr) -> (bool, String) {
    let family = if listen.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let bound = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).and_then(|socket| {
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, &listen)
    });
    match bound {
        Ok(()) => (true, format!("no agent runs, and {listen} is free")),
        Err(rustix::io::Errno::ADDRINUSE) => {
            let taken = format!("another process has {listen}");
            (false, format!("{taken}: `ss -ltnp` shows which, and an agent would listen once it is free"))
        }
        Err(error) => (false, format!("{listen}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_taken_address_is_told_from_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = taken.local_addr().unwrap();
        let config = Config { listen, socket: Some("/nowhere/headroom.sock".into()), ..Config::default() };
        let found = finding(&config);
        assert!(!found.ok && found.is.contains(&listen.to_string()), "{found:?}");
        drop(taken);
        let found = finding(&config);
        assert!(found.ok && found.is.contains("is free"), "{found:?}");
    }
}

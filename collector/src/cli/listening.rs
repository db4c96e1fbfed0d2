//! What `headroom doctor` says about the agent's addresses: whether an agent runs, whether others can reach it, and who is in its way.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use hyper::StatusCode;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use tokio::time::error::Elapsed;

use crate::client::{Answer, Client, is_absent, reachable};
use crate::config::Config;
use crate::http::{Address, HEALTHY};
use crate::source::Finding;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who answers at an address.
#[derive(Debug, PartialEq)]
enum Found {
    /// An agent; what else it says.
    Agent(&'static str),
    /// An agent that does not work, and why.
    Ill(String),
    /// Who accepts connections and says nothing.
    Silent,
    Stranger,
}

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
    let listen = config.listen;
    let socket = config.socket.as_ref().map(|path| Address::Socket(path.clone()));
    let by_socket = socket.clone().map_or(Ok(None), ask)?;
    let by_tcp = ask(Address::Tcp(reachable(listen))).unwrap_or_else(|error| match error.downcast_ref::<Elapsed>() {
        Some(_) => Some(Found::Silent),
        // Whatever speaks no HTTP there is no agent.
        None => Some(Found::Stranger),
    });
    let (place, found) = match (socket, by_socket, &by_tcp) {
        (Some(socket), Some(found), _) => (socket.to_string(), found),
        (_, _, Some(Found::Agent(said))) => return Ok(Some((true, format!("an agent answers at {listen}{said}")))),
        (_, _, Some(Found::Ill(why))) => (listen.to_string(), Found::Ill(why.clone())),
        _ => return Ok(None),
    };
    Ok(Some(match (found, by_tcp) {
        (Found::Ill(why), _) => (false, format!("an agent answers at {place}, but does not work: {why}")),
        (Found::Stranger | Found::Silent, _) => (false, format!("what answers at {place} is no agent")),
        (Found::Agent(_), Some(Found::Agent(said))) => {
            (true, format!("an agent answers at {place} and at {listen}{said}"))
        }
        (Found::Agent(_), None) => {
            (false, format!("an agent answers at {place}, but not at {listen}: its log says why"))
        }
        (Found::Agent(_), Some(Found::Ill(why))) => {
            (false, format!("an agent answers at {place}, but {listen} says: {why}"))
        }
        (Found::Agent(_), Some(Found::Silent)) => {
            let mute = format!("an agent answers at {place}, but who has {listen} does not within {PATIENCE:?}");
            (false, format!("{mute}: `ss -ltnp` shows whether it is another process"))
        }
        (Found::Agent(_), Some(Found::Stranger)) => {
            let taken = format!("an agent answers at {place}, but another process has its TCP address");
            (false, format!("{taken}: `ss -ltnp` shows which, and the agent listens once it is free"))
        }
    }))
}

/// `None` if nobody listens there.
///
/// # Errors
/// This user may not ask, or there is no answer.
fn ask(address: Address) -> Result<Option<Found>> {
    let Answer { status, body } = match Client::at(vec![address])?.get_within(HEALTHY, PATIENCE) {
        Err(error) if is_absent(&error) => return Ok(None),
        answer => answer?,
    };
    let text = String::from_utf8_lossy(&body).trim().to_owned();
    Ok(Some(match status {
        StatusCode::OK if text == "healthy" => Found::Agent(""),
        StatusCode::UNAUTHORIZED => Found::Agent(" (it asks for a password)"),
        StatusCode::BAD_REQUEST if text.contains("HTTPS") => Found::Agent(" (over HTTPS)"),
        StatusCode::SERVICE_UNAVAILABLE => Found::Ill(text),
        _ => Found::Stranger,
    }))
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
    use std::io::{self, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::source::test::Tree;

    /// Answers each request with this, once for each client.
    fn serve<S: Read + Write>(clients: impl Iterator<Item = io::Result<S>>, answer: &str) {
        for mut client in clients.flatten() {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(answer.as_bytes());
        }
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    /// With a server at the socket that answers so, and one at the TCP address; without one that address is free.
    fn found(socket: Option<String>, tcp: Option<String>) -> (bool, String) {
        let tree = Tree::new();
        let path = tree.0.join("socket");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = listener.local_addr().unwrap();
        if let Some(answer) = socket {
            let listener = UnixListener::bind(&path).unwrap();
            std::thread::spawn(move || serve(listener.incoming(), &answer));
        }
        match tcp {
            Some(answer) => drop(std::thread::spawn(move || serve(listener.incoming(), &answer))),
            None => drop(listener),
        }
        let finding = finding(&Config { listen, socket: Some(path.clone()), ..Config::default() });
        let shown = finding.is.replace(&path.display().to_string(), "SOCKET").replace(&listen.to_string(), "TCP");
        (finding.ok, shown)
    }

    #[test]
    fn an_agent_is_found_at_its_socket_or_its_address_whether_or_not_it_asks_for_a_password() {
        let healthy = || Some(http("200 OK", "healthy\n"));
        let locked = || Some(http("401 Unauthorized", "user name and password required\n"));
        let encrypted = || Some(http("400 Bad Request", "HTTPS is required\n"));
        let ill = || Some(http("503 Service Unavailable", "no readings for 20s\n"));
        for (socket, tcp, ok, words) in [
            (healthy(), healthy(), true, "an agent answers at SOCKET and at TCP"),
            (healthy(), locked(), true, "at SOCKET and at TCP (it asks for a password)"),
            (healthy(), encrypted(), true, "at SOCKET and at TCP (over HTTPS)"),
            (healthy(), None, false, "at SOCKET, but not at TCP"),
            (healthy(), Some("SSH-2.0-x\r\n".to_owned()), false, "another process has its TCP address"),
            (healthy(), Some(http("404 Not Found", "")), false, "another process has its TCP address"),
            (healthy(), Some(http("503 Service Unavailable", "too many connections\n")), false, "TCP says: too many"),
            (ill(), healthy(), false, "does not work: no readings for 20s"),
            (None, healthy(), true, "an agent answers at TCP"),
            (None, locked(), true, "an agent answers at TCP (it asks for a password)"),
            (None, ill(), false, "an agent answers at TCP, but does not work: no readings"),
            (None, Some(http("404 Not Found", "")), false, "another process has TCP"),
            (None, None, true, "no agent runs, and TCP is free"),
        ] {
            let (found_ok, is) = found(socket, tcp);
            assert_eq!((found_ok, is.contains(words)), (ok, true), "{words}: {is}");
        }
    }
}

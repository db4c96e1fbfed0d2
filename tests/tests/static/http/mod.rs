//! The endpoint with real sockets: its answers, one body for all who ask for the same, and its shutdown. Waits are bounded
//! (`PATIENCE`), so that a hang is a failure; nothing asserts a speed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::Ordering;

use collector::http::{Address, BindError, Limits, Listener};
use flate2::read::GzDecoder;

use crate::endpoint::{ANY_PORT, LOOSE, PATIENCE, Page, Reply, Server, eventually};

mod api;
mod flood;
mod follow;
mod hostile;
mod page;
mod socket;

/// A scrape without conditions.
const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";
/// More than a socket buffers.
const LARGE: usize = 32 << 20;

#[test]
fn metrics_come_in_the_requested_format() {
    let server = Server::start(LOOSE, Page::small());
    let text = ("text/plain; version=0.0.4; charset=utf-8", "text\n");
    let open_metrics = ("application/openmetrics-text; version=1.0.0; charset=utf-8", "openmetrics\n");
    for (accept, (content_type, body)) in [
        ("", text),
        ("accept: */*\r\n", text),
        (
            "accept: application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            open_metrics,
        ),
        ("accept: text/plain;q=0.2\r\nAccept: application/openmetrics-text\r\n", open_metrics),
        ("accept: \u{fffd}garbage;;q=\r\n", text),
    ] {
        let reply = server.ask(&format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{accept}\r\n"));
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(content_type)), "{accept}");
        assert_eq!(reply.body, body.as_bytes(), "{accept}");
        assert_eq!(reply.header("content-length"), Some(&*body.len().to_string()));
    }
    server.stop();
}

#[test]
fn large_expositions_are_compressed_on_request() {
    const ASK: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n";
    let server = Server::start(LOOSE, Page::of(300_000));
    let plain = server.get("/metrics");
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 300_000));
    let packed = server.ask(ASK);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.header("vary"), Some("accept, accept-encoding"));
    assert!(packed.body.len() < plain.body.len() / 10);
    let mut unpacked = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
    server.stop();

    let server = Server::start(LOOSE, Page::small());
    let reply = server.ask(ASK);
    assert_eq!((reply.header("content-encoding"), &*reply.body), (None, &b"text\n"[..]));
    server.stop();
}

#[test]
fn health_and_readiness_say_what_is_wrong() {
    let page = Page::small();
    let server = Server::start(LOOSE, page.clone());
    for (path, body) in [("/-/healthy", "healthy\n"), ("/-/ready", "ready\n")] {
        let reply = server.get(path);
        assert_eq!((reply.status, &*reply.body), (200, body.as_bytes()), "{path}");
    }
    page.sick.store(true, Ordering::Relaxed);
    for (path, reason) in [("/-/healthy", "the ring is stuck\n"), ("/-/ready", "no round of readings yet\n")] {
        let reply = server.get(path);
        assert_eq!((reply.status, &*reply.body), (503, reason.as_bytes()), "{path}");
    }
    server.stop();
}

#[test]
fn other_paths_and_methods_get_a_helpful_error() {
    let server = Server::start(LOOSE, Page::small());
    let index = server.get("/");
    assert_eq!((index.status, index.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for part in ["href=\"metrics\"", env!("CARGO_PKG_VERSION")] {
        assert!(index.text().contains(part), "{part}");
    }
    for path in ["/metric", "/metrics/", "/../etc/passwd", "/%00", "//", "/-/", "http://x/nothing"] {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.text().contains("/metrics"), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        for path in ["/metrics", "/-/healthy", "/-/ready", "/"] {
            let reply = server.ask(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET,HEAD")), "{method} {path}");
        }
    }
    for line in ["CONNECT x:1", "OPTIONS *"] {
        let reply = server.ask(&format!("{line} HTTP/1.1\r\nhost: x\r\n\r\n"));
        assert!((400..500).contains(&reply.status), "{line}: {}", reply.status);
    }
    server.stop();
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start(LOOSE, Page::of(5000));
    let reply = server.ask("HEAD /metrics HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((reply.status, reply.header("content-length"), reply.body.len()), (200, Some("5000"), 0));
    assert_eq!(server.ask("HEAD /-/ready HTTP/1.0\r\n\r\n").status, 200);
    server.stop();
}

#[test]
fn request_bodies_are_not_read() {
    let server = Server::start(LOOSE, Page::small());
    // The body never comes, and the server does not wait for it.
    for head in [
        "POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\nab",
        "POST /metrics HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 10\r\n\r\n",
        "POST /metrics HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
    ] {
        assert_eq!(server.ask(head).status, 405, "{head}");
    }
    assert_eq!(server.ask("GET /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n").body, b"text\n");
    server.stop();
}

#[test]
fn a_connection_carries_one_request() {
    let server = Server::start(LOOSE, Page::small());
    // The first of several pipelined requests is answered.
    let reply = server.ask(&"GET /-/ready HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50));
    assert_eq!((reply.status, reply.header("connection"), &*reply.body), (200, Some("close"), &b"ready\n"[..]));
    server.stop();
}

#[test]
fn a_half_closed_client_gets_its_whole_answer() {
    let server = Server::start(LOOSE, Page::of(LARGE));
    let mut client = server.connect();
    client.write_all(SCRAPE).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Reply::read(client).unwrap().body.len(), LARGE);
    // Half-closed in the middle of the head, or before it: there is no request to answer.
    for sent in ["GET /metr", ""] {
        let mut client = server.connect();
        client.write_all(sent.as_bytes()).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_ne!(Reply::read(client).map(|reply| reply.status), Some(200));
    }
    server.stop();
}

#[test]
fn an_address_in_use_and_a_wrong_one_are_different_errors() {
    let holder = TcpListener::bind(ANY_PORT).unwrap();
    let taken = holder.local_addr().unwrap();
    let error = Listener::bind(taken).unwrap_err();
    assert!(matches!(error, BindError::InUse(Address::Tcp(address)) if address == taken), "{error:?}");
    assert!(error.to_string().contains(&taken.to_string()));
    // Reserved for documentation: never an address of this machine.
    let error = Listener::bind("203.0.113.1:0".parse().unwrap()).unwrap_err();
    assert!(matches!(error, BindError::Other(..)), "{error:?}");
}

#[test]
fn scrapes_of_one_snapshot_share_a_body_and_the_next_snapshot_has_its_own() {
    const GZIP: &str = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\n\r\n";
    let page = Page::of(LARGE);
    page.keep();
    let server = Server::start(LOOSE, page.clone());
    let mut slow: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.write_all(SCRAPE).unwrap();
        client.peek(&mut [0]).unwrap();
    }
    assert_eq!(page.held(), 1, "eight clients do not read the same body");
    assert_eq!(server.ask(GZIP).body, server.ask(GZIP).body);
    assert_eq!(page.renders.load(Ordering::Relaxed), 1);
    page.keep();
    assert_eq!(server.get("/metrics").body.len(), LARGE);
    assert_eq!((page.renders.load(Ordering::Relaxed), page.held()), (2, 2), "the slow clients still have the old one");
    drop(slow);
    eventually("the old body is dropped", || page.held() == 1);
    server.stop();
}

#[test]
fn health_is_answered_during_a_rendering_and_other_requests_wait_for_the_same_one() {
    let page = Page::of(LARGE);
    page.keep();
    let (begun, go_on) = page.hold();
    let server = Server::start(LOOSE, page.clone());
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.write_all(SCRAPE).unwrap();
    }
    begun.recv_timeout(PATIENCE).expect("rendering begins");
    for path in ["/-/healthy", "/-/ready", "/"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    // The other page waits for its turn: one snapshot is held at a time.
    let mut other = server.connect();
    other.write_all(b"GET /api/v1/workloads HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    go_on.send(()).unwrap();
    for client in clients {
        assert_eq!(Reply::read(client).unwrap().body.len(), LARGE);
    }
    assert_eq!(Reply::read(other).unwrap().status, 200);
    assert_eq!(page.renders.load(Ordering::Relaxed), 2, "the metrics once, the workloads once");
    server.stop();
}

#[test]
fn shutdown_waits_for_no_slow_client() {
    let page = Page::of(LARGE);
    let mut server = Server::start(LOOSE, page.clone());
    let mut clients: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for client in &mut clients[..10] {
        client.write_all(b"GET /metr").unwrap();
    }
    clients[10].write_all(SCRAPE).unwrap();
    clients[10].peek(&mut [0]).unwrap();
    server.ask_to_stop();
    // Every other limit is `PATIENCE`: if it waited for one of these, it would exceed the limit here.
    server.ended.recv_timeout(PATIENCE / 3).expect("serve returns");
    assert_eq!(page.held(), 0);
    assert!(TcpStream::connect(server.address).is_err());
    server.stop();
}

#[test]
fn shutdown_lets_a_response_in_flight_finish() {
    let mut server = Server::start(Limits { grace: PATIENCE, ..LOOSE }, Page::of(LARGE));
    let idle = server.connect();
    let mut client = server.connect();
    client.write_all(SCRAPE).unwrap();
    client.peek(&mut [0]).unwrap();
    server.ask_to_stop();
    // It does not wait for a client that has sent nothing, however long the grace period is.
    assert!(Reply::read(idle).is_none());
    assert_eq!(Reply::read(client).unwrap().body.len(), LARGE);
    server.ended.recv_timeout(PATIENCE / 3).expect("serve returns");
    server.stop();
}

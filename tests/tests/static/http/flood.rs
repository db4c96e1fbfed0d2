//! Clients that take all places, or the memory, or come under another name: others are answered all the same.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use collector::http::access::Access;
use collector::http::{Address, Door, Limits};

use super::{LARGE, SCRAPE};
use crate::endpoint::{ANY_PORT, LOOSE, PATIENCE, Page, Server, eventually};

/// The limits of the agent, with patience for slow machines: nothing below depends on how fast it is.
fn limits() -> Limits {
    Limits { head: PATIENCE, queue: PATIENCE, response: PATIENCE, stall: PATIENCE, ..Limits::default() }
}

/// Connections that asked for the metrics and read nothing.
fn readers(server: &Server, count: usize) -> Vec<TcpStream> {
    let ask = |_| {
        let mut client = server.connect();
        client.write_all(SCRAPE).unwrap();
        client
    };
    (0..count).map(ask).collect()
}

fn answers(server: &Server, length: usize) {
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!((server.get(path).status, server.get_there(path).status), (200, 200), "{path}");
    }
    assert_eq!((server.get("/metrics").body.len(), server.get_there("/metrics").body.len()), (length, length));
}

#[test]
fn connections_without_a_request_give_way() {
    let server = Server::start(limits(), Page::of(5000));
    for byte in [&b"G"[..], b"", b"GET /metrics HTTP/1.1\r\nhost: x\r\n"] {
        let mut flood: Vec<_> = (0..600).map(|_| server.connect()).collect();
        flood.iter_mut().for_each(|client| drop(client.write_all(byte)));
        answers(&server, 5000);
    }
    assert!(server.shed() > 0, "and that is counted");
    server.stop();
}

#[test]
fn clients_that_do_not_read_give_way() {
    let page = Page::of(LARGE);
    let server = Server::start(limits(), page.clone());
    let flood = readers(&server, 12);
    answers(&server, LARGE);
    drop(flood);
    for count in [100, 400] {
        let flood = readers(&server, count);
        for path in ["/-/healthy", "/-/ready"] {
            assert_eq!((server.get(path).status, server.get_there(path).status), (200, 200), "{path}");
        }
        assert_eq!(server.get_there("/metrics").body.len(), LARGE, "it is another peer");
        eventually("one of the same peer is answered", || server.get("/metrics").body.len() == LARGE);
        drop(flood);
    }
    eventually("every response is dropped", || page.held() == 0);
    server.stop();
}

#[test]
fn clients_that_read_a_little_give_way() {
    let server = Server::start(limits(), Page::of(LARGE));
    let reading = Arc::new(());
    let flood = thread::spawn({
        let (mut flood, reading) = (readers(&server, 60), Arc::downgrade(&reading));
        move || {
            while reading.upgrade().is_some() {
                flood.iter_mut().for_each(|client| {
                    let _ = client.set_read_timeout(Some(Duration::from_millis(1)));
                    let _ = client.read(&mut [0; 100]);
                });
            }
        }
    });
    answers(&server, LARGE);
    drop(reading);
    flood.join().unwrap();
    server.stop();
}

#[test]
fn a_client_that_takes_nothing_is_cut_off_even_if_nobody_waits() {
    let page = Page::of(LARGE);
    let server = Server::start(Limits { stall: Duration::from_millis(500), ..LOOSE }, page.clone());
    let _idle = readers(&server, 1);
    eventually("it is cut off", || server.shed() == 1 && page.held() == 0);
    server.stop();
}

#[test]
fn old_bodies_give_way_before_they_fill_the_memory() {
    let page = Page::of(LARGE);
    page.copies.store(true, Ordering::Relaxed);
    let server = Server::start(Limits { bodies: 3 * LARGE, ..LOOSE }, page.clone());
    // Each gets a snapshot of its own.
    let mut flood = Vec::new();
    for _ in 0..10 {
        let client = readers(&server, 1);
        client[0].peek(&mut [0]).unwrap();
        flood.extend(client);
        eventually("no more than the bound are held", || page.held() <= 3);
    }
    assert_eq!(server.shed(), 7);
    server.stop();
}

#[test]
fn who_comes_during_a_long_rendering_shares_the_next() {
    let page = Page::of(LARGE);
    let (begun, go_on) = page.hold();
    let server = Server::start(LOOSE, page.clone());
    let first = readers(&server, 1);
    begun.recv_timeout(PATIENCE).unwrap();
    // Every one of them would get a snapshot and a rendering of its own.
    let rest = readers(&server, 12);
    assert_eq!(server.get("/-/ready").status, 200);
    go_on.send(()).unwrap();
    for client in first.iter().chain(&rest) {
        client.peek(&mut [0]).unwrap();
    }
    // One more, if some of them were read only after it had begun.
    let renders = page.renders.load(Ordering::Relaxed);
    assert!((2..=3).contains(&renders), "{renders} renderings for 13 scrapes");
    server.stop();
}

#[test]
fn a_taken_port_is_tried_until_it_is_free_and_the_rest_is_served() {
    let holder = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let address = holder.local_addr().unwrap();
    let door = Door::at(Address::Tcp(address));
    let server = Server::behind(door, Access::open(None).unwrap(), LOOSE, Page::small());
    let is_open = || server.tally.is_open("tcp");
    eventually("the refusal is known", || is_open() == Some(false));
    assert_eq!(server.get_there("/metrics").body, b"text\n");
    drop(holder);
    eventually("it listens", || is_open() == Some(true));
    assert_eq!(server.get("/metrics").body, b"text\n");
    server.stop();
}

#[test]
fn on_loopback_a_foreign_name_is_misdirected() {
    let server = Server::start(LOOSE, Page::small());
    let status = |head: &str| server.ask(&format!("GET {head}\r\n\r\n")).status;
    for name in ["evil.example", "localhost.evil.example:9843", "127.0.0.1.evil.example"] {
        let reply = server.ask(&format!("GET /metrics HTTP/1.1\r\nhost: {name}\r\n\r\n"));
        assert_eq!(reply.status, 421, "{name}");
        assert!(reply.text().contains("allowed_hosts") && !reply.text().contains("text\n"), "{}", reply.text());
    }
    assert_eq!(status("http://evil.example/metrics HTTP/1.1\r\nhost: localhost"), 421);
    assert_eq!(status("/metrics HTTP/1.1\r\nhost: localhost\r\nhost: evil.example"), 421);
    assert_eq!(server.tally.denials.counts(), [0, 5, 0]);
    for name in ["localhost", "127.0.0.1:1", "[::1]:9843", "x"] {
        assert_eq!(status(&format!("/metrics HTTP/1.1\r\nhost: {name}")), 200, "{name}");
    }
    assert_eq!(status("/metrics HTTP/1.0"), 200);
    server.stop();
}

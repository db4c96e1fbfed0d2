//! Clients that send garbage, too much, too slowly or not at all: none blocks the endpoint or fills its memory.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use collector::http::Limits;
use collector_tests::alone;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{LARGE, SCRAPE};
use crate::endpoint::{LOOSE, PATIENCE, Page, Reply, Server, connect, drain, eventually, resident};

#[test]
fn garbage_is_refused() {
    let server = Server::start(LOOSE, Page::small());
    let tls = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[0xa5; 512][..]].concat();
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for (what, bytes) in [
        ("a TLS hello", &tls[..]),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("HTTP/0.9", b"GET /metrics\r\n\r\n"),
        ("zeroes", &[0; 1024]),
        ("noise", &noise),
        ("a control character", b"GET /metrics HTTP/1.1\r\naccept: \x01\r\n\r\n"),
        ("no name", b"GET /metrics HTTP/1.1\r\n: x\r\n\r\n"),
        ("two lengths", b"GET /metrics HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"),
        ("a wrong length", b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n"),
    ] {
        let mut client = server.connect();
        client.write_all(bytes).unwrap();
        let status = Reply::read(client).map(|reply| reply.status);
        assert!(status.is_none_or(|status| status == 400), "{what}: {status:?}");
        assert_eq!(server.get("/-/ready").status, 200, "after {what}");
    }
    server.stop();
}

#[test]
fn huge_heads_are_refused() {
    let server = Server::start(LOOSE, Page::small());
    let long = "x".repeat(1 << 20);
    let many = "a: b\r\n".repeat(1000);
    for head in [
        format!("GET /metrics HTTP/1.1\r\nhost: x\r\ncookie: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\nhost: x\r\n\r\n"),
        format!("GET /metrics HTTP/1.1\r\nhost: x\r\n{many}\r\n"),
        long,
    ] {
        let mut client = server.connect();
        // The server may close while this is still being sent.
        let _ = client.write_all(head.as_bytes());
        let status = Reply::read(client).map(|reply| reply.status);
        assert!(status.is_none_or(|status| [400, 414, 431].contains(&status)), "{status:?}");
    }
    assert_eq!(server.get("/metrics").status, 200);
    server.stop();
}

#[test]
fn slow_heads_are_cut_off_and_hold_up_nobody() {
    let server = Server::start(Limits { head: Duration::from_secs(1), ..LOOSE }, Page::small());
    let mut slow: Vec<_> = (0..200).map(|_| server.connect()).collect();
    let dripping = Arc::new(AtomicBool::new(true));
    let (first, started) = mpsc::channel();
    let drip = thread::spawn({
        let dripping = dripping.clone();
        let mut sockets: Vec<_> = slow.iter().map(|socket| socket.try_clone().unwrap()).collect();
        move || {
            let head = b"GET /metrics HTTP/1.1\r\nx: ".iter().chain(std::iter::repeat(&b'x'));
            for byte in head.take_while(|_| dripping.load(Ordering::Relaxed)) {
                sockets.iter_mut().for_each(|socket| drop(socket.write(&[*byte])));
                let _ = first.send(());
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    started.recv_timeout(PATIENCE).unwrap();
    for _ in 0..20 {
        assert_eq!(server.get("/metrics").body, b"text\n");
    }
    // Each is closed although it keeps sending.
    for client in &mut slow {
        assert_eq!(drain(client), 0);
    }
    dripping.store(false, Ordering::Relaxed);
    drip.join().unwrap();
    assert_eq!((server.get("/metrics").status, server.shed()), (200, 0));
    server.stop();
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_its_memory_freed() {
    let page = Page::of(LARGE);
    let second = Duration::from_secs(1);
    let limits = Limits { head: second, queue: second, response: second, ..LOOSE };
    let server = Server::start(limits, page.clone());
    let mut client = server.connect();
    client.write_all(SCRAPE).unwrap();
    client.peek(&mut [0]).unwrap();
    assert_eq!(page.held(), 1);
    assert_eq!(server.get("/-/ready").status, 200);
    eventually("the response is dropped", || page.held() == 0);
    let read = drain(&mut client);
    assert!(read < LARGE, "{read}");
    server.stop();
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let server = Server::start(Limits { head: Duration::from_millis(300), ..LOOSE }, Page::of(LARGE));
    let mut client = server.connect();
    client.write_all(SCRAPE).unwrap();
    client.peek(&mut [0]).unwrap();
    // The time limit for the head passes during the response, and must not apply to it.
    thread::sleep(Duration::from_millis(900));
    assert_eq!(Reply::read(client).unwrap().body.len(), LARGE);
    server.stop();
}

#[test]
fn scrapes_over_the_limit_wait_and_then_are_refused() {
    let page = Page::of(LARGE);
    let server = Server::start(Limits { scrapes: 1, queue: Duration::from_millis(100), ..LOOSE }, page.clone());
    let mut client = server.connect();
    client.write_all(SCRAPE).unwrap();
    client.peek(&mut [0]).unwrap();
    assert_eq!((server.get("/metrics").status, server.shed()), (503, 1));
    assert_eq!(server.get("/-/ready").status, 200);
    assert_eq!(page.held(), 1);
    drop(client);
    eventually("its place is free again", || page.held() == 0);
    assert_eq!(server.get("/metrics").body.len(), LARGE);
    server.stop();
}

#[test]
fn clients_that_disconnect_in_the_middle_leave_nothing_behind() {
    let page = Page::of(8 << 20);
    let server = Server::start(Limits { connections: 4, ..LOOSE }, page.clone());
    for round in 0..50 {
        eventually("a place is free", || server.get("/-/ready").status == 200);
        let mut client = server.connect();
        client.write_all(SCRAPE).unwrap();
        if round % 2 == 0 {
            // Refused for too many connections, or a response cut short: either way it disconnects in the middle.
            let _ = client.read(&mut [0; 1000]);
        }
    }
    eventually("every response is dropped", || page.held() == 0);
    eventually("a place is free", || server.get("/-/ready").status == 200);
    assert_eq!(server.get("/metrics").body.len(), 8 << 20);
    server.stop();
}

#[test]
fn ten_thousand_connections_are_answered_or_counted() {
    const CLIENTS: usize = 10_000;
    const PLACES: usize = 256;
    const THREADS: usize = 8;
    alone!();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    // Both ends are in this process. If it may not have enough descriptors, the clients come in waves.
    let room = limit.maximum.map_or(usize::MAX, |most| most as usize).saturating_sub(PLACES + 256);
    let wave = CLIENTS.min(room) / THREADS * THREADS;
    assert!(wave >= 2 * PLACES, "RLIMIT_NOFILE is too low: {limit:?}");

    let page = Page::of(5000);
    let server = Server::start(Limits { connections: PLACES, scrapes: 8, ..LOOSE }, page.clone());
    assert_eq!(server.get("/metrics").status, 200);
    let (address, before) = (server.address, resident());
    let (mut answered, mut cut) = (0, 0);
    while answered + cut < CLIENTS {
        let connected = Barrier::new(THREADS + 1);
        let measured = Barrier::new(THREADS + 1);
        let attack = || {
            let sockets: Vec<_> = (0..wave / THREADS).map(|_| connect(address)).collect();
            connected.wait();
            measured.wait();
            let ask = |mut socket: TcpStream| {
                // Who had to give way is closed already.
                let _ = socket.write_all(SCRAPE);
                Reply::read(socket).map(|reply| reply.status)
            };
            sockets.into_iter().map(ask).collect::<Vec<_>>()
        };
        thread::scope(|scope| {
            let attackers: [_; THREADS] = std::array::from_fn(|_| scope.spawn(attack));
            connected.wait();
            let growth = resident().saturating_sub(before);
            measured.wait();
            assert!(growth < 64 << 20, "{growth} bytes for {wave} connections");
            for status in attackers.into_iter().flat_map(|attacker| attacker.join().unwrap()) {
                match status {
                    Some(200) => answered += 1,
                    Some(503) | None => cut += 1,
                    Some(other) => panic!("{other}"),
                }
            }
        });
    }
    // The last of a wave hold their places until all are connected; all are one peer, which has half of the places.
    assert!(answered >= PLACES / 2 && cut > 0, "{answered} answered, {cut} cut");
    assert_eq!(server.shed(), cut as u64);
    assert_eq!((server.get("/metrics").body.len(), page.held()), (5000, 0));
    server.stop();
}

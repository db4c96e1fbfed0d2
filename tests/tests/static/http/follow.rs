//! Streams of events on the socket: what follows which id, how many there may be, and how they end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use collector::event::{Events, KEPT};
use collector_core::alert::{Alert, Severity, State};
use collector_core::api::problem::Problem;
use collector_core::incident::{Incident, Kind};
use collector_core::outcome::Outcome;
use serde_json::Value;

use crate::endpoint::{LOOSE, Page, Reply, Server, eventually};

fn alert(name: &str, summary: &str) -> Outcome {
    Outcome::Alert(Box::new(Alert {
        alert: name.into(),
        severity: Severity::Warning,
        labels: Default::default(),
        state: State::Firing,
        started: 1,
        fired: 2,
        resolved: None,
        value: None,
        summary: summary.to_owned(),
        action: String::new(),
        incident: None,
        cause: None,
        updated: None,
    }))
}

/// A reader of a stream.
struct Stream(BufReader<UnixStream>);

/// Id, kind and data of an event.
type Told = (Option<u64>, String, Value);

impl Stream {
    /// Sends the request, and reads the head and the first comment or event.
    fn open(server: &Server, last: Option<&str>) -> Stream {
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let mut socket = server.connect_socket();
        socket.write_all(format!("GET /api/v1/events HTTP/1.1\r\nhost: x\r\n{last}\r\n").as_bytes()).unwrap();
        let mut stream = Stream(BufReader::new(socket));
        let head: Vec<String> = std::iter::from_fn(|| Some(stream.line()).filter(|line| !line.is_empty())).collect();
        assert_eq!(head[0], "HTTP/1.1 200 OK", "{head:?}");
        assert!(head.contains(&"content-type: text/event-stream".to_owned()), "{head:?}");
        stream
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next event. Lines of the chunked encoding and comments are skipped.
    fn next(&mut self) -> Told {
        let (mut id, mut kind) = (None, String::new());
        loop {
            let line = self.line();
            match line.split_once(": ") {
                Some(("id", number)) => id = Some(number.parse().unwrap()),
                Some(("event", name)) => kind = name.to_owned(),
                Some(("data", data)) => return (id, kind, serde_json::from_str(data).unwrap()),
                _ => {}
            }
        }
    }

    /// Waits until it is closed.
    fn end(mut self) {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest);
    }
}

fn start() -> (Server, Arc<Events>) {
    let page = Page::small();
    let events = page.events.clone();
    (Server::start(LOOSE, page), events)
}

#[test]
fn alerts_and_incidents_come_as_they_are_added_with_their_ids() {
    let (server, events) = start();
    events.add(7, &alert("Before", ""));
    let mut streams: Vec<_> = (0..2).map(|_| Stream::open(&server, None)).collect();
    // Without an id a stream begins with what comes.
    events.add(8, &alert("Hot", "line\nbreak \u{1f525}"));
    events.add(9, &Outcome::Incident(Box::new(Incident::new(Kind::Oom, "i-1".to_owned(), 5))));
    for stream in &mut streams {
        let (id, kind, data) = stream.next();
        assert_eq!(
            (id, &*kind, &data["alert"], &data["summary"]),
            (Some(8), "alert", &"Hot".into(), &"line\nbreak \u{1f525}".into())
        );
        let (id, kind, data) = stream.next();
        assert_eq!((id, &*kind, &data["id"], &data["kind"]), (Some(9), "incident", &"i-1".into(), &"oom".into()));
    }
    server.stop();
}

#[test]
fn a_stream_goes_on_after_the_last_event_or_says_what_is_gone() {
    let (server, events) = start();
    events.begin(100);
    (101..=105).for_each(|id| events.add(id, &alert("Hot", "")));
    let ids = |last: &str, count: usize| -> Vec<Option<u64>> {
        let mut stream = Stream::open(&server, Some(last));
        (0..count).map(|_| stream.next().0).collect()
    };
    assert_eq!(ids("103", 2), [Some(104), Some(105)]);
    assert_eq!(ids("100", 1), [Some(101)], "nothing was between");
    let mut stream = Stream::open(&server, Some("42"));
    assert_eq!(stream.next(), (None, "gap".to_owned(), Value::Object(Default::default())));
    assert_eq!(stream.next().0, Some(101));
    drop(stream);
    (200..200 + KEPT as u64).for_each(|id| events.add(id, &alert("Hot", "")));
    let mut stream = Stream::open(&server, Some("105"));
    let all: Vec<_> = (0..KEPT).map(|_| stream.next().0).collect();
    assert_eq!((all[0], all[KEPT - 1]), (Some(200), Some(199 + KEPT as u64)), "all thousand");
    for last in ["x", "-1", "1.5", "99999999999999999999999"] {
        let mut socket = server.connect_socket();
        socket.write_all(format!("GET /api/v1/events HTTP/1.1\r\nlast-event-id: {last}\r\n\r\n").as_bytes()).unwrap();
        let reply = Reply::read(socket).unwrap();
        assert_eq!(serde_json::from_slice::<Problem>(&reply.body).unwrap().status, 400, "{last}");
    }
    drop(stream);
    server.stop();
}

#[test]
fn events_are_on_the_socket_alone_for_four_at_once_and_a_head_is_no_stream() {
    let (server, events) = start();
    let reply = server.get("/api/v1/events");
    let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &*problem.detail), (403, "events are on the socket alone"));
    for _ in 0..10 {
        let mut socket = server.connect_socket();
        socket.write_all(b"HEAD /api/v1/events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let reply = Reply::read(socket).unwrap();
        assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream")));
    }
    let mut open: Vec<_> = (0..4).map(|_| Stream::open(&server, None)).collect();
    let reply = server.get_there("/api/v1/events");
    let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &*problem.detail), (429, "4 streams of this user are open already"));
    // One that has left makes room.
    drop(open.pop());
    open.push(Stream::open(&server, None));
    assert_eq!(server.get_there("/-/healthy").status, 200);
    events.add(1, &alert("Hot", ""));
    open.iter_mut().for_each(|stream| assert_eq!(stream.next().0, Some(1)));
    server.stop();
}

#[test]
fn a_stop_ends_all_streams_at_once() {
    let page = Page::small();
    // Were they only ended with this time, the test would exceed its patience.
    let limits = collector::http::Limits { grace: 10 * crate::endpoint::PATIENCE, ..LOOSE };
    let mut server = Server::start(limits, page);
    let streams: Vec<_> = (0..4).map(|_| Stream::open(&server, None)).collect();
    server.ask_to_stop();
    streams.into_iter().for_each(Stream::end);
    server.stop();
}

#[test]
fn a_reader_that_reads_nothing_is_cut_and_nobody_waits_for_it() {
    let page = Page::small();
    let events = page.events.clone();
    let limits = collector::http::Limits { stall: std::time::Duration::from_millis(200), ..LOOSE };
    let server = Server::start(limits, page);
    let (slow, mut quick) = (Stream::open(&server, None), Stream::open(&server, None));
    let long = "x".repeat(64 << 10);
    let mut id = 0;
    eventually("the slow reader is cut", || {
        id += 1;
        events.add(id, &alert("Hot", &long));
        assert_eq!(quick.next().0, Some(id), "the other one gets everything");
        server.shed() > 0
    });
    slow.end();
    server.stop();
}

//! The agent's events over its socket (HTML standard, section 9.2), again and again: an agent that is restarted is followed on. Knows no
//! commands.

use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use collector_core::lease::Notice;
use collector_core::lease::eviction::State;
use collector_core::text::shown;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// The agent says something at least every 15 s; after three times that it is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// How long until it is tried again, first and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];
/// Bytes of one event.
const LONGEST: usize = 4 << 20;

pub(super) struct Event {
    pub id: u64,
    pub kind: String,
    /// JSON.
    pub data: String,
    /// Of an eviction.
    pub notice: Option<Notice>,
}

impl Event {
    /// The lease of an eviction that was to happen before this time, in nanoseconds since the Unix epoch.
    pub fn is_late(&self, now: u64) -> Option<u64> {
        let notice = self.notice.as_ref().filter(|notice| notice.state == State::Asked)?;
        (now >= notice.until).then_some(notice.reservation)
    }
}

pub(super) struct Stream {
    socket: PathBuf,
    runtime: Runtime,
    /// The id of the last event.
    last: Option<u64>,
    first: Option<Response<Incoming>>,
}

impl Stream {
    /// # Errors
    /// If no agent answers now, or one that does not let this user follow.
    pub fn open(socket: &Path) -> Result<Stream> {
        let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
        let mut stream = Stream { socket: socket.to_owned(), runtime, last: None, first: None };
        stream.first = Some(stream.connect().with_context(|| format!("the agent at {}", socket.display()))?);
        Ok(stream)
    }

    fn connect(&self) -> Result<Response<Incoming>> {
        let ask = async {
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(UnixStream::connect(&self.socket).await?)).await?;
            tokio::spawn(connection);
            let mut request = Request::get("/api/v1/events").header(HOST, "localhost");
            if let Some(last) = self.last {
                request = request.header("last-event-id", last);
            }
            let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
            if response.status() != StatusCode::OK {
                let status = response.status();
                let body = response.into_body().collect().await?.to_bytes();
                bail!("HTTP status {status}: {}", shown(&String::from_utf8_lossy(&body)));
            }
            Ok(response)
        };
        self.runtime.block_on(async { timeout(SILENCE, ask).await })?
    }

    /// Passes events on until nobody takes them.
    pub fn run(mut self, to: &SyncSender<Event>) {
        let (mut pause, mut said) = (PAUSE[0], String::new());
        let mut response = self.first.take();
        loop {
            let ended = match response.take().map_or_else(|| self.connect(), Ok) {
                Ok(response) => {
                    (pause, said) = (PAUSE[0], String::new());
                    self.pass(response, to)
                }
                Err(error) => Err(error),
            };
            let why = match ended {
                Ok(()) => return,
                Err(error) => format!("{error:#}"),
            };
            // Once for each reason: an agent may be away for long.
            if why != said {
                eprintln!("headroom: events are not followed: {why}; it is tried again");
                said = why;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE[1]);
        }
    }

    /// Until the stream ends, which is an error, or nobody takes what comes.
    fn pass(&mut self, response: Response<Incoming>, to: &SyncSender<Event>) -> Result<()> {
        let (runtime, last) = (&self.runtime, &mut self.last);
        runtime.block_on(async {
            let mut body = response.into_body();
            let mut lines = Lines::default();
            loop {
                let frame = timeout(SILENCE, body.frame()).await.context("the agent says nothing")?;
                let Some(frame) = frame else { bail!("the agent ended the stream") };
                let Ok(bytes) = frame.context("read events")?.into_data() else { continue };
                for event in lines.take(&bytes)? {
                    if event.kind == "gap" {
                        eprintln!("headroom: some events before this one are not kept any more");
                        continue;
                    }
                    *last = Some(event.id);
                    if to.send(event).is_err() {
                        return Ok(());
                    }
                    // Wakes the thread that waits for signals.
                    let _ = kill_process(getpid(), Signal::CHILD);
                }
            }
        })
    }
}

/// Events from pieces of a stream.
#[derive(Default)]
struct Lines {
    line: Vec<u8>,
    id: u64,
    kind: String,
    data: String,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
            } else {
                let line = std::mem::take(&mut self.line);
                events.extend(self.end(&String::from_utf8_lossy(&line)));
            }
            if self.line.len() + self.data.len() > LONGEST {
                bail!("an event is too long");
            }
        }
        Ok(events)
    }

    /// An empty line ends an event.
    fn end(&mut self, line: &str) -> Option<Event> {
        let line = line.trim_end_matches('\r');
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.id = value.parse().unwrap_or(self.id),
            "event" => self.kind = value.to_owned(),
            "data" => self.data.push_str(value),
            _ => {}
        }
        if !line.is_empty() {
            return None;
        }
        let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
        let notice = (kind == "eviction").then(|| serde_json::from_str(&data).ok()).flatten();
        (!data.is_empty()).then_some(Event { id: self.id, kind, data, notice })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_in_any_pieces_of_a_stream() {
        let text = b": headroom\n\nid: 7\nevent: level\ndata: {\"a\":1}\n\n:\n\nevent: gap\ndata: {}\n\nid: 9\r\nevent: eviction\r\n\
            data: {\"reservation\":3,\"state\":\"asked\",\"uid\":0,\"wanted\":[],\"until\":50,\"times\":1,\"claim\":4}\n\n";
        for size in [1, 2, 7, text.len()] {
            let mut lines = Lines::default();
            let events: Vec<Event> = text.chunks(size).flat_map(|piece| lines.take(piece).unwrap()).collect();
            let found: Vec<_> = events.iter().map(|event| (event.id, &*event.kind)).collect();
            assert_eq!(found, [(7, "level"), (7, "gap"), (9, "eviction")]);
            assert_eq!(events[0].data, "{\"a\":1}");
            assert_eq!((events[2].is_late(49), events[2].is_late(50), events[0].is_late(50)), (None, Some(3), None));
        }
        assert!(Lines::default().take(&vec![b'x'; LONGEST + 1]).is_err());
    }
}

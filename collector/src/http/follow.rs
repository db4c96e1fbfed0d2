//! Streams of events on the socket, as server-sent events (HTML standard, section 9.2). Nobody waits for a reader: one that is slow
//! is cut, and goes on later where it was. Knows no path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use collector_core::api::problem::Problem;
use collector_core::api::reservations::Viewer;
use hyper::body::Frame;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::seat::Seat;
use crate::event::{Event, Events, Next};
use crate::mutex::lock;

/// Open streams of one user, and of all.
const OF_USER: usize = 4;
const ALL: usize = 32;
/// A comment is sent this long after anything else, so that both ends see whether the other is still there.
const COMMENT: Duration = Duration::from_secs(15);
/// How long an event waits for its reader.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a new stream waits for those whose readers have gone.
const ROOM: Duration = Duration::from_secs(1);
/// Events on their way to a reader.
const AHEAD: usize = 16;
const LAST_EVENT_ID: &str = "last-event-id";

pub struct Streams {
    events: Arc<Events>,
    /// By user.
    open: Mutex<BTreeMap<u32, usize>>,
    /// Has each stream send a comment at once.
    probe: watch::Sender<()>,
}

/// Resolves when the agent stops, for answers without end.
#[derive(Clone)]
pub struct Stopping(pub watch::Receiver<()>);

/// One open stream.
struct Place {
    streams: Arc<Streams>,
    uid: u32,
}

impl Streams {
    pub fn new(events: Arc<Events>) -> Arc<Streams> {
        Arc::new(Streams { events, open: Mutex::default(), probe: watch::Sender::new(()) })
    }

    /// A stream for this user, until the reader leaves or the agent stops.
    pub async fn answer(
        self: &Arc<Streams>,
        (uid, viewer): (u32, Viewer),
        headers: &HeaderMap,
        only_head: bool,
        seat: Arc<Seat>,
        stopped: watch::Receiver<()>,
    ) -> Result<Response, Problem> {
        let cursor = self.cursor(headers)?;
        let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
        if only_head {
            return Ok(head.into_response());
        }
        let place = self.place(uid).await?;
        let (sender, frames) = mpsc::channel(AHEAD);
        seat.follow();
        tokio::spawn(async move {
            let cut = follow(&place, viewer, cursor, &sender, stopped).await;
            drop(sender);
            seat.end_follow(cut);
        });
        Ok((head, axum::body::Body::new(Frames(frames))).into_response())
    }

    /// After which event the stream begins, and whether some of what follows is gone.
    fn cursor(&self, headers: &HeaderMap) -> Result<(u64, bool), Problem> {
        let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) else {
            return Ok((*self.events.newest().borrow(), false));
        };
        let last = last.to_str().ok().and_then(|last| last.parse::<u64>().ok());
        let last = last.ok_or_else(|| Problem::parameter("Last-Event-ID is the id of an event: a whole number"))?;
        let gone = self.events.gone();
        Ok((last.max(gone), last < gone))
    }

    async fn place(self: &Arc<Streams>, uid: u32) -> Result<Place, Problem> {
        let patience = Instant::now() + ROOM;
        loop {
            let full = match self.take(uid) {
                Ok(place) => return Ok(place),
                Err(full) => full,
            };
            if Instant::now() >= patience {
                return Err(full);
            }
            // A reader that has gone is noticed when something is sent to it.
            self.probe.send_replace(());
            sleep(ROOM / 20).await;
        }
    }

    fn take(self: &Arc<Streams>, uid: u32) -> Result<Place, Problem> {
        let mut open = lock(&self.open);
        if open.get(&uid).is_some_and(|count| *count >= OF_USER) {
            return Err(Problem::new(429, format!("{OF_USER} streams of this user are open already")));
        }
        if open.values().sum::<usize>() >= ALL {
            return Err(Problem::new(503, format!("{ALL} streams are open already")));
        }
        *open.entry(uid).or_default() += 1;
        Ok(Place { streams: self.clone(), uid })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.streams.open);
        if let Some(count) = open.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.uid);
            }
        }
    }
}

/// Sends what happens. True if the reader was too slow for it.
async fn follow(
    place: &Place,
    viewer: Viewer,
    (mut cursor, gap): (u64, bool),
    sender: &mpsc::Sender<Bytes>,
    mut stopped: watch::Receiver<()>,
) -> bool {
    let events = &place.streams.events;
    let (mut newest, mut probe) = (events.newest(), place.streams.probe.subscribe());
    let begin = if gap { "event: gap\ndata: {}\n\n" } else { ": headroom\n\n" };
    let mut next = Some(Bytes::from_static(begin.as_bytes()));
    loop {
        if let Some(bytes) = next.take() {
            match timeout(PATIENCE, sender.send(bytes)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return false,
                Err(_) => return true,
            }
        }
        newest.mark_unchanged();
        match events.after(cursor, viewer) {
            Next::Event(event) => {
                cursor = event.id;
                next = Some(frame(&event));
                continue;
            }
            Next::Gone => return true,
            // What it may not see is passed over, too.
            Next::None(newest) => cursor = newest,
        }
        tokio::select! {
            biased;
            _ = stopped.changed() => return false,
            () = sender.closed() => return false,
            changed = newest.changed() => if changed.is_err() { return false },
            _ = probe.changed() => next = Some(Bytes::from_static(b":\n\n")),
            () = sleep(COMMENT) => next = Some(Bytes::from_static(b":\n\n")),
        }
    }
}

/// JSON has no line breaks.
fn frame(Event { id, kind, data, .. }: &Event) -> Bytes {
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n").into()
}

/// A body whose end is open.
struct Frames(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

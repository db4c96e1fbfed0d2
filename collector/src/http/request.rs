//! Requests that change something, on the socket alone: who asks is the kernel's word. An answer may be held back; who disconnects
//! meanwhile has asked for nothing. Knows no engine.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use collector_core::api::change::{Change, LARGEST, Wanted};
use collector_core::api::problem::Problem;
use collector_core::api::reservations::Viewer;
use collector_core::lease::{Answer, Body as Decided, Request};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::body;
use super::limit::LOOKS;
use super::problem;
use super::seat::Seat;
use super::turn::blocking;

/// How long one waits to be looked at.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the answer to a request that does not wait may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long somebody may take to read that something was granted.
const LEARN: Duration = Duration::from_secs(10);
/// So many are watched at the same time, each with its connection kept; of others a grant that nobody read ends with its owner.
const LEARNERS: usize = 64;
/// How often it is checked whether who waits is still there.
const CHECK: Duration = Duration::from_millis(250);

/// The process at the other end of a socket, as the kernel knows it.
#[derive(Clone, Debug)]
pub struct Client {
    pub uid: u32,
    /// 0 if it is in another pid namespace.
    pub pid: u32,
    /// It sees what belongs to others.
    pub all: bool,
    /// The connection, to see whether the other end is there.
    pub line: Arc<OwnedFd>,
}

impl Client {
    pub fn viewer(&self) -> Viewer {
        if self.all { Viewer::All } else { Viewer::User(self.uid) }
    }
}

/// Takes requests to where they are decided.
pub trait Requests: Send + Sync + 'static {
    /// Adds to a request what is known of who asks. Reads files of the kernel's.
    ///
    /// # Errors
    /// If it cannot be asked so.
    fn prepare(&self, client: &Client, wanted: Wanted) -> Result<Request, Problem>;
    /// Sends it on. The channel closes if the agent stops.
    fn send(&self, request: Request) -> oneshot::Receiver<Answer>;
    /// Nobody waits any more for the answer to the request with this number.
    fn withdraw(&self, uid: u32, number: u64);
}

/// What answers requests.
pub struct Desk {
    requests: Arc<dyn Requests>,
    looks: Arc<Semaphore>,
    learners: Arc<Semaphore>,
}

/// A request whose answer nobody has yet.
struct Open<'a> {
    requests: &'a dyn Requests,
    uid: u32,
    number: Option<u64>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.requests.withdraw(self.uid, number);
        }
    }
}

impl Desk {
    pub fn new(requests: Arc<dyn Requests>) -> Desk {
        Desk { requests, looks: Arc::new(Semaphore::new(LOOKS)), learners: Arc::new(Semaphore::new(LEARNERS)) }
    }

    pub async fn answer(
        &self,
        client: Client,
        change: &'static Change,
        id: u64,
        content: Body,
        seat: &Seat,
        stopped: watch::Receiver<()>,
    ) -> Response {
        match self.decided(client, change, id, content, seat, stopped).await {
            Ok(answer) => match Problem::or_body(answer) {
                Ok((status, content)) => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    let bytes = body::Answer::json(&content).bytes;
                    (status, [(CONTENT_TYPE, "application/json")], bytes).into_response()
                }
                Err(problem) => problem::response(problem),
            },
            Err(problem) => problem::response(problem),
        }
    }

    async fn decided(
        &self,
        client: Client,
        change: &'static Change,
        id: u64,
        content: Body,
        seat: &Seat,
        mut stopped: watch::Receiver<()>,
    ) -> Result<Answer, Problem> {
        let large = || Problem::new(413, format!("a body has {LARGEST} bytes at most"));
        let content = to_bytes(content, LARGEST).await.map_err(|_| large())?;
        let wanted = change.read(id, &content)?;
        let claims = matches!(&wanted, Wanted::Claim(_));
        let waits = matches!(&wanted, Wanted::Claim(claim) if claim.wait_seconds.is_some());
        let busy = || Problem::new(503, "too many ask at the same time");
        let turn = timeout(PATIENCE, self.looks.clone().acquire_owned()).await.ok().and_then(Result::ok);
        let turn = turn.ok_or_else(busy)?;
        let (requests, who) = (self.requests.clone(), client.clone());
        let prepared = blocking(turn, move || requests.prepare(&who, wanted)).await;
        let request =
            prepared.ok_or_else(|| Problem::new(500, "looking at who asks failed: this is a bug in headroom"))??;
        let requests = &*self.requests;
        let mut open = Open { requests, uid: client.uid, number: Some(request.number) };
        let mut answer = self.requests.send(request);
        let stopping = || Problem::new(503, "the agent is stopping");
        let left = || Problem::new(408, "who asked has gone");
        let answer = if waits {
            seat.follow();
            let answer = tokio::select! {
                biased;
                answer = &mut answer => answer.map_err(|_| stopping()),
                () = gone(&client.line) => Err(left()),
                _ = stopped.changed() => Err(stopping()),
            };
            seat.end_follow(false);
            answer?
        } else {
            let answer = timeout(ANSWER, &mut answer).await.map_err(|_| Problem::new(503, "the agent is late"))?;
            answer.map_err(|_| stopping())?
        };
        if claims && has_gone(&client.line) {
            return Err(left());
        }
        if let (Some(number), Decided::Granted(_)) = (open.number.take(), &answer.body)
            && let Ok(place) = self.learners.clone().try_acquire_owned()
        {
            let learning = learn(self.requests.clone(), client, number);
            tokio::spawn(async move {
                learning.await;
                drop(place);
            });
        }
        Ok(answer)
    }
}

/// Takes back what was granted if the other end closed the connection without reading that it was: the kernel tells.
async fn learn(requests: Arc<dyn Requests>, client: Client, number: u64) {
    let until = Instant::now() + LEARN;
    while !is_over(&client.line) && Instant::now() < until {
        sleep(CHECK).await;
    }
    // Set when the other end is closed while something is unread (unix_release_sock of net/unix/af_unix.c).
    if let Ok(Err(Errno::CONNRESET)) = rustix::net::sockopt::socket_error(&client.line) {
        requests.withdraw(client.uid, number);
    }
}

/// Resolves when the other end has closed the connection, or will send nothing more.
async fn gone(line: &OwnedFd) {
    while !has_gone(line) {
        sleep(CHECK).await;
    }
}

fn has_gone(line: &OwnedFd) -> bool {
    sees(line, PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}

/// Whether the other end is closed, and this one for writing.
fn is_over(line: &OwnedFd) -> bool {
    sees(line, PollFlags::HUP | PollFlags::ERR)
}

fn sees(line: &OwnedFd, any: PollFlags) -> bool {
    let mut fds = [PollFd::new(line, any)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok() && fds[0].revents().intersects(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_end_that_closed_or_will_send_nothing_has_gone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let line = OwnedFd::from(ours.try_clone().unwrap());
        assert!(!has_gone(&line));
        theirs.shutdown(Shutdown::Write).unwrap();
        assert!(has_gone(&line));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let line = OwnedFd::from(ours);
        assert!(!has_gone(&line));
        drop(theirs);
        assert!(has_gone(&line));
    }

    #[test]
    fn the_kernel_tells_what_was_not_read() {
        use std::io::{Read as _, Write as _};
        for reads in [true, false] {
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            ours.write_all(b"granted").unwrap();
            ours.shutdown(Shutdown::Write).unwrap();
            let line = OwnedFd::from(ours);
            assert!(!is_over(&line));
            if reads {
                theirs.read_exact(&mut [0; 7]).unwrap();
            }
            drop(theirs);
            let error = rustix::net::sockopt::socket_error(&line).unwrap();
            assert_eq!((is_over(&line), error), (true, if reads { Ok(()) } else { Err(Errno::CONNRESET) }));
        }
    }
}

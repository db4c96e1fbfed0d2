//! Asks servers, all at once, on a thread of its own: what each is asked is the core's to say. Each has its deadline, and none waits for
//! another. Reports answers; knows neither how servers are found nor when they are asked.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::model::Asker;
use collector_core::statistic::model::Answer;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout_at};

use super::http::{self, Link};
use super::place::Way;
use super::remote::Remote;
use super::room::Room;
use crate::clock;
use crate::mutex::lock;

/// How long one server may take in all.
pub const WHOLE: Duration = Duration::from_secs(2);
/// Requests to one server in one round.
const REQUESTS: usize = 24;
/// Names that are looked up at once: a server of names may not answer.
const LOOKUPS: usize = 4;

/// How a server is asked.
#[derive(Clone, Debug)]
pub enum Route {
    Found(Way),
    Configured(Arc<Remote>),
}

/// What is known of a server between two rounds; nothing while it is being asked.
pub type Kept = Arc<Mutex<Option<Asker>>>;

type Told = Box<dyn FnOnce(&Asker, Answer, u64) + Send>;

/// A server that is to be asked once.
pub struct Job {
    pub asker: Asker,
    pub kept: Kept,
    pub route: Route,
    pub owner: Option<Arc<str>>,
    /// Takes the answer, and the CPU time that it took in nanoseconds.
    pub told: Told,
}

/// Ends the thread when it is dropped.
pub struct Asking(mpsc::UnboundedSender<Job>);

impl Asking {
    pub fn start() -> Result<Asking> {
        let (sender, jobs) = mpsc::unbounded_channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(LOOKUPS)
            .thread_name("headroom-model-name")
            .build()
            .context("make the runtime that asks model servers")?;
        thread::Builder::new()
            .name("headroom-model-ask".into())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, serve(jobs));
                // A lookup of a name may still hang.
                runtime.shutdown_background();
            })
            .context("start the thread that asks model servers")?;
        Ok(Asking(sender))
    }

    /// There are as many at most as there are servers: who asks waits for the answer of the last round.
    pub fn ask(&self, job: Job) {
        if let Err(mpsc::error::SendError(job)) = self.0.send(job) {
            *lock(&job.kept) = Some(job.asker);
        }
    }
}

async fn serve(mut jobs: mpsc::UnboundedReceiver<Job>) {
    let room = Room::default();
    while let Some(job) = jobs.recv().await {
        let room = room.of(&job.owner);
        tokio::task::spawn_local(run(job, room));
    }
}

async fn run(job: Job, room: Room) {
    let Job { mut asker, kept, route, told, .. } = job;
    let (started, deadline) = (Instant::now(), Instant::now() + WHOLE);
    let (mut link, mut cpu) = (None, 0);
    asker.begin(clock::monotonic_ns());
    for _ in 0..REQUESTS {
        let Some(path) = asker.next() else { break };
        let asked = match &route {
            Route::Found(way) => timeout_at(deadline, found(way, path, &mut link, &room)).await,
            Route::Configured(remote) => timeout_at(deadline, remote.get(path, &room)).await,
        };
        let before = clock::thread_ns();
        match asked {
            Ok(Ok(answer)) => asker.got(answer.status, &answer.body),
            Ok(Err(why)) => asker.failed(&why),
            Err(_) => {
                asker.failed(&format!("no whole answer within {WHOLE:?}"));
                break;
            }
        }
        cpu += clock::thread_ns().saturating_sub(before);
    }
    drop(link);
    let answer = asker.finish(started.elapsed().as_nanos() as u64);
    told(&asker, answer, cpu);
    *lock(&kept) = Some(asker);
}

/// Asks over the connection that is open, or else another.
async fn found(way: &Way, path: &str, link: &mut Option<Link>, room: &Room) -> Result<http::Answer, String> {
    let open = match link.take().filter(Link::is_open) {
        Some(open) => open,
        None => Link::open(way).await?,
    };
    // What failed in the middle of an answer is of no use for another.
    let open = link.insert(open);
    let answer = open.get(path, room).await;
    if answer.is_err() {
        *link = None;
    }
    answer
}

//! `headroom events --follow --exec`: runs a command for each event, with the rights of whoever follows. One at a time; the agent runs
//! nothing. Knows neither HTTP nor what a command does.

mod one;
mod stream;

use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};

use self::one::One;
use self::stream::{Event, Stream};
use super::guard::signal::Signals;
use super::journal::EventsArgs;
use crate::client::Client;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::http::Address;

/// Events that wait while a command runs. If there are more, the agent keeps the rest for a while.
const WAITING: usize = 64;
/// How often it is looked whether a command takes too long.
const LOOK: Duration = Duration::from_secs(1);
/// What a command that was told to end may take.
const GRACE: Duration = Duration::from_secs(10);

/// Until a signal ends it.
pub fn run(args: &EventsArgs, effective: &Effective) -> Result<u8, Failure> {
    let Some(command) = &args.exec else { return Ok(Exit::Success.code()) };
    let client = Client::of(effective)?;
    let socket = client.addresses().iter().find_map(|address| match address {
        Address::Socket(path) => Some(path.clone()),
        Address::Tcp(_) => None,
    });
    let socket = socket.ok_or_else(|| {
        Failure::new(Exit::Usage, anyhow!("events are on the agent's socket alone")).hint("name it with --socket")
    })?;
    // Before other threads begin: they are not to take these signals either.
    let signals = Signals::take().context("take signals")?;
    let (sender, events) = sync_channel(WAITING);
    let stream = Stream::open(&socket)?;
    std::thread::Builder::new()
        .name("events".into())
        .spawn(move || stream.run(&sender))
        .context("start a thread for events")?;
    let mut follower =
        Follower { command, kinds: &args.kind, limit: args.exec_timeout, socket: &socket, failed: false };
    follower.follow(&signals, &events)?;
    Ok(if follower.failed { Exit::Failure.code() } else { Exit::Success.code() })
}

struct Follower<'a> {
    command: &'a str,
    /// All, if there are none.
    kinds: &'a [String],
    limit: Duration,
    socket: &'a std::path::Path,
    /// One of the commands has failed.
    failed: bool,
}

impl Follower<'_> {
    fn follow(&mut self, signals: &Signals, events: &Receiver<Event>) -> anyhow::Result<()> {
        let mut running: Option<One> = None;
        let mut ends: Option<Instant> = None;
        loop {
            if let Some(one) = &mut running
                && let Some(end) = one.ended()?
            {
                self.report(&end);
                running = None;
            }
            if running.is_none() {
                if ends.is_some() {
                    return Ok(());
                }
                running = self.begin(events, signals.before())?;
            }
            let came = signals.next(LOOK).context("wait for a signal")?;
            match came.map(|came| came.signal) {
                Some(signal @ (libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)) => {
                    let again = ends.is_some();
                    ends.get_or_insert_with(|| Instant::now() + GRACE);
                    running.iter().for_each(|one| one.signal(if again { libc::SIGKILL } else { signal }));
                }
                Some(libc::SIGTSTP) => one::stop_self(),
                _ => {}
            }
            if let Some(one) = &mut running {
                one.hurry(self.limit, GRACE);
                if ends.is_some_and(|ends| Instant::now() >= ends) {
                    one.signal(libc::SIGKILL);
                }
            }
        }
    }

    /// The next event for which a command is to run.
    fn begin(&self, events: &Receiver<Event>, mask: libc::sigset_t) -> anyhow::Result<Option<One>> {
        loop {
            let event = match events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Empty) => return Ok(None),
                Err(TryRecvError::Disconnected) => return Err(anyhow!("following events failed: this is a bug")),
            };
            if !self.kinds.is_empty() && !self.kinds.contains(&event.kind) {
                continue;
            }
            // Root and the group hear of everybody's.
            if event.notice.as_ref().is_some_and(|notice| notice.uid != rustix::process::geteuid().as_raw()) {
                continue;
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if let Some(id) = event.is_late(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)) {
                eprintln!("headroom: reservation {id} was to be given up earlier: its owner will be asked again");
                continue;
            }
            return One::start(self.command, &event, self.socket, mask).map(Some);
        }
    }

    fn report(&mut self, end: &one::End) {
        if let Some(how) = &end.failed {
            self.failed = true;
            eprintln!("headroom: the command for event {} ({}) failed: {how}", end.id, end.kind);
        }
    }
}

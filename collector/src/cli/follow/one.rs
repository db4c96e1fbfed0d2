//! One command for one event: what it is told, and how it ends. Knows neither the agent nor other events.

use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::lease::Notice;
use libc::sigset_t;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::stream::Event;
use crate::cli::guard::signal::block_only;

/// A command that runs.
pub(super) struct One {
    child: Child,
    began: Instant,
    /// When it got SIGTERM because it ran for too long.
    hurried: Option<Instant>,
    id: u64,
    kind: String,
}

/// How it ended.
pub(super) struct End {
    pub id: u64,
    pub kind: String,
    /// In words, if it did not end well.
    pub failed: Option<String>,
}

impl One {
    /// By a shell, with the event as JSON at its standard input and in its environment. What is in the environment are numbers and
    /// fixed words: a shell that uses it carelessly does no harm.
    ///
    /// `mask`: the signals that were blocked before this process took its own.
    pub fn start(command: &str, event: &Event, socket: &Path, mask: sigset_t) -> Result<One> {
        let mut shell = Command::new("/bin/sh");
        // A group of its own: what it starts ends with it.
        shell.args(["-c", command]).stdin(Stdio::piped()).process_group(0);
        let unblock = move || {
            block_only(&mask);
            Ok(())
        };
        // SAFETY: between fork and exec it only sets a mask.
        unsafe { shell.pre_exec(unblock) };
        shell.env("HEADROOM_SOCKET", socket);
        shell.env("EVENT_KIND", &event.kind).env("EVENT_ID", event.id.to_string());
        shell.envs(event.notice.iter().flat_map(variables));
        let mut child = shell.spawn().context("start /bin/sh")?;
        if let Some(mut input) = child.stdin.take() {
            let data = event.data.clone();
            // It may not read it.
            std::thread::spawn(move || _ = input.write_all(data.as_bytes()).and_then(|()| input.write_all(b"\n")));
        }
        Ok(One { child, began: Instant::now(), hurried: None, id: event.id, kind: event.kind.clone() })
    }

    pub fn ended(&mut self) -> Result<Option<End>> {
        let status = self.child.try_wait().context("wait for the command")?;
        Ok(status.map(|status| End { id: self.id, kind: self.kind.clone(), failed: words(status) }))
    }

    pub fn signal(&self, signal: i32) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let (Some(group), Some(signal)) = (group, Signal::from_named_raw(signal)) {
            // It may have ended meanwhile; it is still there to be waited for.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Ends it if it takes longer than this, by force after the grace.
    pub fn hurry(&mut self, limit: Duration, grace: Duration) {
        match self.hurried {
            None if self.began.elapsed() >= limit => {
                eprintln!("headroom: the command for event {} takes longer than {limit:?}: it is ended", self.id);
                self.hurried = Some(Instant::now());
                self.signal(libc::SIGTERM);
            }
            Some(since) if since.elapsed() >= grace => self.signal(libc::SIGKILL),
            _ => {}
        }
    }
}

/// Stops this process, as a key on the terminal does by default.
pub(super) fn stop_self() {
    let _ = kill_process(rustix::process::getpid(), Signal::STOP);
}

fn words(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, Some(signal)) => Some(format!("signal {signal}")),
        (None, None) => Some("it is not known how".to_owned()),
    }
}

/// What a script needs of an eviction.
fn variables(notice: &Notice) -> Vec<(&'static str, String)> {
    let sum = |resource: &str| {
        let wanted = notice.wanted.iter().filter(|wanted| wanted.resource == resource);
        wanted.fold(0_u64, |sum, wanted| sum.saturating_add(wanted.amount)).to_string()
    };
    let state = serde_json::to_value(notice.state).ok();
    let state = state.and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
    vec![
        ("EVENT_STATE", state),
        ("EVENT_RESERVATION", notice.reservation.to_string()),
        ("EVENT_CLAIM", notice.claim.to_string()),
        ("EVENT_UNTIL", (notice.until / 1_000_000_000).to_string()),
        ("EVENT_HOST_BYTES", sum("host memory")),
        ("EVENT_VRAM_BYTES", sum("VRAM")),
    ]
}

//! Attends to a running command: it gets the signals that the guard gets, stops and goes on with it, and its end is told. Knows no
//! lease and no agent.

use std::io;
use std::process::Child;
use std::time::Duration;

use libc::{c_int, pid_t};

use super::signal::{Came, Signals};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub how: How,
    /// Somebody asked for it: with a signal to the guard, or a key on the terminal.
    pub asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Exited(u8),
    Killed(c_int),
}

impl How {
    /// As a shell tells it.
    pub fn code(self) -> u8 {
        match self {
            How::Exited(code) => code,
            How::Killed(signal) => 128_u8.saturating_add(signal.try_into().unwrap_or(u8::MAX)),
        }
    }
}

/// How often processes that the command started are looked for; more often at first, when most are started.
const LOOK: Duration = Duration::from_millis(100);
const FIRST_LOOKS: (u32, Duration) = (50, Duration::from_millis(20));

/// Waits for the end of the child. `look` is called now and then.
pub fn attend(child: &Child, signals: &Signals, mut look: impl FnMut()) -> io::Result<End> {
    let pid = pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let (mut asked, mut looks) = (false, 0);
    loop {
        let pause = if looks < FIRST_LOOKS.0 { FIRST_LOOKS.1 } else { LOOK };
        let came = signals.next(pause)?;
        // Also where nothing came: another child's signal may have stood for this one's.
        match state(pid)? {
            Some(State::Ended(how)) => return Ok(End { how, asked }),
            Some(State::Stopped(signal)) => stop_with(signal),
            None => {}
        }
        match came {
            Some(came) if came.signal != libc::SIGCHLD => {
                let news = is_news(came, pid);
                let ends = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM].contains(&came.signal);
                // What the command sends to its own group is no request of somebody else.
                asked |= ends && (news || came.from_kernel);
                if news {
                    // SAFETY: it is our child and was not waited for, so the pid is still its.
                    unsafe { libc::kill(pid, came.signal) };
                }
            }
            Some(_) => {}
            None => {
                look();
                looks = (looks + 1).min(FIRST_LOOKS.0);
            }
        }
    }
}

enum State {
    Ended(How),
    Stopped(c_int),
}

/// What became of the child since the last call.
fn state(pid: pid_t) -> io::Result<Option<State>> {
    let mut status = 0;
    // SAFETY: the status is valid to write to.
    match unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG | libc::WUNTRACED) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ if libc::WIFSTOPPED(status) => Ok(Some(State::Stopped(libc::WSTOPSIG(status)))),
        _ if libc::WIFSIGNALED(status) => Ok(Some(State::Ended(How::Killed(libc::WTERMSIG(status))))),
        _ => Ok(Some(State::Ended(How::Exited(libc::WEXITSTATUS(status).try_into().unwrap_or(u8::MAX))))),
    }
}

/// Whether the command does not have the signal already.
fn is_news(came: Came, child: pid_t) -> bool {
    // SAFETY: no preconditions.
    let same_group = unsafe { libc::getpgid(child) == libc::getpgrp() };
    match came.from_kernel {
        // The terminal sends to the whole group.
        true => !same_group,
        // What the command sends to its own group would come back to it.
        false => came.sender == 0 || !is_below(came.sender, child),
    }
}

/// Whether a process is the child or was started by it.
fn is_below(mut pid: pid_t, child: pid_t) -> bool {
    for _ in 0..32 {
        if pid == child {
            return true;
        }
        let Some(parent) = parent(pid) else { return false };
        pid = parent;
    }
    false
}

fn parent(pid: pid_t) -> Option<pid_t> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().filter(|parent| *parent > 1)
}

/// The shell waits for the guard, so the guard stops with the command. What else stops a command (`kill -STOP`) is meant for it alone.
fn stop_with(signal: c_int) {
    if [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU].contains(&signal) {
        // SAFETY: to this process.
        unsafe { libc::raise(libc::SIGSTOP) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_below_those_that_started_it() {
        let own = std::process::id() as pid_t;
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as pid_t;
        assert!(is_below(pid, own) && is_below(own, own) && !is_below(own, pid) && !is_below(-1, own));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn codes_are_as_a_shell_tells_them() {
        assert_eq!([How::Exited(7), How::Killed(9), How::Killed(64)].map(How::code), [7, 137, 192]);
    }
}

//! A command that is a process already but does not run yet: between the two it gets its place (a scope, a lease). Knows neither.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, id};
use std::thread::{self, JoinHandle};

use libc::sigset_t;

use super::signal::block_only;

/// A process before its exec. It ends without having run anything if this is dropped, or if the guard ends.
pub struct Gated {
    pid: u32,
    gate: PipeWriter,
    spawn: JoinHandle<io::Result<Child>>,
}

impl Gated {
    /// Forks, and waits until there is a process. It blocks these signals, and has called `first`, which may do no more than a
    /// child of a process with threads.
    ///
    /// # Errors
    /// If it cannot fork.
    pub fn new(
        mut command: Command,
        mask: sigset_t,
        first: impl Fn() -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Gated> {
        let (mut announced, announce) = io::pipe()?;
        let (pass, gate) = io::pipe()?;
        let theirs = gate.as_raw_fd();
        let wait = {
            let mut pipes = (announce, pass);
            move || {
                block_only(&mask);
                first()?;
                wait_to_pass(&mut pipes, theirs)
            }
        };
        // SAFETY: between fork and exec it only sets a mask, opens, reads, writes and closes.
        unsafe { command.pre_exec(wait) };
        // The call returns after the exec, so it is another thread's.
        let spawn = thread::spawn(move || command.spawn());
        let mut pid = [0; 4];
        match announced.read_exact(&mut pid) {
            Ok(()) => Ok(Gated { pid: u32::from_ne_bytes(pid), gate, spawn }),
            Err(error) => Err(joined(spawn).err().unwrap_or(error)),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run.
    ///
    /// # Errors
    /// If the program cannot be run.
    pub fn open(self) -> io::Result<Child> {
        let Gated { mut gate, spawn, .. } = self;
        // If nobody reads, it ended already, which the other thread will say.
        let _ = gate.write_all(&[1]);
        drop(gate);
        joined(spawn)
    }
}

fn joined(spawn: JoinHandle<io::Result<Child>>) -> io::Result<Child> {
    spawn.join().unwrap_or_else(|_| Err(io::Error::other("the thread that starts the command panicked")))
}

/// In the child. `gate` is its copy of the other end: while it has one, it would not see that the guard ended.
fn wait_to_pass((announce, pass): &mut (PipeWriter, PipeReader), gate: i32) -> io::Result<()> {
    // SAFETY: nothing else in this process uses the descriptor.
    unsafe { libc::close(gate) };
    announce.write_all(&id().to_ne_bytes())?;
    match pass.read(&mut [0])? {
        0 => Err(io::ErrorKind::Interrupted.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    use super::super::signal::Signals;

    fn gated(command: Command) -> io::Result<Gated> {
        let signals = Signals::take()?;
        Gated::new(command, signals.before(), || Ok(()))
    }

    #[test]
    fn nothing_runs_before_the_gate_opens_and_the_process_is_the_same() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$"]).stdout(std::process::Stdio::piped());
        let gated = gated(command).unwrap();
        let pid = gated.pid();
        let blocked = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim().to_owned()
        };
        assert_eq!(blocked(pid), "0000000000000000", "what the guard blocks is not blocked in the command");
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
        assert_eq!(program, std::env::current_exe().unwrap());
        let child = gated.open().unwrap();
        assert_eq!(child.id(), pid);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{pid}\n"));
    }

    #[test]
    fn a_gate_that_never_opens_lets_nothing_run() {
        let file = std::env::temp_dir().join(format!("headroom-gate-{}", id()));
        let mut command = Command::new("touch");
        command.arg(&file);
        let Gated { gate, spawn, .. } = gated(command).unwrap();
        drop(gate);
        assert!(joined(spawn).is_err());
        assert!(!file.exists());
    }

    #[test]
    fn a_program_that_is_not_there_is_said_at_the_gate() {
        let error = gated(Command::new("/nowhere/program")).unwrap().open().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

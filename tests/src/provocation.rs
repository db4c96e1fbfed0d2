//! `provoke` as a child process: it joins its cgroups, does its work, and reports two numbers.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::cgroup::Cgroup;
use crate::process::Killed;

/// A running `provoke`, which stays until [`Provocation::end`]. When dropped, it is killed.
pub struct Provocation {
    child: Killed,
}

impl Provocation {
    /// `program` is `env!("CARGO_BIN_EXE_provoke")`, which only the tests know; `verb` holds its arguments.
    pub fn start(program: &str, verb: &[&str], cgroups: &[PathBuf]) -> Provocation {
        let mut command = Command::new(program);
        command.args(verb).args(cgroups).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        Provocation { child: Killed(child) }
    }

    /// Starts it in a temporary cgroup.
    pub fn within(program: &str, verb: &[&str], cgroup: &Cgroup) -> Provocation {
        Provocation::start(program, verb, &cgroup.procs())
    }

    /// The two numbers that it reports after its work. It keeps running.
    pub fn report(&mut self) -> (u64, u64) {
        let mut line = String::new();
        BufReader::new(self.child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap());
        let (Some(first), Some(second)) = (numbers.next(), numbers.next()) else {
            panic!("no report, but {line:?}; it ended with {:?}", self.child.0.wait())
        };
        (first, second)
    }

    /// Lets it exit, and waits for it.
    pub fn end(mut self) {
        drop(self.child.0.stdin.take());
        let status = self.child.0.wait().unwrap();
        assert!(status.success(), "it ended with {status}");
    }
}

/// Starts `provoke` in a cgroup: `provoke!(&cgroup, &["hog", "anon=4096"])`. A macro, since only the tests know its path.
#[macro_export]
macro_rules! provoke {
    ($cgroup:expr, $arguments:expr) => {
        $crate::provocation::spawn(env!("CARGO_BIN_EXE_provoke"), $cgroup, $arguments)
    };
}

/// See [`provoke!`].
pub fn spawn(program: &str, cgroup: &Cgroup, arguments: &[&str]) -> Child {
    cgroup.spawn(Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()))
}

/// Waits until a child with piped output prints that it is ready, as `provoke sleeper` does.
pub fn await_ready(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
}

/// Waits until a child exits; whether it was killed.
pub fn was_killed(child: &mut Child) -> bool {
    child.wait().unwrap().signal() == Some(libc::SIGKILL)
}

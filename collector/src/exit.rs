//! [`Exit`]: how the process ends, for whoever starts it; and [`Failure`], an error that knows its exit code.

use std::fmt;

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// See [`Exit::meaning`], as for all of them.
    Success = 0,
    /// Anything that has no code of its own.
    Failure = 1,
    /// What clap refuses.
    Usage = 2,
    /// What [`crate::config`] refuses.
    Config = 3,
    /// A capability is missing.
    Privilege = 4,
    /// The lock is held.
    Running = 5,
    /// The listener could not be bound.
    Address = 6,
    /// Too few probes are attached.
    Probes = 7,
}

impl Exit {
    /// All of them, in order.
    pub const ALL: [Exit; 8] = [
        Exit::Success,
        Exit::Failure,
        Exit::Usage,
        Exit::Config,
        Exit::Privilege,
        Exit::Running,
        Exit::Address,
        Exit::Probes,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// What it tells the caller, in a line for the documentation.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Success => "all went well; for run: it was asked to stop, and has detached everything",
            Exit::Failure => "something failed that has no code of its own; the message says what",
            Exit::Usage => "the arguments are wrong",
            Exit::Config => "the configuration is wrong; nothing was attached or bound",
            Exit::Privilege => "privileges are missing; the message names them",
            Exit::Running => "another instance is running",
            Exit::Address => "the address to listen on is taken, or not this host's",
            Exit::Probes => "too few probes could be attached to be of use; `headroom doctor` says why",
        }
    }
}

/// The codes and their meanings, a line each, for a help text.
pub fn table() -> String {
    Exit::ALL.iter().map(|exit| format!("  {}  {}\n", exit.code(), exit.meaning())).collect()
}

/// Why a verb did not do what it was asked to, and how the process ends for it.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What went wrong, with its causes.
    pub error: anyhow::Error,
    /// What the reader can do about it.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: error.into(), hint: None }
    }

    /// The same, with something that the reader can do about it.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::new(Exit::Failure, error)
    }
}

impl fmt::Display for Failure {
    /// The error, its causes and the hint, a line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "headroom: error: {}", self.error)?;
        for cause in self.error.chain().skip(1) {
            write!(f, "\n  because: {cause}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn codes_are_in_order_and_meanings_differ() {
        for (code, exit) in Exit::ALL.iter().enumerate() {
            assert_eq!(usize::from(exit.code()), code);
            assert!(Exit::ALL[..code].iter().all(|other| other.meaning() != exit.meaning()));
        }
    }

    #[test]
    fn a_failure_names_causes_and_hint() {
        let failure = Failure::from(anyhow!("No such file").context("open a.jsonl")).hint("look elsewhere");
        assert_eq!(failure.exit, Exit::Failure);
        assert_eq!(
            failure.to_string(),
            "headroom: error: open a.jsonl\n  because: No such file\n  hint: look elsewhere"
        );
    }
}

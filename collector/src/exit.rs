//! [`Exit`]: the exit codes. [`Failure`]: an error with its exit code and a hint.

use std::fmt;

use collector_core::text::shown_lines;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    Failure = 1,
    /// Returned by clap.
    Usage = 2,
    Config = 3,
    Privilege = 4,
    Running = 5,
    Address = 6,
    Probes = 7,
    /// Of `level --exit-code`: 10 and the level.
    Normal = 10,
    Light = 11,
    Moderate = 12,
    Heavy = 13,
    Critical = 14,
    /// It fits, but tightly, and that is not wanted.
    Tight = 20,
    Wait = 21,
    No = 22,
    Unknown = 23,
    /// Of the actuator: its policy, or a check of what is dangerous.
    Refused = 24,
    /// Of the actuator: what was asked about is no longer as it was.
    Aside = 25,
    /// Of a guard: so that these are no codes of the command that it runs, they are those of env(1) and timeout(1).
    Late = 124,
    Failed = 125,
    NotExecutable = 126,
    NotFound = 127,
}

impl Exit {
    /// In order of their codes.
    pub const ALL: [Exit; 23] = [
        Exit::Success,
        Exit::Failure,
        Exit::Usage,
        Exit::Config,
        Exit::Privilege,
        Exit::Running,
        Exit::Address,
        Exit::Probes,
        Exit::Normal,
        Exit::Light,
        Exit::Moderate,
        Exit::Heavy,
        Exit::Critical,
        Exit::Tight,
        Exit::Wait,
        Exit::No,
        Exit::Unknown,
        Exit::Refused,
        Exit::Aside,
        Exit::Late,
        Exit::Failed,
        Exit::NotExecutable,
        Exit::NotFound,
    ];

    pub const fn code(self) -> u8 {
        self as u8
    }

    /// One line for help texts and the manual page.
    pub const fn meaning(self) -> &'static str {
        match self {
            Exit::Success => "success; for run: stopped by SIGTERM or Ctrl-C, with everything detached",
            Exit::Failure => "any other error; the message explains it",
            Exit::Usage => "wrong command line arguments",
            Exit::Config => "wrong configuration; nothing was attached or bound",
            Exit::Privilege => "missing privileges; the message names them",
            Exit::Running => "another instance runs already and holds the lock",
            Exit::Address => {
                "cannot listen on the address: it is none of this host, for example (one in use is tried again)"
            }
            Exit::Probes => {
                "too few probes: more failed than were attached, or none could be, and --require-probes is set"
            }
            Exit::Normal => "with level --exit-code: the level of the host is 0",
            Exit::Light => "with level --exit-code: it is 1",
            Exit::Moderate => "with level --exit-code: it is 2",
            Exit::Heavy => "with level --exit-code: it is 3",
            Exit::Critical => "with level --exit-code: it is 4",
            Exit::Tight => "with --strict: there is room, but tightly",
            Exit::Wait => "there is no room now, but what is in the way will end",
            Exit::No => "there is no room",
            Exit::Unknown => "what was asked is not known: for admit and reserve, whether there is room",
            Exit::Refused => "of act: the policy or a check refuses it; nothing was changed",
            Exit::Aside => "of act and actions: somebody else changed it meanwhile; it was left as it is",
            Exit::Late => "of guard: there was no room in time; the command was not started",
            Exit::Failed => "of guard: headroom failed, or its arguments are wrong; the command was not started",
            Exit::NotExecutable => "of guard: the command cannot be executed",
            Exit::NotFound => "of guard: there is no such command",
        }
    }
}

/// One line for each code with its meaning, for help texts.
pub fn table() -> String {
    Exit::ALL.iter().map(|exit| format!("  {:>3}  {}\n", exit.code(), exit.meaning())).collect()
}

/// Why a verb failed, and the exit code.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub error: anyhow::Error,
    /// What the operator can do about it.
    pub hint: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit, error: error.into(), hint: None }
    }

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
    /// One line each for the error, its causes and the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Errors name files of users, and programs print them on a terminal.
        write!(f, "headroom: error: {}", shown_lines(&self.error.to_string()))?;
        for cause in self.error.chain().skip(1) {
            write!(f, "\n  because: {}", shown_lines(&cause.to_string()))?;
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
        for (at, exit) in Exit::ALL.iter().enumerate() {
            let before = &Exit::ALL[..at];
            assert!(before.iter().all(|other| other.code() < exit.code() && other.meaning() != exit.meaning()));
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

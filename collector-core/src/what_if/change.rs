//! [`Change`]: what is supposed to have been otherwise, as it is written after `--what-if`. Knows nothing of recordings.

use std::fmt;

use serde::Serialize;

use crate::amount::{Malformed, bytes, parse_bytes};

/// How a change is written.
pub const FORMS: &str =
    "limit WORKLOAD SIZE|none, swap SIZE, low WORKLOAD SIZE, without WORKLOAD, or start SIZE [in WORKLOAD]";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// The workload's memory limit was another one; absent: there was none.
    Limit { workload: String, bytes: Option<u64> },
    /// There was so much more swap.
    Swap { bytes: u64 },
    /// So much of the workload's memory was taken last (`memory.low`).
    Low { workload: String, bytes: u64 },
    /// The workload did not run.
    Without { workload: String },
    /// Something more ran from the start on, and held so much that cannot be reclaimed: below this workload's limit, or only the host's.
    Start { bytes: u64, within: Option<String> },
}

/// Why a text is no change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoChange {
    Form,
    Size { text: String, why: Malformed },
}

impl fmt::Display for NoChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoChange::Form => write!(f, "expected {FORMS}"),
            NoChange::Size { text, why } => write!(f, "{text}: {why}"),
        }
    }
}

impl std::error::Error for NoChange {}

impl Change {
    /// A name of a workload may have spaces: it is what is between the first word and the last.
    pub fn parse(text: &str) -> Result<Change, NoChange> {
        let text = text.trim();
        let (verb, rest) = text.split_once(char::is_whitespace).ok_or(NoChange::Form)?;
        let rest = rest.trim();
        let size = |text: &str| parse_bytes(text).map_err(|why| NoChange::Size { text: text.to_owned(), why });
        let named = || {
            let (workload, size) = rest.rsplit_once(char::is_whitespace).ok_or(NoChange::Form)?;
            Ok((workload.trim().to_owned(), size))
        };
        match verb {
            "limit" => {
                let (workload, bytes) = named()?;
                let bytes = if bytes == "none" { None } else { Some(size(bytes)?) };
                Ok(Change::Limit { workload, bytes })
            }
            "low" => {
                let (workload, bytes) = named()?;
                Ok(Change::Low { workload, bytes: size(bytes)? })
            }
            "swap" => Ok(Change::Swap { bytes: size(rest)? }),
            "without" => Ok(Change::Without { workload: rest.to_owned() }),
            "start" => match rest.split_once(" in ") {
                Some((bytes, within)) => {
                    Ok(Change::Start { bytes: size(bytes.trim())?, within: Some(within.trim().to_owned()) })
                }
                None => Ok(Change::Start { bytes: size(rest)?, within: None }),
            },
            _ => Err(NoChange::Form),
        }
    }

    /// The workload that it names.
    pub fn workload(&self) -> Option<&str> {
        match self {
            Change::Limit { workload, .. } | Change::Low { workload, .. } | Change::Without { workload } => {
                Some(workload)
            }
            Change::Start { within, .. } => within.as_deref(),
            Change::Swap { .. } => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Limit { workload, bytes: Some(limit) } => {
                write!(f, "{workload} has a memory limit of {}", bytes(*limit))
            }
            Change::Limit { workload, bytes: None } => write!(f, "{workload} has no memory limit"),
            Change::Swap { bytes: more } => write!(f, "the host has {} more swap", bytes(*more)),
            Change::Low { workload, bytes: low } => {
                write!(f, "{} of {workload} are protected from reclaim (memory.low)", bytes(*low))
            }
            Change::Without { workload } => write!(f, "{workload} does not run"),
            Change::Start { bytes: held, within: None } => write!(f, "something more runs and holds {}", bytes(*held)),
            Change::Start { bytes: held, within: Some(within) } => {
                write!(f, "something more runs in {within} and holds {}", bytes(*held))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_are_written() {
        let limit = |workload: &str, bytes| Change::Limit { workload: workload.to_owned(), bytes };
        let start = |within: Option<&str>| Change::Start { bytes: 1 << 30, within: within.map(str::to_owned) };
        for (text, wanted) in [
            ("limit docker/web 20GiB", limit("docker/web", Some(20 << 30))),
            (" limit  a b  none ", limit("a b", None)),
            ("swap 4G", Change::Swap { bytes: 4 << 30 }),
            ("low /a 2GiB", Change::Low { workload: "/a".to_owned(), bytes: 2 << 30 }),
            ("without docker/web", Change::Without { workload: "docker/web".to_owned() }),
            ("start 1G", start(None)),
            ("start 1G in system.slice/x", start(Some("system.slice/x"))),
        ] {
            assert_eq!(Change::parse(text), Ok(wanted), "{text}");
        }
        for text in ["", "limit", "limit 5G", "grow a 5G", "swap", "without", "low a"] {
            assert_eq!(Change::parse(text), Err(NoChange::Form), "{text}");
        }
        let Err(wrong) = Change::parse("limit a 5Q") else { panic!("no error") };
        assert!(wrong.to_string().starts_with("5Q: unknown unit"), "{wrong}");
    }
}

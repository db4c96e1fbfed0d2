//! [`Report`]: what would have been otherwise, as data and as text. Knows not how it is judged.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::change::Change;
use crate::amount::{bytes, seconds};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub change: Change,
    /// When the recording begins and ends, in nanoseconds since the Unix epoch.
    pub from: u64,
    pub until: u64,
    /// Kills in the recording.
    pub kills: Vec<Kill>,
    /// Kills that the change would have caused.
    pub caused: Vec<Caused>,
    /// Time in which tasks waited for memory, by workload.
    pub stalls: Vec<Stall>,
    /// Requests that would have been answered otherwise.
    pub requests: Vec<Request>,
    /// The most memory that the changed workload would have held, in bytes; of one that does not run, all others below the nearest
    /// cgroup above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// What was taken of the changed workload's memory while it held no more than would have been left to it, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<u64>,
    /// Under which all of this holds, a sentence each.
    pub assumptions: Vec<String>,
    /// What cannot be judged, a sentence each.
    pub not_known: Vec<String>,
}

/// What would have become of something in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It would have happened all the same.
    Same,
    /// It would not have happened.
    Avoided,
    /// Not then, but later, if what led to it had gone on.
    Later,
    NotKnown,
}

/// Processes that the OOM killer killed for one shortage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kill {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// Of the incident.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Name of the process that was killed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    pub killed: u64,
    pub fate: Fate,
    /// If it would have come later: by so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub later_seconds: Option<f64>,
    /// In one sentence.
    pub why: String,
}

/// A kill that would have happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Caused {
    pub time: u64,
    /// Whose limit would have been reached; absent: the host's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// What could not have been reclaimed, and what there would have been, in bytes.
    pub held: u64,
    pub limit: u64,
    pub why: String,
}

/// Time in which tasks of a workload waited for memory: in reclaim and compaction, summed over tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stall {
    pub workload: String,
    pub fate: Fate,
    /// In the recording, at the limit that the change concerns.
    pub seconds: f64,
    /// How much of that would have been avoided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avoided_seconds: Option<f64>,
    /// Page cache in use that would have had no room, in bytes: it would have been read again and again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub displaced: Option<u64>,
    pub why: String,
}

/// A request for room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Request {
    pub time: u64,
    pub number: u64,
    /// What it was answered, and what it would have been.
    pub was: String,
    pub would: String,
    /// Why it would have been: the verdict's own sentence.
    pub why: String,
}

impl Report {
    /// How many kills fewer there would have been; negative: more.
    pub fn kills_avoided(&self) -> i64 {
        let avoided = self.kills.iter().filter(|kill| kill.fate == Fate::Avoided).map(|kill| kill.killed as i64);
        avoided.sum::<i64>() - self.caused.len() as i64
    }

    /// As text for a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let span = self.until.saturating_sub(self.from) as f64 / 1e9;
        writeln!(out, "What if {}?", self.change)?;
        writeln!(out, "Judged by a recording of {}, from {} on.", seconds(span), moment(self.from))?;
        writeln!(out, "\nOOM kills")?;
        if self.kills.is_empty() && self.caused.is_empty() {
            writeln!(out, "  There was none, and there would have been none.")?;
        }
        for kill in &self.kills {
            let who = kill.workload.as_deref().unwrap_or("not known");
            let process = kill.process.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            let fate = match (kill.fate, kill.later_seconds) {
                (Fate::Same, _) => "would have happened all the same".to_owned(),
                (Fate::Avoided, _) => "would not have happened".to_owned(),
                (Fate::Later, Some(later)) => format!("would have come {} later", seconds(later)),
                (Fate::Later, None) => "would have come later".to_owned(),
                (Fate::NotKnown, _) => "not known".to_owned(),
            };
            writeln!(out, "  {}  {who}{process}: {fate}. {}", moment(kill.time), kill.why)?;
        }
        for caused in &self.caused {
            let what = match caused.workload.as_deref() {
                Some(name) => format!("{name}: would have been OOM-killed"),
                None => "the host: would have run out of memory".to_owned(),
            };
            writeln!(out, "  {}  {what}. {}", moment(caused.time), caused.why)?;
        }
        if !self.stalls.is_empty() {
            writeln!(out, "\nWaits for memory")?;
        }
        for stall in &self.stalls {
            let fate = match (stall.fate, stall.avoided_seconds) {
                (Fate::Avoided, Some(avoided)) => format!("{} of it would have been avoided", seconds(avoided)),
                (Fate::Avoided, None) => "would not have waited".to_owned(),
                (Fate::Same, _) => "the same".to_owned(),
                (Fate::Later, _) => "would have waited longer".to_owned(),
                (Fate::NotKnown, _) => "not known".to_owned(),
            };
            writeln!(out, "  {}, which waited for {}: {fate}. {}", stall.workload, seconds(stall.seconds), stall.why)?;
        }
        if !self.requests.is_empty() {
            writeln!(out, "\nRequests")?;
        }
        for request in &self.requests {
            let Request { time, was, would, why, .. } = request;
            writeln!(out, "  {}  answered {was}: would have been {would}. {why}", moment(*time))?;
        }
        if let Some(peak) = self.peak {
            writeln!(out, "\nMost memory: {}", bytes(peak))?;
        }
        if let Some(kept) = self.kept {
            writeln!(
                out,
                "\n{} were reclaimed from it while it held no more than that; memory.low would have protected them.",
                bytes(kept)
            )?;
        }
        for (head, sentences) in [("Assumed", &self.assumptions), ("Not known", &self.not_known)] {
            if !sentences.is_empty() {
                writeln!(out, "\n{head}")?;
            }
            for sentence in sentences {
                writeln!(out, "  {sentence}")?;
            }
        }
        Ok(())
    }
}

/// UTC, as in recordings and incidents.
fn moment(time: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(time)).to_string()
}

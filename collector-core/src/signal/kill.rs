//! kill: a process of one cgroup ends a process of another with a signal, or asks it to end. Knows nothing of the OOM killer.

use std::sync::Arc;

use collector_common::kill;
use collector_common::oom::UNKNOWN;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Context, Need, comm, exact};
use crate::cgroup::Id;
use crate::text;

/// For signals, and for the difference between a process that the OOM killer killed and one that was dying already.
pub const SIGNALS: Need = &[&["kill_signal"]];

/// Memory is short above this share of a limit, without page cache.
const NEAR_LIMIT: f64 = 0.9;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    Sent(Sent),
}

/// One signal from another cgroup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent {
    /// The memory cgroup of the process that it was sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// The memory cgroup of the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_cgroup: Option<Id>,
    /// Memory charged to `cgroup` at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory limit of `cgroup`; absent also if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Both were read from files soon after the signal: the kernel hides them from programs (lockdown). The process may be gone by then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_after: bool,
    /// Page cache charged to `cgroup`, read soon after the signal if memory is near the limit. What a tick read before may be long gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_cache_bytes: Option<u64>,
    pub signal: Signal,
    /// The process ends of it; otherwise it handles, blocks or ignores the signal.
    pub fatal: bool,
    pub pid: u32,
    #[serde(deserialize_with = "text::read")]
    pub comm: String,
    pub sender_pid: u32,
    #[serde(deserialize_with = "text::read")]
    pub sender_comm: String,
}

impl Sent {
    /// Whether memory was near the limit of its cgroup at that moment, without this many bytes of page cache.
    pub fn is_near_limit(&self, cache: u64) -> bool {
        self.memory_bytes.zip(self.limit_bytes).is_some_and(|(used, limit)| is_near(used.saturating_sub(cache), limit))
    }
}

/// Whether memory without page cache, which can be dropped, is near a limit.
pub fn is_near(memory_bytes: u64, limit_bytes: u64) -> bool {
    memory_bytes as f64 >= NEAR_LIMIT * limit_bytes as f64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    #[serde(rename = "SIGKILL")]
    Kill,
    #[serde(rename = "SIGTERM")]
    Term,
}

impl Signal {
    pub fn label(self) -> &'static str {
        match self {
            Signal::Kill => "SIGKILL",
            Signal::Term => "SIGTERM",
        }
    }
}

/// A signal that was sent while memory was short, with the names of the workloads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Absent if the cgroup is not known.
    pub workload: Option<Arc<str>>,
    pub sender_workload: Option<Arc<str>>,
    pub shortage: Shortage,
    pub sent: Sent,
}

/// Where memory was short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shortage {
    /// The OOM killer was looking for a victim, and found the process dying.
    Marked,
    /// The workload, or one above it, was near its limit.
    Limit {
        workload: String,
        memory_bytes: u64,
        limit_bytes: u64,
        /// Both were read from files soon after the signal.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        read_after: bool,
    },
    /// Little of the host's memory was available.
    Host { available_bytes: u64, total_bytes: u64 },
    /// Tasks of the workload, or all tasks of the host, waited for memory: the share of the time.
    Waiting { workload: Option<String>, ratio: f64 },
}

pub(crate) fn record(bytes: &[u8], context: &Context) -> Result<Reading, &'static str> {
    let record: kill::Sent = exact(bytes)?;
    let bytes = |pages: u64| (pages != UNKNOWN).then(|| pages.saturating_mul(context.page_size));
    Ok(Reading::Sent(Sent {
        cgroup: Id::from_record(record.cgroup),
        sender_cgroup: Id::from_record(record.sender_cgroup),
        memory_bytes: bytes(record.usage),
        limit_bytes: bytes(record.limit).filter(|bytes| super::is_limit(*bytes, context)),
        read_after: false,
        page_cache_bytes: None,
        signal: match record.signal {
            9 => Signal::Kill,
            15 => Signal::Term,
            _ => return Err("no such signal"),
        },
        fatal: record.fatal != 0,
        pid: record.target.pid,
        comm: comm(&record.target.comm),
        sender_pid: record.sender.pid,
        sender_comm: comm(&record.sender.comm),
    }))
}

/// A record for tests, here and in the engine.
#[cfg(test)]
pub(crate) mod test {
    use collector_common::ring::{Header, Kind};
    use zerocopy::FromZeros;

    use super::*;
    use crate::engine::test::ID;

    pub fn sent() -> kill::Sent {
        let mut sent = kill::Sent::new_zeroed();
        sent.header = Header::new(Kind::SignalSent, 5);
        sent.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        (sent.usage, sent.limit) = (100, UNKNOWN);
        (sent.target.pid, sent.sender.pid) = (1234, 77);
        sent.target.comm[..6].copy_from_slice(b"python");
        sent.sender.comm[..8].copy_from_slice(b"earlyoom");
        (sent.signal, sent.fatal) = (9, 1);
        sent
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::test::sent;
    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::test::{CONTEXT, ID};
    use crate::sample::{self, Sample};

    fn read(record: &kill::Sent) -> Sample {
        decode_record(record.as_bytes(), &CONTEXT).unwrap()
    }

    #[test]
    fn a_record_says_who_sent_what_to_whom() {
        let sample = read(&sent());
        let sample::Reading::Kill(Reading::Sent(sent)) = &sample.reading else { panic!("{sample:?}") };
        assert_eq!((sent.pid, sent.comm.as_str(), sent.cgroup), (1234, "python", Some(ID)));
        assert_eq!((sent.sender_pid, sent.sender_comm.as_str(), sent.sender_cgroup), (77, "earlyoom", None));
        assert_eq!((sent.signal, sent.fatal), (Signal::Kill, true));
        assert_eq!((sent.memory_bytes, sent.limit_bytes), (Some(409_600), None));
        let line = serde_json::to_string(&sample).unwrap();
        assert!(line.contains(r#""signal":"SIGKILL""#), "{line}");
        assert_eq!(serde_json::from_str::<Sample>(&line).unwrap(), sample);
    }

    #[test]
    fn a_limit_of_all_pages_is_none_and_other_signals_are_malformed() {
        let mut record = sent();
        let limit = |record: &kill::Sent| match read(record).reading {
            sample::Reading::Kill(Reading::Sent(sent)) => sent.limit_bytes,
            other => panic!("{other:?}"),
        };
        record.limit = 128;
        assert_eq!(limit(&record), Some(524_288));
        record.limit = i64::MAX as u64 / 4096;
        assert_eq!(limit(&record), None);
        record.signal = 1;
        assert_eq!(decode_record(record.as_bytes(), &CONTEXT).unwrap_err().why, "no such signal");
    }
}

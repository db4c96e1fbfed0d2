//! oom: the kernel chose a victim and killed it, or let one finish that was dying already. The kill is charged to the *victim's*
//! workload; the limit that was hit may belong to another workload, above it.

use std::sync::Arc;

use collector_common::oom::{NO_ORDER, UNKNOWN, Victim};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Context, Need, comm, exact};
use crate::cgroup::Id;
use crate::statistic::gpu;
use crate::text;

/// For kills, by victim.
pub const KILLS: Need = &[&["oom_mark_victim"]];
/// For the cgroup whose limit was hit. Some kernels report it with the kill itself; the first such kill proves that.
pub const LIMITS: Need = &[&["oom_mark_victim", "oom_kill_process"], &["oom_mark_victim", "oom_kill_process_kprobe"]];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// A process was killed, or was dying already; or one more thread of such a process was marked as it exited.
    Kill(Kill),
}

/// What had run out of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OomScope)]
pub enum Scope {
    /// A memory cgroup at its limit.
    Memcg,
    /// The host.
    Host,
    /// The kernel does not report it.
    #[default]
    Unknown,
}

impl Scope {
    /// In the order of [`Scope::index`].
    pub const ALL: [Scope; 3] = [Scope::Memcg, Scope::Host, Scope::Unknown];

    /// The label `scope`.
    pub fn label(self) -> &'static str {
        match self {
            Scope::Memcg => "memcg",
            Scope::Host => "host",
            Scope::Unknown => "unknown",
        }
    }

    /// The index in [`Scope::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Which part of the host's memory an allocation could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = OomConstraint)]
pub enum Constraint {
    /// All of it.
    None,
    /// That of the memory nodes of its cpuset.
    Cpuset,
    /// That of the memory nodes of its memory policy (`set_mempolicy`, `mbind`, numactl).
    MemoryPolicy,
    /// That of a memory cgroup.
    Memcg,
}

/// The memory limit of one cgroup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bound {
    /// The path of the cgroup.
    #[serde(deserialize_with = "text::read")]
    pub path: String,
    /// Absent is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Peak of its memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// No process is in the cgroup itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
}

/// Memory charged to a cgroup at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Charged {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub bytes: u64,
}

/// One marked process. What this kernel does not report is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kill {
    /// The victim's memory cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// The memory cgroup of the task that asked for memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger_cgroup: Option<Id>,
    /// The memory cgroup whose limit was hit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited: Option<Id>,
    /// Memory limit of `limited` at that moment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Its limit on swap (cgroup v2); absent also if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_limit_bytes: Option<u64>,
    /// Limits of the victim's memory cgroup and of those above it, nearest first, from their files just after the kill. Without
    /// those that were gone by then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<Bound>,
    /// Memory of the victim's workload in the last second, oldest first, if it was read between ticks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charged: Vec<Charged>,
    /// What had run out of memory.
    pub scope: Scope,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// The order of the allocation (2^order pages); -1 if somebody asked for the kill through SysRq.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    /// It was dying already: the OOM killer only let it use the last reserves of memory. The kernel does not count it as a kill,
    /// except among the processes of a group (`memory.oom.group`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dying: bool,
    /// The exit code with which it ends itself. If it was not dying, it began to while the kernel wrote its report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// The signal that ends it, if that is not the OOM killer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<u8>,
    /// The victim's process id.
    pub pid: u32,
    /// The victim's thread id.
    pub tid: u32,
    #[serde(deserialize_with = "text::read")]
    pub comm: String,
    /// The victim's user, in the initial user namespace.
    pub uid: u32,
    /// The victim's `oom_score_adj`.
    pub score_adj: i32,
    /// Resident anonymous memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Resident file memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Resident shared memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Memory swapped out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Highest amount of memory that was ever resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// The process in whose context the kill happened.
    pub trigger_pid: u32,
    #[serde(deserialize_with = "text::read")]
    pub trigger_comm: String,
}

/// An OOM kill with the names of its workloads; a name is absent where the cgroup is not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The victim's workload.
    pub workload: Option<Arc<str>>,
    /// The path of the victim's cgroup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<Arc<str>>,
    /// The id of the container that the victim was in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Arc<str>>,
    /// The memory limit of the victim's workload, as last read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// The workload of the task that asked for memory.
    pub trigger_workload: Option<Arc<str>>,
    /// The workload whose limit was hit.
    pub limited_workload: Option<Arc<str>>,
    /// GPU memory of the victim and its workload, as last read before the kill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<gpu::Held>,
    pub kill: Kill,
}

/// `SIGKILL`, the same on all architectures.
pub const SIGKILL: u8 = 9;

pub(crate) fn record(bytes: &[u8], context: &Context) -> Result<Reading, &'static str> {
    let record: Victim = exact(bytes)?;
    let bytes = |pages: u64| (pages != UNKNOWN).then(|| pages.saturating_mul(context.page_size));
    let limited = Id::from_record(record.limited);
    let limit = |pages: u64| bytes(pages).filter(|bytes| limited.is_some() && super::is_limit(*bytes, context));
    let [by_signal, exit_code] = [record.status & 0x7f, record.status >> 8 & 0xff].map(|part| part as u8);
    let otherwise = by_signal != SIGKILL;
    // The kernel looks whether the victim that it chooses is dying, but not at the others of its group. It counts both.
    let dying = record.killed == 0 || record.group != 0 && otherwise;
    Ok(Reading::Kill(Kill {
        cgroup: Id::from_record(record.cgroup),
        trigger_cgroup: Id::from_record(record.trigger_cgroup),
        limited,
        limit_bytes: limit(record.limit),
        // On cgroup v1 it includes memory.
        swap_limit_bytes: limit(record.swap_limit).filter(|_| limited.is_some_and(|limited| limited.hierarchy == 0)),
        limits: Vec::new(),
        charged: Vec::new(),
        scope: match record.scope {
            0 => Scope::Unknown,
            1 => Scope::Memcg,
            2 => Scope::Host,
            _ => return Err("no such scope"),
        },
        constraint: match record.constraint {
            0 => None,
            1 => Some(Constraint::None),
            2 => Some(Constraint::Cpuset),
            3 => Some(Constraint::MemoryPolicy),
            4 => Some(Constraint::Memcg),
            _ => return Err("no such constraint"),
        },
        order: (record.order != NO_ORDER).then_some(record.order),
        dying,
        exit_code: (by_signal == 0).then_some(exit_code),
        signal: (by_signal != 0 && (dying || otherwise)).then_some(by_signal),
        pid: record.victim.pid,
        tid: record.victim.tid,
        comm: comm(&record.victim.comm),
        uid: record.uid,
        score_adj: record.score_adj,
        anon_bytes: bytes(record.anon),
        file_bytes: bytes(record.file),
        shmem_bytes: bytes(record.shmem),
        swap_bytes: bytes(record.swap),
        // A process with any memory has a peak.
        peak_bytes: bytes(record.peak).filter(|bytes| *bytes > 0),
        trigger_pid: record.trigger.pid,
        trigger_comm: comm(&record.trigger.comm),
    }))
}

/// A record for tests, here and in the engine.
#[cfg(test)]
pub(crate) mod test {
    use collector_common::ring::{Header, Kind};
    use zerocopy::FromZeros;

    use super::*;
    use crate::engine::test::ID;

    pub fn victim() -> Victim {
        let mut victim = Victim::new_zeroed();
        victim.header = Header::new(Kind::OomKill, 5);
        victim.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        victim.anon = 3;
        victim.swap = UNKNOWN;
        victim.victim.pid = 1234;
        victim.victim.comm[..6].copy_from_slice(b"python");
        victim.score_adj = -5;
        victim.scope = 1;
        victim.order = NO_ORDER;
        (victim.killed, victim.status) = (1, SIGKILL.into());
        victim
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::test::victim;
    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::test::{CONTEXT, ID};
    use crate::sample::{self, Sample};

    #[test]
    fn pages_become_bytes_and_the_unknown_is_absent() {
        let sample = decode_record(victim().as_bytes(), &CONTEXT).unwrap();
        let sample::Reading::Oom(Reading::Kill(kill)) = &sample.reading else { panic!("{sample:?}") };
        assert_eq!((kill.anon_bytes, kill.swap_bytes, kill.file_bytes), (Some(12_288), None, Some(0)));
        assert_eq!((kill.pid, kill.comm.as_str(), kill.score_adj), (1234, "python", -5));
        assert_eq!((kill.cgroup, kill.limited, kill.scope), (Some(ID), None, Scope::Memcg));
        let line = serde_json::to_string(&sample).unwrap();
        assert!(!line.contains("swap_bytes"), "{line}");
        assert_eq!(serde_json::from_str::<Sample>(&line).unwrap(), sample);
    }

    fn kill(victim: &Victim) -> Kill {
        let sample::Reading::Oom(Reading::Kill(kill)) = decode_record(victim.as_bytes(), &CONTEXT).unwrap().reading
        else {
            panic!("{victim:?}")
        };
        kill
    }

    #[test]
    fn only_who_dies_of_the_oom_killers_signal_is_killed() {
        let told = |killed, group, status| {
            let kill = kill(&Victim { killed, group, status, ..victim() });
            (kill.dying, kill.exit_code, kill.signal)
        };
        assert_eq!([0, 1].map(|group| told(1, group, 9)), [(false, None, None); 2]);
        assert_eq!([0, 1].map(|group| told(0, group, 9)), [(true, None, Some(9)); 2], "somebody else's");
        assert_eq!([0, 1].map(|group| told(0, group, 3 << 8)), [(true, Some(3), None); 2]);
        assert_eq!(told(1, 0, 15), (false, None, Some(15)), "chosen while it lived, and counted");
        assert_eq!(told(1, 0, 0), (false, Some(0), None));
        assert_eq!(told(1, 1, 15), (true, None, Some(15)), "one of a group, which died of another signal");
        assert_eq!(told(1, 1, 3 << 8), (true, Some(3), None));
    }

    #[test]
    fn what_the_kernel_says_of_the_limit_and_the_allocation_is_kept() {
        let mut record = victim();
        let named = |record: &Victim| {
            let kill = kill(record);
            (kill.limit_bytes, kill.swap_limit_bytes, kill.constraint, kill.order)
        };
        (record.limit, record.swap_limit) = (16_384, 256);
        assert_eq!(named(&record), (None, None, None, None), "no cgroup is named");
        record.limited.id = 7;
        (record.constraint, record.order) = (4, -1);
        assert_eq!(named(&record), (Some(64 << 20), Some(1 << 20), Some(Constraint::Memcg), Some(-1)));
        record.limited.hierarchy = 5;
        assert_eq!(named(&record).1, None, "on cgroup v1 it is that of memory and swap");
        record.limit = i64::MAX as u64 / 4096;
        assert_eq!(named(&record).0, None, "no limit");
    }

    #[test]
    fn an_unknown_scope_is_malformed() {
        let mut victim = victim();
        victim.scope = 3;
        assert_eq!(decode_record(victim.as_bytes(), &CONTEXT).unwrap_err().why, "no such scope");
    }
}

//! oom: the kernel chose a victim and killed it. The kill is charged to the *victim's* workload; the one whose limit was
//! hit may be another, above it.

use std::sync::Arc;

use collector_common::oom::{UNKNOWN, Victim};
use serde::{Deserialize, Serialize};

use super::cgroup::Id;
use super::{Context, comm};
use crate::engine::Outcome;
use crate::view::View;
use crate::view::gpu;
use crate::view::held::PATIENCE_NS;

/// What is read of OOM kills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// A process was killed; or one more thread of it was marked, on its way out.
    Kill(Kill),
}

/// Whose memory was out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// A memory cgroup's, at its limit.
    Memcg,
    /// The host's.
    Host,
    /// The kernel gave nothing to tell by.
    Unknown,
}

impl Scope {
    /// Every scope, in the order of [`Scope::index`].
    pub const ALL: [Scope; 3] = [Scope::Memcg, Scope::Host, Scope::Unknown];

    /// The label `scope`.
    pub fn label(self) -> &'static str {
        match self {
            Scope::Memcg => "memcg",
            Scope::Host => "host",
            Scope::Unknown => "unknown",
        }
    }

    /// Its place in [`Scope::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// One killed process. What this kernel could not tell is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Whose memory was out.
    pub scope: Scope,
    /// The victim's process id.
    pub pid: u32,
    /// The victim's thread id.
    pub tid: u32,
    /// The victim's name.
    pub comm: String,
    /// The victim's user, in the initial user namespace.
    pub uid: u32,
    /// The victim's `oom_score_adj`.
    pub score_adj: i32,
    /// Anonymous memory resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// File memory resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Memory swapped out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// The most memory that was ever resident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// The process in whose context the kill happened.
    pub trigger_pid: u32,
    /// Its name.
    pub trigger_comm: String,
}

/// An OOM kill with the names of the workloads in it; absent where the cgroup is not known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The victim's workload.
    pub workload: Option<Arc<str>>,
    /// The workload of the task that asked for memory.
    pub trigger_workload: Option<Arc<str>>,
    /// The workload whose limit was hit.
    pub limited_workload: Option<Arc<str>>,
    /// What the victim and its workload held of GPUs when that was last read before the kill.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<gpu::Held>,
    /// The facts.
    pub kill: Kill,
}

pub(super) fn decode(record: &Victim, context: &Context) -> Result<Reading, &'static str> {
    let bytes = |pages: u64| (pages != UNKNOWN).then(|| pages.saturating_mul(context.page_size));
    Ok(Reading::Kill(Kill {
        cgroup: Id::from_record(record.cgroup),
        trigger_cgroup: Id::from_record(record.trigger_cgroup),
        limited: Id::from_record(record.limited),
        scope: match record.scope {
            0 => Scope::Unknown,
            1 => Scope::Memcg,
            2 => Scope::Host,
            _ => return Err("no such scope"),
        },
        pid: record.victim.pid,
        tid: record.victim.tid,
        comm: comm(&record.victim.comm),
        uid: record.uid,
        score_adj: record.score_adj,
        anon_bytes: bytes(record.anon),
        file_bytes: bytes(record.file),
        shmem_bytes: bytes(record.shmem),
        swap_bytes: bytes(record.swap),
        peak_bytes: bytes(record.peak),
        trigger_pid: record.trigger.pid,
        trigger_comm: comm(&record.trigger.comm),
    }))
}

/// Folds one reading into the view.
pub fn fold(view: &mut View, time: u64, reading: &Reading) -> Option<Outcome> {
    let Reading::Kill(kill) = reading;
    if !view.victims.mark(time, kill.pid, kill.tid) {
        return None;
    }
    view.workloads.charge(kill.cgroup).oom_kills[kill.scope.index()] += 1;
    if kill.limited.is_some() {
        view.coverage.limit_told = true;
        view.workloads.charge(kill.limited).limit_kills += 1;
    }
    let told = match waits(view, time, kill) {
        true => view.held.hold(time, kill.clone()),
        false => Some((time, kill.clone())),
    };
    told.map(|(time, kill)| name(view, time, kill))
}

/// The kills that were held back until now.
pub(crate) fn release(view: &mut View) -> Vec<Outcome> {
    let mut held = std::mem::take(&mut view.held);
    let waits = |time: u64, kill: &Kill| view.time < time.saturating_add(PATIENCE_NS) && waits(view, time, kill);
    let released = held.release(waits);
    view.held = held;
    released.into_iter().map(|(time, kill)| name(view, time, kill)).collect()
}

/// All that are held back.
pub(crate) fn release_all(view: &mut View) -> Vec<Outcome> {
    let held = view.held.release(|_, _| false);
    held.into_iter().map(|(time, kill)| name(view, time, kill)).collect()
}

/// Whether anybody in it will have a better name in a moment.
fn waits(view: &View, time: u64, kill: &Kill) -> bool {
    let cgroups = [kill.cgroup, kill.trigger_cgroup, kill.limited];
    cgroups.into_iter().flatten().any(|id| view.workloads.expects_names(id, time))
}

fn name(view: &View, time: u64, kill: Kill) -> Outcome {
    let name = |id: Option<Id>| id.and_then(|id| view.workloads.name(id));
    Outcome::OomKill(Box::new(Named {
        time,
        workload: name(kill.cgroup),
        trigger_workload: name(kill.trigger_cgroup),
        limited_workload: name(kill.limited),
        gpus: view.gpus.held(&view.workloads, kill.pid, kill.cgroup, time),
        kill,
    }))
}

#[cfg(test)]
mod tests {
    use collector_common::ring::{Header, Kind};
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;
    use crate::sample::{self, Sample};
    use crate::signal::decode_record;
    use crate::signal::test::{CONTEXT, ID, engine, facts, facts_of};

    fn victim() -> Victim {
        let mut victim = Victim::new_zeroed();
        victim.header = Header::new(Kind::OomKill, 5);
        victim.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        victim.anon = 3;
        victim.swap = UNKNOWN;
        victim.victim.pid = 1234;
        victim.victim.comm[..6].copy_from_slice(b"python");
        victim.score_adj = -5;
        victim.scope = 1;
        victim
    }

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

    #[test]
    fn a_scope_that_is_none_is_malformed() {
        let mut victim = victim();
        victim.scope = 3;
        assert_eq!(decode_record(victim.as_bytes(), &CONTEXT).unwrap_err().why, "no such scope");
    }

    #[test]
    fn the_victim_is_charged_and_named() {
        let mut engine = engine();
        let mut record = victim();
        record.trigger_cgroup = collector_common::cgroup::Id { id: 999, hierarchy: ID.hierarchy };
        let outcomes = facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap());
        let [Outcome::OomKill(kill)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
        assert_eq!((kill.workload.as_deref(), kill.trigger_workload.as_deref()), (Some("/a"), None));
        let workload = engine.view().workloads.iter().find(|workload| &*workload.name == "/a").unwrap();
        assert_eq!(workload.amounts.oom_kills, [1, 0, 0]);
    }

    #[test]
    fn a_kill_in_a_young_container_waits_for_its_name_but_not_for_long() {
        use crate::identity::Names;
        use crate::sample::Reading as Read;
        use crate::signal::cgroup;
        let (hash, young) = ("4f1c2a9b".repeat(8), Id { hierarchy: ID.hierarchy, id: 78 });
        let born = || Read::Cgroup(cgroup::Reading::Born { id: young, path: format!("/docker/{hash}") });
        let mut record = victim();
        record.cgroup.id = young.id;
        let kill = decode_record(record.as_bytes(), &CONTEXT).unwrap();
        let told = |outcomes: Vec<Outcome>| match facts_of(outcomes).as_slice() {
            [] => None,
            [Outcome::OomKill(kill)] => Some((kill.time, kill.workload.as_deref().unwrap().to_owned())),
            other => panic!("{other:?}"),
        };
        let young_engine = || {
            let mut engine = engine();
            engine.apply(&Sample { time: 500, reading: born() });
            assert_eq!(told(engine.apply(&kill)), None);
            assert_eq!(engine.view().workloads.of(young).unwrap().amounts.oom_kills, [1, 0, 0], "counted at once");
            engine
        };

        let names = Names { name: Some("web".into()), ..Names::default() };
        let name = |cgroup| Read::Name(sample::Name { cgroup, names: names.clone() });
        let mut engine = young_engine();
        assert_eq!(told(engine.apply(&Sample { time: 2_000, reading: name(ID) })), None);
        let named = engine.apply(&Sample { time: 2_000, reading: name(young) });
        assert_eq!(told(named), Some((kill.time, "docker/web".into())));
        assert_eq!(told(engine.finish()), None);

        let mut engine = young_engine();
        let late = kill.time + PATIENCE_NS;
        assert_eq!(told(engine.apply(&Sample { time: late - 1, reading: Read::Tick })), None);
        let unnamed = engine.apply(&Sample { time: late, reading: Read::Tick });
        assert_eq!(told(unnamed), Some((kill.time, format!("docker/{}", &hash[..12]))));
        assert_eq!(told(young_engine().finish()), Some((kill.time, format!("docker/{}", &hash[..12]))));

        let mut engine = young_engine();
        let mut told = 0;
        for pid in 0..100 {
            record.victim.pid = 5000 + pid;
            told += facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap()).len();
        }
        assert_eq!((told, facts_of(engine.finish()).len()), (37, 64), "what is held back is bounded");
    }

    #[test]
    fn a_process_whose_threads_are_all_marked_is_killed_once() {
        let mut engine = engine();
        let mut record = victim();
        let outcomes = (0..3).map(|thread| {
            record.victim.tid = 1234 + thread;
            facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap()).len()
        });
        assert_eq!(outcomes.collect::<Vec<_>>(), [1, 0, 0]);
        let workload = engine.view().workloads.iter().find(|workload| &*workload.name == "/a").unwrap();
        assert_eq!(workload.amounts.oom_kills, [1, 0, 0]);
    }
}

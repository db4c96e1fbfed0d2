//! Slow for a disk: a neighbour uses it, or it answers more slowly by itself.

use super::{BOTH, Worse, both, numbers};
use crate::amount::{bytes, percent, seconds};
use crate::incident::Kind;
use crate::incident::cause::facts::Facts;
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

/// A workload that waits for IO in so much more of the time than before is slow for it.
const WAITED_BY: f64 = 0.1;
/// A disk is busy from this share of the time, if that is so much more than before.
const BUSY: f64 = 0.6;
const BUSY_BY: f64 = 0.2;
/// Who reads less than this, in bytes per second, and has fewer major faults a second, does not wait for the disk.
const READS: f64 = 50e3;
const FAULTS: f64 = 1.0;
/// A job writes something large from so many bytes per second more than before.
const WRITES_BY: f64 = 1e6;
/// A disk is slow if an IO takes so many times as long as before, and so many seconds more.
const SLOWER: f64 = 2.0;
const SLOWER_BY: f64 = 0.002;

/// How the workload itself waits for the disk: by the kernel's own measure, or, where there is none (cgroup v1), because it reads from
/// disks.
fn waits(facts: &Facts<'_>) -> Option<String> {
    match facts.now(Fact::IoWaiting) {
        Some(_) => {
            let worse = facts.worse(Fact::IoWaiting, WAITED_BY)?;
            Some(format!("some task of it waited for IO in {} of the time", both(Fact::IoWaiting, worse)))
        }
        None => {
            // A job that reads no more does not wait for the disk.
            let before = |fact| facts.usual(fact).filter(|_| facts.incident.kind == Kind::Latency).unwrap_or(0.0);
            let read = facts.now(Fact::Read).unwrap_or(0.0).max(before(Fact::Read));
            let faults = facts.now(Fact::MajorFaults).unwrap_or(0.0).max(before(Fact::MajorFaults));
            (read >= READS || faults >= FAULTS).then(|| {
                let now = facts.now(Fact::Read).unwrap_or(0.0);
                let before = facts.usual(Fact::Read).unwrap_or(0.0);
                format!("it reads {}", both(Fact::Read, Worse { now, before }))
            })
        }
    }
}

fn disk<'a>(facts: &Facts<'a>) -> &'a str {
    facts.evidence.slow.as_ref().and_then(|slow| slow.disk.as_deref()).unwrap_or("The disk")
}

pub(in crate::incident::cause) const NEIGHBOUR: Rule = Rule {
    name: "io_by_neighbour",
    kinds: BOTH,
    when: "It waits more for IO than before (on cgroup v1: it reads from disks), and the busiest disk is busy for 60 % of the time and 20 % more than before, or its IOs take twice as long; and one neighbour does more IO than before, and most of what all of them do.",
    find: |facts| {
        let waits = waits(facts)?;
        let busy = facts.worse(Fact::DiskBusy, BUSY_BY).filter(|worse| worse.now >= BUSY);
        let slower = slower(facts);
        let (who, _) = facts.most_of(|it| it.io_bytes_per_second, |it| it.io_before)?;
        let io = who.io_bytes_per_second?;
        let own = facts.now(Fact::Read).unwrap_or(0.0) + facts.now(Fact::Written).unwrap_or(0.0);
        if busy.is_none() && slower.is_none() || io < own {
            return None;
        }
        let how = match (busy, slower) {
            (Some(busy), _) => format!("{} is busy for {} of the time", disk(facts), both(Fact::DiskBusy, busy)),
            (None, Some(slower)) => format!("an IO takes {}", both(Fact::DiskService, slower)),
            (None, None) => return None,
        };
        Some(Finding {
            sentence: format!(
                "{} floods the disk that {} needs: it reads and writes {}/s (before: {}/s), {how}; {waits}",
                who.workload,
                facts.slowed(),
                bytes(io as u64),
                bytes(who.io_before.unwrap_or(0.0) as u64),
            ),
            next: format!(
                "Limit the IO of {} (io.max, IOReadBandwidthMax=, IOWriteBandwidthMax=; a weight acts only with bfq or iocost), or put it on another disk.",
                who.workload
            ),
            numbers: [
                numbers(facts, &[Fact::DiskBusy, Fact::DiskService, Fact::IoWaiting, Fact::Read]),
                vec![("neighbour_io_bytes_per_second", Some(io))],
            ]
            .concat(),
        })
    },
};

fn slower(facts: &Facts<'_>) -> Option<Worse> {
    facts.worse(Fact::DiskService, SLOWER_BY).filter(|worse| worse.now >= SLOWER * worse.before)
}

pub(in crate::incident::cause) const SLOW_DISK: Rule = Rule {
    name: "slow_disk",
    kinds: BOTH,
    when: "It waits more for IO than before (on cgroup v1: it reads from disks), and an IO of the host takes twice as long as before and 2 ms longer, without a neighbour that explains it.",
    find: |facts| {
        let (waits, slower) = (waits(facts)?, slower(facts)?);
        // A job that writes a checkpoint keeps the disk busy itself.
        if facts.incident.kind == Kind::GpuStarved && facts.worse(Fact::Written, WRITES_BY).is_some() {
            return None;
        }
        Some(Finding {
            sentence: format!(
                "The disk is slow: an IO takes {} (before: {}){}; {waits}",
                seconds(slower.now),
                seconds(slower.before),
                facts.now(Fact::DiskBusy).map_or(String::new(), |busy| format!(", {} is busy for {}", disk(facts), percent(busy))),
            ),
            next: "Check the device (smartctl, dmesg), whether it is shared with other machines, and whether a limit of the cloud provider is reached. headroom_block_io_service_seconds has its times.".to_owned(),
            numbers: numbers(facts, &[Fact::DiskService, Fact::DiskBusy, Fact::Read, Fact::IoWaiting]),
        })
    },
};

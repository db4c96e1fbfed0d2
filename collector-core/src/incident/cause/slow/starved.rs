//! Why a GPU waits, where a server has other words for it: copies from memory that is not pinned, data that are no longer in the page
//! cache, an own limit on IO.

use super::{BOTH, both, numbers, shown};
use crate::amount::bytes;
use crate::incident::Kind;
use crate::incident::cause::facts::Facts;
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

const STARVED: &[Kind] = &[Kind::GpuStarved];

/// Pinned memory was given up if less than this share of it is left …
const LEFT: f64 = 0.5;
/// … and this many bytes are gone.
const GONE: f64 = 1e6;
/// A job that copies less, in bytes per second, does not wait for copies.
const COPIES: f64 = 1e6;
/// Reading from disks explains waiting from so many bytes per second more than before.
const READS_BY: f64 = 1e6;
/// A workload waits for IO if it does in so much more of the time than before.
const WAITED_BY: f64 = 0.1;
/// It is at its limit on IO from this share of it.
const AT_LIMIT: f64 = 0.7;

pub(in crate::incident::cause) const PAGEABLE: Rule = Rule {
    name: "pageable_copies",
    kinds: STARVED,
    when: "It copies to a GPU and holds less than half of the pinned host memory that it held before, 1 MB less at least (needs transfer.enabled).",
    find: |facts| {
        let (now, before) = (facts.now(Fact::Pinned)?, facts.usual(Fact::Pinned)?);
        let copies = facts.now(Fact::ToGpu).filter(|rate| *rate >= COPIES)?;
        (before - now >= GONE && now < LEFT * before).then(|| Finding {
            sentence: format!(
                "{} copies {} to its GPU from memory that is not pinned: it holds {} of pinned memory (before: {}), and the driver copies the rest piece by piece while the GPU waits",
                facts.slowed(),
                shown(Fact::ToGpu, copies),
                bytes(now as u64),
                bytes(before as u64),
            ),
            next: "Pin the buffers again (pin_memory=True and non_blocking=True in PyTorch's DataLoader), and check whether pinning failed: RLIMIT_MEMLOCK, a memory limit, no memory left to lock.".to_owned(),
            numbers: numbers(facts, &[Fact::Pinned, Fact::ToGpu, Fact::PcieUsed]),
        })
    },
};

pub(in crate::incident::cause) const CACHE_MISSES: Rule = Rule {
    name: "cache_misses",
    kinds: STARVED,
    when: "It reads at least 1 MB a second more from disks than before, half as much again, and waits more for IO (where that is known: not on cgroup v1): its data are not, or no longer, in the page cache.",
    find: |facts| {
        let reads = facts.worse(Fact::Read, READS_BY)?;
        let waits = match facts.now(Fact::IoWaiting) {
            Some(_) => {
                let waits = facts.worse(Fact::IoWaiting, WAITED_BY)?;
                format!(", and some task of it waited for IO in {} of the time", both(Fact::IoWaiting, waits))
            }
            None => String::new(),
        };
        Some(Finding {
            sentence: format!(
                "{} reads its data from the disk, which it had in the page cache before: {}{waits}",
                facts.slowed(),
                both(Fact::Read, reads),
            ),
            next: format!(
                "Find out who dropped them: vm.drop_caches, a program that advises the kernel against them (posix_fadvise), a neighbour that fills memory. Protect {} (memory.low, MemoryLow=), read ahead with more workers, or put the data on a faster disk.",
                facts.slowed()
            ),
            numbers: numbers(facts, &[Fact::Read, Fact::IoWaiting, Fact::File, Fact::DiskBusy]),
        })
    },
};

pub(in crate::incident::cause) const IO_LIMIT: Rule = Rule {
    name: "own_io_limit",
    kinds: BOTH,
    when: "It reads at 70 % or more of its own limit on reading from disks (io.max, on cgroup v1 blkio.throttle.*), and waits more for IO than before, or reads less.",
    find: |facts| {
        let limit = facts.figures()?.read_limit_bytes_per_second.filter(|limit| *limit > 0)?;
        let reads = facts.now(Fact::Read).filter(|reads| *reads >= AT_LIMIT * limit as f64)?;
        let waits = facts.worse(Fact::IoWaiting, WAITED_BY);
        if waits.is_none() && !less(facts, reads) {
            return None;
        }
        let waits = waits.map_or(String::new(), |waits| {
            format!("; some task of it waited for IO in {} of the time", both(Fact::IoWaiting, waits))
        });
        Some(Finding {
            sentence: format!(
                "{} waits for its own IO limit, not for the disk: it reads {}, and its limit is {}/s{waits}",
                facts.slowed(),
                shown(Fact::Read, reads),
                bytes(limit),
            ),
            next: "Raise the limit (io.max, IOReadBandwidthMax=, docker --device-read-bps). It is slow on purpose; others are not affected.".to_owned(),
            numbers: [numbers(facts, &[Fact::Read, Fact::IoWaiting, Fact::DiskBusy]), vec![("limit_bytes_per_second", Some(limit as f64))]]
                .concat(),
        })
    },
};

/// Whether it reads less than before.
fn less(facts: &Facts<'_>, reads: f64) -> bool {
    facts.usual(Fact::Read).is_some_and(|before| reads < 0.8 * before)
}

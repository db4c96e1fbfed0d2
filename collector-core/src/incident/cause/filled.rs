//! Causes of OOM kills: what filled the limit, by the kind of memory, and whose it was.

use super::facts::{Facts, Hit, Reread, resident};
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::{bytes, percent};
use crate::incident::Figures;
use crate::series::Series;

/// Pinned memory is named as a cause from this share of the limit, or of the host's memory.
const PINNED_SHARE: f64 = 0.25;
/// One kind of memory filled the limit from this share of it.
const MOST: f64 = 0.5;
/// A victim that held less than this share of the limit did not fill it.
const LITTLE: f64 = 0.34;
/// Memory that was held for this many seconds did not grow just before the kill.
const LONG: f64 = 15.0;
/// Swap is full from this share of its limit.
const FULL: f64 = 0.95;

pub(super) const PINNED: Rule = Rule {
    name: "pinned_memory",
    kinds: KINDS,
    when: "The victim's workload had pinned a quarter or more of its limit (or of the host's memory) for GPUs, and pinned memory made up half or more of its growth.",
    find: |facts| {
        let figures = facts.figures()?;
        let pinned = figures.pinned_bytes?;
        let (whole, of) = match facts.own() {
            Some(hit) => (hit.bytes, "its limit"),
            None if facts.is_host() => (facts.evidence.host.total_bytes?, "the host's memory"),
            None => return None,
        };
        let growth = |series| {
            let points = facts.points(series);
            Some(points.last()?.1 - points.first()?.1)
        };
        let (grew, memory) = (growth(Series::Pinned)?, growth(Series::Memory)?);
        let share = pinned as f64 / whole as f64;
        if share < PINNED_SHARE || grew <= 0.0 || grew < memory / 2.0 {
            return None;
        }
        Some(Finding {
            sentence: format!(
                "{} had pinned {} of host memory for GPUs, {} of {of}, up by {} in the last minute. Pinned memory can neither be swapped nor dropped",
                figures.workload, bytes(pinned), percent(share), bytes(grew as u64),
            ),
            next: "Check for pinned buffers that are allocated repeatedly (offloading, data loaders with pin_memory). Shrink the pool, or raise the limit by what must stay pinned.".to_owned(),
            numbers: vec![
                ("pinned_bytes", Some(pinned as f64)),
                ("pinned_growth_bytes", Some(grew)),
                ("whole_bytes", Some(whole as f64)),
            ],
        })
    },
};

pub(super) const PAGE_CACHE: Rule = Rule {
    name: "page_cache",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Half or more of its memory was page cache (figures at most 30 s old), and it read more than that from disk in the last minute.",
    find: |facts| {
        let hit = facts.own()?;
        let Reread { cache, share, read } = facts.reread()?;
        Some(Finding {
            sentence: format!(
                "{} of the memory of {} was page cache, and it read {} in the last minute: its data does not fit into {}, so it keeps dropping and reading it",
                percent(share),
                hit.workload,
                bytes(read),
                hit.named(),
            ),
            next: format!(
                "Raise {} by the size of what it keeps reading, or bypass the page cache (direct IO). Check whether it has many dirty or locked pages, which cannot be dropped.",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("cache_bytes", Some(cache as f64)),
                ("read_bytes", Some(read as f64)),
            ],
        })
    },
};

/// The amount of one kind of memory, if it filled the limit: if it is most of it, more than the victims held, which is known
/// from the kill itself, and twice as much if it was their memory that grew to the limit.
fn most(facts: &Facts<'_>, hit: &Hit<'_>, amount: u64) -> Option<u64> {
    let anon = facts.killed(hit.workload, |victim| victim.anon_bytes);
    let amount = amount.min(hit.bytes.saturating_sub(anon));
    let points = facts.points(Series::Memory);
    let rise = points.first().map_or(0.0, |(_, first)| hit.bytes as f64 - first);
    let grew = rise >= PINNED_SHARE * hit.bytes as f64 && anon as f64 >= 0.8 * rise;
    let by_victims = grew && amount < anon.saturating_mul(2);
    (amount as f64 >= MOST * hit.bytes as f64 && amount > anon && !by_victims).then_some(amount)
}

/// `; main (7), which was killed, held 10 MiB`, and who asked for the memory.
fn victim(facts: &Facts<'_>, hit: &Hit<'_>) -> String {
    let known = facts.victim().filter(|victim| resident(victim).is_some());
    let held = facts.killed(hit.workload, resident);
    let victim = known.map(|it| format!("; {} ({}), which was killed, held {}", it.comm, it.pid, bytes(held)));
    victim.unwrap_or_default() + &facts.asked()
}

fn finding(facts: &Facts<'_>, hit: &Hit<'_>, amount: u64, what: &str, next: &str) -> Finding {
    Finding {
        sentence: format!("{} hit {}: {} of it {what}{}", hit.workload, hit.named(), bytes(amount), victim(facts, hit)),
        next: next.to_owned(),
        numbers: vec![
            ("limit_bytes", Some(hit.bytes as f64)),
            ("filled_bytes", Some(amount as f64)),
            ("victim_bytes", facts.victim().and_then(resident).map(|_| facts.killed(hit.workload, resident) as f64)),
        ],
    }
}

pub(super) const SHARED_MEMORY: Rule = Rule {
    name: "shared_memory",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Half or more of that was shared memory and files in tmpfs (figures at most 30 s old, or read after the kill), and the victims held less.",
    find: |facts| {
        let hit = facts.own()?;
        let amount = most(facts, &hit, facts.read(|figures| figures.shmem_bytes)?)?;
        let what = "were shared memory and files in tmpfs (/dev/shm), which stay until somebody removes them, whichever process is killed or restarted";
        let next = "Find the files and remove them: df -t tmpfs, ls -l /dev/shm in its mount namespace (nsenter -t PID -m), ipcs -m. Limit the size of the tmpfs (mount option size=, docker --shm-size, emptyDir.sizeLimit), or raise the limit by it.";
        Some(finding(facts, &hit, amount, what, next))
    },
};

pub(super) const KERNEL_MEMORY: Rule = Rule {
    name: "kernel_memory",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Half or more of that was memory that the kernel holds for it (figures at most 30 s old, or read after the kill), and the victims held less.",
    find: |facts| {
        let hit = facts.own()?;
        let amount = most(facts, &hit, facts.composition(hit.bytes).kernel?)?;
        let sockets = facts.read(|figures| figures.socket_bytes);
        let sockets = sockets.filter(|sockets| sockets.saturating_mul(2) >= amount);
        let (what, next) = match sockets {
            Some(sockets) => (
                format!("were kernel memory that is charged to it, {} of that in buffers of sockets", bytes(sockets)),
                "Find the sockets whose buffers are full (ss -m, in its network namespace). Read from them, close or bound them, or raise the limit.",
            ),
            None => (
                "were kernel memory that is charged to it (sockets, pipes, page tables, inodes and other slab objects)"
                    .to_owned(),
                "Check sock, slab and pagetables in its memory.stat, and who holds many sockets, pipes or files (ss -m, lsof). Close or bound them, or raise the limit.",
            ),
        };
        let mut finding = finding(facts, &hit, amount, &what, next);
        finding.numbers.push(("socket_bytes", sockets.map(|sockets| sockets as f64)));
        Some(finding)
    },
};

pub(super) const FILE_PAGES: Rule = Rule {
    name: "file_pages",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Half or more of that was page cache (figures at most 30 s old) that was not dropped before the kill, and the victims held less.",
    find: |facts| {
        let hit = facts.own()?;
        // Unless the memory of the victim is known, it may have taken the place of the cache since.
        facts.victim()?.anon_bytes?;
        let amount = most(facts, &hit, facts.composition(hit.bytes).cache?)?;
        let figures = facts.figures();
        let part = |of: fn(&Figures) -> Option<u64>| {
            figures.and_then(of).filter(|part| part.saturating_mul(2) >= amount).map(bytes)
        };
        let locked = part(|figures| figures.unevictable_bytes).map(|locked| format!("{locked} were locked (mlock)"));
        let dirty = part(|figures| figures.dirty_bytes).map(|dirty| format!("{dirty} were not yet written to disk"));
        let why = locked
            .or(dirty)
            .unwrap_or_else(|| "locked (mlock), not yet written to disk, or in use all the time".to_owned());
        let what = format!("were page cache that could not be dropped: {why}");
        let next = "Check what locks files (llama.cpp --mlock, vmtouch), and whether the disk keeps up with writing (Dirty in /proc/meminfo). Raise the limit by what must stay, or write less at once.";
        Some(finding(facts, &hit, amount, &what, next))
    },
};

pub(super) const SWAP_FULL: Rule = Rule {
    name: "swap_full",
    kinds: KINDS,
    when: "The victim's workload hit its own limit, and had used up its limit on swap (memory.swap.max).",
    find: |facts| {
        let hit = facts.own()?;
        let figures = facts.figures()?;
        let limit = figures.swap_limit_bytes.filter(|limit| *limit > 0)?;
        let killed = facts.killed(hit.workload, |victim| victim.swap_bytes);
        let swap = figures.swap_bytes.unwrap_or(0).max(killed);
        if (swap as f64) < FULL * limit as f64 {
            return None;
        }
        Some(Finding {
            sentence: format!(
                "{} hit {}, and its limit on swap was used up, too: {} of {}{}",
                hit.workload,
                hit.named(),
                bytes(swap),
                bytes(limit),
                facts.asked(),
            ),
            next: format!(
                "Its memory and swap together are too small for it: raise {}, or memory.swap.max (MemorySwapMax=), or lower its memory use.",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("swap_bytes", Some(swap as f64)),
                ("swap_limit_bytes", Some(limit as f64)),
            ],
        })
    },
};

pub(super) const OTHER_PROCESSES: Rule = Rule {
    name: "other_processes",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. The victims held less than a third of it, and other processes of the workload half or more (anonymous memory), for 15 s or longer.",
    find: |facts| {
        let hit = facts.own()?;
        let held = facts.killed(hit.workload, resident);
        let victim = facts.victim()?;
        let others = facts.others()?.min(hit.bytes.saturating_sub(held));
        let known = victim.anon_bytes.is_some() && (held as f64) < LITTLE * hit.bytes as f64;
        // Otherwise they grew, and how is more than that they hold it.
        let points = facts.points(Series::Memory);
        let recent = points.iter().filter(|(ago, _)| *ago <= LONG).map(|(_, memory)| *memory);
        let long = points.first().is_some_and(|(ago, _)| *ago >= LONG);
        let least = recent.fold(f64::MAX, f64::min).min(others as f64);
        if !known || !long || least < MOST * hit.bytes as f64 {
            return None;
        }
        let adj = match victim.score_adj {
            adj if adj > 0 => format!(" (its oom_score_adj is {adj})"),
            _ => " (others may have a lower oom_score_adj)".to_owned(),
        };
        Some(Finding {
            sentence: format!(
                "Other processes of {} held most of {}: {}, while {} ({}) held {}; the kernel picked it nevertheless{adj}{}",
                hit.workload,
                hit.named(),
                bytes(others),
                victim.comm,
                victim.pid,
                bytes(held),
                facts.asked(),
            ),
            next: format!(
                "Find the large process (ps -o pid,rss,comm,cgroup --sort -rss). Lower its memory use, or raise {}. Check oom_score_adj: who must survive, and who may be killed.",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("others_bytes", Some(others as f64)),
                ("victim_bytes", Some(held as f64)),
            ],
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::find;
    use super::super::tests::{MIB, because, kill, line, minute};
    use crate::incident::{Figures, Incident};
    use crate::series::Series;

    /// Half of the limit in use for a minute, then a kill of a process of this size.
    fn filled(anon: u64, parts: impl Fn(&mut Figures)) -> Incident {
        let mut incident = kill();
        incident.evidence.kills[0].anon_bytes = Some(anon);
        let figures = incident.evidence.workload.as_mut().unwrap();
        (figures.anon_bytes, figures.file_bytes, figures.kernel_bytes) = (Some(20 * MIB), Some(0), Some(MIB));
        parts(figures);
        line(&mut incident, Series::Memory, minute(|_| (900 * MIB) as f64));
        incident
    }

    #[test]
    fn each_kind_of_memory_is_named_with_what_the_victim_held() {
        let shared =
            |figures: &mut Figures| (figures.file_bytes, figures.shmem_bytes) = (Some(800 * MIB), Some(790 * MIB));
        because(
            &filled(90 * MIB, shared),
            "shared_memory",
            &["790 MiB", "tmpfs", "python (7), which was killed, held 90.0 MiB"],
        );
        let kernel = |figures: &mut Figures| figures.kernel_bytes = Some(700 * MIB);
        because(&filled(90 * MIB, kernel), "kernel_memory", &["700 MiB", "(sockets, pipes"]);
        let sockets =
            |figures: &mut Figures| (figures.kernel_bytes, figures.socket_bytes) = (Some(700 * MIB), Some(600 * MIB));
        because(&filled(90 * MIB, sockets), "kernel_memory", &["700 MiB", "600 MiB of that in buffers of sockets"]);
        let file = |figures: &mut Figures| figures.file_bytes = Some(800 * MIB);
        because(&filled(90 * MIB, file), "file_pages", &["800 MiB", "locked (mlock), not yet written"]);
        let locked = |figures: &mut Figures| {
            (figures.file_bytes, figures.unevictable_bytes) = (Some(800 * MIB), Some(780 * MIB))
        };
        because(&filled(90 * MIB, locked), "file_pages", &["780 MiB were locked (mlock)"]);
        let dirty =
            |figures: &mut Figures| (figures.file_bytes, figures.dirty_bytes) = (Some(800 * MIB), Some(500 * MIB));
        because(&filled(90 * MIB, dirty), "file_pages", &["500 MiB were not yet written to disk"]);
    }

    #[test]
    fn what_the_kill_frees_of_the_kernels_memory_had_filled_the_limit() {
        let kernel = |figures: &mut Figures| figures.kernel_bytes = Some(700 * MIB);
        let mut incident = filled(90 * MIB, kernel);
        let left = Figures { anon_bytes: Some(MIB), kernel_bytes: Some(50 * MIB), ..Figures::default() };
        incident.evidence.after = Some(left);
        because(&incident, "kernel_memory", &["700 MiB"]);
        // Of other processes only what they held before and after it did.
        let others = |figures: &mut Figures| figures.anon_bytes = Some(900 * MIB);
        let mut incident = filled(30 * MIB, others);
        incident.evidence.after = Some(Figures { anon_bytes: Some(800 * MIB), ..Figures::default() });
        because(&incident, "other_processes", &["800 MiB"]);
        incident.evidence.after = Some(Figures { anon_bytes: Some(100 * MIB), ..Figures::default() });
        assert_ne!(find(&incident).rule, "other_processes");
    }

    #[test]
    fn memory_that_the_victim_itself_took_is_no_other_kind() {
        // What was read before the kill is not there any more: the victim held 700 MiB of the limit of 1 GiB.
        let file = |figures: &mut Figures| figures.file_bytes = Some(800 * MIB);
        assert_ne!(find(&filled(700 * MIB, file)).rule, "file_pages");
        let shared =
            |figures: &mut Figures| (figures.file_bytes, figures.shmem_bytes) = (Some(600 * MIB), Some(600 * MIB));
        let mut grew = filled(400 * MIB, shared);
        line(&mut grew, Series::Memory, minute(|second| (620.0 + 6.8 * second) * MIB as f64));
        assert_ne!(find(&grew).rule, "shared_memory", "the growth was the victim's");
        grew.evidence.workload.as_mut().unwrap().shmem_bytes = Some(700 * MIB);
        grew.evidence.workload.as_mut().unwrap().file_bytes = Some(700 * MIB);
        grew.evidence.kills[0].anon_bytes = Some(320 * MIB);
        because(&grew, "shared_memory", &["700 MiB"]);
    }

    #[test]
    fn a_limit_on_swap_that_is_used_up() {
        let mut incident = filled(900 * MIB, |figures| {
            (figures.swap_bytes, figures.swap_limit_bytes) = (Some(250 * MIB), Some(256 * MIB));
        });
        because(&incident, "swap_full", &["its limit on swap was used up", "250 MiB of 256 MiB"]);
        // Filled since the last reading.
        incident.evidence.workload.as_mut().unwrap().swap_bytes = Some(0);
        assert_ne!(find(&incident).rule, "swap_full");
        incident.evidence.kills[0].swap_bytes = Some(256 * MIB);
        because(&incident, "swap_full", &["256 MiB of 256 MiB"]);
    }

    #[test]
    fn a_small_victim_beside_large_processes() {
        let others = |figures: &mut Figures| figures.anon_bytes = Some(900 * MIB);
        let mut incident = filled(30 * MIB, others);
        incident.evidence.kills[0].score_adj = 500;
        let words =
            ["Other processes of /a/b held most of its own limit of 1.00 GiB: 870 MiB", "held 30.0 MiB", "is 500"];
        because(&incident, "other_processes", &words);
        let mut grew = incident.clone();
        line(&mut grew, Series::Memory, minute(|second| if second < 50.0 { 200.0 } else { 990.0 } * MIB as f64));
        because(&grew, "sudden_spike", &[]);
        incident.evidence.kills[0].anon_bytes = Some(500 * MIB);
        assert_ne!(find(&incident).rule, "other_processes");
    }
}

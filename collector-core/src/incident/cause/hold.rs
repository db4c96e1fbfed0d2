//! Causes of pressure that a workload's own settings make: what holds it back on purpose.

use super::pressure::{IO, MEMORY, consumer, waited};
use super::{Finding, Rule};
use crate::amount::{bytes, percent};
use crate::series::Series;

/// A workload is at its memory.high from this share of it: reclaim keeps it just below.
const AT_HIGH: f64 = 0.97;
/// It is at its hard limit rather than at memory.high from this share of the limit.
const AT_LIMIT: f64 = 0.98;
/// Throttling explains pressure if it was counted this recently, in nanoseconds.
const RECENT_NS: u64 = 60_000_000_000;
/// A workload does as much IO as its limit allows from this share of it.
const AT_IO_LIMIT: f64 = 0.8;

pub(super) const FROZEN: Rule = Rule {
    name: "frozen_at_limit",
    kinds: MEMORY,
    when: "The workload of the incident is at its limit, and its OOM killer is disabled (cgroup v1, memory.oom_control): its tasks wait until memory is freed.",
    find: |facts| {
        let figures = facts.figures().filter(|figures| figures.frozen)?;
        let limit = figures.limit_bytes.map_or(String::new(), |limit| format!(" of {}", bytes(limit)));
        Some(Finding {
            sentence: format!(
                "{} is frozen at its limit{limit}: its OOM killer is disabled, so its tasks wait until somebody frees memory",
                figures.workload
            ),
            next: "Raise its limit, or end one of its processes. Enable its OOM killer (docker without --oom-kill-disable, 0 in memory.oom_control), so that it fails instead of hanging.".to_owned(),
            numbers: vec![
                ("limit_bytes", figures.limit_bytes.map(|bytes| bytes as f64)),
                ("used_bytes", figures.memory_bytes.map(|bytes| bytes as f64)),
            ],
        })
    },
};

pub(super) const AT_MEMORY_HIGH: Rule = Rule {
    name: "memory_high",
    kinds: MEMORY,
    when: "The workload of the incident waited, is at or above its memory.high, not at its hard limit, and the kernel throttled it within the last minute (where it counts that).",
    find: |facts| {
        let figures = facts.figures()?;
        let (memory, high) = (figures.memory_bytes?, figures.high_bytes?);
        let limited = figures.limit_bytes.is_some_and(|limit| memory as f64 >= AT_LIMIT * limit as f64);
        let throttled = figures.throttled.is_none_or(|at| at.saturating_add(RECENT_NS) >= facts.incident.time);
        if (memory as f64) < AT_HIGH * high as f64 || limited || !throttled {
            return None;
        }
        let (waiting, text) = waited(facts)?;
        let name = &figures.workload;
        let reads = facts.reread().map_or(String::new(), |reread| {
            format!(
                "; {} of its memory is page cache, and it read {} in the last minute",
                percent(reread.share),
                bytes(reread.read)
            )
        });
        Some(Finding {
            sentence: format!(
                "{name} is at its memory.high of {} ({} in use) and is held back for it: the kernel makes it reclaim and wait, and does not kill it: {text}{reads}",
                bytes(high), bytes(memory),
            ),
            next: "Raise memory.high (MemoryHigh=; in Kubernetes it follows from the container's memory limit: the kubelet's MemoryQoS and memoryThrottlingFactor), switch MemoryQoS off, or lower its memory use. Without swap or page cache to reclaim it makes almost no progress above memory.high.".to_owned(),
            numbers: vec![
                ("high_bytes", Some(high as f64)),
                ("used_bytes", Some(memory as f64)),
                ("waiting_seconds", Some(waiting)),
            ],
        })
    },
};

pub(super) const AT_IO_MAX: Rule = Rule {
    name: "io_limit",
    kinds: IO,
    when: "The workload of the incident waited for IO (where that is known: not on cgroup v1), and read or wrote at 80 % or more of its own limit (io.max, on cgroup v1 blkio.throttle.*), on average over the seconds in which it did any.",
    find: |facts| {
        let figures = facts.figures()?;
        let waiting = consumer(facts)?.waiting_seconds;
        if waiting.is_some_and(|waiting| waiting <= 0.0) {
            return None;
        }
        let sides = [
            ("read", "reading", Series::Read, figures.read_limit_bytes_per_second),
            ("wrote", "writing", Series::Write, figures.write_limit_bytes_per_second),
        ];
        let at = sides.into_iter().filter_map(|(verb, noun, series, limit)| {
            let limit = limit.filter(|limit| *limit > 0)?;
            let rates: Vec<f64> =
                facts.points(series).into_iter().map(|(_, rate)| rate).filter(|rate| *rate > 0.0).collect();
            let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
            (mean >= AT_IO_LIMIT * limit as f64).then_some((verb, noun, mean, limit))
        });
        let (verb, noun, mean, limit) =
            at.max_by(|one, two| (one.2 / one.3 as f64).total_cmp(&(two.2 / two.3 as f64)))?;
        let name = &figures.workload;
        Some(Finding {
            sentence: format!(
                "{name} waits for its own IO limit, not for the disk: it {verb} {}/s, and its limit on {noun} is {}/s{}",
                bytes(mean as u64), bytes(limit), waited(facts).map_or(String::new(), |(_, text)| format!("; {text}")),
            ),
            next: "Raise the limit (io.max, IOReadBandwidthMax=, IOWriteBandwidthMax=, docker --device-read-bps and --device-write-bps) if it should go faster. It is slow on purpose; others are not affected.".to_owned(),
            numbers: vec![
                ("bytes_per_second", Some(mean)),
                ("limit_bytes_per_second", Some(limit as f64)),
                ("waiting_seconds", waiting),
            ],
        })
    },
};

#[cfg(test)]
mod tests {
    use super::super::tests::{GIB, MIB, NOW, SECOND, because, line, minute, pressure};
    use super::super::{NOT_KNOWN, find};
    use crate::incident::{Figures, Incident, Kind};
    use crate::series::Series;

    fn figures(incident: &mut Incident) -> &mut Figures {
        incident.evidence.workload.as_mut().unwrap()
    }

    #[test]
    fn a_workload_that_its_memory_high_holds_back() {
        let mut incident = pressure(Kind::MemoryPressure);
        let of = figures(&mut incident);
        (of.memory_bytes, of.high_bytes, of.throttled) = (Some(801 * MIB), Some(800 * MIB), Some(NOW - SECOND));
        let words = ["/a/b is at its memory.high of 800 MiB", "does not kill it", "waited for 12 s"];
        let cause = because(&incident, "memory_high", &words);
        assert!(cause.next.contains("Raise memory.high"), "{cause:?}");
        type Spoil = fn(&mut Figures);
        let spoils: [Spoil; 3] = [
            |of| of.throttled = Some(NOW - 120 * SECOND),
            |of| of.memory_bytes = Some(700 * MIB),
            |of| of.high_bytes = None,
        ];
        for spoil in spoils {
            let mut near = incident.clone();
            spoil(figures(&mut near));
            because(&near, NOT_KNOWN, &[]);
        }
        // At its hard limit it is near a kill, whatever memory.high is.
        figures(&mut incident).memory_bytes = Some(GIB - MIB);
        because(&incident, "near_its_limit", &[]);
    }

    #[test]
    fn a_frozen_workload_is_not_near_a_kill() {
        let mut incident = pressure(Kind::MemoryPressure);
        let of = figures(&mut incident);
        (of.memory_bytes, of.frozen) = (Some(GIB), true);
        because(&incident, "frozen_at_limit", &["/a/b is frozen at its limit of 1.00 GiB", "OOM killer is disabled"]);
    }

    #[test]
    fn a_workload_that_waits_for_its_own_io_limit() {
        let mut incident = pressure(Kind::IoPressure);
        incident.evidence.consumers[0].io_bytes = Some(GIB);
        line(&mut incident, Series::Write, minute(|second| if second < 30.0 { 0.0 } else { 9.5 * MIB as f64 }));
        figures(&mut incident).write_limit_bytes_per_second = Some(10 * MIB);
        let words = ["/a/b waits for its own IO limit", "wrote 9.50 MiB/s", "is 10.0 MiB/s", "waited for 12 s of 59 s"];
        because(&incident, "io_limit", &words);
        incident.evidence.consumers[0].waiting_seconds = Some(0.0);
        because(&incident, "io_by_one", &[]);
        // Nobody knows it on cgroup v1; time in reclaim is no wait for IO.
        let of = &mut incident.evidence.consumers[0];
        (of.waiting_seconds, of.stall_seconds) = (None, Some(3.0));
        let cause = because(&incident, "io_limit", &["is 10.0 MiB/s"]);
        assert!(!cause.sentence.contains("reclaim") && !cause.numbers.contains_key("waiting_seconds"), "{cause:?}");
        figures(&mut incident).write_limit_bytes_per_second = Some(20 * MIB);
        assert_eq!(find(&incident).rule, "io_by_one");
    }
}

//! Tests each cause of slowness with evidence that it matches, and with evidence that it just misses.

use super::super::tests::{NOW, SECOND, because};
use super::super::{NOT_KNOWN, RULES, find};
use super::*;
use crate::incident::{Incident, Pair};

const MB: f64 = 1e6;

/// A server that answers slowly, with these facts: now, and before.
fn slow(kind: Kind, facts: &[(Fact, f64, f64)]) -> Incident {
    let mut incident = Incident::new(kind, "1".to_owned(), NOW);
    let mut evidence = Slow {
        workload: Some("llama.service".to_owned()),
        server: Some("llama_cpp:8080".to_owned()).filter(|_| kind == Kind::Latency),
        from: NOW - 60 * SECOND,
        until: NOW,
        usual_seconds: 600.0,
        disk: Some("vda".to_owned()),
        link: Some("eth0".to_owned()),
        gpus: vec!["0".to_owned()],
        ..Slow::default()
    };
    for (fact, now, before) in facts {
        let before = Some(*before).filter(|before| !before.is_nan());
        evidence.facts.insert(fact.name().to_owned(), Pair { now: *now, before });
    }
    incident.evidence.slow = Some(evidence);
    incident
}

fn latency(facts: &[(Fact, f64, f64)]) -> Incident {
    slow(Kind::Latency, facts)
}

/// A neighbour, with CPUs and bytes of IO per second: now, and before.
fn neighbour(incident: &mut Incident, name: &str, cpus: (f64, f64), io: (f64, f64), growth: i64) {
    let neighbour = Neighbour {
        workload: name.to_owned(),
        cpus: Some(cpus.0),
        cpus_before: Some(cpus.1),
        io_bytes_per_second: Some(io.0),
        io_before: Some(io.1),
        growth_bytes: Some(growth),
        memory_bytes: None,
    };
    incident.evidence.slow.as_mut().unwrap().neighbours.push(neighbour);
}

#[test]
fn what_is_high_and_always_was_is_no_cause() {
    let all: Vec<_> = Fact::ALL.iter().map(|fact| (*fact, 0.99, 0.99)).collect();
    for kind in [Kind::Latency, Kind::GpuStarved] {
        because(&slow(kind, &all), NOT_KNOWN, &["llama.service", "worse than before"]);
        let unusual: Vec<_> = Fact::ALL.iter().map(|fact| (*fact, 1e12, f64::NAN)).collect();
        because(&slow(kind, &unusual), NOT_KNOWN, &[]);
    }
}

#[test]
fn what_is_not_known_is_said() {
    let mut incident = latency(&[(Fact::CpuWait, 0.0, 0.0)]);
    let cause = because(&incident, NOT_KNOWN, &["Not known", "in reclaim", "KV cache", "PCIe link"]);
    assert!(!cause.sentence.contains("wait for a CPU"), "{cause:?}");
    incident.evidence.slow = None;
    because(&incident, NOT_KNOWN, &["what was usual before"]);
}

#[test]
fn a_full_kv_cache() {
    let facts = [(Fact::Preemptions, 0.4, 0.0), (Fact::KvUsed, 0.99, 0.6), (Fact::Waiting, 4.0, 0.0)];
    because(&latency(&facts), "kv_exhausted", &["llama_cpp:8080", "99 % in use", "preempted at 0.4/s (before: 0.0/s)"]);
    because(&latency(&facts[1..]), "kv_exhausted", &["4.0 requests wait (before: 0.0)"]);
    // It filled while that was judged; or it is as full as ever, and more is asked of it.
    let waiting = (Fact::Waiting, 4.0, 0.0);
    because(&latency(&[waiting, (Fact::KvUsed, 0.8, 0.5)]), "kv_exhausted", &["80 % in use"]);
    because(&latency(&[waiting, (Fact::KvUsed, 0.8, 0.75)]), "too_many_clients", &[]);
    because(&latency(&[waiting, (Fact::KvUsed, 0.7, 0.4)]), "too_many_clients", &[]);
    because(&latency(&[(Fact::Retracted, 100.0, 0.0)]), "kv_exhausted", &["sent back to the queue"]);
    because(&latency(&[(Fact::KvUsed, 0.99, 0.6)]), NOT_KNOWN, &[]);
    because(&slow(Kind::GpuStarved, &facts), NOT_KNOWN, &[]);
}

#[test]
fn more_clients_than_places_unless_the_server_itself_became_slow() {
    let queue = [(Fact::Waiting, 6.0, 0.0), (Fact::Slots, 2.0, 2.0), (Fact::Running, 2.0, 1.0)];
    because(&latency(&queue), "too_many_clients", &["6.0 requests wait (before: 0.0)", "all 2 places are taken"]);
    let slower = [queue.as_slice(), &[(Fact::Generated, 10.0, 40.0), (Fact::CpuThrottled, 0.8, 0.0)]].concat();
    because(&latency(&slower), "cpu_throttled", &[]);
    // Asked between two requests.
    let often = [queue[0], queue[1], (Fact::Running, 1.4, 1.4)];
    because(&latency(&often), "too_many_clients", &[]);
    let one = [queue[0], (Fact::Slots, 1.0, 1.0), (Fact::Running, 0.9, 0.9)];
    because(&latency(&one), "too_many_clients", &["its only place is taken"]);
    let free = [queue[0], queue[1], (Fact::Running, 1.0, 1.0)];
    because(&latency(&free), NOT_KNOWN, &[]);
}

#[test]
fn files_that_are_read_again_and_who_presses_them_out() {
    let again = [(Fact::RefaultFile, 80.0 * MB, 0.0), (Fact::MajorFaults, 300.0, 0.0)];
    let at = |more: &[(Fact, f64, f64)]| latency(&[again.as_slice(), more].concat());
    let limit = [(Fact::Memory, 299e6, 299e6), (Fact::MemoryLimit, 300e6, 600e6)];
    because(
        &at(&limit),
        "read_again",
        &["weights", "76.3 MiB/s (before: 0 B/s)", "own limit of 286 MiB (before: 572 MiB)"],
    );
    // Another process of it grew up to the limit meanwhile: the mean is below it.
    let grew = [(Fact::Memory, 240e6, 150e6), (Fact::MemoryLimit, 300e6, 300e6), (Fact::LimitEvents, 40.0, 0.0)];
    because(&at(&grew), "read_again", &["own limit of 286 MiB"]);
    let cause = because(&at(&grew[..2]), "read_again", &[]);
    assert!(!cause.sentence.contains("own limit"), "{}", cause.sentence);
    let high = [(Fact::Memory, 299e6, 299e6), (Fact::MemoryHigh, 300e6, f64::NAN)];
    because(&at(&high), "read_again", &["memory.high of 286 MiB (before: none)"]);
    let mut host = at(&[(Fact::HostAvailable, 0.03, 0.5)]);
    neighbour(&mut host, "hog.service", (0.1, 0.1), (0.0, 0.0), 4_000_000_000);
    let cause = because(
        &host,
        "read_again",
        &["the host is short of memory, 3.0 % of it available", "hog.service grew by 3.73 GiB"],
    );
    assert!(cause.next.contains("hog.service"), "{cause:?}");
    because(&slow(Kind::GpuStarved, &again), "read_again", &["page cache"]);
    because(&latency(&[(Fact::RefaultFile, 80.0 * MB, 70.0 * MB)]), NOT_KNOWN, &[]);
}

#[test]
fn swap_memory_high_and_reclaim() {
    let stalls = (Fact::Reclaim, 0.3, 0.0);
    let (memory, limit) = ((Fact::Memory, 99e6, 99e6), (Fact::MemoryLimit, 100e6, 100e6));
    because(
        &latency(&[(Fact::RefaultAnon, 5.0 * MB, 0.0), stalls, memory, limit]),
        "swapped",
        &["came back", "own limit"],
    );
    let high = [(Fact::HighEvents, 30.0, 0.0), stalls, memory, (Fact::MemoryHigh, 100e6, 100e6)];
    because(&latency(&high), "at_memory_high", &["95.4 MiB", "0.30 (before: 0.00) s of each second in reclaim"]);
    because(&latency(&[stalls, memory, limit]), "reclaim", &["own limit of 95.4 MiB"]);
    because(&latency(&[(Fact::Compaction, 0.3, 0.0)]), "reclaim", &["compaction"]);
    because(&latency(&[(Fact::MemoryWaiting, 0.3, 0.0)]), "reclaim", &["waited for memory in 30 %"]);
    because(&latency(&[(Fact::Reclaim, 0.01, 0.0)]), NOT_KNOWN, &[]);
}

#[test]
fn a_quota_the_hypervisor_and_others_who_run() {
    let quota = [(Fact::CpuThrottled, 0.9, 0.0), (Fact::CpuQuota, 0.5, 2.0)];
    because(
        &latency(&quota),
        "cpu_throttled",
        &["quota of 0.50 CPUs, which was 2.00 CPUs before", "90 % (before: 0 %)"],
    );
    because(&latency(&[quota[0], (Fact::CpuQuota, 0.5, f64::NAN)]), "cpu_throttled", &["which was not there before"]);
    because(&latency(&[(Fact::HostSteal, 0.3, 0.01)]), "cpu_steal", &["30 % (before: 1.0 %)"]);
    let waits = [(Fact::CpuWait, 1.0, 0.05), (Fact::Cpu, 1.0, 1.9), (Fact::HostCpuBusy, 1.0, 0.5)];
    let mut incident = latency(&waits);
    neighbour(&mut incident, "build.service", (1.9, 0.1), (0.0, 0.0), 0);
    neighbour(&mut incident, "small.service", (0.1, 0.1), (0.0, 0.0), 0);
    let words =
        ["50 % of the time in which they could run (before: 2.6 %)", "build.service uses 1.90 CPUs (before: 0.10)"];
    let cause = because(&incident, "cpu_contended", &words);
    assert!(
        cause.next.contains("more weight than build.service") && cause.numbers["neighbour_cpus"] == 1.9,
        "{cause:?}"
    );
    because(&latency(&[(Fact::CpuWaiting, 0.5, 0.05)]), "cpu_contended", &["some task of it waited for a CPU in 50 %"]);
    // A busy host alone does not make it wait.
    because(&latency(&[(Fact::HostCpuBusy, 1.0, 0.1), (Fact::HostCpuWaiting, 1.0, 0.1)]), NOT_KNOWN, &[]);
    because(&latency(&[(Fact::CpuWait, 0.001, 0.0), (Fact::Cpu, 0.001, 0.001)]), NOT_KNOWN, &[]);
}

#[test]
fn links_clocks_and_errors_of_gpus() {
    let busy = (Fact::GpuUtilization, 0.9, 0.9);
    because(&latency(&[(Fact::PcieLink, 0.25, 1.0), busy]), "pcie_degraded", &["GPU 0", "25 %", "before: 100 %"]);
    because(&latency(&[(Fact::PcieLink, 0.25, 1.0), (Fact::GpuUtilization, 0.0, 0.0)]), NOT_KNOWN, &[]);
    let full = [(Fact::PcieUsed, 0.95, 0.2)];
    because(&latency(&full), "pcie_saturated", &["95 % (before: 20 %)"]);
    let offload = (Fact::Offload, 900.0 * MB, 0.0);
    because(&latency(&[full[0], offload]), "kv_offload", &["858 MiB/s", "95 % of the PCIe link"]);
    let mut hot = latency(&[(Fact::GpuThrottled, 1.0, 0.0), (Fact::GpuClock, 900e6, 1800e6)]);
    hot.evidence.slow.as_mut().unwrap().clock_reasons = vec!["hw_thermal_slowdown".to_owned()];
    because(&hot, "gpu_clocks", &["hw_thermal_slowdown", "900 MHz (before: 1800 MHz)"]);
    because(&latency(&[(Fact::GpuPowerCapped, 1.0, 0.0)]), NOT_KNOWN, &[]);
    because(&latency(&[(Fact::GpuPowerCapped, 1.0, 0.0), (Fact::GpuClock, 900e6, 1800e6)]), "gpu_clocks", &[]);
    let mut error = latency(&[]);
    let others = (Fact::GpuOthers, 20.0 * 1073741824.0, 0.0);
    let mut shared = latency(&[others, busy]);
    because(&shared, "gpu_shared", &["Others use GPU 0 as well", "20.0 GiB", "before: 0 B"]);
    shared.evidence.slow.as_mut().unwrap().gpu_others = vec!["train.service".to_owned()];
    let cause = because(&shared, "gpu_shared", &["train.service uses GPU 0 as well"]);
    assert!(cause.next.contains("Move train.service"), "{cause:?}");
    shared.evidence.slow.as_mut().unwrap().gpu_others.push("other.service".to_owned());
    because(&shared, "gpu_shared", &["Others use GPU 0 as well"]);
    because(&latency(&[others, (Fact::GpuUtilization, 0.0, 0.9)]), NOT_KNOWN, &[]);
    because(&latency(&[(Fact::GpuOthers, 20.0 * 1073741824.0, 19.9 * 1073741824.0), busy]), NOT_KNOWN, &[]);
    error.evidence.slow.as_mut().unwrap().xids = vec![63];
    because(&error, "gpu_xid", &["XID 63"]);
}

#[test]
fn a_neighbour_that_floods_the_disk_and_a_disk_that_is_slow_by_itself() {
    let (busy, io) = ((Fact::DiskBusy, 0.98, 0.1), (500.0 * MB, 0.0));
    let flooded = |facts: &[(Fact, f64, f64)]| {
        let mut incident = latency(&[facts, &[busy]].concat());
        neighbour(&mut incident, "backup.service", (0.1, 0.0), io, 0);
        incident
    };
    let words = ["backup.service floods the disk", "477 MiB/s (before: 0 B/s)", "vda is busy for 98 %"];
    because(&flooded(&[(Fact::IoWaiting, 0.6, 0.1)]), "io_by_neighbour", &words);
    because(&flooded(&[(Fact::IoWaiting, 0.1, 0.1), (Fact::Read, 9.0 * MB, 9.0 * MB)]), NOT_KNOWN, &[]);
    // Without PSI, who reads from disks waits for them.
    because(
        &flooded(&[(Fact::Read, 3.0 * MB, 9.0 * MB)]),
        "io_by_neighbour",
        &["it reads 2.86 MiB/s (before: 8.58 MiB/s)"],
    );
    because(&flooded(&[(Fact::Read, 0.0, 0.0)]), NOT_KNOWN, &[]);
    let slower = [(Fact::DiskService, 0.05, 0.001), (Fact::IoWaiting, 0.6, 0.1)];
    because(&latency(&slower), "slow_disk", &["50 ms (before: 1 ms)"]);
    // Its own writes, such as those of a checkpoint, are nobody else's.
    let mut own = slow(Kind::GpuStarved, &[busy, (Fact::IoWaiting, 0.6, 0.1), (Fact::Written, 900.0 * MB, 0.0)]);
    neighbour(&mut own, "small.service", (0.0, 0.0), (1.0 * MB, 0.0), 0);
    because(&own, NOT_KNOWN, &[]);
}

#[test]
fn a_full_network() {
    because(&latency(&[(Fact::NetworkUsed, 0.95, 0.1)]), "network_saturated", &["95 % (before: 10 %) of eth0"]);
    because(&latency(&[(Fact::NetworkDrops, 500.0, 0.0)]), "network_saturated", &["drop"]);
    because(&latency(&[(Fact::NetworkUsed, 0.5, 0.1)]), NOT_KNOWN, &[]);
    // A job that is idle is not slow for it.
    let (full, sent) = ((Fact::NetworkUsed, 0.95, 0.1), |now| (Fact::Sent, now, 9.0 * MB));
    let starved = |facts: &[(Fact, f64, f64)]| slow(Kind::GpuStarved, facts);
    because(&starved(&[full]), "network_saturated", &[]);
    because(&starved(&[full, sent(9.0 * MB)]), "network_saturated", &[]);
    because(&starved(&[full, sent(0.1 * MB)]), NOT_KNOWN, &[]);
    because(&starved(&[(Fact::NetworkDrops, 500.0, 0.0)]), NOT_KNOWN, &[]);
}

#[test]
fn every_rule_of_slowness_was_tried_for_its_kinds() {
    let of = |kind: Kind| RULES.iter().filter(|rule| rule.kinds.contains(&kind)).count();
    assert!(of(Kind::Latency) >= 17 && of(Kind::GpuStarved) >= 12);
    assert_eq!(find(&latency(&[])).rule, NOT_KNOWN);
}

#[test]
fn what_keeps_a_job_from_its_gpu() {
    let starved = |facts: &[(Fact, f64, f64)]| slow(Kind::GpuStarved, facts);
    let copies = (Fact::ToGpu, 500.0 * MB, 500.0 * MB);
    let words = ["not pinned", "holds 0 B of pinned memory"];
    because(&starved(&[(Fact::Pinned, 0.0, 64.0 * MB), copies]), "pageable_copies", &words);
    because(&starved(&[(Fact::Pinned, 60.0 * MB, 64.0 * MB), copies]), NOT_KNOWN, &[]);
    because(&starved(&[(Fact::Pinned, 0.0, 64.0 * MB), (Fact::ToGpu, 0.0, 500.0 * MB)]), NOT_KNOWN, &[]);
    let reads = (Fact::Read, 80.0 * MB, 0.1 * MB);
    because(&starved(&[reads, (Fact::IoWaiting, 0.7, 0.0)]), "cache_misses", &["had in the page cache before"]);
    because(&starved(&[reads, (Fact::IoWaiting, 0.0, 0.0)]), NOT_KNOWN, &[]);
    let mut limited = starved(&[(Fact::Read, 0.9 * MB, 5.0 * MB), (Fact::IoWaiting, 0.9, 0.2)]);
    because(&limited, NOT_KNOWN, &[]);
    let figures = crate::incident::Figures {
        read_limit_bytes_per_second: Some(1_000_000),
        ..crate::incident::Figures::default()
    };
    limited.evidence.workload = Some(figures);
    because(&limited, "own_io_limit", &["its own IO limit, not for the disk"]);
    // A host that is always busy: the job ran in a third of the time in which it could, and now in a tenth.
    because(&starved(&[(Fact::CpuWait, 1.8, 0.8), (Fact::Cpu, 0.2, 0.4)]), "cpu_contended", &["90 % of the time"]);
    because(&starved(&[(Fact::CpuWait, 0.8, 0.8), (Fact::Cpu, 0.4, 0.4)]), NOT_KNOWN, &[]);
    // It stopped by itself while others run: its few threads wait.
    let stopped = [(Fact::CpuWait, 0.4, 0.01), (Fact::Cpu, 0.01, 1.5)];
    because(&starved(&stopped), NOT_KNOWN, &[]);
    because(&latency(&stopped), "cpu_contended", &[]);
    because(&starved(&[(Fact::CpuWait, 0.1, 0.0), (Fact::Cpu, 0.1, 0.1)]), NOT_KNOWN, &[]);
    // Its data are read again, and its tasks wake up on the CPU that the disk interrupts: nobody else runs.
    let reads = |busy: f64| {
        let cpu = [(Fact::CpuWait, 0.44, 0.01), (Fact::Cpu, 0.56, 0.6)];
        let host = [(Fact::HostCpuBusy, busy, 0.3), (Fact::IoWaiting, 0.6, 0.1)];
        starved(&[cpu, host].concat())
    };
    because(&reads(0.32), NOT_KNOWN, &[]);
    because(&reads(0.9), "cpu_contended", &[]);
    // A little more for CPUs, and much more for memory that comes back from compressed swap.
    let cpu = [(Fact::CpuWait, 0.16, 0.01), (Fact::Cpu, 0.9, 0.9), (Fact::HostCpuBusy, 0.83, 0.5)];
    let swaps = [(Fact::MemoryWaiting, 0.7, 0.0), (Fact::RefaultAnon, 90.0 * MB, 0.0)];
    because(&latency(&[cpu.as_slice(), &swaps].concat()), "swapped", &["came back"]);
    because(&latency(&cpu), "cpu_contended", &[]);
    let stolen = (Fact::HostSteal, 0.3, 0.01);
    because(&starved(&[stolen]), "cpu_steal", &[]);
    because(&starved(&[stolen, (Fact::CpuWait, 0.0, 0.0), (Fact::Cpu, 0.01, 1.5)]), NOT_KNOWN, &[]);
}

#[test]
fn memory_and_cpus_that_are_far_from_the_gpu() {
    let facts = [(Fact::RemoteMemory, 0.8, 0.02), (Fact::RemoteCpus, 0.0, 0.0), (Fact::ToGpu, 500.0 * MB, 900.0 * MB)];
    for kind in [Kind::Latency, Kind::GpuStarved] {
        because(&slow(kind, &facts), "numa_remote", &["80 % (before: 2.0 %)", "llama.service"]);
    }
    let moved = [(Fact::RemoteMemory, 0.02, 0.02), (Fact::RemoteCpus, 1.0, 0.0)];
    because(&slow(Kind::GpuStarved, &moved), "numa_remote", &["may no longer run"]);
    // Just not: a little more, always so, not known before, or nothing is copied.
    let little = [(Fact::RemoteMemory, 0.26, 0.02)];
    because(&latency(&little), NOT_KNOWN, &[]);
    because(&latency(&[(Fact::RemoteMemory, 0.8, 0.6), (Fact::RemoteCpus, 1.0, 1.0)]), NOT_KNOWN, &[]);
    because(&latency(&[(Fact::RemoteMemory, 0.8, f64::NAN)]), NOT_KNOWN, &[]);
    let still = [(Fact::RemoteMemory, 0.8, 0.02), (Fact::ToGpu, 0.0, 0.0), (Fact::FromGpu, 0.0, 0.0)];
    because(&latency(&still), NOT_KNOWN, &[]);
}

//! Tests each cause rule with evidence that it matches, and with evidence that it just misses.

use super::*;
use crate::incident::{Change, Consumer, Evidence, Figures, Host, Limit, LostGpu, Source, Storm, Victim, What};
use crate::series::Series;
use crate::signal::oom::Scope;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
pub(super) const SECOND: u64 = 1_000_000_000;
/// When everything happens.
pub(super) const NOW: u64 = 1_000 * SECOND;

/// A point a second for a minute, the last half a second before.
pub(super) fn minute(value: impl Fn(f64) -> f64) -> Vec<Option<f64>> {
    (0..60).map(|second| Some(value(f64::from(second)))).collect()
}

/// An OOM kill in `/a/b`, at the limit of 1 GiB of its own, nearly full all the time.
pub(super) fn kill() -> Incident {
    let mut incident = Incident::new(Kind::Oom, "1".to_owned(), NOW);
    let victim = Victim { pid: 7, comm: "python".to_owned(), workload: Some("/a/b".to_owned()), ..Victim::default() };
    incident.evidence = Evidence {
        scope: Some(Scope::Memcg),
        kills: vec![victim],
        killed: 1,
        limit: Some(Limit {
            workload: Some("/a/b".to_owned()),
            own: true,
            source: Source::Only,
            bytes: Some(GIB),
            used_bytes: Some(GIB - MIB),
            ..Limit::default()
        }),
        workload: Some(Figures {
            workload: "/a/b".to_owned(),
            memory_bytes: Some(GIB - MIB),
            limit_bytes: Some(GIB),
            anon_bytes: Some(900 * MIB),
            file_bytes: Some(100 * MIB),
            shmem_bytes: Some(0),
            parts_read: Some(NOW - 5 * SECOND),
            ..Figures::default()
        }),
        ..Evidence::default()
    };
    incident.evidence.history.ago = (0..60).map(|second| 59.5 - f64::from(second)).collect();
    line(&mut incident, Series::Memory, minute(|_| (GIB - MIB) as f64));
    incident
}

pub(super) fn line(incident: &mut Incident, series: Series, points: Vec<Option<f64>>) {
    incident.evidence.history.workload.insert(series.name().to_owned(), points);
}

pub(super) fn consumer(name: &str, memory: u64, growth: i64) -> Consumer {
    let (memory_bytes, growth_bytes) = (Some(memory), Some(growth));
    Consumer { workload: name.to_owned(), memory_bytes, growth_bytes, ..Consumer::default() }
}

/// The same kill at the limit of `/a`, with others in it.
pub(super) fn parents(within: &[Consumer]) -> Incident {
    let mut incident = kill();
    let limit = incident.evidence.limit.as_mut().unwrap();
    (limit.own, limit.workload) = (false, Some("/a".to_owned()));
    incident.evidence.within = within.to_vec();
    incident
}

/// The same on a host that is out of memory.
pub(super) fn host(consumers: &[Consumer]) -> Incident {
    let mut incident = kill();
    incident.evidence.scope = Some(Scope::Host);
    incident.evidence.limit = None;
    incident.evidence.consumers = consumers.to_vec();
    incident.evidence.host = Host { total_bytes: Some(16 * GIB), available_bytes: Some(GIB / 10), ..Host::default() };
    incident
}

#[track_caller]
pub(super) fn because(incident: &Incident, rule: &str, words: &[&str]) -> Cause {
    let cause = find(incident);
    assert_eq!(cause.rule, rule, "{cause:?}");
    words.iter().for_each(|word| assert!(cause.sentence.contains(word), "{word}: {cause:?}"));
    assert!(!cause.next.is_empty());
    cause
}

#[test]
fn a_limit_that_is_too_low() {
    let mut incident = kill();
    line(&mut incident, Series::Stalls, minute(|_| 0.5));
    let cause = because(&incident, "limit_too_low", &["/a/b", "1.00 GiB", "30 s in reclaim"]);
    assert_eq!(cause.numbers["limit_bytes"], GIB as f64);
    assert!((59.0..60.0).contains(&cause.numbers["near_limit_seconds"]));
    // For the last third of a minute, whatever was before.
    let loaded = |second: f64| GIB as f64 * if second < 40.0 { 0.8 } else { 0.95 };
    line(&mut incident, Series::Memory, minute(loaded));
    because(&incident, "limit_too_low", &["for the last 20 s"]);
    // It goes up and down: the limit cannot be called too low.
    line(&mut incident, Series::Memory, minute(|second| GIB as f64 * (0.75 + 0.03 * ((second + 4.0) % 8.0))));
    because(&incident, "own_limit", &["1.00 GiB", "100 % of it was used"]);
}

#[test]
fn a_sudden_spike() {
    let mut incident = kill();
    line(&mut incident, Series::Memory, minute(|second| if second < 57.0 { 100.0 } else { 300.0 } * MIB as f64));
    let cause = because(&incident, "sudden_spike", &["924 MiB", "within 3.5 s", "1.00 GiB"]);
    assert_eq!(cause.numbers["growth_seconds"], 3.5);
    // It came a second ago, and was never read.
    incident.evidence.history.workload.clear();
    let came =
        Change { time: NOW - SECOND, since: None, what: What::Came, of: "/a/b".to_owned(), before: None, after: None };
    incident.evidence.changes = vec![Change { of: "/a/c".to_owned(), ..came.clone() }, came];
    because(&incident, "sudden_spike", &["grew by 1.00 GiB within 1.0 s"]);
    incident.evidence.changes.pop();
    because(&incident, "own_limit", &[]);
}

#[test]
fn steady_growth() {
    let mut incident = kill();
    let leak = |second: f64| (GIB - 60 * MIB) as f64 + second * MIB as f64;
    line(&mut incident, Series::Memory, minute(leak));
    let cause = because(&incident, "steady_growth", &["60.0 MiB", "1.01 MiB/s", "in the last 60 s"]);
    assert!((1.0..1.1).contains(&(cause.numbers["growth_bytes_per_second"] / MIB as f64)));
    // Too short to classify.
    let mut short = minute(leak);
    short[..48].fill(None);
    line(&mut incident, Series::Memory, short);
    because(&incident, "own_limit", &[]);
}

#[test]
fn page_cache() {
    let mut incident = kill();
    let figures = incident.evidence.workload.as_mut().unwrap();
    (figures.anon_bytes, figures.file_bytes) = (Some(200 * MIB), Some(800 * MIB));
    line(&mut incident, Series::Read, minute(|_| 100.0 * MIB as f64));
    because(&incident, "page_cache", &["78 %", "5.76 GiB"]);
    type Spoil = (fn(&mut Figures), &'static str);
    let spoils: [Spoil; 4] = [
        (|figures| figures.shmem_bytes = Some(700 * MIB), "shared_memory"),
        (|figures| figures.parts_read = Some(NOW - 40 * SECOND), "limit_too_low"),
        (|figures| figures.parts_read = None, "limit_too_low"),
        (|figures| figures.file_bytes = Some(400 * MIB), "limit_too_low"),
    ];
    for (spoil, rule) in spoils {
        let mut near = incident.clone();
        spoil(near.evidence.workload.as_mut().unwrap());
        because(&near, rule, &[]);
    }
    line(&mut incident, Series::Read, minute(|_| MIB as f64));
    because(&incident, "limit_too_low", &[]);
}

#[test]
fn pinned_memory_that_grew() {
    let mut incident = kill();
    incident.evidence.workload.as_mut().unwrap().pinned_bytes = Some(400 * MIB);
    line(&mut incident, Series::Memory, minute(|second| (500.0 + 8.0 * second) * MIB as f64));
    line(&mut incident, Series::Pinned, minute(|second| (10.0 + 6.0 * second) * MIB as f64));
    let cause = because(&incident, "pinned_memory", &["400 MiB", "39 % of its limit", "up by 354 MiB"]);
    assert_eq!(cause.numbers["pinned_bytes"], (400 * MIB) as f64);
    let mut few = incident.clone();
    few.evidence.workload.as_mut().unwrap().pinned_bytes = Some(200 * MIB);
    assert_ne!(find(&few).rule, "pinned_memory", "a fifth of the limit");
    line(&mut incident, Series::Pinned, minute(|second| (300.0 + second) * MIB as f64));
    assert_ne!(find(&incident).rule, "pinned_memory", "something else grew");
    line(&mut incident, Series::Pinned, minute(|_| 400.0 * MIB as f64));
    line(&mut incident, Series::Memory, minute(|_| 1000.0 * MIB as f64));
    because(&incident, "limit_too_low", &[]);
}

#[test]
fn a_parents_limit() {
    let within = [consumer("/a/b", 700 * MIB, 0), consumer("/a/c", 300 * MIB, 0)];
    because(
        &parents(&within),
        "parents_limit",
        &[
            "The limit of /a was hit",
            "not that of /a/b itself",
            "1.00 GiB",
            "/a/b held most of it when last read: 700 MiB",
        ],
    );
    because(&parents(&[]), "parents_limit", &["were not read before the kill"]);
    let cause = because(&parents(&[consumer("/a/c", 900 * MIB, 30)]), "parents_limit", &["/a/c held most"]);
    assert_eq!(cause.numbers["top_bytes"], (900 * MIB) as f64);
}

#[test]
fn a_victim_that_did_nothing_wrong() {
    let within = [consumer("/a/c", 800 * MIB, 600 * MIB as i64), consumer("/a/b", 100 * MIB, MIB as i64)];
    let mut incident = parents(&within);
    incident.evidence.kills[0].score_adj = 900;
    let words = [
        "/a/c filled the limit of 1.00 GiB that all workloads in /a share",
        "600 MiB",
        "/a/b held 100 MiB",
        "oom_score_adj is 900",
    ];
    let cause = because(&incident, "grown_by_another", &words);
    assert_eq!(cause.numbers["other_growth_bytes"], (600 * MIB) as f64);
    for near in [
        // The victim grew as well.
        [consumer("/a/c", 800 * MIB, 600 * MIB as i64), consumer("/a/b", 500 * MIB, 400 * MIB as i64)],
        // The other did not grow by much.
        [consumer("/a/c", 800 * MIB, 50 * MIB as i64), consumer("/a/b", 100 * MIB, 0)],
        // The other grew, but holds less.
        [consumer("/a/c", 300 * MIB, 200 * MIB as i64), consumer("/a/b", 700 * MIB, 0)],
    ] {
        because(&parents(&near), "parents_limit", &[]);
    }
}

#[test]
fn a_host_that_another_exhausted() {
    let own = || consumer("/a/b", 500 * MIB, 0);
    let words = ["The host ran out of memory", "/c held 9.00 GiB of its 16.0 GiB", "5.00 GiB", "/a/b held 500 MiB"];
    because(
        &host(&[consumer("/d", 10 * GIB, 0), consumer("/c", 9 * GIB, 5 * GIB as i64), own()]),
        "host_exhausted_by_another",
        &words,
    );
    because(&host(&[consumer("/d", 10 * GIB, 0), own()]), "host_exhausted_by_another", &["/d held 10.0 GiB"]);
    because(&host(&[consumer("/a/b", 9 * GIB, 5 * GIB as i64)]), "host_exhausted", &["/a/b held 9.00 GiB"]);
    // No known workload holds enough.
    because(&host(&[consumer("/d", 3 * GIB, GIB as i64), own()]), NOT_KNOWN, &["no workload is charged with enough"]);
    let mut blind = host(&[consumer("/d", 10 * GIB, 0)]);
    blind.evidence.host = Host::default();
    because(&blind, NOT_KNOWN, &[]);
}

#[test]
fn an_unknown_cause_is_not_guessed() {
    let mut incident = kill();
    incident.evidence.limit = None;
    because(&incident, NOT_KNOWN, &["The limit of /a/b or of a cgroup above it", "this kernel does not report it"]);
    incident.evidence.limit =
        Some(Limit { workload: Some("/a".to_owned()), source: Source::Kernel, ..Limit::default() });
    because(&incident, NOT_KNOWN, &["/a hit its limit", "could not be read"]);
    incident.evidence.scope = Some(Scope::Unknown);
    because(&incident, NOT_KNOWN, &["did not report whether"]);
    because(&Incident::new(Kind::Oom, "1".to_owned(), 5), NOT_KNOWN, &[]);
    // A limit whose owner is uncertain.
    let mut incident = kill();
    incident.evidence.limit.as_mut().unwrap().source = Source::Unknown;
    because(&incident, NOT_KNOWN, &[]);
}

/// Memory pressure. `/a/b` waited most; it uses 300 MiB of its limit of 1 GiB.
pub(super) fn pressure(kind: Kind) -> Incident {
    let mut incident = kill();
    incident.kind = kind;
    let evidence = &mut incident.evidence;
    (evidence.scope, evidence.limit, evidence.kills) = (None, None, Vec::new());
    evidence.storm = Some(Storm::default());
    evidence.workload.as_mut().unwrap().memory_bytes = Some(300 * MIB);
    let waiting = Consumer { waiting_seconds: Some(12.0), ..consumer("/a/b", 300 * MIB, 0) };
    evidence.consumers = vec![waiting, consumer("/c", GIB, 0)];
    evidence.host = Host { total_bytes: Some(16 * GIB), available_bytes: Some(9 * GIB), ..Host::default() };
    incident
}

#[test]
fn waiting_at_ones_own_limit() {
    let mut incident = pressure(Kind::MemoryPressure);
    because(
        &incident,
        NOT_KNOWN,
        &["waited for memory", "/a/b most: at least one of its tasks waited for 12 s of 59 s"],
    );
    incident.evidence.workload.as_mut().unwrap().memory_bytes = Some(GIB - MIB);
    let cause = because(&incident, "near_its_limit", &["(1.00 GiB of 1.00 GiB)", "12 s"]);
    assert_eq!(cause.numbers["waiting_seconds"], 12.0);
    // cgroup v1 has no PSI: the stalls count.
    (incident.evidence.consumers[0].waiting_seconds, incident.evidence.consumers[0].stall_seconds) = (None, Some(3.0));
    because(&incident, "near_its_limit", &["its tasks spent 3.0 s"]);
    incident.evidence.consumers[0].stall_seconds = None;
    because(&incident, NOT_KNOWN, &[]);
}

#[test]
fn thrashing_of_the_page_cache() {
    let mut incident = pressure(Kind::MemoryPressure);
    let figures = incident.evidence.workload.as_mut().unwrap();
    (figures.memory_bytes, figures.anon_bytes, figures.file_bytes) =
        (Some(GIB - MIB), Some(100 * MIB), Some(900 * MIB));
    line(&mut incident, Series::Read, minute(|_| 100.0 * MIB as f64));
    because(&incident, "page_cache_thrash", &["88 %", "5.76 GiB"]);
    line(&mut incident, Series::Read, minute(|_| MIB as f64));
    because(&incident, "near_its_limit", &[]);
}

#[test]
fn a_host_that_is_short_of_memory() {
    let mut incident = pressure(Kind::MemoryPressure);
    incident.evidence.host.available_bytes = Some(GIB);
    because(&incident, "host_short", &["1.00 GiB of 16.0 GiB available", "/c holds 1.00 GiB"]);
    incident.evidence.consumers[0].growth_bytes = Some(2 * GIB as i64);
    because(&incident, "host_short", &["/a/b holds 300 MiB, having grown by 2.00 GiB in the last 59 s"]);
    incident.evidence.host.available_bytes = Some(2 * GIB);
    because(&incident, NOT_KNOWN, &[]);
}

#[test]
fn io_by_one_workload_and_io_for_lack_of_memory() {
    let mut incident = pressure(Kind::IoPressure);
    because(&incident, NOT_KNOWN, &["waited for IO"]);
    incident.evidence.consumers[0].io_bytes = Some(3 * GIB);
    incident.evidence.consumers[1].io_bytes = Some(GIB);
    let cause = because(&incident, "io_by_one", &["/a/b did 75 %", "3.00 GiB"]);
    assert_eq!(cause.numbers["all_io_bytes"], (4 * GIB) as f64);
    incident.evidence.consumers.push(Consumer { io_bytes: Some(3 * GIB), ..consumer("/d", 1, 0) });
    because(&incident, NOT_KNOWN, &[]);
    let history = &mut incident.evidence.history.host;
    history.insert(Series::MemoryWaiting.name().to_owned(), minute(|_| 0.3));
    because(&incident, NOT_KNOWN, &["waited for IO"]);
    let host = &mut incident.evidence.host;
    (host.swap_total_bytes, host.swap_free_bytes) = (Some(4 * GIB), Some(3 * GIB));
    because(&incident, "io_for_memory", &["30 %", "1.00 GiB are swapped out"]);
}

#[test]
fn a_gpu_that_is_lost() {
    let mut incident = Incident::new(Kind::GpuLost, "1".to_owned(), NOW);
    let gpu = LostGpu { gpu: "3".to_owned(), model: "H100".to_owned(), lost: 1, left: 7, ..LostGpu::default() };
    let mut lost = |change: fn(&mut LostGpu)| {
        let mut gpu = gpu.clone();
        change(&mut gpu);
        incident.evidence.gpu = Some(gpu);
        incident.clone()
    };
    because(&lost(|gpu| gpu.xids = vec![79]), "gpu_error", &["GPU 3 (H100) reported XID 79", "fallen off the bus"]);
    because(&lost(|gpu| gpu.xids = vec![79, 48]), "gpu_error", &["XID 48"]);
    because(&lost(|gpu| gpu.xids = vec![13]), NOT_KNOWN, &["XID 13 before, which does not explain"]);
    because(&lost(|_| {}), NOT_KNOWN, &["reported no error"]);
    let gone: fn(&mut LostGpu) =
        |gpu| (gpu.lost, gpu.left, gpu.error) = (8, 0, Some("NVML does not answer".to_owned()));
    because(&lost(gone), "driver_gone", &["All 8 GPUs", "NVML does not answer"]);
    let one_of_many: fn(&mut LostGpu) = |gpu| gpu.error = Some("GPU 3 is lost".to_owned());
    because(&lost(one_of_many), NOT_KNOWN, &[]);
}

#[test]
fn rule_names_are_unique() {
    let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), RULES.len());
    assert!(!names.contains(&NOT_KNOWN));
}

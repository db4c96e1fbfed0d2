//! Reclaim, kswapd and compaction, provoked on this machine without harm: the agent's counts, compared with the clock, the
//! kernel's own counters, and what the test did.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_core::sample::{Reading, Sample};
use collector_core::signal::compaction::Reading as Compaction;
use collector_core::signal::reclaim::{Kind, Reading as Reclaim};
use collector_core::stage::Stage;
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::process::{meminfo, vmstat};
use collector_tests::record::lost;
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};
use collector_tests::sysctl::Sysctl;
use collector_tests::{applies, needs, provoke};

const STALLS: &str = "headroom_workload_reclaim_stalls_total";
const STALL_SECONDS: &str = "headroom_workload_reclaim_stall_seconds_total";
const HOST_COUNT: &str = "headroom_host_reclaim_stall_seconds_count";
const HOST_SUM: &str = "headroom_host_reclaim_stall_seconds_sum";
const AWAKE: &str = "headroom_host_kswapd_awake_seconds_total";
const MIB: u64 = 1 << 20;

/// A sparse file: reading it fills the page cache with clean pages, at the speed of memory.
struct Sparse(Scratch);

impl Sparse {
    fn new(bytes: u64) -> Sparse {
        let directory = scratch();
        File::create(directory.join("sparse")).unwrap().set_len(bytes).unwrap();
        Sparse(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.join("sparse")
    }

    fn argument(&self) -> String {
        format!("file={}", self.path().display())
    }
}

/// When dropped, drops the page cache that a test filled.
struct DropCaches;

impl Drop for DropCaches {
    fn drop(&mut self) {
        let _ = fs::write("/proc/sys/vm/drop_caches", "1");
    }
}

/// The kernel's own count of charges over the limit.
fn limit_hits(cgroup: &Cgroup) -> u64 {
    let read = |file: &str| fs::read_to_string(cgroup.memory().join(file)).unwrap();
    let text = if cgroup.is_v2() { read("memory.events") } else { format!("max {}", read("memory.failcnt")) };
    text.lines().find_map(|line| line.strip_prefix("max ")).unwrap().trim().parse().unwrap()
}

#[test]
fn a_workload_over_its_limit_stalls_no_longer_than_it_ran() {
    needs!(is_root(), "loading eBPF programs needs root");
    let sparse = Sparse::new(128 * MIB);
    needs!(sparse.0.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let agent = Agent::start("tick = \"100ms\"\n[kernel]\nstall = \"0s\"\n");
    let cgroup = Cgroup::new("thrash");
    cgroup.limit(64 * MIB);
    let id = cgroup.memory_id();

    let begun = Instant::now();
    let status = provoke!(&cgroup, &["thrash", &sparse.argument(), "rounds=8"]).wait().unwrap();
    let wall = begun.elapsed();
    assert!(status.success(), "{status}");

    let exposition = agent.settle();
    let labels = [("workload", cgroup.path.as_str()), ("kind", "memcg")];
    let (stalls, seconds) = (exposition.sum(STALLS, &labels), exposition.sum(STALL_SECONDS, &labels));
    let reclaimed = exposition.sum("headroom_workload_reclaimed_bytes_total", &labels);
    let (host_count, host_sum) = (exposition.sum(HOST_COUNT, &labels[1..]), exposition.sum(HOST_SUM, &labels[1..]));
    eprintln!("{stalls} stalls of {seconds} s in {wall:?}, {reclaimed} bytes; host {host_count}, {host_sum} s");
    assert!(stalls > 0.0 && seconds > 0.0);
    assert!(seconds <= wall.as_secs_f64(), "{seconds} s in {wall:?}");
    // A charge that does not fit is first retried in a smaller batch, without reclaim.
    let hits = limit_hits(&cgroup) as f64;
    eprintln!("the limit was hit {hits} times");
    assert!(stalls <= hits && hits <= 4.0 * stalls, "{stalls} stalls, but the limit was hit {hits} times");
    assert!(host_count >= stalls && host_sum >= seconds - 1e-6);
    // Eight rounds of twice the limit: at least half of what was read had to be reclaimed.
    assert!(reclaimed >= (512 * MIB) as f64, "{reclaimed}");
    let others: f64 = exposition.sum(STALLS, &labels[1..]) - stalls;
    assert_eq!(host_count, stalls + others, "the host's count is the sum of the workloads'");

    let samples = agent.stop();
    let (mut counted, mut reported, mut reported_ns, mut in_histogram, mut reported_by_host) = (0, 0, 0, 0, 0);
    for sample in &samples {
        match &sample.reading {
            Reading::Reclaim(Reclaim::Counts { cgroup: Some(cgroup), kind: Kind::Memcg, stalls, .. }) => {
                counted += if cgroup.id == id { *stalls } else { 0 };
            }
            Reading::Reclaim(Reclaim::Stall(stall)) if stall.kind == Kind::Memcg => {
                reported_by_host += 1;
                if stall.cgroup.is_some_and(|cgroup| cgroup.id == id) {
                    assert_eq!(stall.comm, "provoke");
                    reported += 1;
                    reported_ns += stall.ns;
                }
            }
            Reading::Reclaim(Reclaim::Time { kind: Kind::Memcg, histogram }) => {
                in_histogram += collector_core::count::count(histogram);
            }
            _ => {}
        }
    }
    assert_eq!(counted as f64, stalls, "record and scrape agree");
    let lost = lost(&samples, Stage::RingBulk);
    eprintln!("{counted} counted, {reported} sent as records, {lost} lost; host {in_histogram}, {reported_by_host}");
    if lost == 0 {
        assert_eq!(reported, counted, "every stall is over a threshold of zero");
        assert!((reported_ns as f64 / 1e9 - seconds).abs() < 1e-6, "{reported_ns} ns reported, {seconds} s counted");
    } else {
        assert!(
            reported < counted && counted - reported <= lost,
            "{counted} counted, {reported} reported, {lost} lost"
        );
    }
}

#[test]
fn kswapd_is_awake_while_it_frees_the_page_cache() {
    needs!(is_root(), "loading eBPF programs needs root");
    let total = meminfo("MemTotal");
    let sparse = Sparse::new(2 * total);
    needs!(sparse.0.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let (scanned, runs) = (vmstat("pgscan_kswapd"), vmstat("pageoutrun"));
    let agent = Agent::start("tick = \"100ms\"\n");
    let _clean = DropCaches;
    let begun = Instant::now();
    {
        // It wakes when less than 30 % is free, instead of only when next to nothing is.
        let _early = Sysctl::set("watermark_scale_factor", 3000, Duration::from_secs(120));
        fill(&sparse, total, || vmstat("pgscan_kswapd") > scanned);
    }
    assert!(vmstat("pgscan_kswapd") > scanned, "kswapd was not provoked");
    let awake = |exposition: &Exposition| exposition.sum(AWAKE, &[]);
    let exposition = agent.scrape_until("kswapd", |exposition| awake(exposition) > 0.0);
    let wall = begun.elapsed().as_secs_f64();
    let nodes = exposition.values(AWAKE, &[]);
    let wakes = exposition.sum("headroom_host_kswapd_wakes_total", &[]);
    eprintln!("awake {nodes:?} s of {wall} s, woken {wakes} times");
    assert!(nodes.iter().all(|seconds| *seconds <= wall), "awake for {nodes:?} s of {wall} s");
    let runs = vmstat("pageoutrun") - runs;
    assert!(wakes <= runs as f64, "woken {wakes} times, but it ran {runs} times");
    assert!(wakes >= 1.0 && exposition.has(AWAKE, &[("node", "0")]));
}

/// Attempts to provoke direct reclaim.
const ATTEMPTS: usize = 10;

/// Reads until `enough`, but at most one and a half times the memory; with two readers, since it is much.
fn fill(sparse: &Sparse, total: u64, enough: impl Fn() -> bool + Sync) {
    let file = File::open(sparse.path()).unwrap();
    let half = |begin: u64| {
        let mut buffer = vec![0; MIB as usize];
        for offset in (begin..begin + total / 4 * 3).step_by(buffer.len()) {
            file.read_exact_at(&mut buffer, offset).unwrap();
            if offset % (32 * MIB) == 0 && enough() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| half(0));
        half((total / 4 * 3).next_multiple_of(32 * MIB));
    });
}

#[test]
fn direct_reclaim_stalls_the_task_that_reads() {
    needs!(is_root(), "loading eBPF programs needs root");
    let total = meminfo("MemTotal");
    applies!(total >= 8 << 30, "too little memory to raise the kernel's reserve without harm");
    let sparse = Sparse::new(2 * total);
    needs!(sparse.0.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let before = vmstat("allocstall");
    let agent = Agent::start("tick = \"100ms\"\n");
    let cgroup = Cgroup::new("direct");
    let _clean = DropCaches;
    fill(&sparse, total, || meminfo("MemFree") < 3 << 29);
    // Reclaim must find enough at once: clean pages of the file, several times the increase of the reserve.
    let clean = meminfo("Active(file)") + meminfo("Inactive(file)") - meminfo("Dirty");
    assert!(clean > 4 << 30, "the page cache did not fill: {clean}");

    let stalled = vmstat("allocstall");
    // Another file, since all of the first one is in the cache.
    let more = Sparse::new(total);
    let mut reader = provoke!(&cgroup, &["thrash", &more.argument(), "threads=4"]);
    let begun = Instant::now();
    let direct = [("kind", "direct")];
    let own = [("workload", cgroup.path.as_str()), direct[0]];
    // On a busy machine the reader may not run while memory is scarce, or others make room first: then retry.
    for _ in 0..ATTEMPTS {
        // A little more than is free: every task has to reclaim, for a moment.
        let reserve = (meminfo("MemFree") + 1024 * MIB) / 1024;
        let _reserve = Sysctl::set("min_free_kbytes", reserve, Duration::from_secs(5));
        let scarce = Instant::now();
        let reader_stalled = || agent.scrape().sum(STALLS, &own) >= 1.0;
        let mut seen = reader_stalled();
        while !seen && scarce.elapsed() < Duration::from_secs(2) {
            sleep(Duration::from_millis(50));
            seen = reader_stalled();
        }
        if seen {
            break;
        }
    }
    let _ = reader.kill();
    let _ = reader.wait();
    let wall = begun.elapsed();
    let exposition = agent.settle();
    assert!(vmstat("allocstall") > stalled, "direct reclaim was not provoked");
    let kernel = vmstat("allocstall") - before;

    let (host, own_stalls) = (exposition.sum(HOST_COUNT, &direct), exposition.sum(STALLS, &own));
    let seconds = exposition.sum(STALL_SECONDS, &own);
    let lost = exposition.lost("stopwatch");
    eprintln!("kernel {kernel}, host {host}, reader {own_stalls} of {seconds} s in {wall:?}, lost {lost}");
    assert!(host >= 1.0 && own_stalls >= 1.0);
    // The kernel counts again where it retries within one stall.
    assert!(host <= kernel as f64, "{host} reported, {kernel} counted by the kernel");
    assert!(host + lost >= kernel as f64 / 2.0, "{host} reported, {lost} lost, {kernel} counted by the kernel");
    assert_eq!(exposition.sum(STALLS, &direct), host, "the host's count is the sum of the workloads'");
    assert!(seconds <= 4.0 * wall.as_secs_f64(), "four threads, {seconds} s in {wall:?}");
}

#[test]
fn the_task_that_compacts_is_stalled() {
    needs!(is_root(), "loading eBPF programs needs root");
    needs!(Path::new("/proc/sys/vm/compact_memory").exists(), "this kernel cannot compact memory");
    let agent = Agent::start("tick = \"100ms\"\n[kernel]\nstall = \"0s\"\n");
    let cgroup = Cgroup::new("compact");
    let id = cgroup.memory_id();
    let scanned = || vmstat("compact_migrate_scanned") + vmstat("compact_free_scanned");
    let before = scanned();
    let begun = Instant::now();
    let deadline = begun + PATIENCE;
    let mut rounds = 0;
    // With nothing to move there is nothing to count: then retry.
    while scanned() == before && Instant::now() < deadline {
        assert!(provoke!(&cgroup, &["compact"]).wait().unwrap().success());
        rounds += 1;
    }
    let wall = begun.elapsed().as_secs_f64();
    assert!(scanned() > before, "compaction was not provoked");

    let exposition = agent.settle();
    let labels = [("workload", cgroup.path.as_str())];
    let stalls = exposition.sum("headroom_workload_compaction_stalls_total", &labels);
    let seconds = exposition.sum("headroom_workload_compaction_stall_seconds_total", &labels);
    let host = exposition.sum("headroom_host_compaction_stall_seconds_count", &[]);
    eprintln!("{rounds} writes, {stalls} stalls of {seconds} s in {wall} s; host {host}");
    assert!(stalls >= 1.0 && host >= stalls);
    assert!(seconds > 0.0 && seconds <= wall, "{seconds} s in {wall} s");
    let reported = |sample: &&Sample| match &sample.reading {
        Reading::Compaction(Compaction::Stall(stall)) => stall.cgroup.is_some_and(|cgroup| cgroup.id == id),
        _ => false,
    };
    let samples = agent.stop();
    let lost = lost(&samples, Stage::RingBulk);
    let reported = samples.iter().filter(reported).count() as u64;
    assert!(
        reported <= stalls as u64 && reported + lost >= stalls as u64,
        "{reported} reported, {lost} lost, {stalls} counted"
    );
}

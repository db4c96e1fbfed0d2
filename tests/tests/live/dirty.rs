//! A writer that dirties pages faster than they are written back: the agent's count of its waits, compared with the kernel's own
//! tracing and the clock.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector::clock::{jiffy_ns, monotonic_ns};
use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::sysctl::Sysctl;
use collector_tests::trace::Trace;
use collector_tests::{applies, needs};

const MIB: u64 = 1 << 20;
/// Dirty pages that the host may hold meanwhile.
const LIMIT: u64 = 4 * MIB;
const WRITTEN: u64 = 32 * MIB;
/// Attempts: a fast disk may keep up with the writer.
const ATTEMPTS: usize = 40;

/// The milliseconds in a line of the tracepoint.
fn pause(line: &str) -> u64 {
    let pause = line.split_whitespace().find_map(|word| word.strip_prefix("pause=")).unwrap();
    pause.parse().unwrap()
}

#[test]
fn a_throttled_writer_waits_as_long_as_the_kernel_says() {
    needs!(is_root(), "loading eBPF programs needs root");
    let folder = scratch();
    let file = folder.join("dirty");
    File::create(&file).unwrap();
    needs!(folder.is_on_disk(), "the temporary directory is in memory: set TMPDIR");
    let trace = Trace::of("writeback/balance_dirty_pages", "pause > 0");
    applies!(trace.is_ok(), format!("no tracefs to compare with: {:?}", trace.as_ref().err()));
    let trace = trace.unwrap();
    let agent = Agent::start("tick = \"100ms\"\n");
    let (cgroup, idle) = (Cgroup::new("dirty"), Cgroup::new("clean"));

    let begun = Instant::now();
    let mut pauses: Vec<u64> = Vec::new();
    {
        let _limit = Sysctl::instead("dirty_bytes", LIMIT, "dirty_ratio", Duration::from_secs(120));
        for _ in 0..ATTEMPTS {
            let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
            command.args(["dirty", file.to_str().unwrap(), &WRITTEN.to_string()]).stdout(Stdio::null());
            let mut writer = cgroup.spawn(&mut command);
            assert!(writer.wait().unwrap().success());
            pauses.extend(trace.of_thread(writer.id()).iter().map(|line| pause(line)));
            if !pauses.is_empty() {
                break;
            }
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    let exposition = agent.settle();
    assert!(!pauses.is_empty(), "no task had to wait");

    let of = |metric: &str, cgroup: &Cgroup| exposition.sum(metric, &[("workload", cgroup.path.as_str())]);
    let waits = of("headroom_workload_dirty_waits_total", &cgroup);
    let seconds = of("headroom_workload_dirty_wait_seconds_total", &cgroup);
    let kernel = pauses.iter().sum::<u64>() as f64 / 1e3;
    eprintln!("{waits} waits of {seconds} s in {wall} s; the kernel says {} of {kernel} s", pauses.len());
    assert_eq!(waits, pauses.len() as f64, "the kernel says {pauses:?}");
    // The tracepoint rounds each down to milliseconds.
    let rounding = 0.001 * waits + 1e-6;
    assert!(seconds >= kernel - 1e-6 && seconds <= kernel + rounding, "{seconds} s, the kernel says {kernel} s");
    // Each sleep may end up to a tick early.
    let early = waits * jiffy_ns() as f64 / 1e9;
    assert!(seconds > 0.0 && seconds - early <= wall, "{seconds} s in {wall} s");
    assert_eq!(of("headroom_workload_dirty_waits_total", &idle), 0.0, "who writes nothing waits for nothing");
}

/// The kernel's count of jiffies, with the times right before and after it was read.
fn jiffies() -> Option<(u64, u64, u64)> {
    let before = monotonic_ns();
    let text = fs::read_to_string("/proc/timer_list").ok()?;
    let jiffies = text.lines().rev().find_map(|line| line.strip_prefix("jiffies: "))?;
    Some((jiffies.trim().parse().ok()?, before, monotonic_ns()))
}

#[test]
fn a_jiffy_is_as_long_as_the_kernels_own_count_says() {
    needs!(is_root(), "/proc/timer_list is root's");
    let first = jiffies();
    applies!(first.is_some(), "this kernel does not show its jiffies");
    sleep(Duration::from_secs(2));
    let ((first, earliest, by), (last, from, latest)) = (first.unwrap(), jiffies().unwrap());
    let ns = (last - first) * jiffy_ns();
    let hertz = 1e9 / jiffy_ns() as f64;
    eprintln!("{} jiffies at {hertz} Hz: {ns} ns, in {} to {} ns", last - first, from - by, latest - earliest);
    assert!([100.0, 250.0, 300.0, 1000.0].iter().any(|usual| (hertz / usual - 1.0f64).abs() < 0.02), "{hertz} Hz");
    // Each count is in whole jiffies, and may be updated only at the next tick.
    let slack = 2 * jiffy_ns();
    assert!(ns + slack >= from - by && ns <= latest - earliest + slack);
}

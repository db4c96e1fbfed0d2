//! A ring that is far too small for the load: every record is received or counted as lost, and none of this delays an OOM
//! kill. And the agent publishes what it records.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use collector_core::sample::{Lost, Reading, Sample};
use collector_core::signal::block::{Device, Reading as Block};
use collector_core::signal::oom::Reading as Oom;
use collector_core::stage::Stage;
use collector_tests::agent::{Agent, DETAIL, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::loopback::Loop;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::Signal;

const MIB: u64 = 1 << 20;

/// A buffer for direct IO.
#[repr(C, align(4096))]
struct Aligned([u8; 4096]);

/// Reads from a device past the page cache, 4 KiB at a time.
fn read_directly(device: &Path, reads: u64) {
    let device = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(device).unwrap();
    let mut buffer = Aligned([0; 4096]);
    for read in 0..reads {
        device.read_exact_at(&mut buffer.0, read * 4096).unwrap();
    }
}

fn oom_kill(cgroup: &Cgroup) -> u32 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    command.args(["hog", "anon=134217728"]).stdout(Stdio::null());
    let mut hog = cgroup.spawn(&mut command);
    assert!(!hog.wait().unwrap().success(), "it survived");
    hog.id()
}

/// All IO since the agent started: counted in the kernel, received as records, and lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    counted: u64,
    received: u64,
    lost: u64,
}

/// The tally at the end of each round.
fn tallies(samples: &[Sample]) -> Vec<Tally> {
    let mut tally = Tally::default();
    let mut rounds = Vec::new();
    for sample in samples {
        match &sample.reading {
            Reading::Block(Block::Device { service, .. }) => tally.counted += collector_core::count::count(service),
            Reading::Block(Block::Io(_)) => tally.received += 1,
            Reading::Lost(Lost { stage, count }) if *stage == Stage::RingBulk => tally.lost += count,
            Reading::Tick => rounds.push(tally),
            _ => {}
        }
    }
    rounds
}

/// IO of one device: counted, and received as records.
fn of_device(samples: &[Sample], name: &str) -> (u64, u64) {
    let named = |sample: &Sample| match &sample.reading {
        Reading::Block(Block::Name { device, name: given }) if given == name => Some(*device),
        _ => None,
    };
    let wanted: Device = samples.iter().find_map(named).expect("the device's name");
    let (mut counted, mut received) = (0, 0);
    for sample in samples {
        match &sample.reading {
            Reading::Block(Block::Device { device, service, .. }) if *device == wanted => {
                counted += collector_core::count::count(service);
            }
            Reading::Block(Block::Io(io)) if io.device == wanted => received += 1,
            _ => {}
        }
    }
    (counted, received)
}

#[test]
fn every_record_that_a_full_ring_drops_is_counted_and_the_kill_arrives() {
    needs!(is_root(), "loading eBPF programs needs root");
    const READS: u64 = 1000;
    let directory = scratch();
    let device = Loop::new(&directory, 8 * MIB);
    needs!(device.is_ok(), device.as_ref().err().map_or("", String::as_str));
    let device = device.unwrap();
    // Let udev and others read the new device first.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let before = device.stats();
    // Every IO is sent as a record; nothing else uses this ring.
    let config = "tick = \"100ms\"\n[kernel]\nbulk_ring = 4096\nslow_io = \"0s\"\nstall = \"1h\"\n";
    let agent = Agent::start(config);
    let cgroup = Cgroup::new("burst");
    cgroup.limit(32 * MIB);
    let id = cgroup.memory_id();

    agent.signal(Signal::STOP);
    read_directly(&device.device(), READS / 2);
    let pid = oom_kill(&cgroup);
    read_directly(&device.device(), READS / 2);
    let heard = agent.samples().len();
    agent.signal(Signal::CONT);

    let workload = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the kill", |exposition| exposition.sum("headroom_oom_kills_total", &workload) == 1.0);
    agent.settle();
    let reads = device.stats().reads - before.reads;
    assert!(reads >= READS, "{reads} reads");
    // The rings are read before the counters, and an IO may complete in between. In some round none does.
    let deadline = Instant::now() + PATIENCE;
    let samples = loop {
        let samples = agent.samples();
        let rounds = tallies(&samples);
        let burst = |tally: &&Tally| tally.counted >= reads && tally.lost > 0;
        if rounds.iter().filter(burst).any(|tally| tally.counted == tally.received + tally.lost) {
            eprintln!("{:?}, {heard} samples before", rounds.last());
            break samples;
        }
        assert!(Instant::now() < deadline, "the sums never agree: {:?}", rounds.last());
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let (counted, received) = of_device(&samples, &device.name);
    eprintln!("{}: {reads} by diskstats, {counted} counted, {received} received", device.name);
    assert_eq!(counted, reads, "the program counts what the kernel counts");
    assert!(received < reads, "the ring did not overflow");

    let samples = agent.stop();
    let kills = samples.iter().filter_map(|sample| match &sample.reading {
        Reading::Oom(Oom::Kill(kill)) if kill.pid == pid => kill.cgroup,
        _ => None,
    });
    assert_eq!(kills.map(|cgroup| cgroup.id).collect::<Vec<_>>(), [id]);
    drop(device);
}

#[test]
fn the_replayed_record_equals_what_was_published() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"1s\"\n[kernel]\nmeasure = \"0s\"\n");
    let cgroup = Cgroup::new("replayed");
    cgroup.limit(32 * MIB);
    oom_kill(&cgroup);
    let workload = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the kill", |exposition| exposition.sum("headroom_oom_kills_total", &workload) == 1.0);
    agent.settle();

    let total = |exposition: &Exposition| exposition.sum("headroom_samples_total", &[]);
    let directory = scratch();
    let deadline = Instant::now() + PATIENCE;
    // The record is written at the end of each round. Between two rounds, if no record came meanwhile, it holds exactly
    // the samples in the exposition.
    let (exposition, record) = loop {
        let exposition = agent.scrape();
        let record = std::fs::read_to_string(agent.directory().join("record.jsonl")).unwrap();
        if record.ends_with('\n') && record.lines().count() as f64 == total(&exposition) {
            break (exposition, record);
        }
        assert!(Instant::now() < deadline, "{} lines, {} samples", record.lines().count(), total(&exposition));
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let file = directory.join("record.jsonl");
    std::fs::write(&file, record).unwrap();
    let output = headroom("replay").arg(&file).env(DETAIL, "full").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let replayed = Exposition::parse(&String::from_utf8(output.stdout).unwrap());

    assert_eq!(replayed.sum("headroom_oom_kills_total", &workload), 1.0);
    assert!(replayed.sum("headroom_workload_page_faults_total", &workload) >= 8000.0);
    for (one, other) in exposition.text.lines().zip(replayed.text.lines()) {
        assert_eq!(one, other);
    }
    assert_eq!(exposition.samples.len(), replayed.samples.len());
    eprintln!("{} series, the same", replayed.samples.len());
}

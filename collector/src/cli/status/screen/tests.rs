//! The screen against golden files, `tests/fixtures/status/NAME.COLUMNS.txt`; `BLESS=1` rewrites them.

use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use collector_core::api::status::Status;
use collector_core::api::workloads::{self, Summary};
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample, Source, Statistics};
use collector_core::statistic::{disk, filesystem, host, workload};

use super::*;

const SECOND: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;

/// A host with the GPUs of a recording, the last of whose readings are followed by twenty seconds of the host's own numbers.
fn played() -> Picture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/replay/gpu.jsonl");
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    let mut time = 0;
    for sample in samples(fs::read(path).unwrap().as_slice()) {
        let sample = sample.unwrap();
        time = sample.time;
        engine.apply(&sample);
    }
    for second in 1..=90 {
        for reading in host(second) {
            engine.apply(&Sample { time: time + second * SECOND, reading });
        }
    }
    let view = engine.view();
    let (status, workloads) = (Status::of(view), Summary::of(view).workloads);
    Picture { host: "node1".to_owned(), agent: true, utc: true, status, workloads }
}

fn host(second: u64) -> Vec<Reading> {
    use host::Statistic::*;
    let memory = [(MemoryTotal, 64 * GIB), (MemoryAvailable, 5 * GIB), (SwapTotal, 8 * GIB), (SwapFree, 7 * GIB)];
    let cpu = [(Cpus, 16), (CpuUser, 6 * SECOND * second), (CpuIowait, SECOND * second), (Load1, 612), (Load5, 590)];
    let rest = [(Load15, 401), (CpuPressureSome, SECOND * second / 14), (MemoryPressureSome, SECOND * second / 31)];
    let wait = [(MemoryPressureFull, 0), (IoPressureSome, SECOND * second / 9), (IoPressureFull, SECOND * second / 90)];
    let values = memory.into_iter().chain(cpu).chain(rest).chain(wait).collect();
    let device = "nvme0n1".into();
    let disk = [
        (disk::Statistic::ReadBytes, 300_000_000 * second),
        (disk::Statistic::WriteBytes, 0),
        (disk::Statistic::Busy, SECOND * second / 4),
        (disk::Statistic::InFlight, 7),
    ];
    let disk = disk::Reading { device, values: Some(disk.into_iter().collect()) };
    let mut readings = vec![Reading::Host(values), Reading::Disk(disk)];
    for (mountpoint, free) in [("/", 20), ("/models", 2), ("/boot", 60)] {
        use filesystem::Statistic::*;
        let values = [(Size, 100 * GIB), (Free, free * GIB), (Available, free * GIB)];
        let state = filesystem::State::Read(values.into_iter().collect());
        let (device, fstype) = (format!("/dev{mountpoint}").into(), "ext4".into());
        let reading = filesystem::Reading { mountpoint: mountpoint.into(), device, fstype, owner: None, state };
        readings.push(Reading::Filesystem(reading));
    }
    for (id, memory, limit) in [(1, 7 * GIB + GIB / 2, Some(8 * GIB)), (2, 40 * GIB, None)] {
        use workload::Statistic::*;
        let known = [(MemoryCurrent, memory), (CpuUsage, id * SECOND * second), (MemoryWithoutCache, memory)];
        let values = known.into_iter().chain(limit.map(|limit| (MemoryLimit, limit))).collect();
        let cgroup = Id { hierarchy: 0, id };
        readings.push(Reading::Statistics(Statistics { cgroup, values, turn: true }));
    }
    readings.push(Reading::Tick);
    readings
}

fn golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/status").join(name);
    if env::var_os("BLESS").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    let difference = expected.lines().zip(actual.lines()).find(|(expected, actual)| expected != actual);
    assert!(expected == actual, "{} differs: {difference:?}; BLESS=1 rewrites it\n{actual}", path.display());
}

/// The screen, which fits whatever is on it.
fn fitting(picture: &Picture, width: usize, height: usize) -> String {
    let text = screen(picture, Size { width, height: Some(height) }, false);
    assert!(text.lines().count() <= height, "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
    text
}

/// A workload with a name that somebody chose.
fn hostile() -> workloads::Line {
    workloads::Line {
        workload: "docker/\x1b[2J\x1b]0;owned\x07<img onerror=alert(1)>\r\n\u{202e}\u{200b}".to_owned(),
        kind: "container".to_owned(),
        memory_bytes: Some(8 * GIB),
        memory_limit_bytes: Some(8 * GIB),
        oom_kills: Some(3),
        ..workloads::Line::default()
    }
}

#[test]
fn a_host_with_gpus_fits_each_width() {
    let mut picture = played();
    picture.workloads.push(hostile());
    for (width, height) in [(80, 24), (160, 50)] {
        golden(&format!("gpu.{width}.txt"), &fitting(&picture, width, height));
    }
}

#[test]
fn a_host_without_an_agent_says_what_it_cannot_know() {
    let mut engine = Engine::new();
    let start = samples(&b"{\"time\":1700000000000000000,\"reading\":{\"start\":{\"version\":\"0.1.0\",\"kernel\":\"6.18.0\",\"memory_hierarchy\":0,\"io_hierarchy\":0,\"workload_max\":10,\"workload_grace\":60000000000}}}"[..]);
    start.for_each(|sample| drop(engine.apply(&sample.unwrap())));
    let error = Some("read /proc/meminfo: no such file".to_owned());
    let source = Source { source: "host".into(), up: false, ns: 1, error };
    engine.apply(&Sample { time: 1_700_000_001 * SECOND, reading: Reading::Source(source) });
    let status = super::super::source::unattended(Status::of(engine.view()), "no agent");
    let picture = Picture { host: "node1".to_owned(), agent: false, utc: true, status, workloads: Vec::new() };
    golden("files.80.txt", &fitting(&picture, 80, 24));
}

#[test]
fn whatever_is_shown_fits_and_controls_no_terminal() {
    let mut picture = played();
    let gpu = picture.status.gpus[0].clone();
    picture
        .status
        .gpus
        .extend((2..40).map(|number| collector_core::api::gpus::GpuLine { gpu: number.to_string(), ..gpu.clone() }));
    picture.workloads.extend((0..1000).map(|_| hostile()));
    let alert = picture.status.alerts[0].clone();
    picture.status.alerts.extend((0..100).map(|_| alert.clone()));
    picture.status.reasons = vec!["\x1b[31mred\n".to_owned(); 20];
    for (width, height) in [(1, 1), (40, 16), (80, 24), (80, 25), (300, 80)] {
        let size = Size { width, height: Some(height) };
        let text = screen(&picture, size, false);
        assert!(text.lines().count() <= height.max(HEIGHT), "{height}: {text}");
        assert!(text.lines().all(|line| line.chars().count() <= width.clamp(WIDTHS.0, WIDTHS.1)), "{width}: {text}");
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
    }
    let text = fitting(&picture, 80, 24);
    for part in ["critical", "Memory", "Disk", "Waiting", "GPUS", "1002 WORKLOADS", "Last"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let coloured = screen(&picture, Size { width: 80, height: Some(24) }, true);
    assert_eq!(plain(&coloured), text);
}

/// Without what paints.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + part.split_once('m').unwrap().1)
}

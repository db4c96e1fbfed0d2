//! Files of real hosts in, exposition out: each tree `tests/fixtures/host/NAME` gives `NAME.prom`. `BLESS=1` rewrites these.
//! The trees are unchanged copies of what kernels of these versions wrote.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use collector::config::Config;
use collector::exposition::{Cap, Format, render};
use collector::source::filesystem::Filesystems;
use collector::source::host::Host;
use collector::source::root::Root;
use collector::source::{self, Source};
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::filesystem::{Statistic, Values};
use collector_tests::allocation;
use collector_tests::scratch::{Scratch, scratch};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tests/fixtures/host")
}

/// The host with this folder as root. Each file system is as full as its path is long.
struct Files {
    host: Host,
    filesystems: Filesystems,
}

impl Files {
    fn read(&mut self, emit: &mut dyn FnMut(Reading)) {
        let sources: [(_, &mut dyn Source); 2] = [("host", &mut self.host), ("filesystem", &mut self.filesystems)];
        sources.into_iter().for_each(|(name, it)| source::read(name, it, &mut |sample| emit(sample.reading)));
    }
}

fn host(root: &Path) -> Files {
    let mut config = Config::default();
    config.filesystem.interval = std::time::Duration::ZERO;
    let length = root.as_os_str().len() as u64;
    let root = Root::new(root);
    let filesystems = Filesystems::new(&root, &config.filesystem).with_query(Arc::new(move |path| {
        let free = path.as_os_str().len() as u64 - length;
        Ok([(Statistic::Size, 4096), (Statistic::Free, free), (Statistic::ReadOnly, 0)].into_iter().collect::<Values>())
    }));
    Files { host: Host::new(&root, &config), filesystems }
}

/// Readings until its file systems have answered, as in a recording.
fn read(host: &mut Files) -> Vec<Reading> {
    let mut readings = Vec::new();
    let answered =
        |readings: &[Reading]| readings.iter().any(|it| matches!(it, Reading::Source(it) if it.source == "filesystem"));
    while !answered(&readings) {
        host.read(&mut |reading| readings.push(reading));
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let recorded = readings.iter().map(|reading| serde_json::to_string(reading).unwrap());
    let replayed: Vec<Reading> = recorded.map(|line| serde_json::from_str(&line).unwrap()).collect();
    assert_eq!(replayed, readings);
    replayed
}

fn fold(engine: &mut Engine, readings: Vec<Reading>) -> String {
    for reading in readings {
        engine.apply(&Sample { time: 1_700_000_000_000_000_000, reading });
    }
    let text = render(engine.view(), Format::OpenMetrics, Cap::NONE).text;
    let own = |line: &&str| line.starts_with("headroom_host_") || line.starts_with("headroom_source_up");
    text.lines().filter(own).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_host_gives_its_exposition() {
    let mut hosts = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let golden = PathBuf::from(format!("{}.prom", path.display()));
        let text = fold(&mut Engine::new(), read(&mut host(&path)));
        if env::var_os("BLESS").is_some() {
            fs::write(&golden, &text).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        let difference = expected.lines().zip(text.lines()).find(|(expected, actual)| expected != actual);
        assert!(expected == text, "{} differs: {difference:?}; BLESS=1 rewrites it", golden.display());
        hosts += 1;
    }
    assert_eq!(hosts, 3);
}

/// A copy of a tree, which a test may damage.
struct Copy(Scratch);

impl Copy {
    fn new() -> Copy {
        let to = scratch();
        copy(&folder().join("5.10"), &to);
        Copy(to)
    }
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let name = entry.unwrap().file_name();
            copy(&from.join(&name), &to.join(&name));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

#[test]
fn a_file_that_becomes_unreadable_removes_its_series_and_the_source_reports_it() {
    let tree = Copy::new();
    for (file, series) in [
        ("meminfo", "headroom_host_memory_total_bytes"),
        ("vmstat", "headroom_host_reclaimed_bytes_total"),
        ("stat", "headroom_host_cpu_seconds_total"),
        ("loadavg", "headroom_host_load"),
        ("pressure/memory", "headroom_host_pressure_stalled_seconds_total{resource=\"memory\"}"),
    ] {
        let (mut host, mut engine) = (host(&tree.0), Engine::new());
        let path = tree.0.join("proc").join(file);
        let good = fs::read(&path).unwrap();
        let up = "headroom_source_up{source=\"host\"} 1";
        let before = fold(&mut engine, read(&mut host));
        assert!(before.contains(series) && before.contains(up), "{before}");
        for bad in ["", "\n\n", "\u{0}\u{1}garbage 7x: \n: : :", "MemTota: 1 kB\ncpu\nsome avg10=1\n"] {
            fs::write(&path, bad).unwrap();
            // Some are read at every fifth tick only.
            let rounds: Vec<_> = (0..5).map(|_| read(&mut host)).collect();
            let failed = |readings: &&Vec<Reading>| {
                readings.iter().any(|it| matches!(it, Reading::Source(source) if source.error.is_some()))
            };
            let readings = rounds.iter().find(failed).cloned().unwrap_or_default();
            let reasons: Vec<_> = readings
                .iter()
                .filter_map(|reading| match reading {
                    Reading::Source(source) => source.error.clone(),
                    _ => None,
                })
                .collect();
            assert!(
                reasons.iter().any(|why| why.contains(file) && why.contains("contains no known values")),
                "{file}: {reasons:?}"
            );
            let text = fold(&mut engine, readings);
            assert!(!text.contains(series) && !text.contains(up), "{file}: {text}");
        }
        fs::write(&path, &good).unwrap();
        (0..4).for_each(|_| drop(fold(&mut engine, read(&mut host))));
        let after = fold(&mut engine, read(&mut host));
        assert_eq!(after, before);
    }
}

#[test]
fn a_removed_disk_takes_its_series_with_it() {
    let tree = Copy::new();
    let (mut host, mut engine) = (host(&tree.0), Engine::new());
    let series = "headroom_host_disk_ios_total{device=\"vda\"";
    assert!(fold(&mut engine, read(&mut host)).contains(series));
    fs::write(tree.0.join("proc/diskstats"), "").unwrap();
    let text = fold(&mut engine, read(&mut host));
    // A host without disks is healthy.
    assert!(!text.contains("headroom_host_disk") && text.contains("headroom_source_up{source=\"host\"} 1"), "{text}");
}

#[test]
fn an_empty_host_gives_no_readings() {
    let tree = Copy::new();
    fs::remove_dir_all(tree.0.join("proc")).unwrap();
    let text = fold(&mut Engine::new(), read(&mut host(&tree.0)));
    let down = "headroom_source_up{source=\"filesystem\"} 0\nheadroom_source_up{source=\"host\"} 0\n";
    assert_eq!(text, down);
}

#[test]
fn a_tick_allocates_nothing() {
    for name in ["5.10", "6.18"] {
        let (mut host, mut engine) = (host(&folder().join(name)), Engine::new());
        // The first rounds open all files, and allocate for the answers of file systems.
        for _ in 0..10 {
            fold(&mut engine, read(&mut host));
        }
        let mut filesystems = 0;
        let before = allocation::count();
        while filesystems < 100 {
            host.read(&mut |reading| {
                filesystems += usize::from(matches!(reading, Reading::Filesystem(_)));
                drop(engine.apply(&Sample { time: 1, reading }));
            });
        }
        assert_eq!(allocation::count() - before, 0, "{name}");
    }
}

//! The host as a source: memory, CPU, pressure, disks. The kernel's files stay open. Each file here parses one of the
//! kernel's; none knows how the numbers are used.

mod arc;
mod cpu;
pub mod disk;
mod huge;
mod reclaim;
mod setting;
pub mod trigger;
mod zram;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result, anyhow};
use collector_core::pattern::Patterns;
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::host::{Statistic, Values};

use super::kept::KeptFile;
use super::root::Root;
use super::text::number;
use super::{Finding, Health, Source, meminfo, pressure};
use crate::clock;
use crate::config::Config;
use disk::Disks;
use huge::HugePages;
use setting::Settings;

/// Parses the content of a file.
pub type Parse = fn(&[u8], &Units, &mut Values);

/// Files with numbers of the whole host: name, whether it must exist, parser. Pressure comes first: it says whether others rest.
pub const FILES: [(&str, bool, Parse); 10] = [
    // Host-wide, `full` is undefined for CPU: the kernel always writes zero.
    ("pressure/cpu", false, |text, _, values| pressure_totals(text, values, [Some(Statistic::CpuPressureSome), None])),
    ("pressure/memory", false, |text, _, values| {
        pressure_totals(text, values, [Some(Statistic::MemoryPressureSome), Some(Statistic::MemoryPressureFull)]);
    }),
    ("pressure/io", false, |text, _, values| {
        pressure_totals(text, values, [Some(Statistic::IoPressureSome), Some(Statistic::IoPressureFull)]);
    }),
    ("pressure/irq", false, |text, _, values| pressure_totals(text, values, [None, Some(Statistic::IrqPressureFull)])),
    ("meminfo", true, |text, _, values| meminfo::parse(text, values)),
    (VMSTAT, true, |text, units, values| reclaim::parse(text, units.page, values)),
    ("stat", true, |text, units, values| cpu::parse(text, units.tick_ns, values)),
    ("loadavg", true, |text, _, values| cpu::parse_load(text, values)),
    ("sys/vm/swappiness", false, |text, _, values| values.put(Statistic::Swappiness, number(text.trim_ascii()))),
    ("spl/kstat/zfs/arcstats", false, |text, _, values| arc::parse(text, values)),
];

/// The kernel computes the load once in five seconds (LOAD_FREQ, include/linux/sched/loadavg.h), and swappiness is a setting. What
/// the others say decides something at each tick, or is a counter whose rate would jump.
const SLOW: [&str; 2] = ["loadavg", "sys/vm/swappiness"];
/// While nobody waits for memory or IO, nothing is reclaimed, swapped or killed, and no page fault needs IO: the kernel counts all of
/// these as waits (`psi_memstall_enter`, also in kswapd, and `io_schedule`). What is left in it are page faults that memory serves.
const VMSTAT: &str = "vmstat";
/// What rests, and files that this host does not have, are read once in this many ticks.
const INTERVAL: u64 = 5;

/// One of [`FILES`], and what it said when it was read last.
struct Input {
    file: KeptFile,
    required: bool,
    parse: Parse,
    slow: bool,
    /// It rests while nobody waits.
    calm: bool,
    /// It has not to be read at every tick.
    rests: bool,
    held: Values,
}

impl Input {
    fn new((name, required, parse): (&str, bool, Parse), proc: &Path) -> Input {
        let file = KeptFile::at_once(proc.join(name));
        Input {
            file,
            required,
            parse,
            slow: SLOW.contains(&name),
            calm: name == VMSTAT,
            rests: false,
            held: Values::new(),
        }
    }

    /// Adds its numbers, read now unless it rests and this is not its `turn`.
    fn read(
        &mut self,
        turn: bool,
        buffer: &mut Vec<u8>,
        units: &Units,
        values: &mut Values,
        waits: &Waits,
    ) -> Result<()> {
        let mut result = Ok(());
        if turn || !self.rests || self.calm && waits.moved(values) {
            let before = std::mem::replace(&mut self.held, Values::new());
            let read = self.file.read(buffer).map(|text| text.map(|text| (self.parse)(text, units, &mut self.held)));
            let absent = matches!(read, Ok(None));
            result = outcome(read.map(|_| !self.held.is_empty() || (absent && !self.required)), self.file.path());
            // Some of it moves without a wait, as when a limit is lowered: what moved is read on, so that its rate is true.
            let still = |(it, now)| it == Statistic::PageFaults || before.get(it) == Some(now);
            let still = self.calm && self.held.iter().all(still);
            self.rests = result.is_ok() && (self.slow || still || absent);
        }
        self.held.iter().for_each(|(statistic, value)| values.set(statistic, value));
        result
    }
}

/// For how long tasks had waited at the last tick, for memory and for IO. Not known, where the kernel does not count it.
#[derive(Default)]
struct Waits([Option<u64>; 2]);

impl Waits {
    fn of(values: &Values) -> Waits {
        Waits([Statistic::MemoryPressureSome, Statistic::IoPressureSome].map(|statistic| values.get(statistic)))
    }

    /// Whether somebody waited since then, or nobody knows.
    fn moved(&self, now: &Values) -> bool {
        let known = self.0.iter().all(Option::is_some);
        !known || self.0 != Waits::of(now).0
    }
}

/// How many requests of disks programs saw complete; none while they do not see them.
pub type Completed = Arc<AtomicU64>;

fn pressure_totals(text: &[u8], values: &mut Values, statistics: [Option<Statistic>; 2]) {
    for (statistic, total) in statistics.into_iter().zip(pressure::parse(text)) {
        if let Some(statistic) = statistic {
            values.put(statistic, total);
        }
    }
}

pub struct Units {
    /// Bytes per page.
    pub page: u64,
    /// Nanoseconds per clock tick.
    pub tick_ns: u64,
}

pub struct Host {
    files: [Input; FILES.len()],
    tick: u64,
    units: Units,
    huge: HugePages,
    settings: Settings,
    diskstats: KeptFile,
    disks: Disks,
    /// None: not counted.
    completed: Option<Completed>,
    /// That count when the disks were read last.
    seen: u64,
    waits: Waits,
    buffer: Vec<u8>,
}

impl Host {
    pub fn new(root: &Root, config: &Config) -> Host {
        let units = Units {
            page: rustix::param::page_size() as u64,
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
        };
        let proc = root.at("/proc");
        Host {
            files: FILES.map(|row| Input::new(row, &proc)),
            tick: 0,
            units,
            huge: HugePages::new(&root.at("/sys")),
            settings: Settings::new(&proc, &root.at("/sys")),
            // A disk comes with all its partitions at once, which may be long: a short read is not the end.
            diskstats: KeptFile::new(proc.join("diskstats")),
            disks: Disks::new(&root.at("/sys"), Patterns::new(&config.disk.exclude)),
            completed: None,
            seen: 0,
            waits: Waits::default(),
            buffer: Vec::new(),
        }
    }

    /// Reads disks only if requests completed, or tasks waited for IO.
    pub fn counting(mut self, completed: Option<Completed>) -> Host {
        self.completed = completed;
        self
    }

    /// Whether disks have the numbers of the last tick.
    fn are_still(&mut self, waited: bool) -> bool {
        let Some(completed) = &self.completed else { return false };
        let now = completed.load(Relaxed);
        let before = std::mem::replace(&mut self.seen, now);
        now == before && !waited && self.disks.rest()
    }

    fn read_disks(&mut self, time: u64, emit: &mut dyn FnMut(Sample)) -> Result<()> {
        let read = self.diskstats.read(&mut self.buffer);
        let text = read.as_ref().ok().copied().flatten().unwrap_or_default();
        self.disks.read(text, &mut |disk| emit(Sample { time, reading: Reading::Disk(disk) }));
        outcome(read.map(|_| true), self.diskstats.path())
    }
}

impl Source for Host {
    /// Values that cannot be read are absent from the host's numbers.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let mut values = Values::new();
        let mut result = Ok(());
        let turn = self.tick.is_multiple_of(INTERVAL);
        self.tick = self.tick.wrapping_add(1);
        for input in &mut self.files {
            result = result.and(input.read(turn, &mut self.buffer, &self.units, &mut values, &self.waits));
        }
        let waited = self.waits.moved(&values);
        self.waits = Waits::of(&values);
        result = result.and(self.huge.read(&mut self.buffer, &mut values).context("read the pools of huge pages"));
        result = result.and(self.settings.read(&mut self.buffer, &mut values));
        match self.are_still(waited) && !turn {
            true => self.disks.repeat(&mut |disk| emit(Sample { time, reading: Reading::Disk(disk) })),
            false => result = result.and(self.read_disks(time, emit)),
        }
        for zram in self.disks.zrams() {
            result = result.and(zram.read(&mut self.buffer, &mut values).context("read a zram device"));
        }
        emit(Sample { time, reading: Reading::Host(values) });
        Health::Read(result)
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        vec![trigger::examine(&config.pressure, root)]
    }
}

/// A file without any known values counts as unreadable.
fn outcome(read: std::io::Result<bool>, path: &Path) -> Result<()> {
    match read {
        Ok(true) => Ok(()),
        Ok(false) => Err(anyhow!("{} contains no known values", path.display())),
        Err(error) => Err(anyhow!(error).context(format!("read {}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::statistic::disk::Statistic as Disk;
    use proptest::prelude::*;

    #[test]
    fn files_that_seldom_change_are_read_at_their_turn() {
        let tree = crate::source::test::Tree::new();
        let write = |name: &str, text: &str| tree.write(&format!("proc/{name}"), text);
        ["meminfo", "vmstat", "stat"].iter().for_each(|name| write(name, ""));
        let mut host = Host::new(&Root::new(&tree.0), &Config::default());
        let mut read = |second: u64| {
            write("meminfo", &format!("MemTotal: {second} kB\n"));
            write("loadavg", &format!("{second}.00 0.00 0.00 1/2 3\n"));
            write("pressure/irq", &format!("full avg10=0.00 avg60=0.00 avg300=0.00 total={second}\n"));
            let mut values = Values::new();
            host.read(&mut |sample| {
                if let Reading::Host(numbers) = sample.reading {
                    values = numbers;
                }
            });
            let get = |statistic| values.get(statistic);
            [Statistic::MemoryTotal, Statistic::Load1, Statistic::IrqPressureFull].map(get)
        };
        for second in 0..12 {
            let turn = second - second % INTERVAL;
            assert_eq!(read(second), [Some(second * 1024), Some(turn * 100), Some(second * 1000)], "{second}");
        }
    }

    #[test]
    fn what_nobody_waits_for_is_read_at_its_turn() {
        let tree = crate::source::test::Tree::new();
        let write = |name: &str, text: &str| tree.write(&format!("proc/{name}"), text);
        ["meminfo", "stat"].iter().for_each(|name| write(name, ""));
        std::fs::create_dir_all(tree.0.join("sys/block/vda/mq")).unwrap();
        let completed = Completed::default();
        let mut host = Host::new(&Root::new(&tree.0), &Config::default()).counting(Some(completed.clone()));
        // The waits of tasks in microseconds, whether they are counted, and how many requests completed.
        let mut read = |second: u64, [memory, io]: [u64; 2], requests: u64, in_flight: u64| {
            write("vmstat", &format!("pgpgin 1\npgfault {second}\n"));
            write("diskstats", &format!("254 0 vda {second} 0 0 0 0 0 0 0 {in_flight} 0 0\n"));
            for (name, total) in [("memory", memory), ("io", io)] {
                write(&format!("pressure/{name}"), &format!("some avg10=0.00 total={total}\n"));
            }
            completed.fetch_add(requests, Relaxed);
            let (mut faults, mut reads) = (None, None);
            host.read(&mut |sample| match sample.reading {
                Reading::Host(numbers) => faults = numbers.get(Statistic::PageFaults),
                Reading::Disk(disk) => reads = disk.values.and_then(|it| it.get(Disk::Reads)),
                _ => {}
            });
            [faults, reads].map(Option::unwrap)
        };
        assert_eq!(read(0, [7, 7], 0, 0), [0, 0]);
        assert_eq!(read(1, [7, 7], 0, 0), [0, 0], "nothing happens");
        assert_eq!(read(2, [7, 7], 3, 0), [0, 2], "requests complete");
        assert_eq!(read(3, [9, 7], 0, 0), [3, 3], "a task waited for memory");
        assert_eq!(read(4, [9, 8], 0, 2), [4, 4], "and for IO");
        assert_eq!(read(5, [9, 8], 0, 0), [5, 5], "its turn");
        assert_eq!(read(6, [9, 8], 1, 1), [5, 6]);
        assert_eq!(read(7, [9, 8], 0, 0), [5, 7], "one was in flight");
        assert_eq!(read(8, [9, 8], 0, 0), [5, 7]);
    }

    const KEYS: [&str; 14] = [
        "MemTotal:",
        "HugePages_Total:",
        "Hugepagesize:",
        "pgsteal_anon",
        "pgsteal_file",
        "pgsteal_kswapd",
        "allocstall_dma",
        "cpu",
        "cpu0",
        "btime",
        "ctxt",
        "some",
        "full",
        "9.99",
    ];

    proptest! {
        #[test]
        fn any_content_is_accepted(bytes: Vec<u8>, lines in prop::collection::vec((0..KEYS.len(), "( -?[0-9]{1,21}| kB| total=[0-9]{1,21}){0,12}"), 0..20)) {
            let text: String = lines.iter().map(|(key, rest)| format!("{}{rest}\n", KEYS[*key])).collect();
            for (_, _, parse) in FILES {
                for text in [&bytes[..], text.as_bytes()] {
                    parse(text, &Units { page: 4096, tick_ns: 10_000_000 }, &mut Values::new());
                }
            }
        }
    }
}

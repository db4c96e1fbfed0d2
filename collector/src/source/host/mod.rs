//! The host as a source: memory, CPU, pressure, disks. The kernel's files stay open. Each file here parses one of the
//! kernel's; none knows how the numbers are used.

mod arc;
mod cpu;
pub mod disk;
mod huge;
mod reclaim;
pub mod trigger;
mod zram;

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::host::{Statistic, Values};

use super::kept::KeptFile;
use super::pattern::Patterns;
use super::root::Root;
use super::text::number;
use super::{Finding, Health, Source, meminfo, pressure};
use crate::clock;
use crate::config::Config;
use disk::Disks;
use huge::HugePages;

/// Parses the content of a file.
pub type Parse = fn(&[u8], &Units, &mut Values);

/// Files with numbers of the whole host: name, whether it must exist, parser.
pub const FILES: [(&str, bool, Parse); 10] = [
    ("meminfo", true, |text, _, values| meminfo::parse(text, values)),
    ("vmstat", true, |text, units, values| reclaim::parse(text, units.page, values)),
    ("stat", true, |text, units, values| cpu::parse(text, units.tick_ns, values)),
    ("loadavg", true, |text, _, values| cpu::parse_load(text, values)),
    // Host-wide, `full` is undefined for CPU: the kernel always writes zero.
    ("pressure/cpu", false, |text, _, values| pressure_totals(text, values, [Some(Statistic::CpuPressureSome), None])),
    ("pressure/memory", false, |text, _, values| {
        pressure_totals(text, values, [Some(Statistic::MemoryPressureSome), Some(Statistic::MemoryPressureFull)]);
    }),
    ("pressure/io", false, |text, _, values| {
        pressure_totals(text, values, [Some(Statistic::IoPressureSome), Some(Statistic::IoPressureFull)]);
    }),
    ("pressure/irq", false, |text, _, values| pressure_totals(text, values, [None, Some(Statistic::IrqPressureFull)])),
    ("sys/vm/swappiness", false, |text, _, values| values.put(Statistic::Swappiness, number(text.trim_ascii()))),
    ("spl/kstat/zfs/arcstats", false, |text, _, values| arc::parse(text, values)),
];

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
    files: [(KeptFile, bool, Parse); FILES.len()],
    units: Units,
    huge: HugePages,
    diskstats: KeptFile,
    disks: Disks,
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
            files: FILES.map(|(name, required, parse)| (KeptFile::new(proc.join(name)), required, parse)),
            units,
            huge: HugePages::new(&root.at("/sys")),
            diskstats: KeptFile::new(proc.join("diskstats")),
            disks: Disks::new(&root.at("/sys"), Patterns::new(&config.disk.exclude)),
            buffer: Vec::new(),
        }
    }
}

impl Source for Host {
    /// Values that cannot be read are absent from the host's numbers.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let mut emit_reading = |reading| emit(Sample { time, reading });
        let mut values = Values::new();
        let mut result = Ok(());
        for (file, required, parse) in &mut self.files {
            let read = file.read(&mut self.buffer).map(|text| match text {
                Some(text) => {
                    let before = values.clone();
                    parse(text, &self.units, &mut values);
                    values != before
                }
                None => !*required,
            });
            result = result.and(outcome(read, file.path()));
        }
        result = result.and(self.huge.read(&mut self.buffer, &mut values).context("read the pools of huge pages"));
        let read = self.diskstats.read(&mut self.buffer);
        let text = read.as_ref().ok().copied().flatten().unwrap_or_default();
        self.disks.read(text, &mut |disk| emit_reading(Reading::Disk(disk)));
        result = result.and(outcome(read.map(|_| true), self.diskstats.path()));
        for zram in self.disks.zrams() {
            result = result.and(zram.read(&mut self.buffer, &mut values).context("read a zram device"));
        }
        emit_reading(Reading::Host(values));
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
    use proptest::prelude::*;

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

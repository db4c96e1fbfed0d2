//! The catalogue of metrics: what can be observed, declared once. A row gives the exposition and the documentation; rows
//! only read the view, and know neither where a number came from nor who asks for it.

pub mod alert;
pub mod block;
pub mod coverage;
pub mod document;
pub mod fault;
pub mod gpu;
pub mod host;
pub mod host_cpu;
pub mod host_disk;
pub mod host_filesystem;
pub mod host_memory;
pub mod host_reclaim;
mod host_statistic;
pub mod memory;
pub mod oom;
pub mod process;
pub mod render;
pub mod sink;
pub mod statistic;
pub mod transfer;
pub mod usage;
pub mod workload;

use std::fmt;

use crate::view::View;

pub use document::document;
pub use render::{Emit, Exposition, Part, render, visit};

/// The order in which families are rendered. What the series cap may cut comes before what tells of the cut.
pub const METRICS: &[Metric] = &[
    host_memory::TOTAL,
    host_memory::AVAILABLE,
    host_memory::FREE,
    host_memory::CACHED,
    host_memory::BUFFERS,
    host_memory::ANON,
    host_memory::MAPPED,
    host_memory::SHMEM,
    host_memory::DIRTY,
    host_memory::WRITEBACK,
    host_memory::SLAB,
    host_memory::SLAB_RECLAIMABLE,
    host_memory::PAGE_TABLES,
    host_memory::UNEVICTABLE,
    host_memory::COMMITTED,
    host_memory::COMMIT_LIMIT,
    host_memory::ANON_HUGE_PAGES,
    host_memory::HUGE_PAGES,
    host_memory::HUGE_PAGES_FREE,
    host_memory::HUGE_PAGES_RESERVED,
    host_memory::USED_RATIO,
    host_memory::AVAILABLE_RATIO,
    host_memory::SWAP_TOTAL,
    host_memory::SWAP_FREE,
    host_memory::SWAP_CACHED,
    host_memory::SWAP_USED_RATIO,
    host_memory::ZRAM_ORIGINAL,
    host_memory::ZRAM_COMPRESSED,
    host_memory::ZRAM_USED,
    host_memory::ZSWAP_ORIGINAL,
    host_memory::ZSWAP_COMPRESSED,
    host_reclaim::RECLAIMED_BYTES,
    host_reclaim::SCANNED_BYTES,
    host_reclaim::ALLOCATION_STALLS,
    host_reclaim::REFAULTS,
    host_reclaim::SWAP_IN,
    host_reclaim::SWAP_OUT,
    host_reclaim::PAGE_FAULTS,
    host_reclaim::MAJOR_PAGE_FAULTS,
    host_reclaim::OOM_KILLS,
    host_cpu::PRESSURE_WAITING,
    host_cpu::PRESSURE_STALLED,
    host_cpu::PRESSURE_EVENTS,
    host_cpu::SECONDS,
    host_cpu::AVERAGE_BUSY,
    host_cpu::CPUS,
    host_cpu::LOAD,
    host_cpu::TASKS,
    host_cpu::CONTEXT_SWITCHES,
    host_cpu::FORKS,
    host_cpu::BOOT_TIME,
    host::RECLAIM_STALL_SECONDS,
    host::COMPACTION_STALL_SECONDS,
    host::KSWAPD_AWAKE_SECONDS,
    host::KSWAPD_WAKES,
    fault::MAJOR_FAULT_SECONDS,
    host_disk::IOS,
    host_disk::MERGED,
    host_disk::BYTES,
    host_disk::IO_SECONDS,
    host_disk::BUSY_SECONDS,
    host_disk::WAITING_SECONDS,
    host_disk::IN_FLIGHT,
    host_filesystem::SIZE,
    host_filesystem::FREE,
    host_filesystem::AVAILABLE,
    host_filesystem::INODES,
    host_filesystem::INODES_FREE,
    host_filesystem::USED_RATIO,
    host_filesystem::READ_ONLY,
    host_filesystem::UP,
    gpu::INFO,
    gpu::MEMORY,
    gpu::MEMORY_USED,
    gpu::UTILIZATION,
    gpu::MEMORY_UTILIZATION,
    gpu::TEMPERATURE,
    gpu::POWER,
    gpu::POWER_LIMIT,
    gpu::ENERGY,
    gpu::CLOCK,
    gpu::THROTTLE,
    gpu::ECC_ERRORS,
    gpu::REMAPPED_ROWS,
    gpu::REMAP_PENDING,
    gpu::REMAP_FAILED,
    gpu::XID_ERRORS,
    gpu::MIG,
    gpu::PCIE_BYTES,
    gpu::PCIE_LINK,
    gpu::PCIE_LINK_USED,
    gpu::PCIE_BUSY_LINK,
    gpu::PCIE_GENERATION,
    gpu::PCIE_WIDTH,
    gpu::PCIE_REPLAYS,
    gpu::WORKLOAD_MEMORY,
    block::SERVICE_SECONDS,
    block::QUEUE_SECONDS,
    block::BYTES,
    block::ERRORS,
    block::SLOW,
    oom::KILLS,
    oom::LIMIT_KILLS,
    workload::INFO,
    memory::CURRENT,
    memory::WORKING_SET,
    memory::ANON,
    memory::FILE,
    memory::SHMEM,
    memory::KERNEL,
    memory::SWAP,
    memory::PEAK,
    memory::LIMIT,
    memory::HIGH,
    memory::SWAP_LIMIT,
    memory::LIMIT_USED_RATIO,
    memory::LIMIT_WORKING_SET_RATIO,
    memory::EVENTS,
    memory::UNDER_OOM,
    usage::PRESSURE_WAITING_SECONDS,
    usage::PRESSURE_STALLED_SECONDS,
    usage::CPU_SECONDS,
    usage::CPU_MODE_SECONDS,
    usage::CPU_THROTTLED_SECONDS,
    usage::CPU_PERIODS,
    usage::CPU_THROTTLED_PERIODS,
    usage::IO_BYTES,
    usage::IOS,
    workload::RECLAIM_STALL_SECONDS,
    workload::RECLAIM_STALLS,
    workload::RECLAIMED_BYTES,
    workload::RECLAIM_TARGET_BYTES,
    workload::COMPACTION_STALL_SECONDS,
    workload::COMPACTION_STALLS,
    fault::PAGE_FAULTS,
    fault::MAJOR_PAGE_FAULTS,
    block::WORKLOAD_IOS,
    block::WORKLOAD_BYTES,
    block::WORKLOAD_SERVICE_SECONDS,
    transfer::TRANSFERS,
    transfer::BYTES,
    transfer::SECONDS,
    transfer::PINNED_BYTES,
    transfer::DEVICE_BYTES,
    transfer::REFUSED,
    alert::ALERTS,
    alert::FIRED,
    coverage::BUILD_INFO,
    coverage::PROBE_STATE,
    coverage::SOURCE_UP,
    coverage::SOURCE_SECONDS,
    coverage::SAMPLES,
    coverage::CGROUP_EVENTS,
    sink::DELIVERED,
    sink::FAILURES,
    sink::QUEUED,
    coverage::BPF_RUNS,
    coverage::BPF_RUN_SECONDS,
    process::CPU_SECONDS,
    process::RESIDENT_BYTES,
    process::VIRTUAL_BYTES,
    process::OPEN_FDS,
    process::MAX_FDS,
    process::START_TIME,
    coverage::WORKLOADS,
    coverage::LOST,
    coverage::SERIES,
];

/// The labels that name a workload: the first of every metric that is a workload's. Their values are
/// [`Workload::labels`](crate::view::workload::Workload::labels).
pub const WORKLOAD: [&str; 4] = ["workload", "namespace", "pod", "container"];

/// Those, and then one more.
const fn workload_and(label: &'static str) -> [&'static str; 5] {
    let [workload, namespace, pod, container] = WORKLOAD;
    [workload, namespace, pod, container, label]
}

/// One family of metrics.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its name in full: of a counter with `_total`, of an info with `_info`, each with the unit before.
    pub name: &'static str,
    /// What sort of number it is.
    pub kind: Kind,
    /// `seconds` or `bytes`, as it stands in the name.
    pub unit: Option<Unit>,
    /// What it says, and from whose viewpoint.
    pub help: &'static str,
    /// The names of its labels, in the order in which `read` gives their values.
    pub labels: &'static [&'static str],
    /// What must be attached for it to be known; a part of its series for each. Without any of them there is no series.
    /// Empty if it does not come from a probe.
    pub needs: &'static [Need],
    /// Reads its series off the view, in an order that depends on the view alone.
    pub read: fn(&View, &mut Emit<'_, '_>) -> fmt::Result,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Alternatives, each a list of programs that must all be attached.
pub type Need = &'static [&'static [&'static str]];

/// What sort of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, by length.
    Histogram,
    /// Always 1; the labels are what it says.
    Info,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// As it stands in the name.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
        }
    }
}

/// How an exposition is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Text,
}

impl Format {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

impl Metric {
    /// Its name without what its kind and its unit add: what OpenMetrics calls the family, less the unit.
    pub fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let family = self.name.strip_suffix(suffix).unwrap_or(self.name);
        let unit = self.unit.and_then(|unit| family.strip_suffix(unit.name())?.strip_suffix('_'));
        unit.unwrap_or(family)
    }

    /// Whether the number of its series depends on what runs on the host, so that the cap holds for it.
    pub fn capped(&self) -> bool {
        self.labels.iter().any(|label| matches!(*label, "workload" | "device" | "gpu"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use collector_common::SIGNALS;

    use super::*;

    #[test]
    fn names_follow_the_rules() {
        let mut names = BTreeSet::new();
        for metric in METRICS {
            let name = metric.name;
            assert!(names.insert(metric.stem()), "{name} twice");
            assert!(name.starts_with("headroom_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            assert_eq!(name.ends_with("_info"), metric.kind == Kind::Info, "{name}");
            let family = name.trim_end_matches("_total");
            for unit in [Unit::Seconds, Unit::Bytes] {
                assert_eq!(family.ends_with(unit.name()), metric.unit == Some(unit), "{name}");
            }
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']), "{name}");
        }
    }

    #[test]
    fn needs_name_programs_that_exist() {
        let programs: Vec<&str> = SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program).collect();
        for metric in METRICS {
            for program in metric.needs.iter().flat_map(|need| need.iter().copied().flatten()) {
                assert!(programs.contains(program), "{} needs {program}", metric.name);
            }
        }
    }

    #[test]
    fn what_names_a_workload_comes_first() {
        for metric in METRICS.iter().filter(|metric| metric.labels.contains(&"workload")) {
            assert!(metric.labels.starts_with(&WORKLOAD), "{}", metric.name);
        }
    }

    #[test]
    fn what_tells_of_the_cut_comes_after_what_is_cut() {
        let last = METRICS.iter().rposition(Metric::capped).unwrap();
        let lost = METRICS.iter().position(|metric| metric.name == "headroom_lost_total").unwrap();
        assert!(last < lost);
        assert_eq!(METRICS.last().unwrap().name, "headroom_series", "it counts all before it");
    }
}

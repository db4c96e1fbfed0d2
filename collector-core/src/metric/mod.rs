//! The catalogue of metrics, each declared once. The exposition and the documentation are made from its rows; rows
//! only read the view, and know neither where a number came from nor who asks for it.

pub mod advice;
pub mod alert;
pub mod block;
mod bucket;
pub mod circuit;
pub mod coverage;
mod detail;
pub mod document;
pub mod fault;
pub mod gpu;
pub mod history;
pub mod host;
pub mod host_cpu;
pub mod host_disk;
pub mod host_filesystem;
pub mod host_memory;
pub mod host_reclaim;
mod host_statistic;
pub mod isolation;
pub mod leak;
pub mod lease;
pub mod level;
pub mod memory;
pub mod model;
pub mod model_file;
pub mod model_latency;
pub mod model_number;
mod model_standing;
pub mod network;
mod node;
mod number;
pub mod oom;
pub mod process;
pub mod row;
mod scaling;
pub mod sink;
pub mod starved;
pub mod tmpfs;
pub mod transfer;
pub mod usage;
pub mod visit;
pub mod workload;

use row::Metric;

/// In the order in which families are rendered: what the cap on series may cut comes before the metric that counts the cut.
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
    host_memory::PINNED,
    host_memory::COMMITTED,
    host_memory::COMMIT_LIMIT,
    host_memory::ANON_HUGE_PAGES,
    host_memory::ARC,
    host_memory::ARC_RECLAIMABLE,
    host_memory::HUGE_PAGES,
    host_memory::HUGE_PAGES_FREE,
    host_memory::HUGE_PAGES_RESERVED,
    host_memory::USED_RATIO,
    host_memory::AVAILABLE_RATIO,
    host_memory::SHORTAGE_RATIO,
    host_memory::SHORT_WAIT_SECONDS,
    host_memory::SWAP_TOTAL,
    host_memory::SWAP_FREE,
    host_memory::SWAPPINESS,
    host_memory::SWAP_CACHED,
    host_memory::SWAP_USED_RATIO,
    host_memory::ZRAM_ORIGINAL,
    host_memory::ZRAM_COMPRESSED,
    host_memory::ZRAM_USED,
    host_memory::ZRAM_SIZE,
    host_memory::ZRAM_MOST,
    host_memory::WATERMARK_SCALE_FACTOR,
    host_memory::HUGE_PAGES_ENABLED,
    host_memory::HUGE_PAGES_DEFRAG,
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
    host_cpu::PRESSURE_TRIGGER_ARMED,
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
    network::RECEIVE_BYTES,
    network::TRANSMIT_BYTES,
    network::PACKETS,
    network::ERRORS,
    network::DROPS,
    network::SPEED,
    network::SPEED_RATIO,
    network::UP,
    network::USED_RATIO,
    leak::PACE,
    leak::EXHAUSTION,
    leak::EARLIEST,
    advice::ADVICE,
    advice::FOLLOWED,
    advice::LACKING,
    isolation::STATE,
    level::LEVEL,
    level::GPU_LEVEL,
    level::USED_RATIO,
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
    gpu::PCIE_METHOD,
    gpu::PCIE_LINK,
    gpu::PCIE_LINK_USED,
    gpu::PCIE_BUSY_LINK,
    gpu::PCIE_GENERATION,
    gpu::PCIE_WIDTH,
    gpu::PCIE_REPLAYS,
    gpu::WORKLOAD_MEMORY,
    node::GPU_NODE,
    node::WORKLOAD_MEMORY,
    starved::USUAL,
    starved::STATE,
    block::SERVICE_SECONDS,
    block::QUEUE_SECONDS,
    block::BYTES,
    block::ERRORS,
    block::UNTIMED,
    block::SLOW,
    oom::KILLS,
    oom::LIMIT_KILLS,
    workload::INFO,
    memory::CURRENT,
    memory::WORKING_SET,
    memory::WITHOUT_CACHE,
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
    memory::LIMIT_UNRECLAIMABLE_RATIO,
    memory::LIMIT_CACHE_RATIO,
    memory::EVENTS,
    tmpfs::SIZE,
    tmpfs::FREE,
    tmpfs::USED_RATIO,
    tmpfs::MOST_USED_RATIO,
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
    workload::DIRTY_WAIT_SECONDS,
    workload::DIRTY_WAITS,
    fault::PAGE_FAULTS,
    fault::MAJOR_PAGE_FAULTS,
    block::WORKLOAD_IOS,
    block::WORKLOAD_BYTES,
    block::WORKLOAD_SERVICE_SECONDS,
    network::WORKLOAD_INFO,
    network::WORKLOAD_RECEIVE_BYTES,
    network::WORKLOAD_TRANSMIT_BYTES,
    network::WORKLOAD_PACKETS,
    network::WORKLOAD_DROPS,
    model_file::BYTES,
    model_file::CACHED,
    model_file::EVICTED,
    model_file::READ_AGAIN,
    model_file::FAULTS,
    model_file::STORE_BYTES,
    model_file::STORE_FILES,
    model_file::STORE_DUPLICATES,
    model_file::STORE_UNREFERENCED,
    model_file::STORE_UNUSED,
    transfer::TRANSFERS,
    transfer::BYTES,
    transfer::SECONDS,
    transfer::PINNED_BYTES,
    transfer::DEVICE_BYTES,
    transfer::REFUSED,
    model::INFO,
    model::UP,
    model::STATE,
    model::ANSWER_SECONDS,
    model::ANSWER_AGE,
    model_number::REQUESTS_RUNNING,
    model_number::REQUESTS_WAITING,
    model_number::SLOTS,
    model_number::REQUESTS,
    model_number::REQUESTS_REJECTED,
    model_number::REQUESTS_FAILED,
    model_number::KV_USED,
    model_number::KV_SIZE,
    model_number::KV_USED_BYTES,
    model_number::KV_TOKENS,
    model::KV_SHORT,
    model_number::PREEMPTIONS,
    model_number::RETRACTED_TOKENS,
    model_number::TOKENS,
    model_number::TOKEN_TIME,
    model_number::DECODE_STEPS,
    model::STUCK,
    model_number::PREFIX_LOOKUPS,
    model_number::PREFIX_HITS,
    model_number::OFFLOAD,
    model_number::OFFLOAD_HITS,
    model_number::OFFLOAD_EFFICIENCY,
    model_number::OFFLOAD_LIMIT,
    model_number::OFFLOAD_OVER,
    model_number::HOST_MEMORY,
    model_number::SAID_MEMORY,
    model_number::ASLEEP,
    model_latency::SECONDS,
    model_latency::QUANTILE_SECONDS,
    model_standing::BASELINE,
    model_standing::STATE,
    scaling::LOAD,
    scaling::INSTANCES,
    scaling::DESIRED,
    alert::ALERTS,
    alert::FIRED,
    coverage::BUILD_INFO,
    coverage::PROBE_STATE,
    coverage::SOURCE_UP,
    coverage::SOURCE_SECONDS,
    coverage::SAMPLES,
    coverage::CGROUP_EVENTS,
    coverage::LISTENER_UP,
    coverage::HTTP_DENIED,
    sink::DELIVERED,
    sink::FAILURES,
    sink::QUEUED,
    circuit::STATE,
    lease::BYTES,
    lease::ORPHANS,
    lease::EVICTIONS,
    lease::SCHEDULED,
    lease::VERDICTS,
    coverage::BPF_RUNS,
    coverage::BPF_RUN_SECONDS,
    history::WORKLOADS,
    history::MEMORY_BYTES,
    history::PAST,
    history::PAST_WORKLOADS,
    process::CPU_SECONDS,
    process::RESIDENT_BYTES,
    process::VIRTUAL_BYTES,
    process::OPEN_FDS,
    process::MAX_FDS,
    process::START_TIME,
    process::MAP_MEMORY_BYTES,
    coverage::WORKLOADS,
    coverage::LOST,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use collector_common::SIGNALS;

    use super::row::{Kind, Unit, WORKLOAD};
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
    fn the_labels_of_a_workload_come_first() {
        for metric in METRICS.iter().filter(|metric| metric.labels.contains(&"workload")) {
            assert!(metric.labels.starts_with(&WORKLOAD), "{}", metric.name);
        }
    }

    #[test]
    fn the_count_of_cut_series_comes_after_the_series() {
        let last = METRICS.iter().rposition(Metric::capped).unwrap();
        let lost = METRICS.iter().position(|metric| metric.name == "headroom_lost_total").unwrap();
        assert!(last < lost);
    }
}

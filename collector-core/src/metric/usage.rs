//! What workloads use and wait for besides memory: CPUs and block devices, as the kernel's files tell.

use super::row::Unit;
use super::statistic::rows;

const SECONDS: Option<Unit> = Some(Unit::Seconds);

rows! {
    /// CPU time.
    CPU_SECONDS = Counter "headroom_workload_cpu_seconds_total", SECONDS,
        "CPU time that the workload used.", CpuUsage;
    /// Throttled.
    CPU_THROTTLED_SECONDS = Counter "headroom_workload_cpu_throttled_seconds_total", SECONDS,
        "Time for which the workload was kept off the CPUs because its quota was used up.", CpuThrottled;
    /// Periods.
    CPU_PERIODS = Counter "headroom_workload_cpu_periods_total", None,
        "Periods of its CPU quota in which the workload ran.", CpuPeriods;
    /// Of these, throttled.
    CPU_THROTTLED_PERIODS = Counter "headroom_workload_cpu_throttled_periods_total", None,
        "Periods of its CPU quota in which the workload was throttled.", CpuThrottledPeriods;
}

rows! {
    /// By mode.
    CPU_MODE_SECONDS = Counter "headroom_workload_cpu_mode_seconds_total", SECONDS,
        "CPU time that the workload used in user space and in the kernel.",
        "mode" { "user": CpuUser, "system": CpuSystem };
    /// PSI some.
    PRESSURE_WAITING_SECONDS = Counter "headroom_workload_pressure_waiting_seconds_total", SECONDS,
        "Time in which at least one task of the workload waited for the resource (PSI some).",
        "resource" { "memory": MemoryPressureSome, "cpu": CpuPressureSome, "io": IoPressureSome };
    /// PSI full.
    PRESSURE_STALLED_SECONDS = Counter "headroom_workload_pressure_stalled_seconds_total", SECONDS,
        "Time in which all tasks of the workload waited for the resource at once (PSI full).",
        "resource" { "memory": MemoryPressureFull, "cpu": CpuPressureFull, "io": IoPressureFull };
    /// Bytes.
    IO_BYTES = Counter "headroom_workload_io_bytes_total", Some(Unit::Bytes),
        "Bytes of block IO that the kernel charged to the workload, summed over devices; where devices are stacked, each counts.",
        "operation" { "read": IoReadBytes, "write": IoWriteBytes, "discard": IoDiscardBytes };
    /// IOs.
    IOS = Counter "headroom_workload_ios_total", None,
        "Block IOs that the kernel charged to the workload, summed over devices; where devices are stacked, each counts.",
        "operation" { "read": IoReads, "write": IoWrites, "discard": IoDiscards };
}

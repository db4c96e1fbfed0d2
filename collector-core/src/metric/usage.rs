//! What workloads use and wait for besides memory: CPUs and block devices, as the kernel's files tell.

use super::number::rows;

rows! {
    /// CPU time.
    CPU_SECONDS = "headroom_workload_cpu_seconds_total",
        "CPU time that the workload used.", Cpu;
    /// Throttled.
    CPU_THROTTLED_SECONDS = "headroom_workload_cpu_throttled_seconds_total",
        "Time for which the workload was kept off the CPUs because its quota was used up.", Throttled;
    /// Periods.
    CPU_PERIODS = "headroom_workload_cpu_periods_total",
        "Periods of its CPU quota in which the workload ran.", Periods;
    /// Of these, throttled.
    CPU_THROTTLED_PERIODS = "headroom_workload_cpu_throttled_periods_total",
        "Periods of its CPU quota in which the workload was throttled.", ThrottledPeriods;
}

rows! {
    /// By mode.
    CPU_MODE_SECONDS = "headroom_workload_cpu_mode_seconds_total",
        "CPU time that the workload used in user space and in the kernel.",
        "mode" { "user": CpuInUser, "system": CpuInKernel };
    /// PSI some.
    PRESSURE_WAITING_SECONDS = "headroom_workload_pressure_waiting_seconds_total",
        "Time in which at least one task of the workload waited for the resource (PSI some).",
        "resource" { "memory": MemoryWaiting, "cpu": CpuWaiting, "io": IoWaiting };
    /// PSI full.
    PRESSURE_STALLED_SECONDS = "headroom_workload_pressure_stalled_seconds_total",
        "Time in which all tasks of the workload waited for the resource at once (PSI full).",
        "resource" { "memory": MemoryStalled, "cpu": CpuStalled, "io": IoStalled };
    /// Bytes.
    IO_BYTES = "headroom_workload_io_bytes_total",
        "Bytes of block IO that the kernel charged to the workload, summed over devices; where devices are stacked, each counts.",
        "operation" { "read": ReadBytes, "write": WriteBytes, "discard": DiscardBytes };
    /// IOs.
    IOS = "headroom_workload_ios_total",
        "Block IOs that the kernel charged to the workload, summed over devices; where devices are stacked, each counts.",
        "operation" { "read": Reads, "write": Writes, "discard": Discards };
}

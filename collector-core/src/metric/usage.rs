//! What workloads use and wait for besides memory: CPUs and block devices, as read from the kernel's files.

use super::number::rows;
use super::row::Detail;
use crate::signal::block;

rows! {
    CPU_SECONDS = "headroom_workload_cpu_seconds_total",
        "CPU time that the workload used.", Cpu, Detail::Busy;
    CPU_THROTTLED_SECONDS = "headroom_workload_cpu_throttled_seconds_total",
        "Time for which the workload was throttled because its CPU quota was used up.", Throttled, Detail::Used;
    CPU_PERIODS = "headroom_workload_cpu_periods_total",
        "Periods of the workload's CPU quota in which it ran.", Periods, Detail::Full;
    CPU_THROTTLED_PERIODS = "headroom_workload_cpu_throttled_periods_total",
        "Periods of the workload's CPU quota in which it was throttled.", ThrottledPeriods, Detail::Full;
}

rows! {
    CPU_MODE_SECONDS = "headroom_workload_cpu_mode_seconds_total",
        "CPU time that the workload used, in user space (user) and in the kernel (system).",
        Detail::Full, "mode" { "user": CpuInUser, "system": CpuInKernel };
    PRESSURE_WAITING_SECONDS = "headroom_workload_pressure_waiting_seconds_total",
        "Time in which at least one task of the workload waited for the resource (PSI some).",
        Detail::By(&[("memory", Detail::Always), ("", Detail::Busy)]),
        "resource" { "memory": MemoryWaiting, "cpu": CpuWaiting, "io": IoWaiting };
    PRESSURE_STALLED_SECONDS = "headroom_workload_pressure_stalled_seconds_total",
        "Time in which all tasks of the workload waited for the resource at once (PSI full).",
        Detail::By(&[("memory", Detail::Always), ("cpu", Detail::Full), ("", Detail::Busy)]),
        "resource" { "memory": MemoryStalled, "cpu": CpuStalled, "io": IoStalled };
    IO_BYTES = "headroom_workload_io_bytes_total",
        "Bytes of block IO that the kernel charged to the workload, summed over devices; each device of a stack counts.",
        Detail::Without(block::COMPLETED), "operation" { "read": ReadBytes, "write": WriteBytes, "discard": DiscardBytes };
    IOS = "headroom_workload_ios_total",
        "Block IOs that the kernel charged to the workload, summed over devices; each device of a stack counts.",
        Detail::Without(block::COMPLETED), "operation" { "read": Reads, "write": Writes, "discard": Discards };
}

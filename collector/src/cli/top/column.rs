//! The columns of the table of workloads.

use clap::ValueEnum;

/// In the order on the screen. Where there is no room, those at the end give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Column {
    /// WORKLOAD: name, in alphabetical order
    Name,
    /// MEMORY: memory charged to it
    Memory,
    /// LIMIT: its memory limit
    Limit,
    /// USED: share of the limit
    Used,
    /// CPU: CPUs in use
    Cpu,
    /// PSI: share of time in which some task waited for memory
    Pressure,
    /// STALL: time in reclaim before an allocation, per second, summed over the tasks
    Stalls,
    /// KILLS: OOM kills
    Kills,
    /// VRAM: GPU memory held
    Vram,
    /// IO/S: bytes read from and written to block devices, per second
    Io,
    /// WSET: working set, the memory without page cache that was not used recently
    WorkingSet,
    /// IO PSI: share of time in which some task waited for IO
    IoPressure,
    /// FAULTS: page faults that needed IO, per second
    Faults,
    /// PINNED: host memory pinned for GPUs
    Pinned,
    /// SWAP: swap used
    Swap,
}

impl Column {
    pub const ALL: [Column; 15] = [
        Column::Name,
        Column::Memory,
        Column::Limit,
        Column::Used,
        Column::Cpu,
        Column::Pressure,
        Column::Stalls,
        Column::Kills,
        Column::Vram,
        Column::Io,
        Column::WorkingSet,
        Column::IoPressure,
        Column::Faults,
        Column::Pinned,
        Column::Swap,
    ];

    pub fn label(self) -> &'static str {
        match self {
            Column::Name => "WORKLOAD",
            Column::Memory => "MEMORY",
            Column::Limit => "LIMIT",
            Column::Used => "USED",
            Column::Cpu => "CPU",
            Column::Pressure => "PSI",
            Column::Stalls => "STALL",
            Column::Kills => "KILLS",
            Column::Vram => "VRAM",
            Column::Io => "IO/S",
            Column::WorkingSet => "WSET",
            Column::IoPressure => "IO PSI",
            Column::Faults => "FAULTS",
            Column::Pinned => "PINNED",
            Column::Swap => "SWAP",
        }
    }
}

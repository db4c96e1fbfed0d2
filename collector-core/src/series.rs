//! What the history is kept of, as a table.

use Nature::{Level, Rate};
use Series::*;

/// One series of the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Memory.
    Memory,
    /// Swap.
    Swap,
    /// Waiting for memory (PSI some).
    MemoryWaiting,
    /// All waiting for memory (PSI full).
    MemoryStalled,
    /// Waiting for IO (PSI some).
    IoWaiting,
    /// All waiting for IO (PSI full).
    IoStalled,
    /// Reclaim and compaction before memory was had.
    Stalls,
    /// Faults that needed IO.
    MajorFaults,
    /// Read from block devices.
    Read,
    /// Written to block devices.
    Write,
    /// Copied to GPUs.
    HostToDevice,
    /// Copied from GPUs.
    DeviceToHost,
    /// Memory of GPUs.
    Vram,
    /// Host memory pinned for GPUs.
    Pinned,
}

/// What becomes of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nature {
    /// It is shown as it is.
    Level,
    /// It is a counter in units of so much, and shown as its growth in a second.
    Rate(f64),
    /// The same of a time in nanoseconds that cannot pass faster than time.
    Share,
}

/// How many there are.
pub const COUNT: usize = Series::ALL.len();

impl Series {
    /// All of them.
    pub const ALL: [Series; 14] = [
        Memory,
        Swap,
        MemoryWaiting,
        MemoryStalled,
        IoWaiting,
        IoStalled,
        Stalls,
        MajorFaults,
        Read,
        Write,
        HostToDevice,
        DeviceToHost,
        Vram,
        Pinned,
    ];

    /// Its name, which ends in its unit.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// What it is.
    pub fn what(self) -> &'static str {
        self.row().1
    }

    pub fn nature(self) -> Nature {
        self.row().2
    }

    fn row(self) -> (&'static str, &'static str, Nature) {
        const SECONDS: f64 = 1e-9;
        match self {
            Memory => ("memory_bytes", "memory charged to the workload; of the host, what is not available", Level),
            Swap => ("swap_bytes", "swap used", Level),
            MemoryWaiting => (
                "memory_waiting_ratio",
                "share of the second in which some task waited for memory (PSI)",
                Nature::Share,
            ),
            MemoryStalled => ("memory_stalled_ratio", "share in which all tasks did", Nature::Share),
            IoWaiting => {
                ("io_waiting_ratio", "share of the second in which some task waited for IO (PSI)", Nature::Share)
            }
            IoStalled => ("io_stalled_ratio", "share in which all tasks did", Nature::Share),
            Stalls => (
                "stall_seconds_per_second",
                "time in reclaim and compaction before memory was had, summed over the tasks",
                Rate(SECONDS),
            ),
            MajorFaults => ("major_faults_per_second", "page faults that needed IO", Rate(1.0)),
            Read => ("read_bytes_per_second", "bytes read from block devices", Rate(1.0)),
            Write => ("written_bytes_per_second", "bytes written to block devices", Rate(1.0)),
            HostToDevice => (
                "host_to_device_bytes_per_second",
                "bytes copied to GPUs: of the host over PCIe, of a workload as the CUDA driver was asked",
                Rate(1.0),
            ),
            DeviceToHost => ("device_to_host_bytes_per_second", "the same from GPUs", Rate(1.0)),
            Vram => ("vram_bytes", "memory held of GPUs", Level),
            Pinned => ("pinned_bytes", "host memory pinned for GPUs, as the CUDA driver was asked", Level),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_a_name_of_its_own() {
        let mut names: Vec<_> = Series::ALL.iter().map(|series| series.name()).collect();
        assert!(Series::ALL.iter().enumerate().all(|(index, series)| *series as usize == index));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNT);
    }
}

//! What the history is kept of, as a table: of the host, and of each workload. Knows neither where a number is read nor who
//! shows it.

use Kind::{Gauge, Rate, Share};
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

/// What a point of a series is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The number itself.
    Gauge,
    /// The growth in a second of a counter in units of so much.
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

    /// Its name, which ends in its unit: in JSON, and in the documentation.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its name on a page.
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// What it is, in a sentence.
    pub fn what(self) -> &'static str {
        self.row().what
    }

    pub fn kind(self) -> Kind {
        self.row().kind
    }

    const fn row(self) -> Row {
        const SECONDS: f64 = 1e-9;
        match self {
            Memory => row(
                "memory_bytes",
                "memory",
                Gauge,
                "memory charged to the workload; of the host, what is not available",
            ),
            Swap => row("swap_bytes", "swap", Gauge, "swap used"),
            MemoryWaiting => row(
                "memory_waiting_ratio",
                "some wait for memory",
                Share,
                "share of the second in which some task waited for memory (PSI)",
            ),
            MemoryStalled => row("memory_stalled_ratio", "all wait for memory", Share, "share in which all tasks did"),
            IoWaiting => row(
                "io_waiting_ratio",
                "some wait for IO",
                Share,
                "share of the second in which some task waited for IO (PSI)",
            ),
            IoStalled => row("io_stalled_ratio", "all wait for IO", Share, "share in which all tasks did"),
            Stalls => row(
                "stall_seconds_per_second",
                "making room (s/s)",
                Rate(SECONDS),
                "time in reclaim and compaction before memory was had, summed over the tasks",
            ),
            MajorFaults => row("major_faults_per_second", "major faults", Rate(1.0), "page faults that needed IO"),
            Read => row("read_bytes_per_second", "read", Rate(1.0), "bytes read from block devices"),
            Write => row("written_bytes_per_second", "written", Rate(1.0), "bytes written to block devices"),
            HostToDevice => row(
                "host_to_device_bytes_per_second",
                "to GPUs",
                Rate(1.0),
                "bytes copied to GPUs: of the host over PCIe, of a workload as the CUDA driver was asked",
            ),
            DeviceToHost => row("device_to_host_bytes_per_second", "from GPUs", Rate(1.0), "the same from GPUs"),
            Vram => row("vram_bytes", "GPU memory", Gauge, "memory held of GPUs"),
            Pinned => row("pinned_bytes", "pinned", Gauge, "host memory pinned for GPUs, as the CUDA driver was asked"),
        }
    }
}

struct Row {
    name: &'static str,
    label: &'static str,
    kind: Kind,
    what: &'static str,
}

const fn row(name: &'static str, label: &'static str, kind: Kind, what: &'static str) -> Row {
    Row { name, label, kind, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_a_name_of_its_own() {
        assert!(Series::ALL.iter().enumerate().all(|(index, series)| *series as usize == index));
        for name in [Series::name, Series::label] {
            let mut names = Series::ALL.map(name).to_vec();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), COUNT);
        }
    }
}

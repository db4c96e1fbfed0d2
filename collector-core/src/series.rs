//! The table of series that the history keeps for the host and for each workload. Knows neither where a number is read nor who
//! shows it.

use Kind::{Gauge, Rate, Share};
use Series::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    Memory,
    /// Of the readings between two ticks, where there are any.
    MemoryLeast,
    MemoryMean,
    MemoryMost,
    /// The limit in force; unknown where there is none.
    MemoryLimit,
    /// Anonymous memory.
    Anon,
    /// Page cache, shared memory included.
    File,
    /// Shared memory and tmpfs.
    Shmem,
    Kernel,
    Swap,
    /// PSI some: at least one task waits.
    MemoryWaiting,
    /// PSI full: all tasks wait.
    MemoryStalled,
    /// PSI some.
    IoWaiting,
    /// PSI full.
    IoStalled,
    /// Time in reclaim and compaction before an allocation.
    Stalls,
    /// Page faults that needed IO.
    MajorFaults,
    Read,
    Write,
    HostToDevice,
    DeviceToHost,
    Vram,
    /// Host memory pinned for GPUs.
    Pinned,
    /// CPU time per second: CPUs in use.
    Cpu,
}

/// How a point is made from the number read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The number itself.
    Gauge,
    /// Growth of a counter per second, multiplied by this unit.
    Rate(f64),
    /// Growth per second of a time in nanoseconds, which cannot grow faster than the clock: a share of 0 to 1.
    Share,
}

pub const COUNT: usize = Series::ALL.len();

impl Series {
    pub const ALL: [Series; 23] = [
        Memory,
        MemoryLeast,
        MemoryMean,
        MemoryMost,
        MemoryLimit,
        Anon,
        File,
        Shmem,
        Kernel,
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
        Cpu,
    ];

    /// The names of [`Self::ALL`].
    pub const NAMES: [&str; COUNT] = {
        let mut names = [""; COUNT];
        let mut index = 0;
        while index < COUNT {
            names[index] = Series::ALL[index].name();
            index += 1;
        }
        names
    };

    /// Whether it is a part of another one's points: of memory, the least, mean and most between two ticks.
    pub fn is_part(self) -> bool {
        matches!(self, MemoryLeast | MemoryMean | MemoryMost)
    }

    /// Whether incidents keep its last minute. No cause rests on CPU time, and an incident has the limits at its moment.
    pub fn is_evidence(self) -> bool {
        !matches!(self, Cpu | MemoryLimit)
    }

    /// The series of this name.
    pub fn find(name: &str) -> Option<Series> {
        Series::ALL.into_iter().find(|series| series.name() == name)
    }

    /// The name in JSON and in the documentation. It ends in the unit.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    pub const fn label(self) -> &'static str {
        self.row().label
    }

    pub fn what(self) -> &'static str {
        self.row().what
    }

    pub const fn kind(self) -> Kind {
        self.row().kind
    }

    const fn row(self) -> Row {
        const SECONDS: f64 = 1e-9;
        match self {
            Memory => row(
                "memory_bytes",
                "memory",
                Gauge,
                "memory charged to the workload; for the host, memory that is not available",
            ),
            MemoryLeast => row(
                "memory_min_bytes",
                "memory, least",
                Gauge,
                "the least of it in that second; this and the next two while it is read ten times a second",
            ),
            MemoryMean => row("memory_mean_bytes", "memory, mean", Gauge, "the mean of it in that second"),
            MemoryMost => row("memory_max_bytes", "memory, most", Gauge, "the most of it in that second"),
            MemoryLimit => row(
                "memory_limit_bytes",
                "limit",
                Gauge,
                "the workload's own memory limit; for the host, all of its memory. Not known where there is none",
            ),
            Anon => {
                row("memory_anon_bytes", "anon", Gauge, "of that, anonymous memory, at the points at which it was read")
            }
            File => row("memory_file_bytes", "file", Gauge, "page cache, shared memory and tmpfs included"),
            Shmem => row("memory_shmem_bytes", "shared", Gauge, "shared memory and tmpfs"),
            Kernel => row(
                "memory_kernel_bytes",
                "kernel",
                Gauge,
                "memory that the kernel uses for it; for the host, slab and page tables",
            ),
            Swap => row("swap_bytes", "swap", Gauge, "swap used"),
            MemoryWaiting => row(
                "memory_waiting_ratio",
                "some wait for memory",
                Share,
                "share of the second in which some task waited for memory (PSI)",
            ),
            MemoryStalled => {
                row("memory_stalled_ratio", "all wait for memory", Share, "share of the second in which all tasks did")
            }
            IoWaiting => row(
                "io_waiting_ratio",
                "some wait for IO",
                Share,
                "share of the second in which some task waited for IO (PSI)",
            ),
            IoStalled => {
                row("io_stalled_ratio", "all wait for IO", Share, "share of the second in which all tasks did")
            }
            Stalls => row(
                "stall_seconds_per_second",
                "reclaim stalls (s/s)",
                Rate(SECONDS),
                "time in reclaim and compaction before an allocation, summed over the tasks",
            ),
            MajorFaults => row("major_faults_per_second", "major faults", Rate(1.0), "page faults that needed IO"),
            Read => row("read_bytes_per_second", "read", Rate(1.0), "bytes read from block devices"),
            Write => row("written_bytes_per_second", "written", Rate(1.0), "bytes written to block devices"),
            HostToDevice => row(
                "host_to_device_bytes_per_second",
                "to GPUs",
                Rate(1.0),
                "bytes copied to GPUs: for the host over PCIe, for a workload as requested from the CUDA driver",
            ),
            DeviceToHost => {
                row("device_to_host_bytes_per_second", "from GPUs", Rate(1.0), "the same, copied from GPUs")
            }
            Vram => row("vram_bytes", "GPU memory", Gauge, "GPU memory held"),
            Pinned => {
                row("pinned_bytes", "pinned", Gauge, "host memory pinned for GPUs, as requested from the CUDA driver")
            }
            Cpu => row("cpu_seconds_per_second", "CPUs", Rate(SECONDS), "CPU time used, summed over the CPUs"),
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
    fn the_order_is_that_of_the_enum_and_names_are_unique() {
        assert!(Series::ALL.iter().enumerate().all(|(index, series)| *series as usize == index));
        for name in [Series::name, Series::label] {
            let mut names = Series::ALL.map(name).to_vec();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), COUNT);
        }
    }
}

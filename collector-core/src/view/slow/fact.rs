//! The table of facts that explain why something is slow: of a workload and the GPUs that it holds, of a model that a server serves, and
//! of the host. Knows neither where a fact is read nor what follows from it.

use Fact::*;
use Kind::{Level, Rate, Ratio, Setting, Share};

/// How a value is made from what is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The number itself.
    Level,
    /// What somebody sets, such as a limit: of the time that is judged its least value counts, of what was before the newest.
    Setting,
    /// Growth of a counter per second, multiplied by this unit.
    Rate(f64),
    /// Growth per second of a time in nanoseconds that cannot grow faster than the clock: a share of 0 to 1.
    Share,
    /// Growth of one counter by growth of another; 0 while the other does not grow.
    Ratio,
}

/// What a fact is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The workload, or the GPUs that it holds memory of: of several the worst.
    Workload,
    /// The model.
    Model,
    Host,
}

const SECONDS: f64 = 1e-9;

macro_rules! facts {
    ($($fact:ident = $name:literal, $of:ident, $kind:expr, $what:literal;)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fact {
            $($fact,)+
        }

        impl Fact {
            pub const ALL: &'static [Fact] = &[$($fact,)+];

            /// The name in JSON. It ends in the unit.
            pub const fn name(self) -> &'static str {
                match self { $($fact => $name,)+ }
            }

            pub const fn of(self) -> Of {
                match self { $($fact => Of::$of,)+ }
            }

            pub const fn kind(self) -> Kind {
                match self { $($fact => $kind,)+ }
            }

            /// What it is, for the documentation.
            pub const fn what(self) -> &'static str {
                match self { $($fact => $what,)+ }
            }
        }
    };
}

facts! {
    Cpu = "cpu_seconds_per_second", Workload, Rate(SECONDS), "CPUs that the workload used";
    CpuQuota = "cpu_quota_cpus", Workload, Setting, "CPUs that its quota allows, or the least one above it";
    CpuThrottled = "cpu_throttled_ratio", Workload, Ratio, "periods of its CPU quota in which it was throttled";
    CpuWait = "cpu_wait_seconds_per_second", Workload, Rate(SECONDS), "time in which its tasks were ready and waited for a CPU, summed over the tasks";
    CpuWaiting = "cpu_waiting_ratio", Workload, Share, "time in which some task of it waited for a CPU (PSI, cgroup v2)";
    Tasks = "tasks", Workload, Level, "its tasks";
    Memory = "memory_bytes", Workload, Level, "memory charged to it";
    MemoryLimit = "memory_limit_bytes", Workload, Setting, "its memory limit";
    MemoryHigh = "memory_high_bytes", Workload, Setting, "its memory.high";
    File = "file_bytes", Workload, Level, "page cache charged to it";
    Swap = "swap_bytes", Workload, Level, "its swap";
    MemoryWaiting = "memory_waiting_ratio", Workload, Share, "time in which some task of it waited for memory (PSI, cgroup v2)";
    IoWaiting = "io_waiting_ratio", Workload, Share, "time in which some task of it waited for IO (PSI, cgroup v2)";
    Reclaim = "reclaim_seconds_per_second", Workload, Rate(SECONDS), "time in which its tasks reclaimed memory before they could allocate, summed over the tasks";
    Compaction = "compaction_seconds_per_second", Workload, Rate(SECONDS), "time in which its tasks compacted memory before they could allocate, summed over the tasks";
    HighEvents = "memory_high_events_per_second", Workload, Rate(1.0), "how often it was throttled above its memory.high";
    LimitEvents = "memory_limit_events_per_second", Workload, Rate(1.0), "how often it was at its memory limit";
    MajorFaults = "major_faults_per_second", Workload, Rate(1.0), "its page faults that needed IO";
    RefaultFile = "refault_file_bytes_per_second", Workload, Rate(1.0), "its file pages that were dropped and soon needed again";
    RefaultAnon = "refault_anon_bytes_per_second", Workload, Rate(1.0), "its pages that were swapped out and soon needed again";
    Read = "read_bytes_per_second", Workload, Rate(1.0), "what it read from disks";
    Written = "written_bytes_per_second", Workload, Rate(1.0), "what it wrote to disks";
    DirtyWait = "dirty_wait_seconds_per_second", Workload, Rate(SECONDS), "time in which its tasks had to wait for dirty pages to be written";
    ToGpu = "to_gpu_bytes_per_second", Workload, Rate(1.0), "what it copied to GPUs, as requested from the CUDA driver";
    FromGpu = "from_gpu_bytes_per_second", Workload, Rate(1.0), "what it copied from GPUs, as requested from the CUDA driver";
    Pinned = "pinned_bytes", Workload, Level, "host memory that it pinned for GPUs, as requested from the CUDA driver";
    Received = "received_bytes_per_second", Workload, Rate(1.0), "what it received in its network namespace";
    Sent = "sent_bytes_per_second", Workload, Rate(1.0), "what it sent in its network namespace";
    GpuUtilization = "gpu_utilization_ratio", Workload, Level, "utilisation of the GPUs that it holds memory of, on average";
    GpuOthers = "gpu_others_bytes", Workload, Level, "GPU memory that others hold on the GPUs that it holds memory of";
    GpuClock = "gpu_clock_hertz", Workload, Level, "clock of the slowest GPU that it holds memory of";
    GpuThrottled = "gpu_throttled_ratio", Workload, Level, "readings in which heat or too little power slowed one of its GPUs down";
    GpuPowerCapped = "gpu_power_capped_ratio", Workload, Level, "readings in which the power limit slowed one of its GPUs down";
    PcieLink = "pcie_link_ratio", Workload, Level, "PCIe link of its GPU, as a share of the best that it can have (the worst of several)";
    PcieUsed = "pcie_used_ratio", Workload, Level, "share of the PCIe link of its GPU in use, in the busier direction";
    PcieReplays = "pcie_replays_per_second", Workload, Rate(1.0), "retries on the PCIe links of its GPUs";
    RemoteMemory = "remote_memory_ratio", Workload, Level, "share of its memory in other memory nodes (NUMA) than those of its GPUs";
    RemoteCpus = "remote_cpus_ratio", Workload, Level, "1 while its tasks may run on no CPU of the memory nodes of its GPUs, else 0";

    Running = "requests_running", Model, Level, "requests that the model works on";
    Waiting = "requests_waiting", Model, Level, "requests that wait for a place";
    Slots = "slots", Model, Level, "requests that it works on at once, at most";
    KvUsed = "kv_used_ratio", Model, Level, "share of its KV cache in use";
    Preemptions = "preemptions_per_second", Model, Rate(1.0), "requests whose KV cache was dropped for want of room, and is computed again";
    Retracted = "retracted_tokens_per_second", Model, Rate(1.0), "tokens of requests that were sent back to the queue for want of room";
    Generated = "generated_tokens_per_second", Model, Rate(1.0), "tokens that it made";
    Prompt = "prompt_tokens_per_second", Model, Rate(1.0), "tokens of prompts that it read";
    PrefixHits = "prefix_hit_ratio", Model, Ratio, "tokens of prompts that it found in its prefix cache";
    Offload = "kv_offload_bytes_per_second", Model, Rate(1.0), "KV cache that it moved to host memory and back";

    HostCpuBusy = "host_cpu_busy_ratio", Host, Share, "CPU time of the host in use, without steal";
    HostSteal = "host_cpu_steal_ratio", Host, Share, "CPU time of the host that the hypervisor gave to others";
    HostCpuWaiting = "host_cpu_waiting_ratio", Host, Share, "time in which some task of the host waited for a CPU (PSI)";
    HostAvailable = "host_available_ratio", Host, Level, "memory of the host that is available";
    HostMemoryWaiting = "host_memory_waiting_ratio", Host, Share, "time in which some task of the host waited for memory (PSI)";
    HostIoWaiting = "host_io_waiting_ratio", Host, Share, "time in which some task of the host waited for IO (PSI)";
    HostReclaimed = "host_reclaimed_bytes_per_second", Host, Rate(1.0), "memory that the host reclaimed for itself, not for limits";
    HostSwapIn = "host_swap_in_bytes_per_second", Host, Rate(1.0), "what the host read from swap";
    HostSwapOut = "host_swap_out_bytes_per_second", Host, Rate(1.0), "what the host wrote to swap";
    DiskBusy = "disk_busy_ratio", Host, Level, "time in which the busiest disk had IO in flight";
    DiskService = "disk_seconds_per_io", Host, Ratio, "mean time of an IO, over all disks";
    NetworkUsed = "network_used_ratio", Host, Level, "share of the busiest link in use, in the busier direction";
    NetworkDrops = "network_drops_per_second", Host, Rate(1.0), "packets that interfaces dropped";
}

impl Fact {
    /// All of one subject, in their order.
    pub const fn all(of: Of) -> &'static [Fact] {
        let (model, host) = (Running as usize, HostCpuBusy as usize);
        let (before, rest) = Fact::ALL.split_at(model);
        let (between, after) = rest.split_at(host - model);
        match of {
            Of::Workload => before,
            Of::Model => between,
            Of::Host => after,
        }
    }

    /// Its place among those of its subject.
    pub(crate) const fn place(self) -> usize {
        self as usize - Fact::all(self.of())[0] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_a_subject_stand_together_and_have_names_of_their_own() {
        for of in [Of::Workload, Of::Model, Of::Host] {
            assert!(Fact::all(of).iter().all(|fact| fact.of() == of), "{of:?}");
            assert!(Fact::all(of).iter().enumerate().all(|(place, fact)| fact.place() == place), "{of:?}");
        }
        let mut names: Vec<_> = Fact::ALL.iter().map(|fact| fact.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Fact::ALL.len());
    }
}

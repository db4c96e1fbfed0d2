//! [`SETTINGS`]: every key that can be set, declared once. A new field of [`Config`] is a row here, and nothing else.

use std::time::Duration;

use super::kind::Kind;
use super::section::Config;

/// One key.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file: `kernel.slow_io` is `slow_io` in the section `[kernel]`.
    pub key: &'static str,
    /// Its flag, without dashes, if it has one.
    pub flag: Option<&'static str>,
    /// What may be set.
    pub kind: Kind<Config>,
    /// What it does: whole sentences for the documentation and the help.
    pub doc: &'static str,
}

impl Setting {
    /// Its environment variable: `HEADROOM_KERNEL_SLOW_IO`.
    pub fn variable(&self) -> String {
        format!("HEADROOM_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// The section it stands in, and its name there.
    pub fn section(&self) -> (Option<&'static str>, &'static str) {
        match self.key.split_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, self.key),
        }
    }
}

/// The setting with this key.
pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// What the kernel allows (WINDOW_MIN_US and WINDOW_MAX_US in kernel/sched/psi.c).
const WINDOW_MIN: Duration = Duration::from_millis(500);
const WINDOW_MAX: Duration = Duration::from_secs(10);
const MIB: u32 = 1024 * 1024;

/// Every key, section by section.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        flag: Some("listen"),
        kind: Kind::Address(|config| &mut config.listen),
        doc: "Address of the HTTP listener, which serves /metrics, /-/healthy and /-/ready. \
              Port 0 takes any free port; 0.0.0.0:9843 or [::]:9843 opens it to the network.",
    },
    Setting {
        key: "web_config",
        flag: Some("web-config-file"),
        kind: Kind::OptionalPath(|config| &mut config.web_config),
        doc: "A web configuration file as Prometheus' exporters have it: TLS, client certificates, passwords and \
              headers of the HTTP listener; docs/access.md lists its keys. Unless set, anybody who reaches the \
              listener is answered.",
    },
    Setting {
        key: "tick",
        flag: Some("tick"),
        kind: Kind::Duration(|config| &mut config.tick, Duration::from_millis(10), Duration::from_secs(60)),
        doc: "How often counters are read. Nothing that happens between two ticks is missed: the kernel counts it.",
    },
    Setting {
        key: "rootfs",
        flag: Some("rootfs"),
        kind: Kind::Path(|config| &mut config.rootfs),
        doc: "Where the host's root is mounted: for an agent in a container, whose own /proc, /sys and /var are not the \
              host's.",
    },
    Setting {
        key: "lock",
        flag: Some("lock"),
        kind: Kind::Path(|config| &mut config.lock),
        doc: "File that is locked while the agent runs, so that a second instance is refused.",
    },
    Setting {
        key: "oom_score_adj",
        flag: None,
        kind: Kind::Integer(|config| &mut config.oom_score_adj, -1000, 1000),
        doc: "The agent's own oom_score_adj. At -999 it is the last process that the kernel kills for memory.",
    },
    Setting {
        key: "host",
        flag: None,
        kind: Kind::Text(|config| &mut config.host),
        doc: "This host's name in alerts. Unless set, its host name, which in a container may be another.",
    },
    Setting {
        key: "log.level",
        flag: Some("log-level"),
        kind: Kind::Choice(|config| &mut config.log.level, &["error", "warn", "info", "debug", "trace"]),
        doc: "Log messages of this level and of more urgent ones.",
    },
    Setting {
        key: "log.format",
        flag: Some("log-format"),
        kind: Kind::Choice(|config| &mut config.log.format, &["auto", "pretty", "json"]),
        doc: "How messages are written to stderr: pretty is for people, json is one object a line, auto is \
              pretty on a terminal and json elsewhere.",
    },
    Setting {
        key: "kernel.btf",
        flag: Some("btf"),
        kind: Kind::OptionalPath(|config| &mut config.kernel.btf),
        doc: "BTF of the running kernel, for kernels that were built without it. \
              Unless set, /sys/kernel/btf/vmlinux is read.",
    },
    Setting {
        key: "kernel.disable",
        flag: None,
        kind: Kind::Probes(|config| &mut config.kernel.disable),
        doc: "Signals, or single programs of them, that are not attached; docs/signals.md lists their names.",
    },
    Setting {
        key: "kernel.stall",
        flag: None,
        kind: Kind::Duration(|config| &mut config.kernel.stall, Duration::ZERO, HOUR),
        doc: "Reclaim and compaction stalls of at least this length are reported one by one. All are counted.",
    },
    Setting {
        key: "kernel.slow_io",
        flag: None,
        kind: Kind::Duration(|config| &mut config.kernel.slow_io, Duration::ZERO, HOUR),
        doc: "Block IO of at least this length is reported one by one, and so is every failed IO. All are counted.",
    },
    Setting {
        key: "kernel.critical_ring",
        flag: None,
        kind: Kind::Ring(|config| &mut config.kernel.critical_ring, 4096, 1024 * MIB),
        doc: "Bytes of the ring for OOM kills and the births and deaths of cgroups. \
              A power of two, and at least a page of this host.",
    },
    Setting {
        key: "kernel.bulk_ring",
        flag: None,
        kind: Kind::Ring(|config| &mut config.kernel.bulk_ring, 4096, 1024 * MIB),
        doc: "Bytes of the ring for stalls and for slow and failed IO. \
              A power of two, and at least a page of this host.",
    },
    Setting {
        key: "kernel.measure",
        flag: None,
        kind: Kind::Duration(|config| &mut config.kernel.measure, Duration::ZERO, DAY),
        doc: "For how long from the start the kernel measures the run time of the eBPF programs; \
              \"0s\" is never. Measuring itself costs some time on every event.",
    },
    Setting {
        key: "kernel.debug",
        flag: Some("kernel-debug"),
        kind: Kind::Switch(|config| &mut config.kernel.debug),
        doc: "Log the debug messages of the eBPF programs, whatever log.level says.",
    },
    Setting {
        key: "workload.max",
        flag: None,
        kind: Kind::Count(|config| &mut config.workload.max, 1, 100_000),
        doc: "Most workloads with series of their own. The rest is summed as workload \"other\", and counted.",
    },
    Setting {
        key: "workload.grace",
        flag: None,
        kind: Kind::Duration(|config| &mut config.workload.grace, Duration::ZERO, DAY),
        doc: "How long the series of a dead workload stay, so that one more scrape sees them. If living \
              workloads need the room, those that died first go earlier, and that is counted.",
    },
    Setting {
        key: "workload.kubelet",
        flag: None,
        kind: Kind::Path(|config| &mut config.workload.kubelet),
        doc: "The kubelet's log folder, with its folders containers and pods: workloads are named after pods and \
              containers found there.",
    },
    Setting {
        key: "workload.docker",
        flag: None,
        kind: Kind::Path(|config| &mut config.workload.docker),
        doc: "Docker's data-root, for the names of its containers. A user's rootless Docker is found in the \
              user's home.",
    },
    Setting {
        key: "workload.podman",
        flag: None,
        kind: Kind::Path(|config| &mut config.workload.podman),
        doc: "Podman's graphRoot, for the names of its containers. A user's rootless Podman is found in the \
              user's home.",
    },
    Setting {
        key: "workload.stat_interval",
        flag: None,
        kind: Kind::Duration(|config| &mut config.workload.stat_interval, Duration::from_millis(10), HOUR),
        doc: "How often each workload's memory.stat is read, which is the most costly file for the kernel, and \
              what seldom changes, such as limits. Each tick reads an equal share of the workloads.",
    },
    Setting {
        key: "pressure.memory_waiting",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.memory_waiting, Duration::ZERO, WINDOW_MAX),
        doc: "Set a PSI trigger: the kernel reports at once when some task waited for memory for this long \
              within pressure.memory_window. Each report is logged and counted. \"0s\" sets no trigger; pressure \
              is measured in any case.",
    },
    Setting {
        key: "pressure.memory_stalled",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.memory_stalled, Duration::ZERO, WINDOW_MAX),
        doc: "The same, when all tasks that had work to do waited for memory at the same time.",
    },
    Setting {
        key: "pressure.memory_window",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.memory_window, WINDOW_MIN, WINDOW_MAX),
        doc: "The window of both triggers; each fires at most once a window. Without CAP_SYS_RESOURCE, triggers \
              need Linux 6.4 and a window that is a multiple of two seconds.",
    },
    Setting {
        key: "pressure.io_waiting",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.io_waiting, Duration::ZERO, WINDOW_MAX),
        doc: "The same, when some task waited for IO, which is normal on many hosts.",
    },
    Setting {
        key: "pressure.io_stalled",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.io_stalled, Duration::ZERO, WINDOW_MAX),
        doc: "The same, when all tasks that had work to do waited for IO at the same time.",
    },
    Setting {
        key: "pressure.io_window",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.io_window, WINDOW_MIN, WINDOW_MAX),
        doc: "The window of both IO triggers.",
    },
    Setting {
        key: "pressure.cpu_waiting",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.cpu_waiting, Duration::ZERO, WINDOW_MAX),
        doc: "The same, when some task waited for a CPU, which is normal on many hosts.",
    },
    Setting {
        key: "pressure.cpu_window",
        flag: None,
        kind: Kind::Duration(|config| &mut config.pressure.cpu_window, WINDOW_MIN, WINDOW_MAX),
        doc: "The window of the CPU trigger.",
    },
    Setting {
        key: "disk.exclude",
        flag: None,
        kind: Kind::Patterns(|config| &mut config.disk.exclude),
        doc: "Disks without statistics of their own (headroom_host_disk_…); * is any text. Partitions never have \
              any.",
    },
    Setting {
        key: "filesystem.exclude",
        flag: None,
        kind: Kind::Patterns(|config| &mut config.filesystem.exclude),
        doc: "Mount points of filesystems that are left out; * is any text, slashes included.",
    },
    Setting {
        key: "filesystem.exclude_types",
        flag: None,
        kind: Kind::Patterns(|config| &mut config.filesystem.exclude_types),
        doc: "Types of filesystems that are left out; * is any text.",
    },
    Setting {
        key: "filesystem.interval",
        flag: None,
        kind: Kind::Duration(|config| &mut config.filesystem.interval, Duration::ZERO, HOUR),
        doc: "How often filesystems are asked for their size and use; at most once a tick.",
    },
    Setting {
        key: "filesystem.deadline",
        flag: None,
        kind: Kind::Duration(|config| &mut config.filesystem.deadline, Duration::from_millis(10), HOUR),
        doc: "How long a filesystem may take to answer. If one takes longer, such as NFS whose server is gone, \
              its series vanish, and the others are not delayed.",
    },
    Setting {
        key: "gpu.enabled",
        flag: None,
        kind: Kind::Choice(|config| &mut config.gpu.enabled, &["auto", "on", "off"]),
        doc: "Whether GPUs are read through NVIDIA's NVML: auto reads them if its library is found, and is \
              silent if not; on reports a missing library; off does not look.",
    },
    Setting {
        key: "gpu.library",
        flag: None,
        kind: Kind::OptionalPath(|config| &mut config.gpu.library),
        doc: "NVML's library, libnvidia-ml.so.1. Unless set, it is looked for where the linker and the usual \
              driver packages have it, again every minute.",
    },
    Setting {
        key: "gpu.interval",
        flag: None,
        kind: Kind::Duration(|config| &mut config.gpu.interval, Duration::from_millis(50), HOUR),
        doc: "How often GPUs are read, on a thread of their own.",
    },
    Setting {
        key: "gpu.deadline",
        flag: None,
        kind: Kind::Duration(|config| &mut config.gpu.deadline, Duration::from_millis(10), HOUR),
        doc: "How long one NVML call may take; starting the library may take ten times as long. A sick driver \
              may never answer: after this time its series vanish, and another thread tries again, at growing \
              intervals.",
    },
    Setting {
        key: "transfer.enabled",
        flag: None,
        kind: Kind::Switch(|config| &mut config.transfer.enabled),
        doc: "Watch calls of the CUDA driver: copies between host and GPU, pinned host memory, device memory. \
              Each such call then takes some microseconds longer, in a virtual machine up to twenty. The agent \
              keeps CAP_SYS_PTRACE and CAP_SYS_ADMIN, because it finds libraries and attaches probes to them as \
              processes load them.",
    },
    Setting {
        key: "transfer.scan",
        flag: None,
        kind: Kind::Duration(|config| &mut config.transfer.scan, Duration::from_millis(100), HOUR),
        doc: "How often to look for processes that have loaded a CUDA driver library that is not known yet. A \
              process is looked at when it is new, and then at intervals that double, up to once a minute.",
    },
    Setting {
        key: "metrics.max_series",
        flag: None,
        kind: Kind::Count(|config| &mut config.metrics.max_series, 1, 10_000_000),
        doc: "Most series in one exposition. The rest is left out, and counted.",
    },
    Setting {
        key: "journal.dir",
        flag: Some("journal-dir"),
        kind: Kind::Path(|config| &mut config.journal.dir),
        doc: "The folder of the journal, which keeps alerts, incidents and other events over restarts. If it \
              cannot be written, the agent logs that and goes on without.",
    },
    Setting {
        key: "journal.max_age",
        flag: None,
        kind: Kind::Duration(|config| &mut config.journal.max_age, Duration::from_secs(1), YEARS),
        doc: "Older entries are removed from the journal.",
    },
    Setting {
        key: "journal.max_bytes",
        flag: None,
        kind: Kind::Count(|config| &mut config.journal.max_bytes, 1, 1 << 40),
        doc: "Most bytes of the journal on disk: the oldest entries make room for new ones, events before alerts \
              and incidents. Anything below 1048576 counts as 1048576. The write-ahead log, a few megabytes, is \
              not included.",
    },
];

#[cfg(test)]
mod tests;

//! [`SETTINGS`]: declares every key once. A new field of [`Config`] needs one row here and nothing else.

mod admission;
mod gpu;
mod guard;
mod history;
mod latency;
mod leak;
mod level;
mod model;
mod model_file;
mod need;
mod network;
mod pressure;
mod profile;
mod row;
mod scaling;
mod starved;
mod transfer;

use std::time::Duration;

use collector_core::metric::row::Level;

use super::kind::Kind;

pub use row::Setting;
use row::without_flag;

pub fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEARS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const MIB: u32 = 1024 * 1024;

/// Every key, section by section.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "listen",
        flag: Some("listen"),
        kind: Kind::Address(|config| &mut config.listen),
        doc: "Address of the HTTP listener, which serves /metrics, /api/v1/…, /-/healthy and /-/ready. \
              Port 0 takes any free port. 0.0.0.0:9843 or [::]:9843 opens it to the network: see web_config first. A \
              port that another process uses is tried again until it is free.",
    },
    Setting {
        key: "socket",
        flag: Some("socket"),
        kind: Kind::OptionalPath(|config| &mut config.socket),
        doc: "Unix socket that answers the same as the HTTP listener, for everybody on this host, and that headroom's own \
              verbs ask first. Empty opens none.",
    },
    Setting {
        key: "web_config",
        flag: Some("web-config-file"),
        kind: Kind::OptionalPath(|config| &mut config.web_config),
        doc: "Web configuration file in the format of Prometheus exporters: TLS, client certificates, passwords and \
              headers of the HTTP listener; docs/access.md lists its keys. Unless set, the listener answers every \
              client that can connect.",
    },
    without_flag(
        "allowed_hosts",
        Kind::Patterns(|config| &mut config.allowed_hosts),
        "Further names in the Host header that the HTTP listener accepts on the loopback address without TLS; * matches \
              any text. localhost, this host's name and addresses are accepted in any case. Others are refused, so that a \
              web page cannot read the endpoint through a browser on this host.",
    ),
    Setting {
        key: "tick",
        flag: Some("tick"),
        kind: Kind::Duration(|config| &mut config.tick, Duration::from_millis(10), Duration::from_secs(60)),
        doc: "Interval of reading counters and evaluating alert rules. Events between two ticks are not missed: the kernel \
              counts them.",
    },
    Setting {
        key: "rootfs",
        flag: Some("rootfs"),
        kind: Kind::Path(|config| &mut config.rootfs),
        doc: "Mount point of the host's root filesystem. Set it for an agent in a container, whose own /proc, /sys and \
              /var are not the host's.",
    },
    Setting {
        key: "lock",
        flag: Some("lock"),
        kind: Kind::Path(|config| &mut config.lock),
        doc: "File that the agent locks while it runs, so that a second instance fails.",
    },
    without_flag(
        "user",
        Kind::Text(|config| &mut config.user),
        "User, by name or number, that an agent started as root becomes once its probes are attached. It keeps the \
              capabilities that it needs, and gets the journal. If there is no such user, it stays root and \
              says so; `root` keeps it root.",
    ),
    without_flag(
        "group",
        Kind::Text(|config| &mut config.group),
        "Group, by name or number, whose members see over the socket whose the reservations are, as root does, and may read the journal. Others \
              see that of their own alone. If there is no such group, only root does. Found at the start.",
    ),
    without_flag(
        "oom_score_adj",
        Kind::Integer(|config| &mut config.oom_score_adj, -1000, 1000),
        "The agent's own oom_score_adj. At -999 the agent is the last process that the OOM killer chooses.",
    ),
    without_flag(
        "host",
        Kind::OptionalText(|config| &mut config.host),
        "Name of this host in alerts. Unless set, the host name, which may differ in a container.",
    ),
    profile::PROFILE,
    Setting {
        key: "log.level",
        flag: Some("log-level"),
        kind: Kind::Choice(|config| &mut config.log.level, &["error", "warn", "info", "debug", "trace"]),
        doc: "Log messages of this level and above.",
    },
    Setting {
        key: "log.format",
        flag: Some("log-format"),
        kind: Kind::Choice(|config| &mut config.log.format, &["auto", "pretty", "json"]),
        doc: "Format of log messages on stderr: pretty is text, json is one JSON object per line, auto is pretty on a \
              terminal, an entry with fields where stderr goes to systemd's journal, and json elsewhere.",
    },
    Setting {
        key: "kernel.btf",
        flag: Some("btf"),
        kind: Kind::OptionalPath(|config| &mut config.kernel.btf),
        doc: "File with the BTF of the running kernel, for kernels built without it. \
              Unless set, /sys/kernel/btf/vmlinux is used.",
    },
    without_flag(
        "kernel.disable",
        Kind::Probes(|config| &mut config.kernel.disable),
        "Signals or single programs that are not attached; docs/signals.md lists the names.",
    ),
    without_flag(
        "kernel.stall",
        Kind::Duration(|config| &mut config.kernel.stall, Duration::ZERO, HOUR),
        "Report each reclaim or compaction stall of at least this length as an event. All stalls are counted.",
    ),
    without_flag(
        "kernel.slow_io",
        Kind::Duration(|config| &mut config.kernel.slow_io, Duration::ZERO, HOUR),
        "Report each block IO of at least this length as an event, and every failed IO. All IOs are counted.",
    ),
    without_flag(
        "kernel.critical_ring",
        Kind::Ring(|config| &mut config.kernel.critical_ring, 4096, 1024 * MIB),
        "Size in bytes of the ring buffer for OOM kills and for created and removed cgroups. \
              A power of two, at least one page.",
    ),
    without_flag(
        "kernel.bulk_ring",
        Kind::Ring(|config| &mut config.kernel.bulk_ring, 4096, 1024 * MIB),
        "Size in bytes of the ring buffer for stalls and for slow and failed IO. \
              A power of two, at least one page.",
    ),
    without_flag(
        "kernel.measure",
        Kind::Duration(|config| &mut config.kernel.measure, Duration::ZERO, DAY),
        "How long after the start the kernel measures the run time of the eBPF programs; \
              \"0s\" disables it. Measuring itself costs some time on every event.",
    ),
    Setting {
        key: "kernel.debug",
        flag: Some("kernel-debug"),
        kind: Kind::Switch(|config| &mut config.kernel.debug),
        doc: "Log the debug messages of the eBPF programs at any log.level.",
    },
    Setting {
        key: "kernel.require_probes",
        flag: Some("require-probes"),
        kind: Kind::Switch(|config| &mut config.kernel.require_probes),
        doc: "Exit with code 7 if more probes fail than are attached, or if none is attached because this kernel supports none \
              that is wanted; the doctor does the same. Probes that are disabled, that this kernel does not need, or whose \
              fallback is attached do not count, so a kernel under lockdown with its BTF is no failure. Unless set, the \
              agent goes on with cgroup files, pressure and GPUs, and says so.",
    },
    without_flag(
        "fault.access",
        Kind::Switch(|config| &mut config.fault.access),
        "Count every page fault by mode and access, as it happens. It takes some ten nanoseconds of each fault, and calling any \
              program as much again or more ([cost.md](cost.md#page-faults)). If false, nothing runs at a page fault: their number is the \
              kernel's own, from memory.stat, read once in workload.stat_interval; mode and access are not known. Major faults are \
              counted and timed as before.",
    ),
    without_flag(
        "workload.max",
        Kind::Count(|config| &mut config.workload.max, 1, 100_000),
        "Maximum number of workloads with their own series. Further ones are summed as workload \"other\", and counted.",
    ),
    without_flag(
        "workload.grace",
        Kind::Duration(|config| &mut config.workload.grace, Duration::ZERO, DAY),
        "How long the series of a removed workload stay, so that one more scrape sees them. If new workloads need \
              the room, the series removed first go earlier, and that is counted.",
    ),
    without_flag(
        "workload.kubelet",
        Kind::Path(|config| &mut config.workload.kubelet),
        "The kubelet's log folder, with the folders containers and pods. The agent reads the names of pods and \
              containers there.",
    ),
    without_flag(
        "workload.docker",
        Kind::Path(|config| &mut config.workload.docker),
        "Docker's data-root, for container names. What its daemon.json and its command line say is looked at too, \
              and the snap's. Rootless Docker is found in each user's home.",
    ),
    without_flag(
        "workload.podman",
        Kind::Path(|config| &mut config.workload.podman),
        "Podman's graphRoot, for container names. What storage.conf says is looked at too. Rootless Podman is found \
              in each user's home.",
    ),
    without_flag(
        "workload.containerd",
        Kind::Path(|config| &mut config.workload.containerd),
        "containerd's state directory, for names of nerdctl's containers, and of containers in pods where the \
              kubelet's logs have none. Those of K3s, RKE2, k0s and MicroK8s are looked at too.",
    ),
    without_flag(
        "workload.stat_interval",
        Kind::Duration(|config| &mut config.workload.stat_interval, Duration::from_millis(10), HOUR),
        "Interval of reading each workload's memory.stat, the most costly file for the kernel, and values that \
              rarely change, such as limits. Each tick reads an equal share of the workloads, and those (64 at \
              most) that use 80 % of a memory limit, hold 5 % of the host's memory, or grow by more than 1 %. \
              While nothing happens in a workload, its memory.stat is read in every tenth interval.",
    ),
    without_flag(
        "workload.close_interval",
        Kind::Duration(|config| &mut config.workload.close_interval, Duration::from_millis(500), HOUR),
        "Interval of reading what workloads that serve models or hold GPU memory (64 at most) wait for: the run queue \
              of their tasks, CPU quotas, and memory that is read again. Incidents of slowness compare these steps.",
    ),
    without_flag(
        "workload.sample",
        Kind::Duration(|config| &mut config.workload.sample, Duration::ZERO, HOUR),
        "Interval of reading the memory in use of workloads (64 at most) that use 80 % of a memory limit or grew by \
              2 % in a tick. The history has the least, the mean and the most of each second, and an incident the \
              readings of the second before a kill. \"0s\", or no less than tick, reads it at ticks alone; less than \
              20 ms costs more than it shows.",
    ),
    pressure::MEMORY_WAITING,
    pressure::MEMORY_STALLED,
    pressure::MEMORY_WINDOW,
    pressure::IO_WAITING,
    pressure::IO_STALLED,
    pressure::IO_WINDOW,
    pressure::CPU_WAITING,
    pressure::CPU_WINDOW,
    without_flag(
        "disk.exclude",
        Kind::Patterns(|config| &mut config.disk.exclude),
        "Disks to leave out of the disk metrics (headroom_host_disk_…); * matches any text. Partitions are always \
              left out.",
    ),
    without_flag(
        "filesystem.exclude",
        Kind::Patterns(|config| &mut config.filesystem.exclude),
        "Mount points to leave out of the filesystem metrics; * matches any text, slashes included. Volumes in memory \
              that containers and pods write to (/dev/shm, emptyDirs of medium Memory) are left out only by patterns \
              other than the default ones.",
    ),
    without_flag(
        "filesystem.exclude_types",
        Kind::Patterns(|config| &mut config.filesystem.exclude_types),
        "Filesystem types to leave out of the filesystem metrics; * matches any text.",
    ),
    without_flag(
        "filesystem.interval",
        Kind::Duration(|config| &mut config.filesystem.interval, Duration::ZERO, HOUR),
        "Interval of reading the size and use of filesystems; at most once per tick.",
    ),
    without_flag(
        "filesystem.deadline",
        Kind::Duration(|config| &mut config.filesystem.deadline, Duration::from_millis(10), HOUR),
        "Timeout for reading one filesystem. If it expires, as with NFS and a dead server, the series of this \
              filesystem disappear; the others are not delayed.",
    ),
    network::ENABLED,
    network::EXCLUDE,
    network::INTERVAL,
    network::NAMESPACES,
    gpu::ENABLED,
    gpu::LIBRARY,
    gpu::INTERVAL,
    gpu::DEADLINE,
    gpu::PCIE_BUDGET,
    model_file::ENABLED,
    model_file::INSPECT,
    model_file::INTERVAL,
    model_file::STORE_INTERVAL,
    model_file::UNUSED_AFTER,
    starved::ENABLED,
    starved::FALL,
    starved::WINDOW,
    starved::BASELINE,
    leak::WINDOW,
    transfer::ENABLED,
    transfer::SCAN,
    model::ENABLED,
    model::INTERVAL,
    model::EXCLUDE,
    latency::ENABLED,
    latency::WORSE,
    latency::WINDOW,
    latency::BASELINE,
    latency::LEARN,
    latency::REQUESTS,
    latency::ACCEPT,
    scaling::ABOVE,
    scaling::BELOW,
    scaling::LEAST,
    scaling::MOST,
    scaling::COOL_DOWN,
    level::MEMORY_LIMIT,
    level::CPU_LIMIT,
    level::FILESYSTEM_LIMIT,
    level::FILESYSTEMS,
    level::GPU_LIMIT,
    level::MODEL_SERVERS,
    admission::WITHIN_LIMITS,
    admission::START_TIMEOUT,
    admission::LEARN_AFTER,
    admission::USER_RESERVATIONS,
    admission::USER_WAITING,
    admission::USER_SHARE,
    admission::HIGH_PRIORITY,
    admission::SLOTS,
    admission::EVICTION_TIMEOUT,
    admission::EVICTION_LEAST,
    admission::EVICTION_PART,
    need::MEMORY,
    need::RESERVED,
    without_flag(
        "metrics.detail",
        Kind::Choice(|config| &mut config.metrics.detail, &Level::NAMES),
        "All series (full), or those worth their price (usual): docs/metrics.md says which. Rules see all either way.",
    ),
    without_flag(
        "metrics.max_series",
        Kind::Count(|config| &mut config.metrics.max_series, 1, 10_000_000),
        "Maximum number of series in one exposition. Further ones are left out, and counted.",
    ),
    without_flag(
        "metrics.max_bytes",
        Kind::Count(|config| &mut config.metrics.max_bytes, 1, 1 << 30),
        "Maximum size of one exposition in bytes, about; no more than a fifteenth of the agent's memory limit. Above it, \
              the series with the longest labels are left out, and counted: whoever may create cgroups decides how \
              long their names are.",
    ),
    history::MEMORY,
    history::WORKLOADS,
    history::MAX_AGE,
    history::MAX_BYTES,
    Setting {
        key: "journal.dir",
        flag: Some("journal-dir"),
        kind: Kind::Path(|config| &mut config.journal.dir),
        doc: "Folder of the journal, which keeps alerts, incidents and other events across restarts. If the agent \
              cannot write there, it logs an error and continues without a journal.",
    },
    without_flag(
        "journal.max_age",
        Kind::Duration(|config| &mut config.journal.max_age, Duration::from_secs(1), YEARS),
        "Maximum age of entries in the journal; older ones are removed.",
    ),
    without_flag(
        "journal.max_bytes",
        Kind::Count(|config| &mut config.journal.max_bytes, 1, 1 << 40),
        "Maximum size of the journal in bytes. The oldest entries are removed to make room, events before alerts \
              and incidents. Values below 1048576 count as 1048576. The write-ahead log, a few megabytes, is \
              not included.",
    ),
    guard::NO_AGENT,
    guard::STARTS,
];

#[cfg(test)]
mod tests;

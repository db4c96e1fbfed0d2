//! [`Config`]: every value that can be set, section by section, and its default. Knows neither keys nor layers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::entry::Entry;
use super::sink::Sink;
use crate::rule::raw::Raw;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Config {
    /// Address of the HTTP listener.
    pub listen: SocketAddr,
    /// On which terms it answers: TLS, passwords.
    pub web_config: Option<PathBuf>,
    /// How often counters are read.
    pub tick: Duration,
    /// Where the host's root is mounted.
    pub rootfs: PathBuf,
    /// Held while running, so that a second instance is refused.
    pub lock: PathBuf,
    /// The agent's own `oom_score_adj`.
    pub oom_score_adj: i32,
    /// What this host is called by receivers of alerts; empty is what it calls itself.
    pub host: String,
    /// `[log]`
    pub log: Log,
    /// `[kernel]`
    pub kernel: Kernel,
    /// `[workload]`
    pub workload: Workload,
    /// `[pressure]`
    pub pressure: Pressure,
    /// `[disk]`
    pub disk: Disk,
    /// `[filesystem]`
    pub filesystem: Filesystem,
    /// `[gpu]`
    pub gpu: Gpu,
    /// `[transfer]`
    pub transfer: Transfer,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[journal]`
    pub journal: Journal,
    /// `[[rule]]`
    pub rule: Vec<Entry<Raw>>,
    /// `[[sink.…]]`
    pub sink: Sinks,
}

/// `[[sink.…]]`
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Sinks {
    /// `[[sink.webhook]]`
    pub webhook: Vec<Entry<Sink>>,
    /// `[[sink.alertmanager]]`
    pub alertmanager: Vec<Entry<Sink>>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Log {
    /// error, warn, info, debug or trace.
    pub level: String,
    /// auto (pretty on a terminal, JSON otherwise), pretty or json.
    pub format: String,
}

/// `[kernel]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Kernel {
    /// BTF of the running kernel, where /sys/kernel/btf/vmlinux is missing.
    pub btf: Option<PathBuf>,
    /// Signals or single programs that are not attached.
    pub disable: Vec<String>,
    /// Reclaim and compaction stalls of at least this length are reported one by one.
    pub stall: Duration,
    /// IO of at least this length is reported one by one.
    pub slow_io: Duration,
    /// Bytes of the critical ring: a power of two, at least a page.
    pub critical_ring: u32,
    /// Bytes of the bulk ring: a power of two, at least a page.
    pub bulk_ring: u32,
    /// For how long from the start the kernel measures the programs' own run time; "0s" is never.
    pub measure: Duration,
    /// Pass on the programs' own debug messages.
    pub debug: bool,
}

/// `[workload]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Workload {
    /// Workloads with series of their own; the rest is summed as `other`.
    pub max: usize,
    /// How long a dead workload's series stay.
    pub grace: Duration,
    /// Where the kubelet has the logs of containers and pods.
    pub kubelet: PathBuf,
    /// Where Docker keeps its data.
    pub docker: PathBuf,
    /// Where Podman keeps its containers.
    pub podman: PathBuf,
    /// How often what is costly to read, or seldom changes, is read.
    pub stat_interval: Duration,
}

/// `[pressure]`: a threshold of zero is no trigger.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Pressure {
    /// Tell when some task waited for memory for as long as this within the window.
    pub memory_waiting: Duration,
    /// Tell when all tasks did.
    pub memory_stalled: Duration,
    /// The window of both.
    pub memory_window: Duration,
    /// Tell when some task waited for IO.
    pub io_waiting: Duration,
    /// Tell when all tasks did.
    pub io_stalled: Duration,
    /// The window of both.
    pub io_window: Duration,
    /// Tell when some task waited for a CPU.
    pub cpu_waiting: Duration,
    /// Its window.
    pub cpu_window: Duration,
}

/// `[disk]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Disk {
    /// Disks that are left out, `*` for any text.
    pub exclude: Vec<String>,
}

/// `[filesystem]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Filesystem {
    /// Mount points that are left out, `*` for any text.
    pub exclude: Vec<String>,
    /// Types that are left out, `*` for any text.
    pub exclude_types: Vec<String>,
    /// How often filesystems are asked.
    pub interval: Duration,
    /// How long one may take to answer.
    pub deadline: Duration,
}

/// `[gpu]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Gpu {
    /// auto (if there is a library), on or off.
    pub enabled: String,
    /// NVML's library, where it is not in a usual place.
    pub library: Option<PathBuf>,
    /// How often GPUs are read.
    pub interval: Duration,
    /// How long a call of the library may take.
    pub deadline: Duration,
}

/// `[transfer]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Transfer {
    /// Whether copies between host and GPU are watched.
    pub enabled: bool,
    /// How often new processes and libraries are looked for.
    pub scan: Duration,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Metrics {
    /// Series in one exposition; what is over is left out and counted.
    pub max_series: usize,
}

/// `[journal]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Journal {
    /// Where it is.
    pub dir: PathBuf,
    /// Whatever is older goes.
    pub max_age: Duration,
    /// Bytes on disk.
    pub max_bytes: usize,
}

/// The shortest window that the kernel allows to those without CAP_SYS_RESOURCE.
const WINDOW: Duration = Duration::from_secs(2);

/// Other programs' mounts: those of containers and pods come and go, and show what is shown elsewhere.
const MOUNTPOINTS: &str = "/proc /proc/* /sys /sys/* /run/credentials/* /run/containerd/* /run/k3s/containerd/* \
    /run/docker/* /run/netns/* /run/user/* /var/lib/docker/* /var/lib/containers/storage/* /var/lib/containerd/* \
    /var/lib/kubelet/*";

/// What holds nobody's data.
const TYPES: &str = "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs erofs fusectl \
    fuse.lxcfs hugetlbfs iso9660 mqueue nsfs overlay proc procfs pstore ramfs rpc_pipefs securityfs selinuxfs squashfs \
    sysfs tracefs";

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9843),
            web_config: None,
            tick: Duration::from_secs(1),
            rootfs: PathBuf::from("/"),
            lock: PathBuf::from("/run/headroom/lock"),
            oom_score_adj: -999,
            host: String::new(),
            log: Log { level: "info".into(), format: "auto".into() },
            kernel: Kernel {
                btf: None,
                disable: Vec::new(),
                stall: Duration::from_millis(100),
                slow_io: Duration::from_secs(1),
                critical_ring: 256 * 1024,
                bulk_ring: 1024 * 1024,
                measure: Duration::from_secs(10),
                debug: false,
            },
            workload: Workload {
                max: 2000,
                grace: Duration::from_secs(60),
                kubelet: PathBuf::from("/var/log"),
                docker: PathBuf::from("/var/lib/docker"),
                podman: PathBuf::from("/var/lib/containers/storage"),
                stat_interval: Duration::from_secs(10),
            },
            pressure: Pressure {
                memory_waiting: Duration::from_millis(300),
                memory_stalled: Duration::from_millis(200),
                memory_window: WINDOW,
                io_waiting: Duration::ZERO,
                io_stalled: Duration::from_secs(1),
                io_window: WINDOW,
                cpu_waiting: Duration::ZERO,
                cpu_window: WINDOW,
            },
            disk: Disk { exclude: names("loop* ram* zram* fd*") },
            filesystem: Filesystem {
                exclude: names(MOUNTPOINTS),
                exclude_types: names(TYPES),
                interval: Duration::from_secs(10),
                deadline: Duration::from_secs(5),
            },
            gpu: Gpu {
                enabled: "auto".into(),
                library: None,
                interval: Duration::from_secs(1),
                deadline: Duration::from_secs(5),
            },
            transfer: Transfer { enabled: false, scan: Duration::from_secs(2) },
            metrics: Metrics { max_series: 200_000 },
            journal: Journal {
                dir: PathBuf::from("/var/lib/headroom"),
                max_age: Duration::from_secs(30 * 24 * 3600),
                max_bytes: 128 * 1024 * 1024,
            },
            rule: Vec::new(),
            sink: Sinks::default(),
        }
    }
}

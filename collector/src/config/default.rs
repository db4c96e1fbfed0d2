//! What each setting is unless somebody sets it. Knows neither keys nor layers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::admission::Admission;
use super::latency::Latency;
use super::leak::Leak;
use super::level::Levels;
use super::scaling::Scaling;
use super::section::{
    Config, Disk, Fault, Filesystem, Gpu, Guard, History, Journal, Kernel, Log, Metrics, ModelFile, Models, Need,
    Network, Pressure, Sinks, Transfer, Workload,
};
use super::starved::Starved;

/// The shortest PSI window that the kernel allows without CAP_SYS_RESOURCE.
const WINDOW: Duration = Duration::from_secs(2);

/// Mount points of kernel interfaces, containers and pods: short-lived, and their filesystems are listed elsewhere.
const MOUNTPOINTS: &str = "/proc /proc/* /sys /sys/* /run/credentials/* /run/containerd/* /run/k3s/containerd/* \
    /run/docker/* /run/netns/* /run/user/* /var/lib/docker/* /var/lib/containers/storage/* /var/lib/containerd/* \
    /var/lib/kubelet/*";

/// Interfaces within the host: the loopback, ends of pairs that lead into containers, bridges that pass on what an interface carries
/// already, and devices that shape traffic.
const INTERFACES: &str =
    "lo veth* cali* lxc* cilium* cni* flannel* docker* br-* virbr* vnet* tap* kube-* ifb* dummy* nodelocaldns";

/// Filesystem types without user data.
const TYPES: &str = "autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs erofs fusectl \
    fuse.lxcfs hugetlbfs iso9660 mqueue nsfs overlay proc procfs pstore ramfs rpc_pipefs securityfs selinuxfs squashfs \
    sysfs tracefs";

/// Services that hold most of a GPU on purpose, under the names that their packages and guides give them.
const MODEL_SERVERS: &str = "ollama.service vllm.service vllm@*.service sglang.service sglang@*.service \
    llama-server.service llama-server@*.service tgi.service triton.service docker/ollama docker/vllm docker/sglang";

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9843),
            socket: Some(PathBuf::from("/run/headroom/headroom.sock")),
            web_config: None,
            allowed_hosts: Vec::new(),
            tick: Duration::from_secs(1),
            rootfs: PathBuf::from("/"),
            lock: PathBuf::from("/run/headroom/lock"),
            user: "headroom".into(),
            group: "headroom".into(),
            oom_score_adj: -999,
            host: String::new(),
            profile: String::new(),
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
                require_probes: false,
            },
            fault: Fault { access: true },
            workload: Workload {
                max: 2000,
                grace: Duration::from_secs(60),
                kubelet: PathBuf::from("/var/log"),
                docker: PathBuf::from("/var/lib/docker"),
                podman: PathBuf::from("/var/lib/containers/storage"),
                containerd: PathBuf::from("/run/containerd"),
                stat_interval: Duration::from_secs(10),
                close_interval: Duration::from_secs(5),
                sample: Duration::from_millis(100),
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
            network: Network {
                enabled: true,
                exclude: names(INTERFACES),
                interval: Duration::from_secs(5),
                namespaces: true,
            },
            gpu: Gpu {
                enabled: "auto".into(),
                library: None,
                interval: Duration::from_secs(1),
                deadline: Duration::from_secs(5),
                pcie_budget: Duration::from_millis(10),
            },
            model_file: ModelFile {
                enabled: true,
                inspect: false,
                interval: Duration::from_secs(10),
                store_interval: Duration::from_secs(600),
                unused_after: Duration::from_secs(7 * 24 * 3600),
            },
            starved: Starved::default(),
            leak: Leak::default(),
            transfer: Transfer { enabled: false, scan: Duration::from_secs(2) },
            models: Models { enabled: true, interval: Duration::from_secs(5), exclude: Vec::new() },
            latency: Latency::default(),
            scaling: Scaling::default(),
            level: Levels {
                memory_limit: 0.9,
                cpu_limit: 1.0,
                filesystem_limit: 0.95,
                gpu_limit: 0.97,
                filesystems: Vec::new(),
                model_servers: names(MODEL_SERVERS),
                target: Vec::new(),
            },
            admission: Admission::default(),
            need: Need::default(),
            metrics: Metrics { detail: "usual".into(), max_series: 200_000, max_bytes: 24 << 20 },
            history: History {
                memory: 32 << 20,
                workloads: 200,
                max_age: Duration::from_secs(90 * 24 * 3600),
                max_bytes: 256 << 20,
            },
            journal: Journal {
                dir: PathBuf::from("/var/lib/headroom"),
                max_age: Duration::from_secs(30 * 24 * 3600),
                max_bytes: 128 * 1024 * 1024,
            },
            guard: Guard { no_agent: "allow".into(), starts: 60 },
            rule: Vec::new(),
            pool: Vec::new(),
            reservation: Vec::new(),
            model: Vec::new(),
            model_server: Vec::new(),
            model_store: Vec::new(),
            sink: Sinks::default(),
        }
    }
}

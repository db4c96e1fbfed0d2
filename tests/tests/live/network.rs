//! What goes through the network: two network namespaces of the test's own with a pair of interfaces between them, and the test's own count
//! of the bytes that it sends; and the host's interfaces against the kernel's list.

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;

const CONFIG: &str = "tick = \"100ms\"\n[network]\ninterval = \"500ms\"\n";
/// Ethernet's header, IPv4's and UDP's.
const HEAD: usize = 14 + 20 + 8;
const PACKETS: usize = 1000;
const PAYLOAD: usize = 1111;

/// A process in a cgroup and in a network namespace.
struct Holder {
    child: Child,
}

impl Holder {
    /// In a namespace of its own, or in that of a process.
    fn new(cgroup: &Cgroup, of: Option<u32>) -> Holder {
        let mut command = match of {
            None => Command::new("unshare"),
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["-t", &pid.to_string()]);
                command
            }
        };
        command.args(["-n", "sleep", "1000"]).stdin(Stdio::null());
        let holder = Holder { child: cgroup.spawn(&mut command) };
        let begun = Instant::now();
        while holder.command_name() != "sleep\n" {
            assert!(begun.elapsed() < PATIENCE, "{:?}", holder.command_name());
            std::thread::sleep(Duration::from_millis(5));
        }
        holder
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn command_name(&self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.pid())).unwrap_or_default()
    }

    fn run(&self, line: &str) {
        let pid = self.pid().to_string();
        let output = Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-ec", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs something on a thread in the namespace.
    fn within<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(format!("/proc/{}/ns/net", self.pid())).unwrap();
        let inside = move || {
            // SAFETY: changes the namespace of this thread alone, which ends with the action.
            let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
            action()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two namespaces, and a pair of interfaces through which nothing goes but what the test sends: no IPv6, and addresses that are known.
fn pair(one: &Holder, other: &Holder) {
    let quiet = "test ! -e /proc/sys/net/ipv6 || echo 1 | tee /proc/sys/net/ipv6/conf/*/disable_ipv6 >/dev/null";
    one.run(quiet);
    other.run(quiet);
    let peer = other.pid();
    let [here, there] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    one.run(&format!("ip link add va address {here} type veth peer name vb address {there} netns {peer}"));
    for (holder, name, own, far, address) in [(one, "va", 1, 2, there), (other, "vb", 2, 1, here)] {
        holder.run(&format!(
            "ip addr add 192.0.2.{own}/24 dev {name}; ip link set {name} up arp off; \
             ip neigh replace 192.0.2.{far} lladdr {address} dev {name}"
        ));
    }
}

#[test]
fn what_two_namespaces_exchange_is_counted_to_the_byte_and_once() {
    needs!(is_root(), "loading eBPF programs needs root");
    let missing = ["ip", "unshare", "nsenter"].map(|name| Command::new(name).arg("-V").output().is_err());
    needs!(!missing.contains(&true), "ip of iproute2, unshare and nsenter are needed");
    let agent = Agent::start(CONFIG);
    // The last shares the namespace of the first, as the containers of a pod do.
    let cgroups = ["net-a", "net-b", "net-c"].map(Cgroup::new);
    let [a, b, c] = &cgroups;
    let (one, other) = (Holder::new(a, None), Holder::new(b, None));
    let _sharer = Holder::new(c, Some(one.pid()));
    pair(&one, &other);
    let receiver = other.within(|| UdpSocket::bind("192.0.2.2:4000").unwrap());
    one.within(|| {
        let sender = UdpSocket::bind("192.0.2.1:0").unwrap();
        for number in 0..PACKETS {
            sender.send_to(&[7; PAYLOAD], "192.0.2.2:4000").unwrap();
            // The receiver's buffer is small: what it drops was received by the interface all the same.
            if number % 50 == 0 {
                std::thread::yield_now();
            }
        }
    });
    drop(receiver);
    let sent = (PACKETS * (HEAD + PAYLOAD)) as f64;
    let workload = |cgroup: &Cgroup| cgroup.path.clone();
    let exposition = agent.scrape_until("the traffic of both", |now| {
        let of = |name: &str, cgroup| now.sum(name, &[("workload", &workload(cgroup))]);
        of("headroom_workload_network_transmit_bytes_total", a) >= sent
            && of("headroom_workload_network_receive_bytes_total", b) >= sent
            && now.has("headroom_workload_network_info", &[("workload", &workload(c))])
    });
    let of = |name: &str, cgroup| exposition.values(name, &[("workload", &workload(cgroup))]);
    assert_eq!(of("headroom_workload_network_transmit_bytes_total", a), [sent]);
    assert_eq!(of("headroom_workload_network_receive_bytes_total", b), [sent]);
    for (name, cgroup) in [("receive", a), ("transmit", b), ("transmit", c), ("receive", c)] {
        let name = format!("headroom_workload_network_{name}_bytes_total");
        assert_eq!(exposition.sum(&name, &[("workload", &workload(cgroup))]), 0.0, "{name} {}", cgroup.path);
    }
    let packets = [("workload", workload(a)), ("direction", "transmit".to_owned())];
    let packets: Vec<_> = packets.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(exposition.values("headroom_workload_network_packets_total", &packets), [PACKETS as f64]);
    let shared = [("workload", workload(c)), ("counted_for", workload(a))];
    let shared: Vec<_> = shared.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert!(exposition.has("headroom_workload_network_info", &shared), "{}", exposition.text);
    assert_eq!(exposition.lost("network"), 0.0);
    drop((one, other));
}

/// Bytes that an interface of this host received, by the kernel's list.
fn received() -> Vec<(String, f64)> {
    let text = fs::read_to_string("/proc/net/dev").unwrap();
    let line = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        Some((name.trim().to_owned(), numbers.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

#[test]
fn the_hosts_interfaces_are_counted_as_by_the_kernel_and_a_verdict_knows_the_link_or_says_that_nobody_does() {
    needs!(is_root(), "loading eBPF programs needs root");
    let before = received();
    // The loopback, too: there is no other everywhere.
    let agent = Agent::start(&format!("{CONFIG}exclude = []\n"));
    let exposition = agent.scrape_until("interfaces", |now| now.has("headroom_network_receive_bytes_total", &[]));
    let after = received();
    assert!(before.iter().any(|(name, _)| name == "lo"));
    for (name, before) in &before {
        let Some((_, after)) = after.iter().find(|(other, _)| other == name) else { continue };
        let counted = exposition.sum("headroom_network_receive_bytes_total", &[("device", name)]);
        assert!((*before..=*after).contains(&counted), "{name}: {before} {counted} {after}");
    }
    let socket = agent.directory().join("headroom.sock");
    let output = headroom("admit").args(["--json", "--network", "1M", "--socket"]).arg(&socket).output().unwrap();
    let verdict: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let line = &verdict["resources"][0];
    match line["available"].as_u64() {
        Some(available) => assert!(available <= 1_000_000_000_000, "{verdict}"),
        None => {
            assert_eq!(output.status.code(), Some(23), "{verdict}");
            let why = verdict["not_known"][0].as_str().unwrap();
            let says = ["the speed of ", "which interface ", "how busy "].iter().any(|start| why.starts_with(start));
            assert!(says, "{verdict}");
        }
    }
}

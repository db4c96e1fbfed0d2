//! `/dev/shm` of workloads in mount namespaces of their own, which no mount of the host shows. The witness is df inside.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use collector_tests::agent::Agent;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;

const SIZE: &str = "headroom_workload_tmpfs_size_bytes";
const FREE: &str = "headroom_workload_tmpfs_free_bytes";
const USED: &str = "headroom_workload_tmpfs_used_ratio";
const MOST: &str = "headroom_workload_tmpfs_most_used_ratio";
const CONFIG: &str = "[filesystem]\ninterval = \"1s\"\n[workload]\nstat_interval = \"1s\"\n[[rule]]\nalert = \"WorkloadFilesystemMayBeFull\"\nfor = \"1s\"\n";

/// A process of a user in a cgroup and in a mount namespace of its own.
struct Container {
    _process: Killed,
    /// Of its /dev/shm in bytes, as df there tells.
    size: u64,
    free: u64,
}

impl Container {
    fn start(cgroup: &Cgroup, fill_kib: u64) -> Container {
        // Only what is mounted there is written to.
        let script = format!(
            "mount -t tmpfs -o size=8m shm /dev/shm && dd if=/dev/zero of=/dev/shm/x bs=1k count={fill_kib} 2>/dev/null && \
             df -k /dev/shm && exec setpriv --reuid=4242 sleep 1000"
        );
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).stdout(Stdio::piped());
        let mut process = Killed(cgroup.spawn(&mut command));
        let lines = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.ends_with(" /dev/shm")).unwrap();
        let mut numbers = line.split_whitespace().skip(1).map(|number| number.parse::<u64>().unwrap() * 1024);
        let (size, used) = (numbers.next().unwrap(), numbers.next().unwrap());
        assert_eq!((size, used), (8 << 20, fill_kib << 10), "{line}");
        Container { _process: process, size, free: size - used }
    }
}

fn values(page: &Exposition, workload: &str) -> [Vec<f64>; 4] {
    [SIZE, FREE, USED, MOST].map(|name| page.values(name, &[("workload", workload), ("mountpoint", "/dev/shm")]))
}

/// As LXC makes them.
fn lxc(name: &str) -> (Cgroup, String) {
    let name = format!("{name}-{}", std::process::id());
    (Cgroup::everywhere_at(&format!("/lxc.payload.{name}")), format!("lxc/{name}"))
}

#[test]
fn without_the_right_to_look_there_its_size_is_known_and_the_rest_an_estimate() {
    needs!(is_root(), "mounting needs root");
    let (cgroup, lxc) = lxc("estimate");
    let container = Container::start(&cgroup, 7 << 10);
    // As Podman makes them for a user.
    let slice = Cgroup::everywhere_at("/user-4242.slice");
    let user = slice.child("user@4242.service");
    let rootless = user.child(&format!("libpod-{}.scope", "7b".repeat(32)));
    let other = Container::start(&rootless, 8 << 10);
    // What is charged there does not fit.
    let _sleeper = Killed(collector_tests::provoke!(&rootless, &["act", "shared:1048576:0", "stay"]));
    let agent = Agent::start(CONFIG);

    let page = agent.scrape_until("the estimate", |page| values(page, &lxc)[3].len() == 1);
    let [size, free, used, most] = values(&page, &lxc);
    assert_eq!((&size[..], free, used), (&[container.size as f64][..], vec![], vec![]));
    let real = 1.0 - container.free as f64 / container.size as f64;
    assert!(most[0] >= real && most[0] < real + 0.1, "{most:?} {real}");

    let name = format!("user-4242/podman/{}", "7b".repeat(6));
    let shmem = |page: &Exposition| page.values("headroom_workload_memory_shmem_bytes", &[("workload", &name)]);
    let page = agent.scrape_until("its shared memory", |page| shmem(page).iter().any(|it| *it > other.size as f64));
    assert_eq!(values(&page, &name), [vec![other.size as f64], vec![], vec![], vec![]]);
    drop((container, cgroup));
    agent.scrape_until("it is gone", |page| values(page, &lxc)[0].is_empty());
}

#[test]
fn an_estimate_is_reported_as_one() {
    needs!(is_root(), "mounting needs root");
    let (cgroup, lxc) = lxc("maybe");
    let _container = Container::start(&cgroup, 8 << 10);
    let agent = Agent::start(CONFIG);
    agent.await_log(&[&format!("/dev/shm of {lxc} may be up to 100% full"), "Firing"]);
    assert!(!agent.scrape().has("headroom_alerts", &[("alert", "WorkloadFilesystemFull"), ("workload", &lxc)]));
}

#[test]
fn with_the_right_to_look_there_it_is_read() {
    needs!(is_root(), "mounting needs root");
    let (cgroup, lxc) = lxc("exact");
    let container = Container::start(&cgroup, 8 << 10);
    let agent = Agent::start(&format!(
        "{CONFIG}[[rule]]\nalert = \"WorkloadFilesystemFull\"\nfor = \"1s\"\n[transfer]\nenabled = true\n"
    ));
    let page = agent.scrape_until("it is read", |page| values(page, &lxc)[2].len() == 1);
    assert_eq!(values(&page, &lxc), [vec![container.size as f64], vec![container.free as f64], vec![1.0], vec![]]);
    agent.await_log(&[&format!("/dev/shm of {lxc} is 100% full"), "Firing"]);
}

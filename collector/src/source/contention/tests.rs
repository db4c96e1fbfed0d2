//! Tests with files that stand for those of the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use collector_core::statistic::contention::Statistic;

use super::*;

struct Host(PathBuf);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Host {
    fn new(name: &str) -> Host {
        let host = Host(std::env::temp_dir().join(format!("headroom-contention-{}-{name}", std::process::id())));
        host.write("proc/1/cgroup", "0::/\n");
        let mount = host.0.join("cgroup");
        host.write("proc/1/mountinfo", &format!("30 1 0:26 / {} rw - cgroup2 cgroup2 rw\n", mount.display()));
        host.write("cgroup/cgroup.controllers", "cpu io memory pids\n");
        host
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn reader(&self) -> Reader {
        let read = |name: &str| fs::read_to_string(self.0.join("proc/1").join(name)).unwrap();
        let root = Root::new(Path::new("/"));
        let hierarchies = Hierarchies::parse(&read("cgroup"), &read("mountinfo"), &root).unwrap();
        let (groups, tasks) = (Groups::new(self.0.join("proc"), &hierarchies), Tasks::new(self.0.join("proc")));
        let nodes = Nodes::new(&self.0.join("node"), self.0.join("proc"));
        Reader { groups, tasks, nodes, interval: Duration::from_secs(5) }
    }
}

#[test]
fn a_workload_is_read_with_all_that_is_below_it() {
    let host = Host::new("below");
    host.write("cgroup/a/cgroup.procs", "");
    host.write("cgroup/a/b/cgroup.procs", "7\n0\n");
    host.write("cgroup/a/memory.stat", "anon 5\npgmajfault 3\nworkingset_refault_anon 2\nworkingset_refault_file 10\n");
    host.write("cgroup/a/cpu.max", "150000 100000\n");
    host.write("cgroup/a/cpu.stat", "nr_periods 4\nnr_throttled 1\n");
    host.write("proc/7/task/7/schedstat", "10 20 1\n");
    host.write("proc/7/task/8/schedstat", "10 20 1\n");
    let mut reader = host.reader();
    let reading = reader.round(&["/a".into()]).remove(0);
    let page = rustix::param::page_size() as u64;
    let wanted = [
        (Statistic::CpuWait, 0),
        (Statistic::Tasks, 2),
        (Statistic::CpuQuota, 1500),
        (Statistic::CpuPeriods, 0),
        (Statistic::CpuThrottledPeriods, 0),
        (Statistic::MajorFaults, 3),
        (Statistic::RefaultFile, 10 * page),
        (Statistic::RefaultAnon, 2 * page),
    ];
    assert_eq!(reading.values.iter().collect::<Vec<_>>(), wanted);
    assert_eq!(reading.interval, 5_000_000_000);
    assert_eq!(reader.round(&["/gone".into()]), []);
}

#[test]
fn memory_nodes_are_read_where_there_are_several() {
    let host = Host::new("nodes");
    host.write("cgroup/a/cgroup.procs", "7\n8\n");
    host.write("cgroup/a/memory.numa_stat", "anon N0=100 N1=5\nfile N0=20 N1=3\nshmem N0=7 N1=7\n");
    host.write("proc/7/status", "Name:\tx\nCpus_allowed:\tf\nCpus_allowed_list:\t0-1,4\n");
    host.write("proc/8/status", "Name:\tx\nCpus_allowed_list:\t1\n");
    host.write("node/has_memory", "0\n");
    let read = || host.reader().round(&["/a".into()]).remove(0).nodes;
    assert!(read().is_empty(), "one node");
    host.write("node/has_memory", "0-1\n");
    host.write("node/node0/cpulist", "0-1\n");
    host.write("node/node1/cpulist", "2-3\n");
    let told = |nodes: &[contention::Node]| {
        nodes.iter().map(|it| (it.node, it.bytes, it.runs, it.cpus.to_string())).collect::<Vec<_>>()
    };
    let of = |node, bytes, runs: bool, cpus: &str| (node, bytes, Some(runs), cpus.to_owned());
    assert_eq!(told(&read()), [of(0, Some(120), true, "0-1"), of(1, Some(8), false, "2-3")]);
    // One of its tasks may run on the other.
    host.write("proc/8/status", "Cpus_allowed_list:\t2-9\n");
    assert_eq!(told(&read())[1], of(1, Some(8), true, "2-3"));
    let page = rustix::param::page_size() as u64;
    let v1 = "total=1 N0=1 N1=0\nfile=1 N0=1 N1=0\nhierarchical_total=30 N0=10 N1=20\nhierarchical_file=3 N0=1 N1=2\n";
    host.write("cgroup/a/memory.numa_stat", v1);
    let bytes = |nodes: &[contention::Node]| nodes.iter().map(|it| it.bytes).collect::<Vec<_>>();
    assert_eq!(bytes(&read()), [Some(10 * page), Some(20 * page)]);
    host.write("cgroup/a/memory.numa_stat", "nonsense\n");
    host.write("proc/7/status", "Cpus_allowed_list:\t,,-\n");
    host.write("proc/8/status", "");
    assert_eq!(told(&read()), [(0, None, None, "0-1".to_owned()), (1, None, None, "2-3".to_owned())]);
}

//! Which controllers the kernel offers: on cgroup v1 those that are mounted, on v2 those that its root has.

use std::fs;

use super::mounted;
use crate::source::root::Root;

/// Each by its name on v2, and on v1.
const ISOLATE: [(&str, &str); 5] =
    [("memory", "memory"), ("cpu", "cpu"), ("cpuset", "cpuset"), ("io", "blkio"), ("pids", "pids")];

/// From the content of a process's `cgroup` and `mountinfo`. What the agent's own mounts do not show counts as missing.
pub fn offered(cgroups: &str, mounts: &str, root: &Root) -> Vec<String> {
    let unified = mounted(0, "", mounts, root).map(|hierarchy| hierarchy.root.join("cgroup.controllers"));
    let unified = unified.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    let has = |(name, v1): &(&str, &str)| {
        let legacy = cgroups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let id: u64 = fields.next()?.parse().ok()?;
            fields.next()?.split(',').any(|of| of == *v1).then_some(id)
        });
        let legacy = legacy.filter(|id| *id != 0).and_then(|id| mounted(id, v1, mounts, root));
        legacy.is_some() || unified.split_whitespace().any(|of| of == *name)
    };
    ISOLATE.iter().filter(|both| has(both)).map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn on_v1_a_controller_must_be_mounted_and_on_v2_the_root_must_have_it() {
        let tree = Tree::new();
        let root = Root::new(&tree.0);
        let cgroups = "5:memory:/\n4:cpu,cpuacct:/\n3:blkio:/\n2:pids:/\n0::/\n";
        let mounts = "30 20 0:1 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 20 0:2 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 20 0:3 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n";
        assert_eq!(offered(cgroups, mounts, &root), ["memory", "cpu", "io"], "pids is mounted nowhere");
        let mounts = "30 20 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(offered("0::/\n", mounts, &root), [""; 0], "nothing says what it has");
        tree.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids\n");
        assert_eq!(offered("0::/\n", mounts, &root), ["memory", "cpu", "cpuset", "pids"]);
    }
}

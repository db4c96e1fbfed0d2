//! Tests of finding the hierarchies on v1, v2 and hybrid hosts.

use std::path::Path;

use super::*;

const V1: &str = "25 24 0:20 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                  26 24 0:21 / /sys/fs/cgroup/blk\\040io rw - cgroup cgroup rw,blkio\n\
                  28 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
const UNIFIED: &str = "27 24 0:22 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
const V2: &str = "27 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
const CGROUPS: &str = "4:memory:/a\n3:blkio:/b\n2:cpu,cpuacct:/c\n1:name=systemd:/d\n";

fn hierarchy(id: u64, root: &str) -> Hierarchy {
    Hierarchy { id, root: root.into(), prefix: String::new() }
}

fn parse(cgroups: &str, mounts: &str) -> Hierarchies {
    Hierarchies::parse(cgroups, mounts, &Root::default()).unwrap()
}

#[test]
fn on_v1_each_controller_has_its_own_mount() {
    let found = parse(CGROUPS, V1);
    assert_eq!(found.mode(), "v1");
    assert_eq!(found.memory, hierarchy(4, "/sys/fs/cgroup/memory"));
    assert_eq!(found.io, hierarchy(3, "/sys/fs/cgroup/blk io"));
    let cpu = hierarchy(2, "/sys/fs/cgroup/cpu,cpuacct");
    assert_eq!((found.of(Controller::Cpu), found.of(Controller::Cpuacct)), (Some(&cpu), Some(&cpu)));
    assert_eq!(found.of(Controller::Pids), None, "not compiled in");
    assert_eq!(found.of(Controller::Pressure), None);
    assert_eq!(found.all(), [&found.memory, &found.io, &cpu]);
    assert_eq!(found.distinct().count(), 2);
}

#[test]
fn a_v2_tree_beside_v1_provides_pressure() {
    let found = parse(&format!("{CGROUPS}0::/e\n"), &format!("{V1}{UNIFIED}"));
    assert_eq!(found.mode(), "v1, with a v2 tree for pressure");
    assert_eq!(found.of(Controller::Pressure), Some(&hierarchy(0, "/sys/fs/cgroup/unified")));
    assert_eq!(found.all().len(), 4);
}

#[test]
fn on_v2_all_controllers_share_one_hierarchy() {
    let found = parse("0::/c\n", V2);
    assert_eq!(found.mode(), "v2");
    assert_eq!(found.all(), [&hierarchy(0, "/sys/fs/cgroup")]);
    assert_eq!(found.distinct().count(), 1);
    for controller in [Controller::Memory, Controller::Io, Controller::Cpu, Controller::Pids, Controller::Pressure] {
        assert_eq!(found.of(controller), Some(&found.memory), "{controller:?}");
    }
    assert_eq!(found.of(Controller::Cpuacct), None);
}

#[test]
fn controllers_of_v1_and_v2_may_be_mixed() {
    let found = parse("3:blkio:/b\n2:cpu,cpuacct:/c\n0::/e\n", &format!("{V1}{UNIFIED}"));
    assert_eq!(found.mode(), "hybrid");
    assert_eq!((found.memory.id, found.io.id), (0, 3));
    let found = parse("4:memory:/a\n2:cpuacct:/c\n0::/e\n", &format!("{V1}{UNIFIED}"));
    assert_eq!((found.memory.id, found.io.id), (4, 0));
    assert_eq!(found.of(Controller::Cpuacct), None, "covered by `cpu` in v2");
}

#[test]
fn without_a_mount_the_error_says_what_to_do() {
    for (cgroups, mounts) in [("0::/\n", "garbage\n1 2 - \n - \n"), ("", "")] {
        let error = Hierarchies::parse(cgroups, mounts, &Root::default()).unwrap_err().to_string();
        assert!(error.contains("mount cgroup2"), "{error}");
    }
}

#[test]
fn without_the_memory_controller_another_names_the_workloads() {
    // v1, as a Raspberry Pi boots.
    let mounts = V1.lines().skip(1).collect::<Vec<_>>().join("\n");
    let found = parse("9:blkio:/\n8:cpu,cpuacct:/\n1:name=systemd:/init.scope\n", &mounts);
    assert_eq!((found.memory.id, found.io.id, found.distinct().count()), (9, 9, 1));
    assert_eq!((found.of(Controller::Memory), found.of(Controller::Io)), (None, Some(&found.io)));
    let text = found.describe();
    assert!(text.contains("the memory controller is off") && text.contains("boot with cgroup_enable=memory"), "{text}");
    assert!(text.starts_with("v1: io at"), "{text}");
    // It is there, but mounted nowhere.
    let text = parse("4:memory:/\n3:blkio:/\n", &mounts).describe();
    assert!(text.contains("mount it below /sys/fs/cgroup/memory"), "{text}");
    // Neither of the two.
    let found = parse("8:cpu,cpuacct:/\n", mounts.lines().last().unwrap());
    assert_eq!((found.memory.id, found.io.id, found.missing.len()), (8, 8, 2));
}

#[test]
fn on_v2_the_root_says_which_controllers_are_on() {
    let host = std::env::temp_dir().join(format!("headroom-controllers-{}", std::process::id()));
    for path in ["proc/1", "sys/fs/cgroup"] {
        fs::create_dir_all(host.join(path)).unwrap();
    }
    fs::write(host.join("proc/1/cgroup"), "0::/init.scope\n").unwrap();
    fs::write(host.join("proc/1/mountinfo"), V2).unwrap();
    fs::write(host.join("proc/cgroups"), "#subsys_name hierarchy num_cgroups enabled\nmemory 0 39 0\n").unwrap();
    let mut texts = Vec::new();
    for controllers in ["cpu io pids\n", "cpu memory pids\n", "cpu io memory\n"] {
        fs::write(host.join("sys/fs/cgroup/cgroup.controllers"), controllers).unwrap();
        let found = Hierarchies::find(&Root::new(&host)).unwrap();
        assert_eq!(found.memory.id, 0);
        texts.push((found.of(Controller::Memory).is_some(), found.of(Controller::Io).is_some(), found.describe()));
    }
    fs::remove_dir_all(&host).unwrap();
    let [off, no_io, whole] = &texts[..] else { panic!() };
    assert!(!off.0 && off.1 && off.2.contains("v2: io, cpu") && off.2.contains("cgroup_enable=memory"), "{off:?}");
    assert!(no_io.0 && !no_io.1 && no_io.2.contains("the io controller is off"), "{no_io:?}");
    assert!(whole.0 && whole.1 && !whole.2.contains("off"), "{whole:?}");
}

#[test]
fn in_a_container_mounts_are_below_the_host_root() {
    let found = Hierarchies::parse("0::/c\n", V2, &Root::new("/host")).unwrap();
    assert_eq!(found.memory.root, Path::new("/host/sys/fs/cgroup"));

    let host = std::env::temp_dir().join(format!("headroom-root-{}", std::process::id()));
    fs::create_dir_all(host.join("proc/1")).unwrap();
    fs::write(host.join("proc/1/cgroup"), "0::/init.scope\n").unwrap();
    fs::write(host.join("proc/1/mountinfo"), V2).unwrap();
    let found = Hierarchies::find(&Root::new(&host)).unwrap();
    assert_eq!(found.memory.root, host.join("sys/fs/cgroup"));
    fs::remove_dir_all(&host).unwrap();
    let error = Hierarchies::find(&Root::new(&host)).unwrap_err().to_string();
    assert!(error.contains("proc/1/cgroup"), "{error}");
}

#[test]
fn the_mount_that_shows_the_most_is_used() {
    let part = "27 24 0:22 /docker/abc /part rw - cgroup2 cgroup2 rw\n";
    let found = parse("0::/\n", part).memory;
    assert_eq!((found.root.as_path(), found.prefix.as_str()), (Path::new("/part"), "/docker/abc"));
    assert_eq!(found.relative("/docker/abc/x"), Some("x"));
    assert_eq!(found.relative("/docker/abc"), Some(""));
    assert_eq!(found.relative("/docker/abcd"), None);
    assert_eq!(found.relative("/"), None);
    assert_eq!(parse("0::/\n", &format!("{part}{V2}")).memory, hierarchy(0, "/sys/fs/cgroup"));
    assert_eq!(hierarchy(0, "/m").relative("/a/b"), Some("a/b"));
    assert_eq!(hierarchy(0, "/m").relative("/"), Some(""));
}

#[test]
fn a_mount_may_reach_beyond_the_cgroup_namespace() {
    for (shown, path) in [("/", ""), ("/..", ""), ("/../../..", ""), ("/../a", "/a"), ("/a/", "/a"), ("/..a", "/..a")] {
        assert_eq!(prefix(shown), path, "{shown}");
    }
}

#[test]
fn a_walk_finds_every_directory_with_its_inode() {
    let root = std::env::temp_dir().join(format!("headroom-walk-{}", std::process::id()));
    fs::create_dir_all(root.join("a/b c")).unwrap();
    fs::write(root.join("a/memory.current"), "0").unwrap();
    let inode = |path: &str| Id { hierarchy: 7, id: fs::metadata(root.join(path)).unwrap().ino() };
    for (prefix, top) in [("", "/"), ("/docker/x", "/docker/x")] {
        let hierarchy = Hierarchy { id: 7, root: root.clone(), prefix: prefix.into() };
        let mut found = Vec::new();
        walk(&hierarchy, &mut |id, path| found.push((id, path.to_owned()))).unwrap();
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let below = |path: &str| format!("{prefix}{path}");
        assert_eq!(found, [(inode(""), top.into()), (inode("a"), below("/a")), (inode("a/b c"), below("/a/b c"))]);
    }
    fs::remove_dir_all(&root).unwrap();
    assert!(walk(&Hierarchy { id: 7, root, prefix: String::new() }, &mut |_, _| {}).is_err());
}

#[test]
fn path_in_parses_proc_pid_cgroup() {
    let text = b"12:cpu,cpuacct:/a\n4:memory:/b c/d\n1:name=systemd:/e:f\n0::/g (deleted)\n";
    for (hierarchy, path) in [(12, Some("/a")), (4, Some("/b c/d")), (1, Some("/e:f")), (0, None), (3, None)] {
        assert_eq!(path_in(text, hierarchy), path);
    }
    assert_eq!(path_in(b"", 0), None);
    assert_eq!(path_in(b"0::relative\n0\n:\n\xff", 0), None);
}

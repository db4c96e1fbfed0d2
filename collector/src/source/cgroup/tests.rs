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
    let relative = |of: &Hierarchy, path: &str| of.relative(path).map(|it| it.into_owned());
    assert_eq!(relative(&found, "/docker/abc/x"), Some(b"x".to_vec()));
    assert_eq!(relative(&found, "/docker/abc"), Some(Vec::new()));
    assert_eq!(relative(&found, "/docker/abcd"), None);
    assert_eq!(relative(&found, "/"), None);
    assert_eq!(parse("0::/\n", &format!("{part}{V2}")).memory, hierarchy(0, "/sys/fs/cgroup"));
    assert_eq!(relative(&hierarchy(0, "/m"), r"/a/b\xff"), Some(b"a/b\xff".to_vec()));
    assert_eq!(relative(&hierarchy(0, "/m"), "/"), Some(Vec::new()));
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
    let text = b"12:cpu,cpuacct:/a\n4:memory:/b c/d\n1:name=systemd:/e:f\n0::/g (deleted)\n7:io:/caf\xe9/\x1b\n";
    let found = [(12, "/a"), (4, "/b c/d"), (1, "/e:f"), (0, "/g (deleted)"), (7, r"/caf\xe9/\x1b")];
    for (hierarchy, path) in found {
        assert_eq!(path_in(text, hierarchy).as_deref(), Some(path));
    }
    assert_eq!(path_in(text, 3), None);
    assert_eq!(path_in(b"", 0), None);
    assert_eq!(path_in(b"0::relative\n0\n:\n\xff", 0), None);
    let deep = "/0123456789".repeat(200);
    assert_eq!(path_in(format!("0::{deep}\n").as_bytes(), 0).as_deref(), Some(&deep[..990]));
}

#[test]
fn names_are_bytes_and_lead_back_to_their_directory() {
    let root = std::env::temp_dir().join(format!("headroom-bytes-{}", std::process::id()));
    let hierarchy = Hierarchy { id: 7, root: root.clone(), prefix: String::new() };
    let names =
        [&b"caf\xe9"[..], br"caf\xe9", b"a\x1b[2J\r\n", "\u{202e}x".as_bytes(), br"a\x2db.service", b"x (deleted)"];
    let mut made = Vec::new();
    for name in names {
        let directory = root.join(OsStr::from_bytes(name));
        fs::create_dir_all(&directory).unwrap();
        made.push(Id { hierarchy: 7, id: fs::metadata(&directory).unwrap().ino() });
    }
    let mut found = Vec::new();
    walk(&hierarchy, &mut |id, path| found.push((id, path.to_owned()))).unwrap();
    for (name, id) in names.iter().zip(made) {
        let path = path_in(&[b"0::/", *name].concat(), 0).map(Cow::into_owned);
        // The line ends where a name has a line break, which the kernel accepts in none.
        if let Some(path) = path.filter(|_| !name.contains(&b'\n')) {
            assert_eq!(hierarchy.cgroup_at(&path), Some(id), "{path}");
        }
        let (_, told) = found.iter().find(|(other, _)| *other == id).unwrap();
        assert_eq!(hierarchy.cgroup_at(told), Some(id), "{told}");
        assert!(told.chars().all(text::is_shown));
    }
    found.sort_by(|one, other| one.1.cmp(&other.1));
    found.dedup_by(|one, other| one.1 == other.1);
    assert_eq!(found.len(), names.len() + 1);
    fs::remove_dir_all(&root).unwrap();
}

/// Directories in each other, made and removed without a path.
struct Deep(PathBuf, usize);

impl Deep {
    const NAME: &str = "0123456789012345678901234567890123456789";

    fn new(name: &str, depth: usize) -> Deep {
        let root = std::env::temp_dir().join(format!("headroom-{name}-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let mut at = open(&root);
        for _ in 0..depth {
            // Each level has another directory, which is visited on the way back.
            for name in [Deep::NAME, "beside"] {
                rustix::fs::mkdirat(&at, name, 0o755.into()).unwrap();
            }
            at = below(&at, Deep::NAME);
        }
        Deep(root, depth)
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        let mut at = open(&self.0);
        (0..self.1).for_each(|_| at = below(&at, Deep::NAME));
        for _ in 0..self.1 {
            at = below(&at, "..");
            for name in [Deep::NAME, "beside"] {
                rustix::fs::unlinkat(&at, name, rustix::fs::AtFlags::REMOVEDIR).unwrap();
            }
        }
        fs::remove_dir(&self.0).unwrap();
    }
}

fn open(path: &Path) -> std::os::fd::OwnedFd {
    fs::File::open(path).unwrap().into()
}

fn below(at: &std::os::fd::OwnedFd, name: &str) -> std::os::fd::OwnedFd {
    rustix::fs::openat(at, name, rustix::fs::OFlags::DIRECTORY, rustix::fs::Mode::empty()).unwrap()
}

#[test]
fn a_tree_deeper_than_any_path_is_walked_to_its_end() {
    const DEPTH: usize = 300;
    let deep = Deep::new("deep", DEPTH);
    assert!(DEPTH * (Deep::NAME.len() + 1) > 2 * 4096);
    let hierarchy = Hierarchy { id: 7, root: deep.0.clone(), prefix: String::new() };
    let (mut ids, mut longest, mut cut) = (std::collections::HashSet::new(), 0, 0);
    let unread = walk(&hierarchy, &mut |id, path| {
        assert!(ids.insert(id));
        longest = longest.max(path.len());
        cut += usize::from(path.ends_with("/…"));
    });
    assert_eq!((ids.len(), unread.unwrap().count), (1 + 2 * DEPTH, 0));
    let told = collector_core::cgroup::LONGEST_PATH / (Deep::NAME.len() + 1);
    assert!(longest <= 1024 && cut >= 2 * (DEPTH - told) - 1, "{longest} {cut}");
}

#[test]
fn a_directory_that_cannot_be_read_is_counted_and_the_walk_goes_on() {
    use rustix::process::geteuid;
    if !geteuid().is_root() {
        return;
    }
    let root = std::env::temp_dir().join(format!("headroom-refused-{}", std::process::id()));
    for path in ["a/x", "b/x", "c/x"] {
        fs::create_dir_all(root.join(path)).unwrap();
    }
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(root.join("b"), fs::Permissions::from_mode(0o0)).unwrap();
    let hierarchy = Hierarchy { id: 7, root: root.clone(), prefix: String::new() };
    // As somebody who is not root, in a thread of its own.
    let walked = std::thread::scope(|scope| {
        let walked = scope.spawn(|| {
            // SAFETY: only this thread changes its user, and it ends with this closure.
            unsafe {
                assert_eq!(libc::syscall(libc::SYS_setresgid, 65_534, 65_534, 65_534), 0);
                assert_eq!(libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534), 0);
            }
            let mut found = Vec::new();
            let unread = walk(&hierarchy, &mut |_, path| found.push(path.to_owned())).unwrap();
            found.sort();
            (found, unread)
        });
        walked.join().unwrap()
    });
    fs::remove_dir_all(&root).unwrap();
    assert_eq!(walked.0, ["/", "/a", "/a/x", "/b", "/c", "/c/x"]);
    assert!(walked.1.count == 1 && walked.1.to_string().contains("first /b: "), "{}", walked.1);
}

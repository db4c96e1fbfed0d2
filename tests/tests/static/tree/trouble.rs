//! Hosts with defects: files that are empty, garbage, missing or unreadable, and cgroups with odd names.

use std::os::unix::fs::PermissionsExt;

use super::*;

const JOB: (&str, &str) = ("workload", "/job");
const CURRENT: &str = "headroom_workload_memory_current_bytes";

/// A host with one cgroup on v2.
fn plain() -> Tree {
    let manifest = "/proc/1/cgroup\n    0::/\n\
                    /proc/1/mountinfo\n    33 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                    /sys/fs/cgroup/job like v2-6.18\n    memory.current 4096\n    memory.stat anon 2048\n";
    Tree::plant(manifest, |kernel| super::read(&folder().join("kernel").join(kernel)))
}

fn opened(tree: Tree) -> Host {
    let mut host = Host::open(tree);
    host.walk();
    host
}

fn file(name: &str) -> String {
    format!("/sys/fs/cgroup/job/{name}")
}

#[test]
fn an_empty_file_has_no_series_until_it_has_content_again() {
    let mut host = opened(plain());
    assert_eq!(host.read(), None);
    let whole = host.exposition();
    let names: Vec<String> = std::fs::read_dir(host.tree.at("/sys/fs/cgroup/job"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let texts: Vec<String> = names.iter().map(|name| super::read(&host.tree.at(&file(name)))).collect();
    for nonsense in
        ["", "\n\n", "max", "-1\n", "garbage", "\u{feff}1\n", "some total=\nfull\n8:0 rbytes=\n", "anon -5\nfile x\n"]
    {
        names.iter().for_each(|name| host.tree.write(&file(name), nonsense));
        assert_eq!(host.read(), None, "{nonsense:?}");
        assert_eq!(host.value(CURRENT, &[JOB]), None, "{nonsense:?}");
        let series = host.exposition();
        // Only for IO an empty file has a meaning: there was none.
        let left = series.lines().filter(|line| line.contains("workload=\"/job\""));
        let left: Vec<_> = left.filter(|line| !line.contains("_info{") && !line.contains("_io")).collect();
        assert_eq!(left, Vec::<&str>::new(), "{nonsense:?}");
        names.iter().zip(&texts).for_each(|(name, text)| host.tree.write(&file(name), text));
        assert_eq!(host.read(), None);
        assert_eq!(host.exposition(), whole, "{nonsense:?}");
    }
}

#[test]
fn new_missing_or_absurd_keys_do_not_harm_the_others() {
    let mut host = opened(plain());
    host.tree.write(
        &file("memory.stat"),
        "future 1\nanon 18446744073709551615\nfile 18446744073709551616\n\nshmem 7\nshmem_next 8 9\n",
    );
    host.tree.write(&file("memory.events"), "oom_kill 3\nnovel 4\n");
    host.tree.write(&file("cpu.stat"), "usage_usec 18446744073709551615\n");
    assert_eq!(host.read(), None);
    let value = |name: &str, labels: &[(&str, &str)]| {
        host.value(&format!("headroom_workload_{name}"), &[&[JOB], labels].concat())
    };
    assert_eq!(value("memory_current_bytes", &[]), Some(4096.0));
    assert_eq!(value("memory_anon_bytes", &[]), Some(18_446_744_073_709_551_615.0));
    assert_eq!(value("memory_file_bytes", &[]), None);
    assert_eq!(value("memory_shmem_bytes", &[]), Some(7.0));
    // Inactive memory is unknown.
    assert_eq!(value("memory_working_set_bytes", &[]), None);
    assert_eq!(value("memory_events_total", &[("event", "oom_kill")]), Some(3.0));
    assert_eq!(value("memory_events_total", &[("event", "low")],), None);
    assert!(value("cpu_seconds_total", &[]).unwrap() > 1e10);
    assert_eq!(value("cpu_throttled_seconds_total", &[]), None);
}

#[test]
fn a_removed_cgroup_is_no_error_and_has_no_series() {
    // With too few descriptors to keep all files open: unlike cgroupfs, this file system can still read open files that were removed.
    let mut host = Host::with(plain(), 8, 1000);
    host.walk();
    assert_eq!(host.read(), None);
    for name in ["memory.stat", "io.stat", "memory.max"] {
        std::fs::remove_file(host.tree.at(&file(name))).unwrap();
    }
    assert_eq!(host.read(), None);
    assert_eq!(host.value("headroom_workload_memory_anon_bytes", &[JOB]), None);
    assert_eq!(host.value(CURRENT, &[JOB]), Some(4096.0));
    std::fs::remove_dir_all(host.tree.at("/sys/fs/cgroup/job")).unwrap();
    assert_eq!(host.read(), None);
    // The removal is noticed elsewhere: here, by a walk.
    host.walk();
    assert_eq!(host.read(), None);
    assert_eq!(host.reader.count(), 0);
    assert_eq!(host.reader.open_files(), 0);
}

#[test]
fn with_few_descriptors_the_numbers_are_the_same() {
    let host = |descriptors| {
        let mut host = Host::with(plant("docker"), descriptors, 1000);
        host.walk();
        assert_eq!(host.read(), None);
        assert_eq!(host.read(), None);
        (host.reader.count(), host.reader.open_files(), host.exposition())
    };
    let (count, open, series) = host(1000);
    // Fifteen files each; two cgroups have thirteen, since the user's services have no `io.stat` and `io.max`.
    assert!(open == 15 * count - 4, "{open} files of {count} cgroups");
    for (descriptors, open) in [(0, 0), (1, 1), (20, 20)] {
        assert_eq!(host(descriptors), (count, open, series.clone()));
    }
    // Enough for files that are read every tick, but not for the rest.
    let (_, open, same) = host(8 * count);
    assert!(open <= 8 * count && open > 7 * count, "{open} files of {count} cgroups");
    assert_eq!(same, series);
}

#[test]
fn an_unreadable_file_is_reported_and_the_rest_is_read() {
    let tree = plain();
    let forbid = |tree: &Tree, names: &[&str], mode: u32| {
        for name in names {
            std::fs::set_permissions(tree.at(&file(name)), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    let allow_folders = |path: &str| {
        std::fs::set_permissions(tree.at(path), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    ["/", "/proc", "/proc/1", "/sys/fs/cgroup", "/sys/fs/cgroup/job"].iter().for_each(|path| allow_folders(path));
    let all = std::fs::read_dir(tree.at("/sys/fs/cgroup/job")).unwrap();
    let all: Vec<String> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    forbid(&tree, &all, 0o444);
    forbid(&tree, &["memory.current", "memory.stat"], 0o000);
    let reader = std::thread::spawn(|| {
        become_nobody();
        let mut host = opened(tree);
        let error = host.read().expect("nobody noticed");
        assert!(error.contains("2 cgroup files") && error.contains("memory.current"), "{error}");
        assert_eq!(host.value(CURRENT, &[JOB]), None);
        assert_eq!(host.value("headroom_workload_memory_peak_bytes", &[JOB]), Some(0.0));
        assert!(host.read().is_some(), "it is still unreadable");
        host
    });
    let mut host = reader.join().unwrap();
    forbid(&host.tree, &["memory.current", "memory.stat"], 0o444);
    assert_eq!(host.read(), None);
    assert_eq!(host.value(CURRENT, &[JOB]), Some(4096.0));
}

/// Gives up root, in this thread only.
fn become_nobody() {
    // SAFETY: the call takes numbers, and changes this thread alone; the C library's wrapper would change all.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) };
    assert!(done == 0 || !rustix::process::geteuid().is_root());
}

#[test]
fn odd_names_are_valid_names() {
    let long = "x".repeat(255);
    let names =
        ["a b", "  ", "ünï→✓", "new\nline", "back\\slash", "quote\"d", "{brace}", "..a", "-rf", "%s", long.as_str()];
    let mut manifest = String::from(
        "/proc/1/cgroup\n    0::/\n/proc/1/mountinfo\n    33 23 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
    );
    manifest.push_str("/sys/fs/cgroup/cgroup.procs\n");
    let tree = Tree::plant(&manifest, |_| unreachable!());
    for (number, name) in names.iter().enumerate() {
        tree.write(&format!("/sys/fs/cgroup/{name}/memory.current"), &format!("{}\n", 1000 + number));
    }
    let mut host = opened(tree);
    assert_eq!(host.read(), None);
    let workloads: Vec<_> = host
        .engine
        .view()
        .workloads
        .iter()
        .map(|workload| {
            (
                workload.identity.top.clone(),
                workload.statistics.get(collector_core::statistic::workload::Statistic::MemoryCurrent),
            )
        })
        .collect();
    for (number, name) in names.iter().enumerate() {
        let told = collector_core::text::escape(name.as_bytes());
        let found = workloads.iter().find(|(top, _)| **top == *format!("/{told}"));
        assert_eq!(found.map(|(_, current)| *current), Some(Some(1000 + number as u64)), "{name:?}");
    }
    // One line per series, whatever is in the names.
    let text = host.exposition();
    assert_eq!(text.lines().filter(|line| line.starts_with(CURRENT)).count(), names.len(), "{text}");
}

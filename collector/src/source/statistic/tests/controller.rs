//! Cgroup v1, where each controller has its own tree; and limits that are read at a kill.

use collector_core::signal::kill;

use super::*;

#[test]
fn a_hierarchy_that_cannot_be_opened_hides_no_other() {
    let mut host = Host::v1();
    let root = Root::new(&host.at);
    for gone in ["blkio", "cpu,cpuacct"] {
        fs::remove_dir_all(host.path(gone)).unwrap();
    }
    host.reader = Reader::open(&root, &Hierarchies::find(&root).unwrap(), LIMITS).unwrap();
    host.write("memory/a/memory.usage_in_bytes", "5\n");
    let memory = host.born(4, "/a", "memory/a");
    let round = host.round();
    assert_eq!(round.get(memory, S::MemoryCurrent), Some(5));
    // Nor does it end the agent if it is the one that names workloads.
    fs::remove_dir_all(host.path("memory")).unwrap();
    host.reader = Reader::open(&root, &Hierarchies::find(&root).unwrap(), LIMITS).unwrap();
    assert_eq!(host.round().cgroups, []);
}

#[test]
fn on_v1_cgroups_at_the_same_path_are_one_workload() {
    let mut host = Host::v1();
    host.write("memory/a/memory.usage_in_bytes", "5\n");
    host.write("blkio/a/blkio.throttle.io_service_bytes_recursive", "8:0 Read 6\nTotal 6\n");
    host.write("cpu,cpuacct/a/cpuacct.usage", "7\n");
    host.write("cpu,cpuacct/a/cpu.stat", "nr_periods 8\n");
    let memory = host.born(4, "/a", "memory/a");
    let (io, cpu) = (host.id(3, "blkio/a"), host.id(2, "cpu,cpuacct/a"));
    let round = host.round();
    assert_eq!(round.get(memory, S::MemoryCurrent), Some(5));
    assert_eq!(round.get(io, S::IoReadBytes), Some(6));
    assert_eq!((round.get(cpu, S::CpuUsage), round.get(cpu, S::CpuPeriods)), (Some(7), Some(8)));
    // The io hierarchy has events; for the others a Joined reading is needed.
    assert_eq!(round.cgroups, [cgroup::Reading::Joined { id: cpu, with: memory }]);
    host.follow(cgroup::Reading::Walk);
    host.follow(cgroup::Reading::Born { id: memory, path: "/a".into() });
    host.follow(cgroup::Reading::Walked);
    assert_eq!(host.round().cgroups, [cgroup::Reading::Joined { id: cpu, with: memory }], "emitted again after a walk");

    host.follow(cgroup::Reading::Died { id: memory });
    assert_eq!(host.round().cgroups, [cgroup::Reading::Died { id: cpu }]);
    assert_eq!(host.reader.open_files(), 0);
}

#[test]
fn on_v1_cgroups_elsewhere_are_found_by_their_processes() {
    let mut host = Host::v1();
    host.write("memory/m/memory.usage_in_bytes", "5\n");
    host.write("memory/m/cgroup.procs", "");
    for (file, text) in [("cpuacct.usage", "7\n"), ("cgroup.procs", "41\n42\n43\n")] {
        host.write(&format!("cpu,cpuacct/jobs/c/{file}"), text);
    }
    host.write("blkio/other/cgroup.procs", "42\n");
    host.write("memory/other/cgroup.procs", "");
    let memory = host.born(4, "/m", "memory/m");
    let cpu = host.id(2, "cpu,cpuacct/jobs/c");
    assert_eq!(host.round().cgroups, [], "no process is in it yet");

    let enter = |pid: u32, memory: &str| {
        let text = format!("4:memory:{memory}\n3:blkio:/other\n2:cpu,cpuacct:/jobs/c\n");
        write(&host.at.join(format!("proc/{pid}/cgroup")), &text);
    };
    // The third process has ended.
    enter(42, "/m");
    enter(41, "/other");
    host.write("memory/m/cgroup.procs", "42\n");
    host.follow(cgroup::Reading::Attached { id: memory, pid: 42 });
    assert_eq!(host.round().cgroups, [], "its processes disagree");

    write(&host.at.join("proc/41/cgroup"), "4:memory:/m/nested\n2:cpu,cpuacct:/jobs/c\n");
    // By its path `nested` is a separate workload.
    host.follow(cgroup::Reading::Attached { id: memory, pid: 41 });
    assert_eq!(host.round().cgroups, []);
    write(&host.at.join("proc/41/cgroup"), "4:memory:/m\n2:cpu,cpuacct:/jobs/c\n");
    host.follow(cgroup::Reading::Attached { id: memory, pid: 41 });
    let round = host.round();
    // blkio:/other belongs to the memory cgroup at that path.
    assert_eq!(round.cgroups, [cgroup::Reading::Joined { id: cpu, with: memory }]);
    assert_eq!(round.get(cpu, S::CpuUsage), Some(7));

    fs::remove_dir_all(host.path("cpu,cpuacct/jobs")).unwrap();
    // An open plain file stays readable after its removal; a cgroupfs file returns ENODEV.
    let died = (0..STILL_TURNS * LIMITS.period).flat_map(|_| host.round().cgroups).collect::<Vec<_>>();
    assert_eq!(died, [cgroup::Reading::Died { id: cpu }]);
    assert_eq!(host.reader.count(), 1);
}

/// A kill in this cgroup, as the reader completes it.
fn limits(host: &mut Host, cgroup: Id) -> Vec<(String, Option<u64>, Option<u64>)> {
    let mut reading = Reading::Oom(oom::Reading::Kill(kill(cgroup)));
    host.reader.complete(&mut reading);
    let Reading::Oom(oom::Reading::Kill(kill)) = reading else { panic!("{reading:?}") };
    kill.limits.into_iter().map(|it| (it.path, it.limit_bytes, it.peak_bytes)).collect()
}

#[test]
fn use_and_limit_at_a_signal_are_read_if_no_program_could_read_them_and_page_cache_near_a_limit() {
    let mut host = Host::v2(LIMITS);
    host.write("a/memory.current", "900\n");
    host.write("a/memory.max", "1000\n");
    let id = host.born(0, "/a", "a");
    host.write("a/memory.stat", "anon 500\nfile 400\nshmem 100\n");
    let mut complete = |memory_bytes, limit_bytes, cgroup| {
        let sent = kill::Sent {
            cgroup: Some(cgroup),
            sender_cgroup: None,
            memory_bytes,
            limit_bytes,
            read_after: false,
            page_cache_bytes: None,
            signal: kill::Signal::Kill,
            fatal: true,
            pid: 1,
            comm: String::new(),
            sender_pid: 2,
            sender_comm: String::new(),
        };
        let mut reading = Reading::Kill(kill::Reading::Sent(sent));
        host.reader.complete(&mut reading);
        let Reading::Kill(kill::Reading::Sent(sent)) = reading else { panic!("{reading:?}") };
        (sent.memory_bytes, sent.limit_bytes, sent.read_after, sent.page_cache_bytes)
    };
    assert_eq!(complete(None, None, id), (Some(900), Some(1000), true, Some(300)));
    assert_eq!(
        complete(Some(5), None, id),
        (Some(5), None, false, None),
        "the program's own number is that of the moment"
    );
    assert_eq!(complete(Some(900), Some(1000), id), (Some(900), Some(1000), false, Some(300)), "near its limit");
    assert_eq!(complete(Some(899), Some(1000), id), (Some(899), Some(1000), false, None), "far from it");
    assert_eq!(complete(None, None, Id { id: id.id + 1000, ..id }), (None, None, false, None));
}

#[test]
fn limits_are_read_at_the_kill_also_inside_a_container_and_before_the_first_tick() {
    let mut host = Host::v2(LIMITS);
    let scope = format!("docker-{}.scope", "4f1c2a9b".repeat(8));
    let inner = format!("{scope}/app");
    for (path, limit) in [(&scope, "max\n"), (&inner, "4096\n")] {
        host.write(&format!("{path}/memory.max"), limit);
        host.write(&format!("{path}/memory.peak"), "4000\n");
    }
    let [top, app] = [&scope, &inner].map(|path| host.born(0, &format!("/{path}"), path));
    let wanted = [(format!("/{inner}"), Some(4096), Some(4000)), (format!("/{scope}"), None, Some(4000))];
    assert_eq!(limits(&mut host, app), wanted);
    host.round();
    assert_eq!(host.reader.count(), 1, "what is inside has no statistics of its own");
    assert_eq!(limits(&mut host, app), wanted);
    host.write(&format!("{scope}/memory.max"), "8192\n");
    assert_eq!(limits(&mut host, top), [(format!("/{scope}"), Some(8192), Some(4000))], "as it is now");
    // Another cgroup at the same path says nothing of the victim's.
    assert_eq!(limits(&mut host, Id { id: app.id + 1_000_000, ..app }), []);
    host.follow(cgroup::Reading::Died { id: app });
    assert_eq!(limits(&mut host, app), []);
}

#[test]
fn after_a_kill_the_victims_workload_and_those_above_are_read_at_the_next_tick() {
    let mut host = Host::new("0::/\n", V2, Limits { period: 100, ..LIMITS });
    let scope = format!("a.slice/docker-{}.scope", "4f1c2a9b".repeat(8));
    let names = ["a.slice", "b.slice", &*scope];
    let [slice, other, top] = names.map(|name| host.make(name, 1));
    let inner = host.make(&format!("{scope}/app"), 1);
    host.round();
    host.round();
    let read_after = |host: &mut Host, victim: Id, anon: u64| {
        names.iter().for_each(|name| host.write(&format!("{name}/memory.stat"), &format!("anon {anon}\n")));
        host.reader.follow(&Reading::Oom(oom::Reading::Kill(kill(victim))));
        let round = host.round();
        [slice, other, top].map(|id| round.get(id, S::MemoryAnon) == Some(anon))
    };
    assert_eq!(read_after(&mut host, top, 2), [true, false, true]);
    assert_eq!(read_after(&mut host, inner, 3), [true, false, true], "inside a container");
    let young = host.make("b.slice/young.service", 1);
    assert_eq!(read_after(&mut host, young, 4), [false, true, false], "born since the last tick");
    assert_eq!(read_after(&mut host, Id { id: 0, ..top }, 5), [false; 3]);
}

#[test]
fn a_limit_that_cannot_be_read_is_not_unlimited() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 4096);
    assert_eq!(limits(&mut host, id), [], "the memory controller is not enabled");
}

#[test]
fn what_hardly_ever_changes_is_read_at_the_first_turn_and_then_seldom() {
    let mut host = Host::v2(LIMITS);
    host.write("a/io.weight", "default 100\n");
    host.write("a/memory.oom.group", "1\n");
    let id = host.make("a", 5);
    let round = host.round();
    assert_eq!((round.get(id, S::IoWeighted), round.get(id, S::MemoryOomGroup)), (Some(0), Some(1)));
    assert_eq!(host.reader.open_files(), 2, "memory.current and memory.stat");
    host.write("a/io.weight", "default 300\n");
    let later = (1..).find(|_| host.round().get(id, S::IoWeighted) == Some(1)).unwrap();
    let turns = later / LIMITS.period;
    assert!((1..=RETRY_ABSENT_TURNS.max(STILL_TURNS)).contains(&turns), "{later}");
}

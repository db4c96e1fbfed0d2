//! Tests of what is read of cgroups in which nothing runs.

use super::*;

/// A cgroup of which everything was read and nothing changed since, except that the events, which are at 1, are now at 2.
fn calm(limits: Limits) -> (Host, Id) {
    let mut host = Host::v2(limits);
    let id = host.make("a", 8 << 20);
    for (file, text) in
        [("cpu.stat", "usage_usec 1\n"), ("memory.events", "max 1\n"), ("memory.pressure", "some total=1\n")]
    {
        host.write(&format!("a/{file}"), text);
    }
    host.write("a/memory.max", "104857600\n");
    host.round();
    host.round();
    host.write("a/memory.events", "max 2\n");
    (host, id)
}

#[test]
fn what_cannot_have_changed_is_read_at_the_cgroups_turn() {
    let (mut host, id) = calm(LIMITS);
    let rounds: Vec<bool> = (0..LIMITS.period).map(|_| host.round().get(id, S::MemoryEventMax) == Some(2)).collect();
    assert_eq!(rounds.iter().filter(|read| **read).count(), 1, "{rounds:?}");
    assert!(!rounds[0]);
}

#[test]
fn cpu_time_or_memory_that_changed_has_all_files_read() {
    for (file, text) in [("cpu.stat", "usage_usec 5\n"), ("memory.current", "8392704\n")] {
        let (mut host, id) = calm(Limits { period: 1000, ..LIMITS });
        assert_eq!(host.round().get(id, S::MemoryEventMax), None, "{file}");
        host.write(&format!("a/{file}"), text);
        let round = host.round();
        assert_eq!(round.get(id, S::MemoryEventMax), Some(2), "{file}");
        assert_eq!(round.get(id, S::MemoryAnon), Some(8 << 20), "as of its turn");
        assert!(host.round().statistics.is_empty(), "{file}: it is calm again");
    }
    let (mut host, id) = calm(Limits { period: 1000, ..LIMITS });
    host.follow(cgroup::Reading::Attached { id, pid: 1 });
    assert_eq!(host.round().get(id, S::MemoryEventMax), Some(2), "a process entered");
}

#[test]
fn a_wait_without_cpu_time_is_read_every_tick_until_it_ends() {
    let (mut host, id) = calm(Limits { period: 1000, ..LIMITS });
    host.write("a/cpu.stat", "usage_usec 5\n");
    for us in 2..9 {
        host.write("a/memory.pressure", &format!("some total={us}\n"));
        assert_eq!(host.round().get(id, S::MemoryPressureSome), Some(us * 1000));
    }
    assert!(host.round().statistics.is_empty(), "it ends");
    host.write("a/memory.events", "max 3\n");
    assert_eq!(host.round().get(id, S::MemoryEventMax), None);
}

#[test]
fn near_a_limit_everything_is_read_every_tick() {
    let mut host = Host::v2(Limits { workloads: 1000, descriptors: 10_000, period: 1000 });
    // More than have their turn early.
    let ids: Vec<Id> = (0..2 * attention::MOST)
        .map(|number| {
            let id = host.make(&format!("a{number}"), 90 << 20);
            for (file, text) in
                [("cpu.stat", "usage_usec 1\n"), ("memory.max", "104857600\n"), ("memory.events", "oom 1\n")]
            {
                host.write(&format!("a{number}/{file}"), text);
            }
            id
        })
        .collect();
    host.round();
    for number in 0..ids.len() {
        host.write(&format!("a{number}/memory.events"), "oom 2\n");
    }
    let round = host.round();
    assert!(ids.iter().all(|id| round.get(*id, S::MemoryEventOom) == Some(2)));
}

#[test]
fn without_cpu_time_everything_is_read_every_tick() {
    let mut host = Host::v2(Limits { period: 1000, ..LIMITS });
    host.write("a/memory.events", "max 1\n");
    let id = host.make("a", 8 << 20);
    host.round();
    host.write("a/memory.events", "max 2\n");
    assert_eq!(host.round().get(id, S::MemoryEventMax), Some(2));
    // On v1 the CPU time is of another hierarchy; once that is gone, so is what it said.
    let mut host = Host::v1();
    host.reader.limits.period = 1000;
    host.write("memory/a/memory.usage_in_bytes", "9000000\n");
    host.write("memory/a/memory.failcnt", "1\n");
    host.write("cpu,cpuacct/a/cpuacct.usage", "7\n");
    let memory = host.born(4, "/a", "memory/a");
    host.round();
    host.round();
    let failures = |host: &mut Host, count: u64| {
        host.write("memory/a/memory.failcnt", &format!("{count}\n"));
        host.round().get(memory, S::MemoryEventMax)
    };
    assert_eq!(failures(&mut host, 2), None);
    host.write("cpu,cpuacct/a/cpuacct.usage", "8\n");
    assert_eq!(failures(&mut host, 3), Some(3));
    host.round();
    assert_eq!(failures(&mut host, 4), None);
    let cpu = host.id(2, "cpu,cpuacct/a");
    host.follow(cgroup::Reading::Died { id: cpu });
    assert_eq!(failures(&mut host, 5), Some(5));
}

#[test]
fn where_nothing_happens_all_files_are_read_at_every_tenth_turn_and_those_of_io_at_each() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 8 << 20);
    let write = |host: &Host, anon: u64, us: u64, written: u64| {
        host.write("a/memory.stat", &format!("anon {anon}\n"));
        host.write("a/cpu.stat", &format!("usage_usec {us}\n"));
        host.write("a/io.stat", &format!("8:0 wbytes={written}\n"));
    };
    write(&host, 1, 1, 1);
    let mut tick = 0;
    // The tick at which a number is emitted.
    let mut when = |host: &mut Host, statistic, number| {
        let from = tick;
        loop {
            tick += 1;
            if host.round().get(id, statistic) == Some(number) {
                return tick - 1;
            }
            assert!(tick < from + 100, "{number} is never read");
        }
    };
    assert_eq!(when(&mut host, S::MemoryAnon, 1), 0);
    // Nothing had changed at the turn before.
    assert_eq!([1, 4, 8].map(|_| when(&mut host, S::MemoryCurrent, 8 << 20)), [4, 8, 12]);
    write(&host, 2, 1, 1);
    assert_eq!(when(&mut host, S::MemoryAnon, 2), STILL_TURNS * LIMITS.period);
    // It changed, so that it is read at the next turn, too.
    write(&host, 3, 1, 1);
    assert_eq!(when(&mut host, S::MemoryAnon, 3), 44);
    assert_eq!([48, 52].map(|_| when(&mut host, S::MemoryCurrent, 8 << 20)), [48, 52]);
    write(&host, 4, 1, 2);
    assert_eq!(when(&mut host, S::IoWriteBytes, 2), 56, "written back although nothing ran");
    assert_eq!(when(&mut host, S::MemoryAnon, 4), 60);
    assert_eq!([64, 68].map(|_| when(&mut host, S::MemoryCurrent, 8 << 20)), [64, 68]);
    write(&host, 5, 2, 2);
    assert_eq!(when(&mut host, S::CpuUsage, 2000), 69, "it ran");
    assert_eq!(when(&mut host, S::MemoryAnon, 5), 72);
}

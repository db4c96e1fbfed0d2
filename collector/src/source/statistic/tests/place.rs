//! Tests of what is read of cgroups that hold nothing, and of more cgroups than the limit.

use super::*;

#[test]
fn of_more_workloads_than_the_limit_only_the_memory_is_read() {
    let mut host = Host::v2(Limits { workloads: 2, ..LIMITS });
    let mut ids = ["a", "b", "c"].map(|name| host.make(name, 1));
    assert_eq!(host.round().statistics.len(), 3, "all are looked at");
    for name in ["a", "b", "c"] {
        host.write(&format!("{name}/memory.current"), "2\n");
        host.write(&format!("{name}/memory.stat"), "anon 2\n");
    }
    let round = host.round();
    // Which two have a place depends on their numbers, which the filesystem gives out.
    ids.sort_by_key(|id| round.get(*id, S::MemoryCurrent).is_none());
    assert_eq!(ids.map(|id| round.get(id, S::MemoryCurrent)), [Some(2), Some(2), None]);
    let rounds: Vec<_> = (0..LIMITS.period).map(|_| host.round()).collect();
    let [anon, current] = [S::MemoryAnon, S::MemoryCurrent].map(|statistic| {
        let last = |id| rounds.iter().rev().find_map(|round| round.get(id, statistic));
        ids.map(last)
    });
    assert_eq!((anon, current), ([Some(2), Some(2), None], [Some(2); 3]), "what is not read is not known");
    // After a kill, its files are read, too.
    host.reader.follow(&Reading::Oom(oom::Reading::Kill(kill(ids[2]))));
    assert_eq!(host.round().get(ids[2], S::MemoryAnon), Some(2));
    let more: Vec<Id> = (0..9).map(|number| host.make(&format!("d{number}"), 1)).collect();
    let round = host.round();
    assert_eq!(more.iter().filter(|id| round.get(**id, S::MemoryCurrent).is_some()).count(), 5);
    assert_eq!(host.reader.count(), 2 * CGROUPS_PER_WORKLOAD);
}

/// The last reading of a cgroup in as many ticks as a turn takes.
fn last(host: &mut Host, id: Id) -> Values {
    let rounds: Vec<Round> = (0..LIMITS.period).map(|_| host.round()).collect();
    let mut all = rounds.into_iter().flat_map(|round| round.statistics);
    all.rfind(|(other, _)| *other == id).expect("it is read once a turn").1
}

#[test]
fn who_has_a_place_keeps_it_until_it_holds_nothing() {
    let mut host = Host::v2(Limits { workloads: 2, ..LIMITS });
    let mut made = ["a", "b", "c"].map(|name| {
        host.write(&format!("{name}/memory.events"), "max 1\n");
        host.write(&format!("{name}/memory.max"), "9\n");
        (host.make(name, 1), name)
    });
    // A filesystem gives numbers of removed folders again: they need not rise.
    made.sort_by_key(|(id, _)| id.id);
    let (ids, names) = (made.map(|(id, _)| id), made.map(|(_, name)| name));
    let current = format!("{}/memory.current", names[0]);
    let refused = |host: &mut Host, count: u64| {
        names.iter().for_each(|name| host.write(&format!("{name}/memory.events"), &format!("max {count}\n")));
        ids.map(|id| last(host, id).get(S::MemoryEventMax))
    };
    assert_eq!(refused(&mut host, 2), [Some(2), Some(2), None]);
    host.write(&current, "0\n");
    assert_eq!(refused(&mut host, 3)[1..], [Some(3), Some(3)], "the place of one that holds nothing is free");
    host.write(&current, "5\n");
    host.round();
    assert_eq!(refused(&mut host, 4), [None, Some(4), Some(4)], "it comes back, and finds none");
    let known = last(&mut host, ids[0]);
    assert_eq!((known.get(S::MemoryCurrent), known.get(S::MemoryLimit)), (Some(5), Some(9)));
    host.follow(cgroup::Reading::Died { id: ids[2] });
    let newcomer = host.make("d", 1);
    assert_eq!(last(&mut host, ids[0]).get(S::MemoryEventMax), None, "one that is new comes first");
    host.follow(cgroup::Reading::Died { id: newcomer });
    assert_eq!(last(&mut host, ids[0]).get(S::MemoryEventMax), Some(4));
}

#[test]
fn one_beyond_the_limit_that_holds_nothing_any_more_makes_room() {
    let mut host = Host::v2(Limits { workloads: 1, ..LIMITS });
    let ids = ["a", "b", "c", "d"].map(|name| host.make(name, 1));
    host.round();
    host.write("d/memory.current", "0\n");
    assert_eq!(last(&mut host, ids[3]).get(S::MemoryCurrent), Some(0));
    let newcomer = host.make("e", 1);
    assert_eq!(host.round().get(newcomer, S::MemoryCurrent), Some(1));
    assert_eq!(host.reader.count(), CGROUPS_PER_WORKLOAD);
}

#[test]
fn of_a_cgroup_that_holds_nothing_only_the_memory_is_read() {
    let mut host = Host::v2(LIMITS);
    let id = host.make("a", 4096);
    for (file, text) in [("cgroup.events", "populated 0\nfrozen 0\n"), ("memory.events", "max 1\n")] {
        host.write(&format!("a/{file}"), text);
    }
    let round = host.round();
    assert_eq!((round.get(id, S::Populated), round.get(id, S::MemoryEventMax)), (Some(0), Some(1)));
    assert_eq!(host.reader.open_files(), 1, "that of its memory");
    host.write("a/memory.events", "max 2\n");
    let rounds: Vec<_> = (0..2 * LIMITS.period).map(|_| host.round()).collect();
    assert!(rounds.iter().all(|round| round.get(id, S::MemoryEventMax) != Some(2)));
    // A process comes: its memory shows it.
    host.write("a/cgroup.events", "populated 1\nfrozen 0\n");
    host.write("a/memory.current", "8192\n");
    let round = host.round();
    assert_eq!((round.get(id, S::Populated), round.get(id, S::MemoryEventMax)), (Some(1), Some(2)));
    // With much memory it does not matter whether a process is in it.
    host.write("a/memory.current", "8388608\n");
    let rounds: Vec<_> = (0..LIMITS.period).map(|_| host.round()).collect();
    assert_eq!(rounds.iter().rev().find_map(|round| round.get(id, S::MemoryCurrent)), Some(8 << 20));
    assert!(rounds.last().unwrap().get(id, S::Populated).is_none());
}

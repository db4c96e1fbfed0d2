//! Network namespaces of workloads, read from outside: `/proc/PID/net/dev` of a process in each. Nothing enters a namespace, and no file
//! of one stays open: that would keep a namespace alive that nobody uses any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use collector_core::cgroup::Id;
use collector_core::identity::Shares;
use collector_core::statistic::network::{Reading, TRAFFIC, Values};

use super::interface::parse;
use super::member::{Look, Members, Owner};
use super::read;
use crate::mutex::lock;
use crate::source::cgroup::Hierarchy;
use crate::source::root::Root;
use crate::source::text::{lines, number};

/// Namespaces that are read; those that cgroups of one owner came to first are a quarter of them at most.
const NAMESPACES: usize = 1024;
/// Cgroups of one namespace that are reported.
const SHARERS: usize = 16;
/// Processes of a cgroup that are tried.
const TRIES: usize = 8;
/// Bytes that are read of a list of processes, and of interfaces.
const PROCESSES: u64 = 4 << 10;
const LIST: u64 = 64 << 10;

pub struct Namespaces {
    proc: PathBuf,
    memory: Hierarchy,
    all: BTreeMap<u64, Namespace>,
    owners: Shares,
    /// Rounds that a namespace without processes is remembered: its counters go on if somebody enters it again.
    grace: u64,
    lost: u64,
}

#[derive(Default)]
struct Namespace {
    /// A process in it.
    pid: u64,
    owner: Owner,
    /// By path: the first is the one that its traffic is counted for.
    cgroups: BTreeMap<String, Id>,
    values: Values,
    /// Since which round no process of it, or none in a known cgroup, is known.
    empty: Option<u64>,
    /// Something changed that was not reported yet.
    changed: bool,
}

/// A process, and the network namespace that it is in.
struct Seen {
    pid: u64,
    namespace: u64,
    /// Its interfaces, not read yet: those of the host may be many.
    list: File,
}

impl Namespaces {
    /// `slow` is the number of rounds in a minute.
    pub fn new(root: &Root, memory: Hierarchy, slow: u64) -> Namespaces {
        let (all, owners) = Default::default();
        Namespaces { proc: root.at("/proc"), memory, all, owners, grace: 2 * slow, lost: 0 }
    }

    /// Looks at the cgroups whose turn it is, and reads all namespaces but the host's. Emits what changed.
    pub fn read(&mut self, round: u64, host: Option<u64>, members: &Mutex<Members>, emit: &mut dyn FnMut(Reading)) {
        let Some(host) = host else { return };
        let (due, gone) = {
            let mut members = lock(members);
            (members.due(round), members.take_gone())
        };
        for id in gone {
            self.leave(id);
        }
        for (id, path, owner) in due {
            let seen = self.first(&path, |_| true);
            let found = match &seen {
                None => Look::Nothing,
                Some(seen) if seen.namespace == host => Look::Host,
                Some(seen) => Look::Own(seen.namespace),
            };
            self.settle(id, &path, &owner, seen.filter(|seen| seen.namespace != host));
            lock(members).looked(id, round, found);
        }
        self.forget(host);
        let numbers: Vec<u64> = self.all.keys().copied().collect();
        for number in numbers {
            self.look(round, number, emit);
        }
    }

    /// Those that there was no room for, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// A cgroup is in this namespace, or in none that is of interest.
    fn settle(&mut self, id: Id, path: &str, owner: &Owner, seen: Option<Seen>) {
        let here = seen.as_ref().and_then(|seen| self.all.get(&seen.namespace)?.cgroups.get(path));
        if here == Some(&id) {
            return;
        }
        self.leave(id);
        let Some(seen) = seen else { return };
        if !self.all.contains_key(&seen.namespace) {
            if self.all.len() >= NAMESPACES || !self.owners.has_room(owner, NAMESPACES) {
                self.lost += 1;
                return;
            }
            self.owners.take(owner);
        }
        let entry = self.all.entry(seen.namespace);
        let new = || Namespace { pid: seen.pid, owner: owner.clone(), ..Namespace::default() };
        let namespace = entry.or_insert_with(new);
        namespace.cgroups.insert(path.to_owned(), id);
        namespace.changed = true;
    }

    fn leave(&mut self, id: Id) {
        for namespace in self.all.values_mut() {
            let before = namespace.cgroups.len();
            namespace.cgroups.retain(|_, other| *other != id);
            namespace.changed |= namespace.cgroups.len() < before;
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(gone) = self.all.remove(&number) {
            self.owners.leave(&gone.owner);
        }
    }

    /// Reads a namespace through a process in it.
    fn look(&mut self, round: u64, number: u64, emit: &mut dyn FnMut(Reading)) {
        let Some(known) = self.all.get(&number) else { return };
        let same = |seen: &Seen| seen.namespace == number;
        // The number of a process that ended may be another's, in another namespace.
        let last = || self.process(known.pid).filter(same);
        let seen = || last().or_else(|| known.cgroups.keys().find_map(|path| self.first(path, same)));
        // Whoever goes from one namespace to the next would else keep them all.
        let seen = if known.cgroups.is_empty() { None } else { seen() };
        let seen = seen.and_then(|seen| Some((seen.pid, traffic(seen.list)?)));
        let grace = self.grace;
        let Some(known) = self.all.get_mut(&number) else { return };
        let Some(seen) = seen else {
            let since = *known.empty.get_or_insert(round);
            if round.saturating_sub(since) >= grace {
                self.forget(number);
                emit(Reading::Namespace { namespace: number, cgroups: Vec::new(), values: None });
            }
            return;
        };
        let (pid, traffic) = seen;
        (known.pid, known.empty) = (pid, None);
        if known.changed || known.values != traffic {
            (known.changed, known.values) = (false, traffic.clone());
            let cgroups = known.cgroups.values().take(SHARERS).copied().collect();
            emit(Reading::Namespace { namespace: number, cgroups, values: Some(traffic) });
        }
    }

    /// The first process of a cgroup that is wanted.
    fn first(&self, path: &str, wanted: impl Fn(&Seen) -> bool) -> Option<Seen> {
        let directory = self.memory.directory(path.trim_end_matches('/'))?;
        let list = read(&directory.join("cgroup.procs"), PROCESSES).ok()?;
        // The last line may be cut; 0 is a process of another pid namespace.
        let whole = list.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let pids = lines(&list[..whole]).filter_map(number).filter(|pid| *pid > 0);
        pids.take(TRIES).filter_map(|pid| self.process(pid)).find(wanted)
    }

    /// The namespace of a process. The file's number is that of its entry in the
    /// namespace's own table (`proc_tgid_net_lookup`, fs/proc/proc_net.c), so it needs no right to look into the process.
    fn process(&self, pid: u64) -> Option<Seen> {
        let list = File::open(self.proc.join(pid.to_string()).join("net/dev")).ok()?;
        let namespace = list.metadata().ok()?.ino();
        Some(Seen { pid, namespace, list })
    }
}

/// All that the interfaces of a namespace but its loopback carried.
fn traffic(list: File) -> Option<Values> {
    let mut text = Vec::new();
    list.take(LIST).read_to_end(&mut text).ok()?;
    let mut traffic = Values::new();
    TRAFFIC.into_iter().for_each(|statistic| traffic.set(statistic, 0));
    for (_, values) in parse(&text).filter(|(name, _)| *name != b"lo") {
        TRAFFIC.into_iter().for_each(|statistic| traffic.add(statistic, values.get(statistic).unwrap_or(0)));
    }
    Some(traffic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;
    use collector_core::signal::cgroup::Reading as Change;
    use collector_core::statistic::network::Statistic::TransmitBytes;
    use std::fs;

    struct World {
        tree: Tree,
        members: Mutex<Members>,
        namespaces: Namespaces,
        round: u64,
    }

    fn id(id: u64) -> Id {
        Id { hierarchy: 0, id }
    }

    impl World {
        fn new() -> World {
            let tree = Tree::new();
            let memory = Hierarchy { id: 0, root: tree.0.join("cgroup"), prefix: String::new() };
            let namespaces = Namespaces::new(&Root::new(&tree.0), memory, 2);
            let mut world = World { tree, members: Mutex::new(Members::new(0, true)), namespaces, round: 0 };
            world.process(1, 1);
            world
        }

        /// A process in a namespace: those of one share a file.
        fn process(&mut self, pid: u64, namespace: u64) {
            let shared = self.tree.0.join(format!("namespace-{namespace}"));
            if !shared.exists() {
                fs::write(&shared, "").unwrap();
            }
            let folder = self.tree.0.join(format!("proc/{pid}/net"));
            fs::create_dir_all(&folder).unwrap();
            let _ = fs::remove_file(folder.join("dev"));
            fs::hard_link(shared, folder.join("dev")).unwrap();
        }

        fn end(&mut self, pid: u64) {
            fs::remove_dir_all(self.tree.0.join(format!("proc/{pid}"))).unwrap();
        }

        fn carries(&mut self, namespace: u64, sent: u64) {
            let text = format!("lo: 9 9 9 9 9 9 9 9 9 9\na: 0 0 0 0 0 0 0 0 {sent} 0\nb: 0 0 0 0 0 0 0 0 {sent} 0\n");
            fs::write(self.tree.0.join(format!("namespace-{namespace}")), text).unwrap();
        }

        fn cgroup(&mut self, number: u64, path: &str, pids: &[u64]) {
            let pids: String = pids.iter().map(|pid| format!("{pid}\n")).collect();
            self.tree.write(&format!("cgroup{path}/cgroup.procs"), &pids);
            let id = id(number);
            self.members.lock().unwrap().follow(&Change::Born { id, path: path.to_owned() });
            self.members.lock().unwrap().follow(&Change::Attached { id, pid: 0 });
        }

        /// The cgroups and the bytes sent of what is told; no bytes: it is gone.
        fn round(&mut self) -> Vec<(Vec<u64>, Option<u64>)> {
            let host = fs::metadata(self.tree.0.join("proc/1/net/dev")).unwrap().ino();
            let mut told = Vec::new();
            self.namespaces.read(self.round, Some(host), &self.members, &mut |reading| match reading {
                Reading::Namespace { cgroups, values, .. } => {
                    let cgroups = cgroups.iter().map(|id| id.id).collect();
                    told.push((cgroups, values.map(|values| values.get(TransmitBytes).unwrap())));
                }
                Reading::Interface { .. } => panic!("{reading:?}"),
            });
            self.round += 1;
            told
        }
    }

    #[test]
    fn a_namespace_that_two_share_is_told_once_with_both_and_only_when_it_changes() {
        let mut world = World::new();
        world.process(10, 2);
        world.process(11, 2);
        world.process(12, 1);
        world.carries(2, 50);
        world.cgroup(5, "/pod/b", &[11]);
        world.cgroup(6, "/pod/a", &[0, 10]);
        world.cgroup(7, "/host", &[12]);
        assert_eq!(world.round(), [(vec![6, 5], Some(100))], "sorted by path, without the loopback");
        assert_eq!(world.round(), []);
        world.carries(2, 70);
        assert_eq!(world.round(), [(vec![6, 5], Some(140))]);
        world.end(10);
        world.members.lock().unwrap().follow(&Change::Died { id: id(6) });
        assert_eq!(world.round(), [(vec![5], Some(140))]);
    }

    #[test]
    fn a_namespace_is_remembered_for_a_while_and_the_number_of_a_process_may_be_anothers() {
        let mut world = World::new();
        world.process(10, 2);
        world.carries(2, 50);
        world.cgroup(5, "/a", &[10]);
        assert_eq!(world.round(), [(vec![5], Some(100))]);
        // Another process in the host's namespace has its number now.
        world.process(10, 1);
        world.cgroup(5, "/a", &[]);
        assert_eq!(world.round(), []);
        world.process(13, 2);
        world.cgroup(5, "/a", &[13]);
        assert_eq!(world.round(), [(vec![5], Some(100))]);
        world.end(13);
        world.cgroup(5, "/a", &[]);
        let told: Vec<_> = (0..6).flat_map(|_| world.round()).collect();
        assert_eq!(told, [(vec![], None)]);
    }

    #[test]
    fn namespaces_are_bounded_for_each_owner_whatever_the_uids_of_its_processes() {
        let mut world = World::new();
        let share = NAMESPACES / 4;
        for number in 10..10 + share as u64 + 3 {
            world.process(number, number);
            world.cgroup(number, &format!("/user.slice/user-7.slice/user@7.service/{number}"), &[number]);
        }
        (0..3).for_each(|_| drop(world.round()));
        assert_eq!(world.namespaces.all.len(), share);
        assert!(world.namespaces.take_lost() >= 3);
        world.process(5000, 5000);
        world.cgroup(5000, "/other", &[5000]);
        world.round();
        assert!(world.namespaces.all.len() > share, "others have room");
    }

    #[test]
    fn a_process_that_goes_on_to_another_namespace_keeps_no_more_than_one() {
        let mut world = World::new();
        for number in 0..40 {
            // Processes stay behind in the namespaces that it left.
            world.process(100 + number, 100 + number);
            world.cgroup(5, "/a", &[100 + number]);
            world.round();
        }
        (0..6).for_each(|_| drop(world.round()));
        assert_eq!(world.namespaces.all.len(), 1);
    }

    #[test]
    fn the_list_of_the_hosts_interfaces_is_not_read_for_others() {
        let mut world = World::new();
        world.process(10, 1);
        world.cgroup(5, "/a", &[10]);
        assert_eq!(world.round(), []);
        let seen = world.namespaces.first("/a", |_| true).unwrap();
        assert_eq!(std::io::Seek::stream_position(&mut &seen.list).unwrap(), 0);
    }
}

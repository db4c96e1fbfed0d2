//! Network namespaces of workloads, read from outside: `/proc/PID/net/dev` of a process in each. Nothing enters a namespace, and no file
//! of one stays open: that would keep a namespace alive that nobody uses any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Mutex;

use collector_core::cgroup::Id;
use collector_core::statistic::network::{Reading, TRAFFIC, Values};

use super::interface::parse;
use super::member::{Look, Members};
use super::read;
use crate::mutex::lock;
use crate::source::cgroup::Hierarchy;
use crate::source::root::Root;
use crate::source::text::{lines, number};

/// Namespaces that are read, and those whose first process is one user's, other than root's.
const NAMESPACES: usize = 1024;
const OF_A_USER: usize = 64;
/// Cgroups of one namespace that are told.
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
    /// Rounds that a namespace without processes is remembered: its counters go on if somebody enters it again.
    grace: u64,
    lost: u64,
}

#[derive(Default)]
struct Namespace {
    /// A process in it.
    pid: u64,
    uid: u32,
    /// By path: the first is the one that its traffic is counted for.
    cgroups: BTreeMap<String, Id>,
    values: Values,
    /// Since which round no process of it is known.
    empty: Option<u64>,
    /// Something of it is to be told.
    changed: bool,
}

/// A process, and the network namespace that it is in.
struct Seen {
    pid: u64,
    uid: u32,
    namespace: u64,
    traffic: Values,
}

impl Namespaces {
    /// `slow` is the number of rounds in a minute.
    pub fn new(root: &Root, memory: Hierarchy, slow: u64) -> Namespaces {
        Namespaces { proc: root.at("/proc"), memory, all: BTreeMap::new(), grace: 2 * slow, lost: 0 }
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
        for (id, path) in due {
            let seen = self.first(&path, |_| true);
            let found = match &seen {
                None => Look::Nothing,
                Some(seen) if seen.namespace == host => Look::Host,
                Some(seen) => Look::Own(seen.namespace),
            };
            self.settle(id, &path, seen.filter(|seen| seen.namespace != host));
            lock(members).looked(id, round, found);
        }
        self.all.remove(&host);
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
    fn settle(&mut self, id: Id, path: &str, seen: Option<Seen>) {
        let here = seen.as_ref().and_then(|seen| self.all.get(&seen.namespace)?.cgroups.get(path));
        if here == Some(&id) {
            return;
        }
        self.leave(id);
        let Some(seen) = seen else { return };
        if !self.all.contains_key(&seen.namespace) {
            let of_user = self.all.values().filter(|other| other.uid == seen.uid).count();
            if self.all.len() >= NAMESPACES || (seen.uid != 0 && of_user >= OF_A_USER) {
                self.lost += 1;
                return;
            }
        }
        let entry = self.all.entry(seen.namespace);
        let namespace = entry.or_insert_with(|| Namespace { pid: seen.pid, uid: seen.uid, ..Namespace::default() });
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

    /// Reads a namespace through a process in it.
    fn look(&mut self, round: u64, number: u64, emit: &mut dyn FnMut(Reading)) {
        let Some(known) = self.all.get(&number) else { return };
        let same = |seen: &Seen| seen.namespace == number;
        // The number of a process that ended may be another's, in another namespace.
        let last = self.process(known.pid).filter(same);
        let seen = last.or_else(|| known.cgroups.keys().find_map(|path| self.first(path, same)));
        let grace = self.grace;
        let Some(known) = self.all.get_mut(&number) else { return };
        let Some(seen) = seen else {
            let since = *known.empty.get_or_insert(round);
            if round.saturating_sub(since) >= grace {
                self.all.remove(&number);
                emit(Reading::Namespace { namespace: number, cgroups: Vec::new(), values: None });
            }
            return;
        };
        (known.pid, known.empty) = (seen.pid, None);
        if known.changed || known.values != seen.traffic {
            (known.changed, known.values) = (false, seen.traffic.clone());
            let cgroups = known.cgroups.values().take(SHARERS).copied().collect();
            emit(Reading::Namespace { namespace: number, cgroups, values: Some(seen.traffic) });
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

    /// The namespace of a process, with all that its interfaces but the loopback carried. The file's number is that of its entry in the
    /// namespace's own table (`proc_tgid_net_lookup`, fs/proc/proc_net.c), so it needs no right to look into the process.
    fn process(&self, pid: u64) -> Option<Seen> {
        let file = File::open(self.proc.join(pid.to_string()).join("net/dev")).ok()?;
        let namespace = file.metadata().ok()?.ino();
        let uid = std::fs::metadata(self.proc.join(pid.to_string())).ok()?.uid();
        let mut text = Vec::new();
        file.take(LIST).read_to_end(&mut text).ok()?;
        let mut traffic = Values::new();
        TRAFFIC.into_iter().for_each(|statistic| traffic.set(statistic, 0));
        for (_, values) in parse(&text).filter(|(name, _)| *name != b"lo") {
            TRAFFIC.into_iter().for_each(|statistic| traffic.add(statistic, values.get(statistic).unwrap_or(0)));
        }
        Some(Seen { pid, uid, namespace, traffic })
    }
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
    fn namespaces_are_bounded_for_each_user() {
        let mut world = World::new();
        let uid = rustix::process::geteuid().as_raw();
        let most = if uid == 0 { NAMESPACES } else { OF_A_USER };
        for number in 10..10 + most as u64 + 3 {
            world.process(number, number);
            world.cgroup(number, &format!("/{number}"), &[number]);
        }
        (0..4).for_each(|_| drop(world.round()));
        assert_eq!(world.namespaces.all.len(), most);
        assert!(world.namespaces.take_lost() >= 3);
    }
}

//! Tests with this process, and with processes of a tree like /proc.

use std::os::unix::fs::chown;

use collector_core::statistic::gpu::Holder;
use collector_core::statistic::model_file::{How, Layout};

use super::*;
use crate::config::entry::Entry;
use crate::config::error::Place;
use crate::source::test::Tree;

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn work(store: &Path, observed: &Arc<Observed>) -> Work {
    let memory = Hierarchy { id: 0, root: "/sys/fs/cgroup".into(), prefix: String::new() };
    let mut config = Config::default();
    config.model_file.inspect = true;
    config.model_file.store_interval = Duration::ZERO;
    config.model_file.unused_after = Duration::ZERO;
    let mut work = Work::new(&Root::default(), &memory, &config, observed, 0);
    work.configured = vec![ModelStore { name: "mine".into(), path: store.into(), kind: Layout::Folder.label().into() }];
    work
}

/// Of one round, by pid: name and use of each file, and whether it is told that nothing was missed.
/// The processes that were told, those that are gone, and of each store its bytes and what is unused.
type Told = (Vec<Process>, Vec<u32>, Vec<(u64, Option<u64>)>);

fn round(work: &mut Work) -> Told {
    let (mut used, mut gone, mut stores) = (Vec::new(), Vec::new(), Vec::new());
    work.round(clock::monotonic_ns(), &mut |reading| match reading {
        Reading::Used(process) => used.push(Process::clone(&process)),
        Reading::Gone { pid } => gone.push(pid),
        Reading::Store(store) if &*store.name == "mine" => {
            stores.push((store.files, store.unused.map(|unused| unused.files)));
        }
        _ => {}
    });
    (used, gone, stores)
}

#[test]
fn a_process_is_told_of_while_it_is_there_and_its_files_are_in_use() {
    let folder = Folder(std::env::temp_dir().join(format!("headroom-round-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("round.gguf");
    fs::write(&path, vec![7; 5000]).unwrap();
    let open = fs::File::open(&path).unwrap();
    let observed = Arc::new(Observed::default());
    let mut work = work(&folder.0, &observed);
    let pid = std::process::id();
    let (used, gone, stores) = round(&mut work);
    assert_eq!((used.len(), gone.len(), stores.len()), (0, 0, 1));
    let server = Some(Arc::from("test:1"));
    observed.servers(vec![observed::Process { pid, cgroup: None, server: server.clone(), models: Vec::new() }]);
    let (used, _, stores) = round(&mut work);
    let process = used.iter().find(|process| process.pid == pid).unwrap();
    assert_eq!(process.server, server);
    // Other tests of this process may have files open, too.
    let file = process.files.iter().find(|file| &*file.name == "round.gguf").unwrap();
    assert_eq!((file.how, file.bytes), (How::Open, 5000));
    assert_eq!(stores[0].0, 1);
    assert!(stores[0].1.is_none_or(|unused| unused == 0), "{stores:?}");
    drop(open);
    observed.servers(Vec::new());
    let (used, gone, _) = round(&mut work);
    assert_eq!(used.len(), 0);
    assert!(gone.contains(&pid));
}

/// Processes as /proc shows them, that map and open nothing.
fn pretend(tree: &Tree, pids: impl IntoIterator<Item = u32>) {
    for pid in pids {
        for name in ["cmdline", "mountinfo", "maps", "fd/none"] {
            tree.write(&format!("proc/{pid}/{name}"), "");
        }
    }
}

fn has_started(tree: &Tree, pid: u32, pids: impl IntoIterator<Item = u32>) {
    let pids: Vec<String> = pids.into_iter().map(|pid| pid.to_string()).collect();
    tree.write(&format!("proc/{pid}/task/{pid}/children"), &pids.join(" "));
}

fn process(pid: u32, server: Option<&str>) -> observed::Process {
    observed::Process { pid, cgroup: None, server: server.map(Arc::from), models: Vec::new() }
}

#[test]
fn a_server_comes_before_what_another_started_and_each_has_room_for_as_many() {
    let tree = Tree::new();
    pretend(&tree, 1..200);
    has_started(&tree, 1, 2..60);
    has_started(&tree, 3, [190]);
    has_started(&tree, 2, [70]);
    has_started(&tree, 70, [71, 99]);
    let observed = Arc::new(Observed::default());
    let mut work = work(&tree.0, &observed);
    work.root = Root::new(&tree.0);
    observed.servers(vec![process(1, Some("router")), process(2, Some("runner"))]);
    let holders = [99, 100].map(|pid| Holder { pid, cgroup: None, bytes: None });
    observed.holders(&"GPU-1".into(), &holders);
    let (used, ..) = round(&mut work);
    let of = |name| used.iter().filter(|it| it.server.as_deref() == name).map(|it| it.pid).collect::<Vec<_>>();
    let router: Vec<u32> = std::iter::once(1).chain(3..3 + STARTED as u32).collect();
    assert_eq!(of(Some("router")), router);
    assert_eq!(of(Some("runner")), [2, 70, 71, 99]);
    assert_eq!(of(None), [100]);
    assert_eq!(used.iter().take(2).map(|it| it.pid).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(work.uses.blind, None);
}

#[test]
fn what_has_no_place_is_lost_once_and_makes_nothing_unused() {
    let tree = Tree::new();
    let most = if rustix::process::geteuid().is_root() { PROCESSES } else { OF_USER } as u32;
    pretend(&tree, 1..=most + 9);
    let observed = Arc::new(Observed::default());
    let mut work = work(&tree.0, &observed);
    work.root = Root::new(&tree.0);
    let mut lost = |pids: u32| {
        observed.servers((1..=pids).map(|pid| process(pid, Some("a"))).collect());
        let lost = work.round(clock::monotonic_ns(), &mut |_| {});
        (lost, work.uses.blind)
    };
    assert_eq!(lost(most), (0, None));
    assert_eq!(lost(most + 7), (7, Some(NOT_ALL)));
    assert_eq!(lost(most + 7), (0, Some(NOT_ALL)));
    assert_eq!(lost(most + 9), (2, Some(NOT_ALL)));
    assert_eq!(lost(most), (0, None));
}

#[test]
fn stores_are_of_users_and_a_new_one_does_not_have_them_listed_at_once() {
    if rustix::process::geteuid().as_raw() != 0 {
        return eprintln!("not run: files of other users need root");
    }
    let tree = Tree::new();
    pretend(&tree, 1..200);
    let owner = |pid: u32, uid| chown(tree.0.join(format!("proc/{pid}")), Some(uid), None).unwrap();
    // A user with many processes, and many users.
    (1..100).for_each(|pid| owner(pid, 1000));
    (100..200).for_each(|pid| owner(pid, 1900 + pid));
    let observed = Arc::new(Observed::default());
    let mut work = work(&tree.0, &observed);
    work.root = Root::new(&tree.0);
    work.settings.store_interval = Duration::from_secs(3600);
    let all: Vec<_> = (1..200).map(|pid| process(pid, None)).collect();
    let users = work.users(&all);
    assert_eq!((users.len(), users.contains(&0), users.contains(&1000)), (STORES / 2, true, true));
    work.round(clock::monotonic_ns(), &mut |_| {});
    assert_eq!(work.users, BTreeSet::from([0]));
    observed.servers(vec![process(1, Some("a"))]);
    work.round(work.listed + SOONEST - 1, &mut |_| {});
    assert_eq!(work.users, BTreeSet::from([0]));
    work.round(work.listed + SOONEST, &mut |_| {});
    let both = BTreeSet::from([0, 1000]);
    assert_eq!(work.users, both);
    // It ends, and comes back.
    for servers in [Vec::new(), vec![process(1, Some("a"))]] {
        observed.servers(servers);
        work.listed = 0;
        work.round(SOONEST, &mut |_| {});
        assert_eq!((&work.users, work.listed), (&both, 0));
    }
}

#[test]
fn a_configured_store_is_named_without_looking_at_it() {
    let tree = Tree::new();
    let mut config = Config::default();
    let store = ModelStore { name: "far".into(), path: "/not/there".into(), kind: Layout::Folder.label().into() };
    config.model_store.push(Entry { value: store, place: Place::Flag("--x".into()), set: Vec::new() });
    assert_eq!(stores(&Root::new(&tree.0), &config), ["store far at /not/there (configured)"]);
}

#[test]
fn the_oldest_uses_are_forgotten() {
    let tree = Tree::new();
    let mut work = work(&tree.0, &Arc::default());
    let most = REMEMBERED as u64;
    work.uses.seen = (0..most + 3).map(|inode| ((1, inode), most - inode % most)).collect();
    work.forget();
    assert_eq!(work.uses.seen.len(), REMEMBERED);
    let gone: Vec<u64> = (0..most + 3).filter(|inode| !work.uses.seen.contains_key(&(1, *inode))).collect();
    assert_eq!(gone, [most - 3, most - 2, most - 1]);
}

//! Tests with trees of files like those of /proc and cgroupfs.

use super::*;
use crate::source::test::Tree;

const LXC: &str = "/lxc.payload.web";

fn id(number: u64) -> Id {
    Id { hierarchy: 0, id: number }
}

struct Bench {
    tree: Tree,
    worker: Worker,
    request: Request,
}

impl Bench {
    fn new(paths: &[&str]) -> Bench {
        let tree = Tree::new();
        let memory = Hierarchy { id: 0, root: tree.0.join("cgroup"), prefix: String::new() };
        let worker = Worker::new(&Root::new(&tree.0), &memory, Duration::from_secs(5));
        tree.write("proc/1/mountinfo", "1 0 254:0 / / rw - ext4 d rw\n2 1 0:20 / /dev/shm rw - tmpfs shm rw\n");
        let identities = paths.iter().map(|path| Arc::new(Identity::of(path)));
        let request = (1..).map(id).zip(identities).collect();
        Bench { tree, worker, request }
    }

    fn process(&self, path: &str, pid: u32, mounts: &str) {
        let cgroup = format!("cgroup{path}/cgroup.procs");
        let before = fs::read_to_string(self.tree.0.join(&cgroup)).unwrap_or_default();
        self.tree.write(&cgroup, &format!("{before}{pid}\n"));
        self.tree.write(&format!("proc/{pid}/cgroup"), &format!("0::{path}\n"));
        self.tree.write(&format!("proc/{pid}/mountinfo"), mounts);
    }

    fn sizes(&mut self) -> Vec<Option<u64>> {
        let mut sizes = Vec::new();
        self.worker.round(&self.request, &mut |(_, state)| {
            sizes.push(state.map(|state| match state {
                State::Read(values) => values.get(Statistic::Size).unwrap(),
                other => panic!("{other:?}"),
            }));
        });
        sizes
    }
}

fn shm(minor: u32, options: &str) -> String {
    format!("7 1 0:9 / /dev rw - tmpfs none rw\n8 7 0:{minor} / /dev/shm rw - tmpfs shm rw{options}\n")
}

#[test]
fn a_private_volume_has_the_size_that_its_first_process_sees() {
    let mut bench = Bench::new(&[LXC]);
    bench.process("/lxc.payload.web/init.scope", 40, &shm(77, ",size=65536k,inode64"));
    bench.process("/lxc.payload.web/app", 41, &shm(78, ",size=1k"));
    bench.process("/lxc.payload.web/init.scope/deep", 7, &shm(79, ",size=2k"));
    assert_eq!(bench.sizes(), [Some(64 << 20)]);
}

#[test]
fn what_the_host_mounts_is_not_private_and_a_shared_volume_counts_once() {
    let mut bench = Bench::new(&["/a.service", LXC, "/lxc.payload.db", "/lxc.payload.gone"]);
    bench.process("/a.service", 40, &shm(20, ""));
    bench.process(LXC, 41, &shm(77, ",size=64k"));
    bench.process("/lxc.payload.db", 42, &shm(77, ",size=64k"));
    assert_eq!(bench.sizes(), [None, Some(64 << 10), None, None]);
}

#[test]
fn what_is_nested_in_a_cgroup_and_has_a_name_of_its_own_has_its_own_volume() {
    let mut bench = Bench::new(&["/lxc", "/lxc/web"]);
    bench.process("/lxc/web/init.scope", 41, &shm(77, ",size=64k"));
    assert_eq!(bench.sizes(), [None, Some(64 << 10)]);
}

#[test]
fn a_process_that_is_elsewhere_by_now_tells_nothing() {
    let mut bench = Bench::new(&[LXC]);
    bench.process(LXC, 41, &shm(77, ",size=64k"));
    for elsewhere in ["/user.slice", "/lxc.payload.web2"] {
        bench.tree.write("proc/41/cgroup", &format!("0::{elsewhere}\n"));
        assert_eq!(bench.sizes(), [None]);
    }
}

#[test]
fn an_owners_cgroups_leave_places_to_the_others() {
    let tree = Tree::new();
    let memory = Hierarchy { id: 0, root: tree.0.join("cgroup"), prefix: String::new() };
    let config = config::Config::default().filesystem;
    let mut private = Private::start(&Root::new(&tree.0), &memory, &config).unwrap().unwrap();
    let born = |private: &mut Private, number: u64, path: String| {
        private.follow(&cgroup::Reading::Born { id: id(number), path });
    };
    let users = "/user.slice/user-1000.slice/user@1000.service/user.slice";
    for number in 0..2 * MAX_WORKLOADS as u64 {
        born(&mut private, number, format!("{users}/libpod-{number:064x}.scope"));
    }
    assert_eq!(private.workloads.len(), MAX_WORKLOADS / 4);
    assert_eq!(private.lost(), 2 * MAX_WORKLOADS as u64 - MAX_WORKLOADS as u64 / 4);
    born(&mut private, 1 << 20, LXC.to_owned());
    assert!(private.workloads.contains_key(&id(1 << 20)));
    // What ends leaves its place.
    private.follow(&cgroup::Reading::Died { id: id(0) });
    born(&mut private, 2 << 20, format!("{users}/libpod-{:064x}.scope", 7 << 20));
    assert!(private.workloads.contains_key(&id(2 << 20)));
}

#[test]
fn text_that_is_too_long_is_not_believed() {
    let mut bench = Bench::new(&[LXC]);
    let line = format!("9 1 0:1 / /{} rw - tmpfs t rw\n", "x".repeat(4000));
    bench.process(LXC, 41, &(shm(77, ",size=64k") + &line.repeat(300)));
    assert_eq!(bench.sizes(), [None]);
}

#[test]
fn a_process_without_one_of_its_own_is_asked_seldom_and_another_at_once() {
    for without in ["1 0 254:0 / / rw - ext4 d rw\n", &shm(20, "")] {
        let mut bench = Bench::new(&["/a.service"]);
        bench.process("/a.service", 40, without);
        assert_eq!((bench.sizes(), bench.sizes()), (vec![None], vec![None]));
        bench.tree.write("proc/40/mountinfo", &shm(77, ",size=64k"));
        let rounds: Vec<_> = (1..=SELDOM).map(|_| bench.sizes()[0]).collect();
        assert_eq!((rounds[0], rounds[SELDOM as usize - 1]), (None, Some(64 << 10)), "{without}");
        bench.tree.write("proc/40/mountinfo", without);
        assert_eq!(bench.sizes(), [None]);
        bench.tree.write("proc/40/mountinfo", &shm(77, ",size=8k"));
        assert_eq!(bench.sizes(), [Some(8 << 10)], "it had just started");
        bench.process("/a.service", 39, &shm(77, ",size=4k"));
        assert_eq!(bench.sizes(), [Some(4 << 10)]);
    }
}

#[test]
fn a_volume_is_gone_with_its_workload() {
    let bench = Bench::new(&[]);
    bench.process(LXC, 41, &shm(77, ",size=64k"));
    let memory = bench.worker.memory.clone();
    let config = config::Config::default().filesystem;
    let mut private = Private::start(&Root::new(&bench.tree.0), &memory, &config).unwrap().unwrap();
    private.follow(&cgroup::Reading::Born { id: id(1), path: LXC.to_owned() });
    private.start_round();
    let mut seen = Vec::new();
    while seen.is_empty() {
        thread::yield_now();
        private.collect(&mut |reading| seen.push(reading));
    }
    private.follow(&cgroup::Reading::Died { id: id(1) });
    private.collect(&mut |reading| seen.push(reading));
    let [here, gone] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&here.mountpoint, &gone.state), (&gone.mountpoint, &State::Gone));
    assert_eq!(here.owner.as_ref().map(|owner| (&*owner.name, owner.cgroup)), Some(("lxc/web", Some(id(1)))));
    let exclude = vec!["/dev/*".to_owned()];
    let config = config::Filesystem { exclude, ..config };
    assert!(Private::start(&Root::new(&bench.tree.0), &memory, &config).unwrap().is_none());
}

#[test]
fn services_leave_places_for_containers_and_each_that_is_left_out_is_lost_once() {
    let bench = Bench::new(&[]);
    let config = config::Config::default().filesystem;
    let memory = bench.worker.memory.clone();
    let mut private = Private::start(&Root::new(&bench.tree.0), &memory, &config).unwrap().unwrap();
    let born = |private: &mut Private, number: u64, path: String| {
        private.follow(&cgroup::Reading::Born { id: id(number), path });
    };
    let walk = |private: &mut Private, containers: u64| {
        private.follow(&cgroup::Reading::Walk);
        (0..3000).for_each(|number| born(private, number, format!("/system.slice/s{number}.service")));
        (0..containers).for_each(|number| born(private, 10_000 + number, format!("/lxc.payload.c{number}")));
        private.follow(&cgroup::Reading::Walked);
        (private.workloads.len(), private.lost())
    };
    assert_eq!(walk(&mut private, 1000), (MAX_OTHERS + 1000, 0));
    assert_eq!(walk(&mut private, 1030), (MAX_WORKLOADS, 6));
    assert_eq!(walk(&mut private, 1030), (MAX_WORKLOADS, 0));
    born(&mut private, 20_000, "/lxc.payload.late".to_owned());
    assert_eq!((private.lost(), walk(&mut private, 1031)), (1, (MAX_WORKLOADS, 0)));
    assert_eq!(walk(&mut private, 10), (MAX_OTHERS + 10, 0), "what a walk does not meet is gone");
}

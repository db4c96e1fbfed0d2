//! Levels from samples: what counts, what is not known, and how long a level holds.

use std::sync::Arc;

use crate::cgroup::Id;
use crate::engine::Engine;
use crate::engine::test::start;
use crate::level::{Change, Level, Limits, State};
use crate::outcome::Outcome;
use crate::pattern::Patterns;
use crate::sample::{Reading, Sample, Start};
use crate::signal::cgroup;
use crate::statistic::gpu::{self, Device, Holder};
use crate::statistic::host::Statistic::*;
use crate::statistic::{filesystem, host};

const SECOND: u64 = 1_000_000_000;
const SERVER: Id = Id { hierarchy: 5, id: 2 };
const IMPOSTOR: Id = Id { hierarchy: 5, id: 3 };

/// A host, second by second.
struct World {
    engine: Engine,
    second: u64,
    /// Percent of memory in use; absent: not known.
    memory: Option<u64>,
    /// Percent of each second in which all tasks wait for memory; absent: no PSI.
    stalled: Option<u64>,
    /// Percent of the CPUs that is busy.
    busy: u64,
    /// The host looks for memory to reclaim.
    reclaims: bool,
    waited: u64,
    worked: u64,
    scanned: u64,
    changes: Vec<Change>,
}

impl World {
    fn new(limits: Limits) -> World {
        let mut world = World {
            engine: Engine::new(),
            second: 1,
            memory: Some(10),
            stalled: Some(0),
            busy: 0,
            reclaims: false,
            waited: 0,
            worked: 0,
            scanned: 0,
            changes: Vec::new(),
        };
        world.apply(Reading::Start(Start { workload_max: 100, level: Some(limits), ..start() }));
        for (id, path) in [(SERVER, "/system.slice/vllm.service"), (IMPOSTOR, "/user.slice/user-7.slice/vllm.service")]
        {
            world.apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.into() }));
        }
        world
    }

    fn apply(&mut self, reading: Reading) {
        let outcomes = self.engine.apply(&Sample { time: self.second * SECOND, reading });
        self.changes.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
            Outcome::Level(change) => Some(*change),
            _ => None,
        }));
    }

    /// One second passes.
    fn tick(&mut self) -> Option<Level> {
        self.second += 1;
        self.waited += self.stalled.unwrap_or(0) * SECOND / 100;
        self.worked += self.busy * 4 * SECOND / 100;
        self.scanned += u64::from(self.reclaims);
        let mut values = host::Values::from_iter([(MemoryTotal, 100), (Cpus, 4), (CpuUser, self.worked)]);
        values.put(MemoryAvailable, self.memory.map(|used| 100 - used));
        values.put(MemoryPressureFull, self.stalled.map(|_| self.waited));
        values.put(ScannedKswapd, Some(self.scanned));
        values.put(ScannedDirect, Some(0));
        self.apply(Reading::Host(values));
        self.apply(Reading::Tick);
        self.engine.view().level.host.level
    }

    fn ticks(&mut self, count: u64) -> Option<Level> {
        (0..count).map(|_| self.tick()).last().flatten()
    }

    fn filesystem(&mut self, mountpoint: &str, used: Option<u64>) {
        use filesystem::Statistic::{Available, Free, Size};
        let state = match used {
            Some(used) => filesystem::State::Read(filesystem::Values::from_iter([
                (Size, 100),
                (Free, 100 - used),
                (Available, 100 - used),
            ])),
            None => filesystem::State::Hung,
        };
        let (mountpoint, device, fstype) = (mountpoint.into(), "d".into(), "ext4".into());
        self.apply(Reading::Filesystem(filesystem::Reading { mountpoint, device, fstype, owner: None, state }));
    }

    /// A GPU of 100 bytes, of which so many are used, and who holds them.
    fn gpu(&mut self, number: &str, used: u64, holders: &[(Id, Option<u64>)]) {
        let (uuid, gpu, model, driver) = (format!("GPU-{number}").into(), number.into(), "H100".into(), "580".into());
        let device = Arc::new(Device { uuid, gpu, model, driver, parent: None });
        let uuid = device.uuid.clone();
        let values =
            gpu::Values::from_iter([(gpu::Statistic::MemoryUsed, used), (gpu::Statistic::MemoryFree, 100 - used)]);
        self.apply(Reading::Gpu(gpu::Reading::Device { device, values }));
        let holder =
            |(pid, (cgroup, bytes)): (u32, &(Id, Option<u64>))| Holder { pid, cgroup: Some(*cgroup), bytes: *bytes };
        let holders = (1..).zip(holders).map(holder).collect();
        self.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders }));
    }

    fn gpu_level(&self, number: &str) -> Option<u8> {
        self.engine.view().level.gpu(&format!("GPU-{number}")).map(Level::number)
    }
}

fn limits() -> Limits {
    Limits { model_servers: Patterns::new(&["vllm.service".to_owned()]), ..Limits::default() }
}

#[test]
fn the_use_of_memory_against_its_limit_is_the_level() {
    for (used, number) in [(10, 0), (62, 0), (63, 1), (76, 1), (77, 2), (85, 2), (86, 3), (89, 3), (90, 4), (99, 4)] {
        let mut world = World::new(limits());
        world.memory = Some(used);
        assert_eq!(world.tick().map(Level::number), Some(number), "{used} % of a limit of 90 %");
    }
}

#[test]
fn a_level_comes_at_once_and_goes_after_a_hold_that_grows() {
    let mut world = World::new(limits());
    let mut holds = Vec::new();
    for _ in 0..3 {
        world.memory = Some(88);
        assert_eq!(world.tick(), Some(Level::Heavy));
        world.memory = Some(20);
        let left = (0..60).find(|_| world.tick() == Some(Level::Normal)).unwrap();
        holds.push(left);
    }
    assert_eq!(holds[0], 10);
    assert!((19..=20).contains(&holds[1]) && (28..=30).contains(&holds[2]), "{holds:?}");
    let told: Vec<_> = world.changes.iter().map(|it| (it.state, it.from.number(), it.to.number())).collect();
    assert_eq!(told, [(State::Raised, 0, 3), (State::Lowered, 3, 0)].repeat(3));
    assert_eq!(
        world.changes[0].summary,
        "the level of the host is 3 (heavy); memory is 88 % used, 98 % of the limit of 90 %"
    );
    assert_eq!(world.changes[1].summary, "the level of the host is down to 0 (normal)");
}

#[test]
fn while_a_level_is_held_the_reason_says_so() {
    let mut world = World::new(limits());
    world.memory = Some(88);
    world.tick();
    world.memory = Some(20);
    world.ticks(2);
    assert_eq!(world.engine.view().level.reasons(), ["held for 10 s after the numbers fell to level 0 (normal)"]);
}

#[test]
fn waits_for_memory_raise_it_by_one_and_to_four() {
    let level = |stalled, reclaims| {
        let mut world = World::new(limits());
        (world.memory, world.stalled, world.reclaims) = (Some(65), Some(stalled), reclaims);
        world.ticks(20).map(Level::number)
    };
    assert_eq!([level(5, true), level(20, true), level(59, true), level(70, true)], [1, 2, 2, 4].map(Some));
    assert_eq!(level(70, false), Some(1), "a cgroup waits at its own limit");
}

#[test]
fn cpus_count_as_a_mean_of_thirty_seconds_and_end_at_three() {
    let mut world = World::new(limits());
    world.busy = 100;
    assert_eq!(world.ticks(5).map(Level::number), Some(0), "too early");
    assert_eq!(world.ticks(30).map(Level::number), Some(3));
    let mut world = World::new(limits());
    world.ticks(40);
    world.busy = 100;
    assert_eq!(world.ticks(15).map(Level::number), Some(0), "half of the last thirty seconds");
    let mut world = World::new(Limits { cpu: 0.8, ..limits() });
    world.busy = 90;
    assert_eq!(world.ticks(40).map(Level::number), Some(4));
}

#[test]
fn only_named_filesystems_count() {
    let mut world = World::new(Limits { filesystems: vec!["/data".into()], ..limits() });
    world.filesystem("/", Some(100));
    world.filesystem("/data", Some(10));
    assert_eq!(world.tick().map(Level::number), Some(0));
    world.filesystem("/data", Some(94));
    assert_eq!(world.tick().map(Level::number), Some(3));
}

#[test]
fn what_is_missing_makes_it_unknown_and_never_zero() {
    let mut world = World::new(Limits { filesystems: vec!["/data".into()], ..limits() });
    assert_eq!(world.tick(), None, "/data has not been read");
    assert!(world.engine.view().level.not_known()[1].starts_with("filesystem /data: "));
    world.filesystem("/data", Some(10));
    assert_eq!(world.tick().map(Level::number), Some(0));
    assert_eq!(world.changes, []);

    world.filesystem("/data", None);
    assert_eq!(world.tick(), None);
    world.ticks(29);
    assert_eq!(world.changes, [], "not told before it lasts");
    world.ticks(2);
    let told = |world: &World| world.changes.last().map(|it| (it.state, it.to.number(), it.known));
    assert_eq!(told(&world), Some((State::Unknown, 0, false)));
    assert!(
        world.changes[0].summary.contains("or higher; not known: filesystem /data"),
        "{}",
        world.changes[0].summary
    );
    // What is known may still be bad news.
    world.memory = Some(87);
    world.tick();
    assert_eq!(told(&world), Some((State::Raised, 3, false)));
    world.memory = Some(95);
    assert_eq!(world.tick(), Some(Level::Critical), "nothing can raise it further");
    world.memory = None;
    world.filesystem("/data", Some(10));
    world.ticks(15);
    assert_eq!(world.engine.view().level.host.level, None, "no memory");
    world.memory = Some(10);
    assert_eq!(world.tick(), Some(Level::Normal));
}

#[test]
fn without_psi_the_level_rests_on_use() {
    let mut world = World::new(limits());
    world.stalled = None;
    assert_eq!(world.ticks(12), Some(Level::Normal));
    assert_eq!(world.engine.view().level.not_known(), ["how long tasks wait for memory (PSI)"]);
}

#[test]
fn an_idle_host_with_one_model_server_at_92_percent_of_a_gpu_is_at_level_0_as_is_the_other_gpu() {
    let mut world = World::new(limits());
    world.gpu("0", 92, &[(SERVER, Some(92))]);
    world.gpu("1", 1, &[]);
    assert_eq!(world.ticks(40), Some(Level::Normal));
    assert_eq!([world.gpu_level("0"), world.gpu_level("1")], [Some(0), Some(0)]);
    assert_eq!(world.changes, []);
}

#[test]
fn a_gpu_that_others_fill_has_a_level_and_the_host_has_not() {
    let mut world = World::new(limits());
    world.gpu("0", 99, &[(SERVER, Some(40)), (IMPOSTOR, Some(59))]);
    world.gpu("1", 1, &[]);
    assert_eq!(world.tick(), Some(Level::Normal));
    // 59 of 97: what the model server holds is no use of the limit.
    assert_eq!([world.gpu_level("0"), world.gpu_level("1")], [Some(0), Some(0)]);
    world.gpu("1", 98, &[(IMPOSTOR, Some(98))]);
    assert_eq!(world.tick(), Some(Level::Normal));
    assert_eq!(world.gpu_level("1"), Some(4), "a user's own service of that name");
    assert_eq!(
        world.changes[0].summary,
        "the level of GPU 1 is 4 (critical); 98 % of its memory is used, 101 % of the limit of 97 %"
    );
    assert_eq!(world.changes[0].uuid.as_deref(), Some("GPU-1"));
}

#[test]
fn an_amount_that_the_driver_does_not_say_is_not_intended() {
    let mut world = World::new(limits());
    world.gpu("0", 98, &[(SERVER, None)]);
    world.tick();
    assert_eq!(world.gpu_level("0"), Some(4));
    assert!(world.changes[0].summary.contains("the driver does not say"), "{}", world.changes[0].summary);
}

#[test]
fn a_container_whose_name_is_looked_up_raises_no_level_meanwhile() {
    let mut limits = limits();
    limits.model_servers = Patterns::new(&["docker/vllm".to_owned()]);
    let mut world = World::new(limits);
    let id = Id { hierarchy: 5, id: 9 };
    let path = format!("/docker/{}", "4f1c2a9b".repeat(8));
    world.apply(Reading::Cgroup(cgroup::Reading::Born { id, path }));
    world.gpu("0", 98, &[(id, Some(98))]);
    world.tick();
    assert_eq!(world.gpu_level("0"), None, "not known yet");
    let names = crate::identity::Names { name: Some("vllm".into()), ..Default::default() };
    world.apply(Reading::Name(crate::sample::Name { cgroup: id, names }));
    world.tick();
    assert_eq!(world.gpu_level("0"), Some(0));
    assert_eq!(world.changes, []);

    let other = Id { hierarchy: 5, id: 10 };
    world.apply(Reading::Cgroup(cgroup::Reading::Born { id: other, path: format!("/docker/{}", "5a".repeat(32)) }));
    world.gpu("1", 98, &[(other, Some(98))]);
    world.ticks(6);
    assert_eq!(world.gpu_level("1"), Some(4), "it has none");
}

#[test]
fn a_gpu_that_is_divided_has_no_level_of_its_own() {
    let mut world = World::new(limits());
    world.gpu("0", 98, &[]);
    world.tick();
    assert_eq!(world.gpu_level("0"), Some(4));
    let device = world.engine.view().gpus.get("GPU-0").unwrap().device.clone();
    let values = gpu::Values::from_iter([
        (gpu::Statistic::MemoryUsed, 98),
        (gpu::Statistic::MemoryFree, 2),
        (gpu::Statistic::Mig, 1),
    ]);
    world.apply(Reading::Gpu(gpu::Reading::Device { device, values }));
    world.tick();
    assert_eq!(world.gpu_level("0"), None);
}

#[test]
fn a_gpu_that_is_gone_has_no_level() {
    let mut world = World::new(limits());
    world.gpu("0", 98, &[]);
    world.tick();
    world.apply(Reading::Gpu(gpu::Reading::Gone { uuid: "GPU-0".into() }));
    world.tick();
    assert_eq!(world.engine.view().level.gpus.len(), 0);
}

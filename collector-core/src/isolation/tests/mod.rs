//! Each check: a host on which it fails, one that comes near to that and does not, and one of which too little is known.

mod memory;

use super::*;
use crate::action::Object;
use crate::audit::{Audited, State};
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::sample::{Reading, Sample, Start, Statistics};
use crate::signal::{cgroup, oom};
use crate::statistic::gpu::{self, Device, Holder};
use crate::statistic::workload::Statistic as Of;
use crate::statistic::{disk, host};

const GIB: u64 = 1 << 30;
const SECOND: u64 = 1_000_000_000;
const ALL: [&str; 5] = ["memory", "cpu", "cpuset", "io", "pids"];
const CONTAINER: &str = "/system.slice/docker-4f1c2a9b4f1c4f1c2a9b4f1c4f1c2a9b4f1c4f1c2a9b4f1c4f1c2a9b4f1c4f1c.scope";

struct Made {
    engine: Engine,
    hierarchy: u64,
    second: u64,
}

impl Made {
    fn with(hierarchy: u64, controllers: &[&str], kernel: &str) -> Made {
        let mut made = Made { engine: Engine::new(), hierarchy, second: 1000 };
        let controllers = Some(controllers.iter().map(|name| (*name).to_owned()).collect());
        let start = crate::engine::test::start();
        made.apply(Reading::Start(Start {
            workload_max: 100,
            memory_hierarchy: hierarchy,
            io_hierarchy: hierarchy,
            kernel: kernel.to_owned(),
            controllers: controllers.filter(|all: &Vec<String>| !all.is_empty()),
            ..start
        }));
        made
    }

    /// On cgroup v2, with 64 GiB of memory, and no swap.
    fn v2() -> Made {
        let mut made = Made::with(0, &ALL, "6.12.0");
        made.host(&[]);
        made
    }

    fn apply(&mut self, reading: Reading) {
        self.engine.apply(&Sample { time: self.second * SECOND, reading });
    }

    fn host(&mut self, values: &[(host::Statistic, u64)]) {
        use host::Statistic::{MemoryAvailable, MemoryTotal, SwapFree, SwapTotal, Swappiness};
        let base =
            [(MemoryTotal, 64 * GIB), (MemoryAvailable, 32 * GIB), (SwapTotal, 0), (SwapFree, 0), (Swappiness, 60)];
        self.apply(Reading::Host(base.into_iter().chain(values.iter().copied()).collect()));
    }

    fn id(&self, number: u64) -> Id {
        Id { hierarchy: self.hierarchy, id: number }
    }

    /// A cgroup that holds 1 GiB, half of which is page cache, with all that the controllers of v2 give it; and these numbers.
    fn cgroup(&mut self, number: u64, path: &str, values: &[(Of, u64)]) {
        let id = self.id(number);
        self.apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
        self.read(number, values);
    }

    fn read(&mut self, number: u64, values: &[(Of, u64)]) {
        let mut all: crate::statistic::workload::Values = [
            (Of::MemoryCurrent, GIB),
            (Of::MemoryWithoutCache, GIB / 2),
            (Of::MemoryAnon, GIB / 2),
            (Of::CpuUsage, 1),
            (Of::CpuPeriods, 0),
            (Of::IoReadBytes, 0),
        ]
        .into_iter()
        .collect();
        if self.hierarchy == 0 {
            [Of::MemoryLow, Of::MemoryMin, Of::MemoryOomGroup].into_iter().for_each(|it| all.set(it, 0));
        }
        // The largest number stands for none.
        values.iter().for_each(|(it, value)| all.put(*it, Some(*value).filter(|value| *value < u64::MAX)));
        self.apply(Reading::Statistics(Statistics { cgroup: self.id(number), values: all, turn: true }));
    }

    fn disk(&mut self, name: &str, weighs: Option<u64>) {
        let mut values: disk::Values = [(disk::Statistic::Busy, 1)].into_iter().collect();
        values.put(disk::Statistic::Weighs, weighs);
        self.apply(Reading::Disk(disk::Reading { device: name.into(), values: Some(values) }));
    }

    fn gpu(&mut self, model: &str, total: Option<u64>, holder: Option<u64>) {
        let [uuid, gpu, model, driver] = ["GPU-a", "0", model, "580"].map(std::sync::Arc::<str>::from);
        let device = std::sync::Arc::new(Device { uuid: uuid.clone(), gpu, model, driver, parent: None });
        let values = total.map(|total| (gpu::Statistic::MemoryTotal, total)).into_iter().collect();
        self.apply(Reading::Gpu(gpu::Reading::Device { device, values }));
        let holders = holder.map(|number| Holder { pid: 7, cgroup: Some(self.id(number)), bytes: Some(9 * GIB) });
        self.apply(Reading::Gpu(gpu::Reading::Held { uuid, holders: holders.into_iter().collect() }));
        self.apply(Reading::Tick);
    }

    fn check(&self, name: &str) -> Audited {
        let audited = audit(self.engine.view()).into_iter().find(|audited| audited.check == name);
        let audited = audited.unwrap_or_else(|| panic!("{name}"));
        for failure in &audited.fails {
            assert!(!failure.is.is_empty() && !failure.next.is_empty(), "{failure:?}");
            assert!(failure.is.ends_with('.'), "{failure:?}");
        }
        assert!(!audited.is.is_empty(), "{audited:?}");
        audited
    }

    fn state(&self, name: &str) -> State {
        self.check(name).state
    }

    /// For whom it fails, and what is said of the first.
    fn fails(&self, name: &str) -> (Vec<Object>, String) {
        let audited = self.check(name);
        assert_eq!(audited.state, State::Fails, "{audited:?}");
        (audited.fails.into_iter().map(|failure| failure.object).collect(), audited.is)
    }
}

fn workload(name: &str) -> Vec<Object> {
    vec![Object::Workload(name.to_owned())]
}

#[test]
fn a_host_without_anything_has_nothing_that_fails() {
    let made = Made::v2();
    for audited in audit(made.engine.view()) {
        let expected = if audited.check == "controllers" { State::Holds } else { State::Unused };
        assert_eq!(audited.state, expected, "{audited:?}");
    }
}

#[test]
fn a_controller_that_is_not_mounted_is_missing() {
    let made = Made::with(5, &["memory", "cpu", "io", "pids"], "6.18.0");
    let (objects, is) = made.fails("controllers");
    assert_eq!(
        (objects, &*is),
        (vec![Object::Host], "The controller cpuset is missing: sets of CPUs (AllowedCPUs=) do nothing.")
    );
    assert!(made.check("controllers").fails[0].next.contains("mount -t cgroup -o cpuset"));
    assert_eq!(Made::with(5, &ALL, "6.18.0").state("controllers"), State::Holds);
    assert_eq!(Made::with(5, &[], "6.18.0").state("controllers"), State::NotKnown, "an old recording");
}

#[test]
fn a_controller_that_does_not_reach_containers_is_named_with_who_cuts_it() {
    let mut made = Made::v2();
    made.cgroup(1, "/system.slice", &[]);
    made.cgroup(2, CONTAINER, &[]);
    assert_eq!(made.state("controllers"), State::Holds);
    made.read(2, &[(Of::IoReadBytes, u64::MAX)]);
    let (objects, is) = made.fails("controllers");
    assert_eq!(objects, workload("system.slice"), "{is}");
    assert!(is.starts_with("io is not enabled below /system.slice: its limits and weights do nothing for "), "{is}");
    assert_eq!(
        made.check("controllers").fails[0].next,
        "Set IOAccounting=yes for system.slice (systemctl set-property)."
    );
    // A service does without, unless somebody asks for it.
    let mut made = Made::v2();
    made.cgroup(1, "/system.slice", &[]);
    made.cgroup(2, "/system.slice/a.service", &[(Of::IoReadBytes, u64::MAX), (Of::CpuPeriods, u64::MAX)]);
    assert_eq!(made.state("controllers"), State::Holds);
    // One that was not read yet.
    let mut made = Made::v2();
    let id = made.id(3);
    made.apply(Reading::Cgroup(cgroup::Reading::Born { id, path: CONTAINER.to_owned() }));
    assert_eq!(made.state("controllers"), State::Holds);
}

#[test]
fn a_weight_of_io_needs_a_disk_that_heeds_it() {
    let made = |weighs: Option<u64>, set: Of| {
        let mut made = Made::v2();
        made.disk("vda", weighs);
        made.disk("md0", None);
        made.cgroup(1, "/system.slice/a.service", &[(Of::IoWeighted, 0), (set, 1)]);
        made
    };
    let (objects, is) = made(Some(0), Of::IoWeighted).fails("io_weight");
    assert_eq!(objects, workload("a.service"));
    assert_eq!(
        is,
        "The weight of IO of a.service does nothing: neither BFQ nor the kernel's cost model is on for vda."
    );
    assert_eq!(made(Some(disk::COST), Of::IoWeighted).state("io_weight"), State::Holds);
    assert_eq!(made(Some(disk::BFQ), Of::IoBfqWeighted).state("io_weight"), State::Holds);
    let other = made(Some(disk::BFQ), Of::IoWeighted).fails("io_weight").1;
    assert!(other.ends_with("it is io.weight, and vda heeds io.bfq.weight (BFQ)."), "{other}");
    assert_eq!(made(None, Of::IoWeighted).state("io_weight"), State::NotKnown, "no disk has a scheduler of its own");
    let mut usual = made(Some(0), Of::IoWeighted);
    usual.read(1, &[(Of::IoWeighted, 0), (Of::IoBfqWeighted, 0)]);
    assert_eq!(usual.state("io_weight"), State::Unused, "the default weight is none");
}

#[test]
fn advice_and_the_audit_agree_on_disks() {
    let mut made = Made::v2();
    for (name, weighs) in [("vda", Some(0)), ("vdb", Some(disk::COST)), ("md0", None)] {
        made.disk(name, weighs);
    }
    let inert = ["vda", "vdb", "md0", "sda"].map(|disk| weight::inert(made.engine.view(), disk));
    assert!(matches!(inert, [Some(Ok(true)), Some(Ok(false)), Some(Err(_)), None]), "{inert:?}");
}

#[test]
fn a_limit_does_not_see_the_memory_of_a_gpu_that_shares_the_hosts() {
    let made = |model: &str, total: Option<u64>, kernel: &str, holder: Option<u64>| {
        let mut made = Made::with(0, &ALL, kernel);
        made.host(&[]);
        made.cgroup(1, "/system.slice/vllm.service", &[(Of::MemoryLimit, 16 * GIB)]);
        made.gpu(model, total, holder);
        made
    };
    let (objects, is) = made("NVIDIA GB10", None, "6.11.0-1016-nvidia", Some(1)).fails("unified_gpu_memory");
    assert_eq!(objects, workload("vllm.service"));
    assert_eq!(
        is,
        "The limit of memory of vllm.service, 16.0 GiB, does not see its 9.00 GiB of GPU memory, which is the host's memory here."
    );
    assert_eq!(made("Orin (nvgpu)", None, "5.15.148-tegra", Some(1)).state("unified_gpu_memory"), State::Fails);
    assert_eq!(made("NVIDIA GB10", None, "6.11.0", None).state("unified_gpu_memory"), State::NotKnown, "who uses it");
    assert_eq!(made("NVIDIA GB100", Some(80 * GIB), "6.11.0", Some(1)).state("unified_gpu_memory"), State::Holds);
    assert_eq!(made("NVIDIA X1", None, "6.11.0", Some(1)).state("unified_gpu_memory"), State::NotKnown);
    let mut free = made("NVIDIA GB10", None, "6.11.0", Some(1));
    free.read(1, &[]);
    assert_eq!(free.state("unified_gpu_memory"), State::Holds, "nobody relies on a limit");
}

#[test]
fn what_a_kill_left_is_seen() {
    let made = |hierarchy: u64, group: u64| {
        let mut made = Made::with(hierarchy, &ALL, "6.18.0");
        made.cgroup(1, "/system.slice/a.service", &[(Of::MemoryOomGroup, group)]);
        made
    };
    let kill = |made: &mut Made| {
        made.second += 10;
        let (cgroup, comm) = (Some(made.id(1)), "worker".to_owned());
        let kill = oom::Kill {
            cgroup,
            scope: oom::Scope::Memcg,
            pid: 7,
            tid: 7,
            comm,
            trigger_pid: 7,
            ..oom::Kill::default()
        };
        made.apply(Reading::Oom(oom::Reading::Kill(kill)));
        made.second += 61;
        made.apply(Reading::Tick);
    };
    let mut left = made(0, 0);
    assert_eq!(left.state("oom_group"), State::NotKnown, "nobody was killed");
    kill(&mut left);
    let (objects, is) = left.fails("oom_group");
    assert_eq!(
        (objects, &*is),
        (workload("a.service"), "The OOM killer took a process of a.service, and the others stayed.")
    );
    // Its cgroup went with the kill, and there is a new one.
    let id = left.id(1);
    left.apply(Reading::Cgroup(cgroup::Reading::Died { id }));
    left.cgroup(2, "/system.slice/a.service", &[]);
    assert_eq!(left.state("oom_group"), State::NotKnown);
    let mut whole = made(0, 1);
    kill(&mut whole);
    assert_eq!(whole.state("oom_group"), State::Holds);
    let mut v1 = made(5, u64::MAX);
    kill(&mut v1);
    assert!(v1.check("oom_group").fails[0].next.contains("cgroup v1 has no memory.oom.group"));
}

#[test]
fn one_users_cgroups_hide_nobody_elses() {
    let mut made = Made::v2();
    for number in 0..40 {
        let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/app{number}.service");
        made.cgroup(10 + number, &path, &[(Of::MemoryLimit, 100 * GIB)]);
    }
    made.cgroup(1, "/system.slice/a.service", &[(Of::MemoryLimit, 100 * GIB)]);
    let audited = made.check("limit_above_parent");
    assert!(audited.fails.iter().any(|failure| failure.object == workload("a.service")[0]), "{audited:?}");
    assert_eq!((audited.fails.len(), audited.left_out), (11, 15));
}

#[test]
fn checks_have_names_of_their_own_and_are_described_on_one_line() {
    let names: std::collections::BTreeSet<&str> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
    for Check { name, holds, otherwise, needs, unused, .. } in CHECKS {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        for text in [holds, otherwise, needs, unused] {
            assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{name}: {text}");
        }
    }
}

//! Tests of who is watched, and of what is read.

use super::*;
use crate::cgroup::Id;
use crate::engine::Engine;
use crate::sample::{Reading as Any, Sample, Start, Statistics};
use crate::signal::cgroup;
use crate::statistic::contention::Statistic as Close;
use crate::statistic::gpu::{self, Device, Holder};
use crate::statistic::model::{self, Answer, Model, Server, State};
use crate::statistic::workload::Statistic;
use crate::statistic::{contention, host};

const SECOND: u64 = 1_000_000_000;

fn id(id: u64) -> Id {
    Id { hierarchy: 5, id }
}

fn apply(engine: &mut Engine, second: u64, reading: Any) {
    engine.apply(&Sample { time: second * SECOND, reading });
}

/// An engine that knows so many cgroups, `/w1` and so on.
fn engine(count: u64) -> Engine {
    let mut engine = Engine::new();
    let start = Start { workload_max: 1000, ..crate::engine::test::start() };
    apply(&mut engine, 1, Any::Start(start));
    for number in 1..=count {
        let born = cgroup::Reading::Born { id: id(number), path: format!("/w{number}") };
        apply(&mut engine, 1, Any::Cgroup(born));
    }
    engine
}

fn hold(engine: &mut Engine, second: u64, cgroups: impl IntoIterator<Item = u64>) {
    let [uuid, gpu, model, driver] = ["GPU-a", "0", "H100", "555"].map(Arc::<str>::from);
    let device = Device { uuid: uuid.clone(), gpu, model, driver, parent: None };
    let values = gpu::Values::from_iter([(gpu::Statistic::Utilization, 50), (gpu::Statistic::Throttle, 0x8)]);
    apply(engine, second, Any::Gpu(gpu::Reading::Device { device: device.into(), values }));
    let holders = cgroups.into_iter().map(|number| Holder { pid: 7, cgroup: Some(id(number)), bytes: Some(1) });
    apply(engine, second, Any::Gpu(gpu::Reading::Held { uuid, holders: holders.collect() }));
}

fn serve(engine: &mut Engine, second: u64, cgroup: u64, preemptions: u64) {
    let values = [(model::Statistic::Preemptions, preemptions), (model::Statistic::KvUsed, 900_000)];
    let line = serde_json::json!({"name": "vllm:8000", "url": "http://127.0.0.1:8000", "pid": 7, "cgroup": {"hierarchy": 5, "id": cgroup}});
    let server: Server = serde_json::from_value(line).unwrap();
    let models = vec![Model { name: "llama".into(), values: values.into_iter().collect(), ..Model::default() }];
    let answer: Answer = serde_json::from_value(serde_json::json!({"state": "up", "took": 1})).unwrap();
    let answer = Answer { state: State::Up, models, ..answer };
    apply(engine, second, Any::Model(model::Reading { server: server.into(), answer: Some(answer) }));
}

fn watched(engine: &Engine) -> Vec<String> {
    engine.view().slow.watched().map(|top| top.to_string()).collect()
}

#[test]
fn those_that_serve_or_hold_gpu_memory_are_watched_and_nobody_else() {
    let mut engine = engine(3);
    apply(&mut engine, 2, Any::Tick);
    assert!(watched(&engine).is_empty() && engine.view().slow.host().is_none(), "nothing is kept for nobody");
    hold(&mut engine, 10, [1]);
    serve(&mut engine, 10, 2, 0);
    apply(&mut engine, 10, Any::Tick);
    assert_eq!(watched(&engine), ["/w1", "/w2"]);
    let changes = engine.view().slow.changes();
    hold(&mut engine, 12, []);
    apply(&mut engine, 12, Any::Tick);
    assert_eq!(watched(&engine).len(), 2, "until the next step");
    apply(&mut engine, 15, Any::Tick);
    assert_eq!(watched(&engine), ["/w2"]);
    assert!(engine.view().slow.changes() > changes);
    let gone: Server = serde_json::from_value(serde_json::json!({"name": "vllm:8000", "url": ""})).unwrap();
    apply(&mut engine, 16, Any::Model(model::Reading { server: gone.into(), answer: None }));
    apply(&mut engine, 20, Any::Tick);
    assert!(watched(&engine).is_empty() && engine.view().slow.host().is_none());
}

#[test]
fn who_is_watched_is_bounded() {
    let mut engine = engine(300);
    hold(&mut engine, 10, 1..=300);
    apply(&mut engine, 10, Any::Tick);
    assert_eq!(watched(&engine).len(), WORKLOADS);
}

#[test]
fn a_users_workloads_leave_room_for_others() {
    let mut engine = engine(0);
    for number in 1..=40 {
        let path = format!("/user.slice/user-1000.slice/user@1000.service/app.slice/a{number}.service");
        apply(&mut engine, 1, Any::Cgroup(cgroup::Reading::Born { id: id(number), path }));
    }
    hold(&mut engine, 10, 1..=40);
    apply(&mut engine, 10, Any::Tick);
    assert_eq!(watched(&engine).len(), OF_AN_OWNER);
}

#[test]
fn facts_come_from_files_programs_gpus_servers_and_a_closer_look() {
    let mut engine = engine(2);
    for second in 1..=40 {
        let at = 100 + second;
        hold(&mut engine, at, [1]);
        serve(&mut engine, at, 1, 2 * second);
        let values = [(Statistic::MemoryCurrent, 5 << 20), (Statistic::CpuUsage, second * SECOND / 2)];
        let values = values.into_iter().collect();
        apply(&mut engine, at, Any::Statistics(Statistics { cgroup: id(1), values, turn: true }));
        // From the twentieth second on it is throttled and waits.
        let late = second.saturating_sub(20);
        let close = [
            (Close::CpuQuota, if late > 0 { 500 } else { 2000 }),
            (Close::CpuPeriods, 10 * second),
            (Close::CpuThrottledPeriods, 5 * late),
            (Close::CpuWait, late * 3 * SECOND),
        ];
        let (values, nodes) = (close.into_iter().collect(), Arc::default());
        let reading = contention::Reading { cgroup: id(1), values, nodes, interval: 2 * SECOND };
        apply(&mut engine, at, Any::Contention(reading));
        let steal =
            [(host::Statistic::CpuUser, 9 * at), (host::Statistic::CpuSteal, at * SECOND), (host::Statistic::Cpus, 4)];
        apply(&mut engine, at, Any::Host(steal.into_iter().collect()));
        apply(&mut engine, at, Any::Tick);
    }
    let view = engine.view();
    let means = |trail: Option<&Trail>, fact| {
        let means = trail.unwrap().means(fact, 120 * SECOND, u64::MAX).unwrap();
        (means.now, means.before.unwrap())
    };
    let of = |fact| means(view.slow.workload("/w1"), fact);
    assert_eq!(of(Fact::Cpu), (0.5, 0.5));
    assert_eq!(of(Fact::CpuThrottled), (0.5, 0.0));
    assert_eq!(of(Fact::CpuWait), (3.0, 0.0));
    assert_eq!(of(Fact::CpuQuota), (0.5, 2.0));
    assert_eq!(of(Fact::GpuUtilization), (0.5, 0.5));
    assert_eq!(of(Fact::GpuThrottled), (1.0, 1.0));
    assert_eq!(view.slow.workload("/w1").unwrap().means(Fact::RefaultFile, 0, u64::MAX), None, "it was never read");
    let received = view.slow.workload("/w1").unwrap().means(Fact::Received, 0, u64::MAX);
    assert_eq!(received, None, "it has no network namespace of its own");
    let served = view.slow.model("vllm:8000", "llama");
    assert_eq!((means(served, Fact::Preemptions), means(served, Fact::KvUsed).0 as f32), ((2.0, 2.0), 0.9));
    assert_eq!(means(view.slow.host(), Fact::HostSteal), (0.25, 0.25));
}

#[test]
fn the_lower_link_of_an_idle_gpu_is_none() {
    for (utilization, wanted) in [(Some(0), None), (Some(50), Some(0.25)), (None, Some(0.25))] {
        let mut engine = engine(1);
        for second in [10, 15, 20] {
            hold(&mut engine, second, [1]);
            let [uuid, gpu, model, driver] = ["GPU-a", "0", "H100", "555"].map(Arc::<str>::from);
            let device = Device { uuid, gpu, model, driver, parent: None };
            let link = [
                (gpu::Statistic::PcieGeneration, 3),
                (gpu::Statistic::PcieGenerationMax, 5),
                (gpu::Statistic::PcieWidth, 16),
                (gpu::Statistic::PcieWidthMax, 16),
            ];
            let used = utilization.map(|percent| (gpu::Statistic::Utilization, percent));
            let values = link.into_iter().chain(used).collect();
            apply(&mut engine, second, Any::Gpu(gpu::Reading::Device { device: device.into(), values }));
            apply(&mut engine, second, Any::Tick);
        }
        let trail = engine.view().slow.workload("/w1").unwrap();
        assert_eq!(trail.means(Fact::PcieLink, 0, u64::MAX).map(|means| means.now), wanted, "{utilization:?}");
    }
}

//! Levels of GPUs: what a model server holds is there on purpose, what another holds is not, and neither degrades the host or another
//! GPU.

use std::process::Command;

use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::nvml::host;
use collector_tests::require::is_root;
use serde_json::json;

const LEVEL: &str = "headroom_gpu_degradation_level";
const SHARE: &str = "headroom_limit_used_ratio";
const A: (&str, &str) = ("uuid", "GPU-a");
const B: (&str, &str) = ("uuid", "GPU-b");
const GIB: u64 = 1 << 30;

#[test]
fn a_server_at_92_percent_of_a_gpu_is_level_0_and_another_holder_of_as_much_is_not() {
    needs!(is_root(), "programs need root");
    let (server, other) = (Cgroup::new("level-server"), Cgroup::new("level-other"));
    let [vllm, job] = [&server, &other].map(|cgroup| cgroup.spawn(Command::new("sleep").arg("600")).id());
    let mut nvml = host(&["GPU-a", "GPU-b"]);
    // 73.6 of 80 GiB, and nothing reserved.
    nvml.scenario["gpus"][0]["memory"] = json!({"total": 80 * GIB, "used": 73 * GIB + GIB / 2, "reserved": 0});
    nvml.scenario["gpus"][0]["processes"] = json!([{"pid": vllm, "bytes": 73 * GIB}]);
    nvml.apply();
    let agent = nvml.agent_with(&format!("[level]\nmodel_servers = [{:?}]\nmemory_limit = 1.0\n", server.path));
    let intended = |uuid| {
        move |it: &collector_tests::exposition::Exposition| {
            it.values(SHARE, &[uuid]).first().is_some_and(|share| *share < 0.2)
        }
    };
    let page = agent.scrape_until("what is held on purpose", |it| intended(A)(it) && intended(B)(it));
    assert_eq!((page.values(LEVEL, &[A]), page.values(LEVEL, &[B])), (vec![0.0], vec![0.0]));

    // The same amount, held by who is no model server: 0.95 of the limit of 97 %.
    nvml.change("/gpus/0/processes", json!([{"pid": job, "bytes": 73 * GIB}]));
    let page = agent.scrape_until("the level", |it| it.values(LEVEL, &[A]) == [2.0]);
    let share = page.values(SHARE, &[A]);
    assert!((share[0] - 73.5 / 80.0 / 0.97).abs() < 1e-6, "{share:?}");
    assert_eq!(page.values(LEVEL, &[B]), [0.0]);
    assert!(page.values("headroom_degradation_level", &[]).iter().all(|level| *level < 4.0), "the host is not full");
    agent.await_log(&["the level of GPU 0 is 2 (moderate)"]);
}

//! The scenarios of servers that are played: what they tell, and what is true of it.

use collector_core::statistic::model::Kind;
use serde_json::json;

use super::super::slow::Truth;
use super::{Doing, Served};

/// Quick ones, for every run of the tests.
pub const QUICK: [&str; 1] = ["served_link_degraded"];

/// What each does at first: two hundred requests a second.
pub(super) const USUAL: Doing = Doing {
    requests: 20,
    prompt: 400,
    output: 21,
    first: 0.15,
    between: 0.018,
    queue: 0.0,
    running: 90,
    waiting: 0,
    kv: 0.5,
    preempted: 0,
    offloaded: 0,
};
/// As much is asked of it, and all of it takes two and a half times as long, so as many more run at once.
const SLOWER: Doing = Doing { first: 0.4, between: 0.045, running: 225, ..USUAL };

fn served(
    name: &'static str,
    what: &'static str,
    causes: &'static [&'static str],
    says: &'static [&'static str],
    then: Doing,
) -> Served {
    let truth = Truth { name, what, causes, says };
    Served { truth, kind: Kind::Vllm, old: false, then, gpu: |_| {}, shared: false, xid: None }
}

/// All of them.
pub fn all() -> Vec<Served> {
    [of_the_server(), of_the_gpu(), controls()].concat()
}

fn of_the_server() -> Vec<Served> {
    let full = Doing { kv: 0.99, preempted: 2, waiting: 40, queue: 0.3, ..SLOWER };
    let queue = Doing { waiting: 120, queue: 0.5, ..USUAL };
    vec![
        served(
            "served_kv_exhausted",
            "its KV cache is full, requests wait, and some are preempted",
            &["kv_exhausted"],
            &["in use)", "requests were preempted at"],
            full,
        ),
        Served {
            old: true,
            ..served(
                "served_kv_exhausted_of_old",
                "the same of an older vLLM, with other names",
                &["kv_exhausted"],
                &["in use)", "requests were preempted at"],
                full,
            )
        },
        served(
            "served_kv_full",
            "its KV cache is full and requests wait; none is preempted",
            &["kv_exhausted"],
            &["requests wait"],
            Doing { preempted: 0, ..full },
        ),
        Served {
            kind: Kind::Sglang,
            ..served(
                "served_retracted",
                "SGLang has no room for all requests, and sends some back to its queue",
                &["kv_exhausted"],
                &["tokens were sent back to the queue"],
                Doing { preempted: 300, ..full },
            )
        },
        served(
            "served_more_clients",
            "more is asked of it than it works on at once, and it is as fast as before",
            &["too_many_clients"],
            &["requests wait"],
            queue,
        ),
        Served {
            gpu: |gpu| gpu["pcie"]["counters"] = json!([{"base": 0, "rate": 20e9}, {"base": 0, "rate": 20e9}]),
            ..served(
                "served_kv_offload",
                "it moves its KV cache to host memory and back, which fills the PCIe link",
                &["kv_offload"],
                &["of the PCIe link is in use"],
                Doing { offloaded: 1_800_000_000, kv: 0.8, ..SLOWER },
            )
        },
        Served {
            kind: Kind::Sglang,
            ..served(
                "served_kv_offload_of_sglang",
                "the same of SGLang's hierarchical cache, on a link that it does not fill",
                &["kv_offload"],
                &["moves KV cache"],
                Doing { offloaded: 80_000_000, kv: 0.8, ..SLOWER },
            )
        },
    ]
}

fn of_the_gpu() -> Vec<Served> {
    vec![
        Served {
            gpu: |gpu| gpu["pcie"]["counters"] = json!([{"base": 0, "rate": 26e9}, {"base": 0, "rate": 2e9}]),
            ..served(
                "served_link_saturated",
                "something fills the PCIe link of its GPU",
                &["pcie_saturated"],
                &["is full"],
                SLOWER,
            )
        },
        Served {
            gpu: |gpu| {
                gpu["pcie"]["generation"] = json!(2);
                gpu["pcie"]["width"] = json!(8);
            },
            ..served(
                "served_link_degraded",
                "the PCIe link of its GPU falls to an eighth",
                &["pcie_degraded"],
                &["of what it can (before: "],
                SLOWER,
            )
        },
        Served {
            gpu: |gpu| {
                gpu["throttle"] = json!(0x40);
                gpu["clocks"] = json!([700, 700, 1593, 700]);
            },
            ..served(
                "served_hot",
                "its GPU is too hot, and lowers its clocks",
                &["gpu_clocks"],
                &["hw_thermal_slowdown", "its clock is"],
                SLOWER,
            )
        },
        Served {
            gpu: |gpu| {
                gpu["throttle"] = json!(0x4);
                gpu["clocks"] = json!([900, 900, 1593, 900]);
            },
            ..served(
                "served_power_capped",
                "the power limit of its GPU is lowered, and with it the clocks",
                &["gpu_clocks"],
                &["its clock is"],
                SLOWER,
            )
        },
        Served {
            shared: true,
            ..served(
                "served_beside_another",
                "another process comes to its GPU, and uses it",
                &["gpu_shared"],
                &["/beside uses GPU 0 as well"],
                SLOWER,
            )
        },
        Served {
            xid: Some(63),
            ..served("served_xid", "its GPU reports an error, and is slower", &["gpu_xid"], &["XID 63"], SLOWER)
        },
    ]
}

/// Nothing must be told.
fn controls() -> Vec<Served> {
    vec![
        served("not_served_as_ever", "nothing happens", &[], &[], USUAL),
        served(
            "not_served_by_load",
            "three times as much is asked of it, so that all takes longer",
            &[],
            &[],
            Doing { requests: 60, running: 500, first: 0.25, between: 0.03, ..USUAL },
        ),
        served(
            "not_served_by_prompts",
            "prompts are three times as long, and so is the time to the first token",
            &[],
            &[],
            Doing { prompt: 1200, first: 0.45, ..USUAL },
        ),
        Served {
            gpu: |gpu| {
                gpu["throttle"] = json!(0x40);
                gpu["clocks"] = json!([1500, 1500, 1593, 1500]);
                gpu["pcie"]["counters"] = json!([{"base": 0, "rate": 26e9}, {"base": 0, "rate": 2e9}]);
            },
            ..served(
                "not_served_by_a_hot_gpu",
                "its GPU is hot and its link full, and it is as fast as before",
                &[],
                &[],
                USUAL,
            )
        },
    ]
}

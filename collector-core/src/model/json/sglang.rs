//! `/v1/loads` of SGLang, which answers where metrics are not enabled (sglang/srt/entrypoints/v1_loads.py).

use serde::Deserialize;

use super::lenient::{Few, Number};
use super::read;
use crate::model::gather::whole;
use crate::statistic::model::Statistic::{
    KvBytes, KvTokens, KvUsed, RequestsRunning, RequestsWaiting, Slots, WeightBytes,
};
use crate::statistic::model::{Statistic, Values, WHOLE};

const GIB: f64 = 1_073_741_824.0;

/// One of its numbers.
type Part = fn(&Load) -> Number;

#[derive(Deserialize)]
struct Raw {
    loads: Few<Load, 512>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Load {
    num_running_reqs: Number,
    num_waiting_reqs: Number,
    num_used_tokens: Number,
    max_total_num_tokens: Number,
    max_running_requests: Number,
    token_usage: Number,
    memory: Memory,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Memory {
    weight_gb: Number,
    kv_cache_gb: Number,
}

/// What all its replicas tell together; `None` if SGLang does not answer so.
pub fn loads(body: &[u8]) -> Option<Values> {
    let Raw { loads: Few(loads) } = read(body)?;
    let mut values = Values::new();
    let of = |get: Part, scale: f64| {
        let all: Option<Vec<f64>> = loads.iter().map(|load| get(load).0.filter(|number| *number >= 0.0)).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.into_iter().sum::<f64>() * scale)
    };
    let sums: [(Statistic, Part, f64); 6] = [
        (RequestsRunning, |load| load.num_running_reqs, 1.0),
        (RequestsWaiting, |load| load.num_waiting_reqs, 1.0),
        (KvTokens, |load| load.max_total_num_tokens, 1.0),
        (Slots, |load| load.max_running_requests, 1.0),
        (WeightBytes, |load| load.memory.weight_gb, GIB),
        (KvBytes, |load| load.memory.kv_cache_gb, GIB),
    ];
    for (statistic, get, scale) in sums {
        values.put(statistic, of(get, scale).and_then(whole));
    }
    let share = of(|load| load.token_usage, 1.0 / loads.len().max(1) as f64);
    let tokens = of(|load| load.num_used_tokens, 1.0).zip(of(|load| load.max_total_num_tokens, 1.0));
    let used = share.or_else(|| tokens.map(|(used, all)| used / all)).filter(|share| *share <= 1.01);
    values.put(KvUsed, used.and_then(|share| whole(share.min(1.0) * WHOLE as f64)));
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_add_up() {
        let one = |running: &str| {
            format!(
                r#"{{"dp_rank":0,"num_running_reqs":{running},"num_waiting_reqs":1,"num_used_tokens":50,"max_total_num_tokens":100,
                "max_running_requests":64,"token_usage":0.5,"gen_throughput":1.0,"memory":{{"weight_gb":2.0,"kv_cache_gb":1.5,"graph_gb":0}}}}"#
            )
        };
        let text = format!(r#"{{"timestamp":"x","version":"0.5.23","loads":[{},{}]}}"#, one("3"), one("4"));
        let values = loads(text.as_bytes()).unwrap();
        let told = [RequestsRunning, RequestsWaiting, KvTokens, Slots, KvUsed, WeightBytes].map(|it| values.get(it));
        assert_eq!(told, [7, 2, 200, 128, 500_000, 4 << 30].map(Some));
        let broken = loads(text.replace(":3,", ":null,").as_bytes()).unwrap();
        assert_eq!((broken.get(RequestsRunning), broken.get(RequestsWaiting)), (None, Some(2)));
        assert_eq!((loads(b"{}"), loads(b"[]")), (None, None));
        assert_eq!(loads(b"{\"loads\":[]}"), Some(Values::new()));
    }
}

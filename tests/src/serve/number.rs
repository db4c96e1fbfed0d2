//! [`Numbers`]: what a stand-in says of itself.

use collector_core::statistic::model::Stage;

/// Numbers since it started, and what it does now.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    /// Its name for its model.
    pub model: String,
    /// It uses the names of an older version.
    pub old: bool,
    pub loading: bool,
    pub asleep: bool,
    /// How often a request woke it that should not have.
    pub woken: u64,
    pub running: u64,
    pub waiting: u64,
    pub requests: u64,
    pub rejected: u64,
    pub failed: u64,
    pub slots: u64,
    /// Share of the KV cache in use, 0 to 1.
    pub kv: f64,
    pub kv_tokens: u64,
    pub preemptions: u64,
    pub prompt_tokens: u64,
    pub generated_tokens: u64,
    pub steps: u64,
    pub prompt_seconds: f64,
    pub generate_seconds: f64,
    pub prefix_lookups: u64,
    pub prefix_hits: u64,
    pub offload_stored: u64,
    pub offload_loaded: u64,
    pub offload_hits: u64,
    /// Size of the KV cache in host memory; 0: none.
    pub offload_bytes: u64,
    /// Bytes of weights.
    pub weights: u64,
    pub pinned: u64,
    /// By [`Stage`].
    pub times: [Times; 4],
}

/// Durations in buckets.
#[derive(Clone, Debug, PartialEq)]
pub struct Times {
    /// Upper edges in seconds, as vLLM has them.
    pub edges: &'static [f64],
    /// One more than the edges. Not cumulative.
    pub counts: Vec<u64>,
    pub sum: f64,
}

const FIRST_TOKEN: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
];
const BETWEEN_TOKENS: &[f64] =
    &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
];

impl Default for Numbers {
    fn default() -> Numbers {
        let times = [FIRST_TOKEN, BETWEEN_TOKENS, REQUEST, REQUEST];
        Numbers {
            model: "someone/m".to_owned(),
            old: false,
            loading: false,
            asleep: false,
            woken: 0,
            running: 0,
            waiting: 0,
            requests: 0,
            rejected: 0,
            failed: 0,
            slots: 2,
            kv: 0.0,
            kv_tokens: 4096,
            preemptions: 0,
            prompt_tokens: 0,
            generated_tokens: 0,
            steps: 0,
            prompt_seconds: 0.0,
            generate_seconds: 0.0,
            prefix_lookups: 0,
            prefix_hits: 0,
            offload_stored: 0,
            offload_loaded: 0,
            offload_hits: 0,
            offload_bytes: 0,
            weights: 1 << 30,
            pinned: 0,
            times: times.map(|edges| Times { edges, counts: vec![0; edges.len() + 1], sum: 0.0 }),
        }
    }
}

impl Numbers {
    /// So many durations of this length came.
    pub fn observe(&mut self, stage: Stage, seconds: f64, times: u64) {
        let all = &mut self.times[stage as usize];
        let bucket = all.edges.iter().position(|edge| seconds <= *edge).unwrap_or(all.edges.len());
        all.counts[bucket] += times;
        all.sum += seconds * times as f64;
    }

    /// How many requests ended, and how many seconds they took.
    pub fn took(&self) -> (u64, f64) {
        let times = &self.times[Stage::EndToEnd as usize];
        (times.counts.iter().sum(), times.sum)
    }

    /// It started again: what it counted is gone.
    pub fn reset(&mut self) {
        let Numbers { model, old, slots, kv_tokens, weights, offload_bytes, .. } = std::mem::take(self);
        *self = Numbers { model, old, slots, kv_tokens, weights, offload_bytes, ..Numbers::default() };
    }

    /// Changes one number, as the standard input of a [`super::Process`] says: `running 7`, `observe first_token 0.25 100`, `reset`.
    pub fn change(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["reset"] => self.reset(),
            ["observe", stage, seconds, times] => {
                let stage = Stage::ALL.into_iter().find(|it| it.label() == stage).unwrap();
                self.observe(stage, seconds.parse().unwrap(), times.parse().unwrap());
            }
            ["model", model] => model.clone_into(&mut self.model),
            ["old", value] => self.old = value == "true",
            ["loading", value] => self.loading = value == "true",
            ["asleep", value] => self.asleep = value == "true",
            [name, value] => match name {
                "kv" => self.kv = value.parse().unwrap(),
                "prompt_seconds" => self.prompt_seconds = value.parse().unwrap(),
                "generate_seconds" => self.generate_seconds = value.parse().unwrap(),
                name => *self.count(name) = value.parse().unwrap(),
            },
            _ => panic!("no number: {line:?}"),
        }
    }

    fn count(&mut self, name: &str) -> &mut u64 {
        match name {
            "running" => &mut self.running,
            "waiting" => &mut self.waiting,
            "requests" => &mut self.requests,
            "rejected" => &mut self.rejected,
            "failed" => &mut self.failed,
            "slots" => &mut self.slots,
            "kv_tokens" => &mut self.kv_tokens,
            "preemptions" => &mut self.preemptions,
            "prompt_tokens" => &mut self.prompt_tokens,
            "generated_tokens" => &mut self.generated_tokens,
            "steps" => &mut self.steps,
            "prefix_lookups" => &mut self.prefix_lookups,
            "prefix_hits" => &mut self.prefix_hits,
            "offload_stored" => &mut self.offload_stored,
            "offload_loaded" => &mut self.offload_loaded,
            "offload_hits" => &mut self.offload_hits,
            "offload_bytes" => &mut self.offload_bytes,
            "weights" => &mut self.weights,
            "pinned" => &mut self.pinned,
            _ => panic!("no number is called {name:?}"),
        }
    }
}

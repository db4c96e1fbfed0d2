//! A model server that is made up, minute by minute: requests come by chance, take longer the more run at once and the longer their
//! prompts are, and are told as vLLM tells them. It knows nothing of what judges it.

use std::sync::Arc;

use crate::statistic::model::Statistic::{GeneratedTokens, PromptTokens, Requests, RequestsRunning, RequestsWaiting};
use crate::statistic::model::{Answer, Kind, Latency, Model, Reading, Server, Stage, State, Values};

pub const SECOND: u64 = 1_000_000_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;

/// The edges of vLLM's buckets, in milliseconds.
const FIRST: [u64; 22] = [
    1, 5, 10, 20, 40, 60, 80, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10_000, 20_000, 40_000, 80_000, 160_000,
    640_000, 2_560_000,
];
const BETWEEN: [u64; 19] =
    [10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000, 2500, 5000, 7500, 10_000, 20_000, 40_000, 80_000];
const WHOLE: [u64; 20] = [
    300, 500, 800, 1000, 1500, 2000, 2500, 5000, 10_000, 15_000, 20_000, 30_000, 40_000, 50_000, 60_000, 120_000,
    240_000, 480_000, 960_000, 1_920_000,
];

/// Chance that can be repeated (xorshift64*).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// From 0 to 1.
    pub fn share(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.share().max(1e-12).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.share()).cos()
    }

    /// A factor around 1.
    pub fn spread(&mut self, by: f64) -> f64 {
        (self.normal() * by).exp()
    }

    /// How many of many come, if so many are expected.
    pub fn number(&mut self, expected: f64) -> u64 {
        (expected + expected.sqrt() * self.normal()).round().max(0.0) as u64
    }
}

/// What is asked of it now.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Requests a minute.
    pub requests: f64,
    /// Share of them with a prompt ten times as long.
    pub long: f64,
    /// How many times as long as they should everything takes: what comes before the first token, and what comes after.
    pub slow: (f64, f64),
}

pub struct Made {
    pub chance: Chance,
    pub time: u64,
    pub server: Arc<Server>,
    pub running: f64,
    prompt: u64,
    output: u64,
    requests: u64,
    latency: [Latency; 3],
}

fn none(stage: Stage, edges: &[u64]) -> Latency {
    let edges: Arc<[u64]> = edges.iter().map(|ms| ms * 1_000_000).collect();
    Latency { stage, counts: vec![0; edges.len() + 1], edges, sum: 0 }
}

fn add(latency: &mut Latency, seconds: f64, times: u64) {
    let ns = (seconds * 1e9) as u64;
    let place = latency.edges.partition_point(|edge| *edge < ns);
    latency.counts[place] += times;
    latency.sum += ns * times;
}

impl Made {
    pub fn new(seed: u64) -> Made {
        let server = Server {
            name: "vllm:8000".into(),
            kind: Some(Kind::Vllm),
            url: "http://127.0.0.1:8000".into(),
            pid: Some(100),
            cgroup: None,
            workload: None,
            parent: None,
            flags: Arc::default(),
        };
        let latency =
            [none(Stage::FirstToken, &FIRST), none(Stage::BetweenTokens, &BETWEEN), none(Stage::EndToEnd, &WHOLE)];
        let (chance, time) = (Chance::new(seed), 1_700_000_000 * SECOND + seed * 7 * SECOND);
        Made { chance, time, server: Arc::new(server), running: 0.0, prompt: 0, output: 0, requests: 0, latency }
    }

    /// It begins at zero again, as another process.
    pub fn restart(&mut self) {
        let server = Server { pid: self.server.pid.map(|pid| pid + 1), ..(*self.server).clone() };
        let fresh = Made::new(1);
        (self.server, self.latency) = (Arc::new(server), fresh.latency);
        (self.running, self.prompt, self.output, self.requests) = (0.0, 0, 0, 0);
    }

    /// Serves for so long, and says what it then says.
    pub fn serve(&mut self, ns: u64, asked: Asked) -> Reading {
        self.time += ns;
        let Asked { requests, long, slow } = asked;
        let seconds = ns as f64 / 1e9;
        // How long a request takes decides how many run, and that how long one takes.
        let between = |running: f64| 0.018 * (1.0 + 0.02 * running) * slow.1;
        let mut whole = 0.0;
        for _ in 0..3 {
            whole = 250.0 * between(self.running) + 0.3 * slow.0;
            self.running = requests / 60.0 * whole;
        }
        for _ in 0..self.chance.number(requests * seconds / 60.0) {
            let chance = &mut self.chance;
            let tokens = 600.0 * if chance.share() < long { 10.0 } else { 1.0 } * chance.spread(0.6);
            let output = (250.0 * chance.spread(0.5)).max(2.0) as u64;
            let wait = (1.0 + 0.03 * self.running) * slow.0;
            let first = (0.05 + 0.0002 * tokens) * wait * chance.spread(0.35);
            let each = between(self.running) * chance.spread(0.12);
            add(&mut self.latency[0], first, 1);
            for (share, of) in [(0.5, 0.9), (0.4, 1.0), (0.1, 1.5)] {
                let of = of * self.chance.spread(0.1);
                add(&mut self.latency[1], each * of, (output as f64 * share) as u64);
            }
            add(&mut self.latency[2], first + each * output as f64, 1);
            (self.prompt, self.output) = (self.prompt + tokens as u64, self.output + output);
            self.requests += 1;
        }
        whole = whole.max(0.0);
        let running = self.chance.number(requests / 60.0 * whole);
        self.answer(State::Up, running)
    }

    /// Works on so many requests for so long, of which none ends.
    pub fn works(&mut self, ns: u64, running: u64) -> Reading {
        self.time += ns;
        self.answer(State::Up, running)
    }

    /// Says nothing for so long.
    pub fn silent(&mut self, ns: u64, state: State) -> Reading {
        self.time += ns;
        let mut reading = self.answer(state, 0);
        reading.answer.iter_mut().for_each(|answer| answer.models.clear());
        reading
    }

    fn answer(&self, state: State, running: u64) -> Reading {
        let values = [
            (RequestsRunning, running),
            (RequestsWaiting, 0),
            (Requests, self.requests),
            (PromptTokens, self.prompt),
            (GeneratedTokens, self.output),
        ];
        let model = Model { name: "m".into(), values: Values::from_iter(values), latency: self.latency.to_vec() };
        let answer = Answer { state, why: None, took: 1, memory: None, models: vec![model] };
        Reading { server: self.server.clone(), answer: Some(answer) }
    }
}

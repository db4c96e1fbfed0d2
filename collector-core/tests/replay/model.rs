//! What model servers say, and which default rules fire at it: each fires at what it is about, and not at what is nearly the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use collector_core::alert::State as AlertState;
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::outcome::Outcome;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::statistic::model::Statistic::{self, *};
use collector_core::statistic::model::{self, Answer, Kind, Memory, Model, Server, State};
use collector_core::statistic::model_file::{self, File, How, Process, Tier};

const SECOND: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;
const START: &str =
    r#"{"version":"1","kernel":"6.12.0","memory_hierarchy":0,"io_hierarchy":0,"workload_max":9,"workload_grace":60}"#;
const ID: Id = Id { hierarchy: 0, id: 7 };
/// How long each server is watched, in seconds, and how often it is asked.
const WATCHED: u64 = 600;
const EVERY: u64 = 5;

/// The alerts about model servers that fire, or did, when one answers like this: by the seconds since the first answer.
fn fired(answer: impl Fn(u64) -> Option<Answer>) -> BTreeSet<String> {
    let server = Arc::new(Server {
        name: "vllm:8000".into(),
        kind: Some(Kind::Vllm),
        url: "http://127.0.0.1:8000".into(),
        pid: Some(4711),
        cgroup: Some(ID),
        workload: None,
        parent: None,
        flags: Arc::default(),
    });
    fired_at(|second| Reading::Model(model::Reading { server: server.clone(), answer: answer(second) }))
}

fn fired_at(reading: impl Fn(u64) -> Reading) -> BTreeSet<String> {
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    let mut fired = BTreeSet::new();
    let mut apply = |second: u64, reading| {
        for outcome in engine.apply(&Sample { time: (1000 + second) * SECOND, reading }) {
            if let Outcome::Alert(alert) = outcome
                && alert.state == AlertState::Firing
                && alert.alert.starts_with("Model")
            {
                assert_eq!((&*alert.labels["server"], &*alert.labels["workload"]), ("vllm:8000", "vllm.service"));
                assert!(!alert.summary.contains(['{', '}']), "{}", alert.summary);
                fired.insert(alert.alert.to_string());
            }
        }
    };
    apply(0, Reading::Start(serde_json::from_str(START).unwrap()));
    apply(0, Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/system.slice/vllm.service".into() }));
    for second in 0..WATCHED {
        if second % EVERY == 0 {
            apply(second, reading(second));
        }
        apply(second, Reading::Tick);
    }
    fired
}

fn answer(state: State, numbers: &[(Statistic, u64)]) -> Option<Answer> {
    let model = Model { name: "llama".into(), values: numbers.iter().copied().collect(), latency: Vec::new() };
    let models = if state == State::Failed { Vec::new() } else { vec![model] };
    Some(Answer { state, why: None, took: 1_000_000, memory: None, models })
}

fn up(numbers: &[(Statistic, u64)]) -> Option<Answer> {
    answer(State::Up, numbers)
}

fn one(name: &str) -> BTreeSet<String> {
    BTreeSet::from([name.to_owned()])
}

#[test]
fn a_busy_server_fires_nothing() {
    // Its cache is full, and nobody waits.
    let busy = |second| {
        let numbers = [
            (RequestsRunning, 32),
            (RequestsWaiting, 0),
            (KvUsed, 990_000),
            (GeneratedTokens, 900 * second),
            (PromptTokens, 2000 * second),
            (Preemptions, 3),
            (RetractedTokens, 0),
            (RequestsRejected, 1),
        ];
        up(&numbers)
    };
    assert_eq!(fired(busy), BTreeSet::new());
}

#[test]
fn a_full_cache_fires_while_requests_wait() {
    let full = |waiting: u64, used: u64| {
        move |second| up(&[(RequestsRunning, 9), (RequestsWaiting, waiting), (KvUsed, used), (GeneratedTokens, second)])
    };
    assert_eq!(fired(full(4, 970_000)), one("ModelKvFull"));
    assert_eq!(fired(full(0, 970_000)), BTreeSet::new());
    assert_eq!(fired(full(4, 940_000)), BTreeSet::new());
    // For a few seconds only.
    let short = |second: u64| {
        let waiting = u64::from(second % 60 < 20);
        up(&[(RequestsRunning, 9), (RequestsWaiting, waiting), (KvUsed, 999_000), (GeneratedTokens, second)])
    };
    assert_eq!(fired(short), BTreeSet::new());
}

#[test]
fn preemptions_and_retractions_fire_by_their_rate() {
    let counts = |counter: Statistic, per_minute: u64| {
        move |second: u64| up(&[(RequestsRunning, 9), (GeneratedTokens, second), (counter, second * per_minute / 60)])
    };
    assert_eq!(fired(counts(Preemptions, 30)), one("ModelPreempting"));
    assert_eq!(fired(counts(Preemptions, 3)), BTreeSet::new());
    assert_eq!(fired(counts(RetractedTokens, 600)), one("ModelRetracting"));
    assert_eq!(fired(counts(RetractedTokens, 20)), BTreeSet::new());
    assert_eq!(fired(counts(RequestsRejected, 60)), one("ModelRejecting"));
    assert_eq!(fired(counts(RequestsRejected, 1)), BTreeSet::new());
}

#[test]
fn a_server_that_answers_and_does_nothing_is_stuck() {
    let until = |end: u64, running: u64| {
        move |second: u64| {
            let numbers = [(RequestsRunning, running), (GeneratedTokens, 100 * second.min(end)), (KvUsed, 500_000)];
            up(&numbers)
        }
    };
    assert_eq!(fired(until(200, 4)), one("ModelStuck"));
    assert_eq!(fired(until(200, 0)), BTreeSet::new(), "it has nothing to do");
    assert_eq!(fired(until(WATCHED - 110, 4)), BTreeSet::new(), "not for long enough");
    // A prompt so long that it takes minutes: the cache fills.
    let reading = |second: u64| up(&[(RequestsRunning, 1), (GeneratedTokens, 7), (KvUsed, 1000 * second)]);
    assert_eq!(fired(reading), BTreeSet::new());
    // llama.cpp counts tokens when a request ends; its steps move.
    let llama = |second: u64| up(&[(RequestsRunning, 1), (GeneratedTokens, 7), (DecodeSteps, 20 * second)]);
    assert_eq!(fired(llama), BTreeSet::new());
}

#[test]
fn a_server_that_stops_answering_while_its_process_lives_is_down() {
    let fails = |from: u64, until: u64| {
        move |second: u64| match (from..until).contains(&second) {
            true => answer(State::Failed, &[]),
            false => up(&[(RequestsRunning, 0), (GeneratedTokens, 7)]),
        }
    };
    assert_eq!(fired(fails(100, WATCHED)), one("ModelServerDown"));
    assert_eq!(fired(fails(100, 140)), BTreeSet::new(), "it was slow for a while");
    assert_eq!(fired(fails(0, WATCHED)), BTreeSet::new(), "it never answered: who knows what listens there");
    let sleeps = |second: u64| answer(if second < 100 { State::Up } else { State::Asleep }, &[(Asleep, 1)]);
    assert_eq!(fired(sleeps), BTreeSet::new());
    let ends = |second: u64| if second < 100 { up(&[]) } else { None };
    assert_eq!(fired(ends), BTreeSet::new());
}

#[test]
fn more_host_memory_for_the_cache_than_configured_fires() {
    let holds = |mib: u64| {
        move |_| {
            let memory = Memory { shmem: mib * MIB, ..Memory::default() };
            up(&[(OffloadBytes, 64 * MIB)]).map(|answer| Answer { memory: Some(memory), ..answer })
        }
    };
    assert_eq!(fired(holds(122)), one("ModelKvOffloadOver"));
    assert_eq!(fired(holds(66)), BTreeSet::new());
    // Shared memory for something else.
    let other = |_| {
        let memory = Memory { shmem: 122 * MIB, ..Memory::default() };
        up(&[]).map(|answer| Answer { memory: Some(memory), ..answer })
    };
    assert_eq!(fired(other), BTreeSet::new());
}

#[test]
fn weights_that_are_read_again_and_again_fire() {
    let file = |cached: u64| File {
        name: "llama.gguf".into(),
        id: (1, 2),
        how: How::Mapped,
        bytes: 1000 * MIB,
        cached: Some(cached * MIB),
        evicted: None,
        tier: Tier::Ssd,
        fstype: "ext4".into(),
    };
    let reads = |cached: &dyn Fn(u64) -> u64| {
        fired_at(|second| {
            let (server, files) = (Some("vllm:8000".into()), vec![file(cached(second))]);
            let (pid, cgroup) = (4711, Some(ID));
            let process = Process { pid, server, cgroup, files, faults: None, refaulted: None };
            Reading::ModelFile(model_file::Reading::Used(Arc::new(process)))
        })
    };
    assert_eq!(reads(&|second| if (second / EVERY).is_multiple_of(2) { 900 } else { 400 }), one("ModelFileReadAgain"));
    // It is loaded, and dropped once.
    assert_eq!(reads(&|second| if second < 300 { (3 * second).min(800) } else { 700 }), BTreeSet::new());
}

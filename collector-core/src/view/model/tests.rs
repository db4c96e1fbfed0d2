//! What is kept of model servers: bounds, gaps, restarts, and what moves.

use super::*;
use crate::cgroup::Id;
use crate::statistic::model::Statistic::{self, *};
use crate::statistic::model::{Kind, Latency, Model, Stage as Timed, Values};
use crate::view::View;

const S: u64 = 1_000_000_000;

fn server(name: &str, pid: u32) -> Arc<Server> {
    let url = "http://127.0.0.1:8000".into();
    let cgroup = Some(Id { hierarchy: 5, id: 77 });
    Arc::new(Server {
        name: name.into(),
        kind: Some(Kind::Vllm),
        url,
        pid: Some(pid),
        cgroup,
        workload: None,
        parent: None,
        flags: Arc::default(),
    })
}

fn model(name: &str, numbers: &[(Statistic, u64)]) -> Model {
    Model { name: name.into(), values: numbers.iter().copied().collect::<Values>(), latency: Vec::new() }
}

fn answer(state: State, models: Vec<Model>) -> Option<Answer> {
    Some(Answer { state, why: None, took: 1, memory: None, models })
}

fn fold(view: &mut View, time: u64, server: &Arc<Server>, answer: Option<Answer>) {
    let reading = Reading { server: server.clone(), answer };
    view.models.fold(time, &reading, &mut view.coverage);
}

fn lost(view: &View) -> u64 {
    view.coverage.lost(Stage::Model)
}

fn served<'a>(view: &'a View, server: &str, model: &str) -> &'a Served {
    &view.models.servers[server].models[model]
}

#[test]
fn servers_and_models_over_the_bounds_are_counted_as_lost() {
    let mut view = View::default();
    for number in 0..SERVERS + 2 {
        fold(&mut view, S, &server(&format!("vllm:{number}"), 7), answer(State::Up, vec![]));
    }
    assert_eq!((view.models.servers.len(), lost(&view)), (SERVERS, 2));
    let many = |count: usize| (0..count).map(|number| model(&format!("m{number}"), &[])).collect::<Vec<_>>();
    fold(&mut view, S, &server("vllm:0", 7), answer(State::Up, many(MODELS + 3)));
    assert_eq!((view.models.servers["vllm:0"].models.len(), lost(&view)), (MODELS, 5));
    for number in 1..SERVERS {
        fold(&mut view, S, &server(&format!("vllm:{number}"), 7), answer(State::Up, many(MODELS)));
    }
    let all: usize = view.models.servers.values().map(|told| told.models.len()).sum();
    let most = IN_ALL + (SERVERS - IN_ALL / MODELS) * OF_A_SERVER;
    assert_eq!(all, most);
    assert_eq!(lost(&view), 5 + (SERVERS * MODELS - most) as u64);
    // Who has a place keeps it.
    let before = lost(&view);
    fold(&mut view, 2 * S, &server("vllm:0", 7), answer(State::Up, many(MODELS)));
    assert_eq!((view.models.servers["vllm:0"].models.len(), lost(&view)), (MODELS, before));
    fold(&mut view, 3 * S, &server("vllm:0", 7), None);
    assert!(!view.models.servers.contains_key("vllm:0"));
}

#[test]
fn a_server_that_misses_an_answer_goes_on_and_one_that_started_again_does_not() {
    let mut view = View::default();
    let tokens = |count| answer(State::Up, vec![model("m", &[(GeneratedTokens, count)])]);
    let growth = |view: &View| served(view, "v", "m").minute.growth(GeneratedTokens);
    fold(&mut view, 10 * S, &server("v", 7), tokens(100));
    fold(&mut view, 15 * S, &server("v", 7), answer(State::Failed, vec![]));
    let told = &view.models.servers["v"];
    assert!(told.models.is_empty() && !told.is_up() && told.answered, "nothing is told while it does not answer");
    fold(&mut view, 20 * S, &server("v", 7), tokens(160));
    assert_eq!(growth(&view), Some(60));
    // Away for longer than a minute.
    fold(&mut view, 25 * S, &server("v", 7), answer(State::Failed, vec![]));
    fold(&mut view, 90 * S, &server("v", 7), answer(State::Failed, vec![]));
    fold(&mut view, 95 * S, &server("v", 7), tokens(190));
    assert_eq!(growth(&view), None);
    // Another process.
    fold(&mut view, 100 * S, &server("v", 8), answer(State::Failed, vec![]));
    assert!(!view.models.servers["v"].answered);
    fold(&mut view, 105 * S, &server("v", 8), tokens(200));
    assert_eq!(growth(&view), None);
    assert!(view.models.servers["v"].answered);
}

#[test]
fn a_minute_reaches_back_a_minute() {
    let mut view = View::default();
    for turn in 0..100 {
        let numbers = [(GeneratedTokens, 10 * turn), (RequestsRunning, 2)];
        fold(&mut view, (100 + 5 * turn) * S, &server("v", 7), answer(State::Up, vec![model("m", &numbers)]));
        let Some(span) = served(&view, "v", "m").minute.span() else { continue };
        let seconds = span.ns / S;
        assert!(seconds == 5 * turn || (60..=70).contains(&seconds), "{turn}: {seconds}");
        assert_eq!(served(&view, "v", "m").minute.growth(GeneratedTokens), Some(2 * seconds));
        assert_eq!(span.running, Some(2.0));
    }
}

#[test]
fn what_does_not_move_while_requests_run_is_stuck() {
    let mut view = View::default();
    let mut stuck = |time: u64, numbers: &[(Statistic, u64)]| {
        fold(&mut view, time * S, &server("v", 7), answer(State::Up, vec![model("m", numbers)]));
        served(&view, "v", "m").stuck().map(|ns| ns / S)
    };
    let running = (RequestsRunning, 3);
    assert_eq!(stuck(10, &[running, (GeneratedTokens, 5)]), Some(0));
    assert_eq!(stuck(20, &[running, (GeneratedTokens, 5)]), Some(10));
    assert_eq!(stuck(95, &[running, (GeneratedTokens, 5)]), Some(85));
    // A long prompt fills the cache.
    assert_eq!(stuck(100, &[running, (GeneratedTokens, 5), (KvUsed, 7)]), Some(0));
    assert_eq!(stuck(105, &[running, (GeneratedTokens, 5), (KvUsed, 7)]), Some(5));
    assert_eq!(stuck(110, &[running, (GeneratedTokens, 6), (KvUsed, 7)]), Some(0));
    assert_eq!(stuck(120, &[(RequestsRunning, 0), (GeneratedTokens, 6), (KvUsed, 7)]), Some(0), "it has nothing to do");
    assert_eq!(stuck(130, &[running, (GeneratedTokens, 6), (KvUsed, 7)]), Some(10));
    assert_eq!(stuck(140, &[running]), None, "it tells nothing that moves");
    assert_eq!(stuck(150, &[(GeneratedTokens, 6)]), None);
}

#[test]
fn histograms_that_cannot_be_true_are_left_out_and_the_same_are_shared() {
    let of =
        |stage, edges: &[u64], counts: &[u64]| Latency { stage, edges: edges.into(), counts: counts.to_vec(), sum: 9 };
    let good = of(Timed::Queue, &[1, 2], &[1, 0, 4]);
    let told = vec![
        good.clone(),
        of(Timed::Queue, &[5], &[1, 1]),
        of(Timed::FirstToken, &[2, 1], &[1, 0, 4]),
        of(Timed::EndToEnd, &[1, 2], &[1, 0]),
    ];
    let mut view = View::default();
    let mut fold = |time, latency: &[Latency]| {
        let model = Model { latency: latency.to_vec(), ..model("m", &[]) };
        super::tests::fold(&mut view, time, &server("v", 7), answer(State::Up, vec![model]));
        served(&view, "v", "m").latency.clone()
    };
    assert_eq!(*fold(S, &told), *std::slice::from_ref(&good));
    let [one, two] = [fold(2 * S, std::slice::from_ref(&good)), fold(3 * S, std::slice::from_ref(&good))];
    assert!(Arc::ptr_eq(&one, &two));
    let three = fold(4 * S, &[of(Timed::Queue, &[1, 2], &[1, 0, 5])]);
    assert!(!Arc::ptr_eq(&two, &three) && Arc::ptr_eq(&two[0].edges, &three[0].edges));
}

#[test]
fn memory_is_told_by_what_it_is_for() {
    const MIB: u64 = 1 << 20;
    let mut view = View::default();
    let numbers = [(OffloadBytes, 64 * MIB), (WeightBytes, 100 * MIB), (PromptCacheBytes, 30 * MIB)];
    let mut held = |time: u64, state, anon: u64| {
        let memory = Memory { anon: anon * MIB, shmem: 122 * MIB, file: 130 * MIB, pinned: 3 };
        let models = vec![model("m", &numbers)];
        let answer = Some(Answer { state, why: None, took: 1, memory: Some(memory), models });
        fold(&mut view, time * S, &server("v", 7), answer);
        let told = &view.models.servers["v"];
        (told.held(&view), told.offload_over(&view))
    };
    let (first, over) = held(1, State::Up, 50);
    assert_eq!((first.weights, first.kv_offload), (Some(100 * MIB), Some(122 * MIB)));
    assert_eq!((first.prompt_cache, first.pinned, over), (Some(0), Some(3), Some(122.0 / 64.0)));
    assert_eq!(held(2, State::Up, 62).0.prompt_cache, Some(12 * MIB));
    assert_eq!(held(3, State::Up, 99).0.prompt_cache, Some(30 * MIB), "at most what is configured");
    assert_eq!(held(4, State::Asleep, 20).0.prompt_cache, None);
    assert_eq!(held(5, State::Up, 40).0.prompt_cache, Some(0));
}

#[test]
fn weights_are_the_mapped_model_files_that_are_in_memory() {
    use crate::statistic::model_file::{self, File, How, Process, Tier};
    let mut view = View::default();
    let server = server("a", 7);
    let memory = Some(Memory { file: 350, ..Memory::default() });
    let answer = answer(State::Up, vec![model("m", &[(WeightBytes, 100)])]);
    fold(&mut view, 1, &server, answer.map(|answer| Answer { memory, ..answer }));
    let weights = |view: &View| view.models.servers["a"].held(view).weights;
    assert_eq!(weights(&view), Some(100), "no file is known: what the server says");
    let file = |id, how, cached| File {
        name: "m.gguf".into(),
        id: (1, id),
        how,
        bytes: 400,
        cached,
        evicted: None,
        tier: Tier::Ssd,
        fstype: "ext4".into(),
    };
    let mut used = |pid, server: &str, files: Vec<File>| {
        let (server, cgroup, faults) = (Some(server.into()), None, None);
        let process = Process { pid, server, cgroup, files, faults, refaulted: None };
        let View { model_files, coverage, .. } = &mut view;
        model_files.fold(2, &model_file::Reading::Used(process.into()), coverage);
    };
    used(7, "a", vec![file(1, How::Mapped, Some(300)), file(2, How::Open, Some(400))]);
    used(8, "a", vec![file(1, How::Mapped, Some(300))]);
    used(9, "b", vec![file(3, How::Mapped, Some(400))]);
    assert_eq!(weights(&view), Some(300), "one file, which two processes of it have mapped");
    let View { model_files, coverage, .. } = &mut view;
    model_files.fold(3, &model_file::Reading::Gone { pid: 8 }, coverage);
    let process =
        |cached| Process { files: vec![file(1, How::Mapped, cached)], ..(*model_files.processes[&7].process).clone() };
    let unknown = model_file::Reading::Used(process(None).into());
    model_files.fold(4, &unknown, coverage);
    assert_eq!(weights(&view), Some(350), "no more than it has of files in memory");
}

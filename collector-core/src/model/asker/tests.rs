//! Rounds with servers that answer as told: what they are asked, and what comes of it.

use std::sync::Arc;

use super::round::WHY;
use super::*;
use crate::model::identify::{Process, identify};
use crate::statistic::model::Stage;
use crate::statistic::model::Statistic::{
    self, Asleep, GpuBytes, KvTokens, KvUsed, OffloadBytes, PinnedBytes, PromptCacheBytes, PromptTokens, Requests,
    RequestsRunning, RequestsWaiting, Slots, WeightBytes,
};

/// A server: what it answers to each path. Everything else is 404.
type Answers<'a> = &'a [(&'a str, u16, &'a str)];

/// One round at this second: what it was asked, and what came of it.
fn round(asker: &mut Asker, second: u64, answers: Answers<'_>) -> (Vec<&'static str>, Answer) {
    asker.begin(second * 1_000_000_000);
    let mut asked = Vec::new();
    while let Some(path) = asker.next() {
        asked.push(path);
        assert!(asked.len() < 10, "it asks for ever: {asked:?}");
        match answers.iter().find(|(known, ..)| *known == path) {
            Some((_, 0, why)) => asker.failed(why),
            Some((_, status, body)) => asker.got(*status, body.as_bytes()),
            None => asker.got(404, b"not found"),
        }
    }
    (asked, asker.finish(7))
}

/// A server that was found by this command line.
fn found(line: &str) -> Asker {
    let line: Vec<u8> = line.split(' ').flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    match identify(b"", &line) {
        Some(Process::Server(found)) => Asker::found(&found),
        other => panic!("{other:?}"),
    }
}

fn number(answer: &Answer, statistic: Statistic) -> Option<u64> {
    answer.models.first()?.values.get(statistic)
}

const VLLM: (&str, u16, &str) = (
    "/metrics",
    200,
    "vllm:num_requests_running{engine=\"0\",model_name=\"a/m\"} 7.0\nvllm:num_requests_waiting{engine=\"0\",model_name=\"a/m\"} 3.0\n",
);
const PROPS: &str = r#"{"total_slots":2,"model_alias":"m.gguf","model_path":"/x/m.gguf","endpoint_metrics":true,"endpoint_slots":true,
    "is_sleeping":false,"build_info":"b11434-a"}"#;
const IDLE: &str = "llamacpp:requests_processing 0\nllamacpp:requests_deferred 0\nllamacpp:n_decode_total 97\nllamacpp:prompt_tokens_total 80\n";
const SLOTS: &str = r#"[{"id":0,"n_ctx":1024,"is_processing":true,"id_task":1,"n_prompt_tokens":512},{"id":1,"n_ctx":1024,"is_processing":false}]"#;
const WEIGHTS: &str = r#"{"data":[{"id":"m","meta":{"size":470000}}]}"#;
const LLAMA: Answers<'_> =
    &[("/props", 200, PROPS), ("/metrics", 200, IDLE), ("/slots", 200, SLOTS), ("/models", 200, WEIGHTS)];

#[test]
fn vllm_is_asked_once_a_round() {
    let mut asker = found("vllm serve a/m --max-num-seqs 256 --kv-offloading-size 2");
    let (asked, answer) = round(&mut asker, 0, &[VLLM]);
    assert_eq!((asked, answer.state, answer.took), (vec!["/metrics"], State::Up, 7));
    assert_eq!(&*answer.models[0].name, "m");
    let told = [RequestsRunning, RequestsWaiting, Slots, OffloadBytes].map(|it| number(&answer, it));
    assert_eq!(told, [Some(7), Some(3), Some(256), Some(2 << 30)]);
    assert_eq!(number(&answer, KvUsed), None, "absent is not zero");
    let asleep =
        format!("{}vllm:engine_sleep_state{{engine=\"0\",model_name=\"a/m\",sleep_state=\"awake\"}} 0\n", VLLM.2);
    let (_, answer) = round(&mut asker, 5, &[("/metrics", 200, &asleep)]);
    assert_eq!((answer.state, number(&answer, Asleep)), (State::Asleep, Some(1)));
}

#[test]
fn one_that_tells_nothing_says_why() {
    let (asked, answer) = round(&mut found("vllm serve m --disable-log-stats"), 0, &[VLLM]);
    assert_eq!((asked.len(), answer.state), (0, State::Silent));
    assert_eq!(answer.why.as_deref(), Some("it was started with --disable-log-stats"));
    let none = ("/metrics", 200, "process_cpu_seconds_total 1\n");
    let (_, answer) = round(&mut found("vllm serve m"), 0, &[none]);
    assert_eq!((answer.state, answer.why.as_deref()), (State::Silent, Some("its /metrics have no numbers of vLLM")));
    let (_, answer) = round(&mut found("vllm serve m"), 0, &[("/metrics", 401, "")]);
    assert_eq!(answer.state, State::Silent);
    assert!(answer.why.unwrap().contains("token_file"));
    let (_, answer) = round(&mut found("vllm serve m"), 0, &[("/metrics", 500, "")]);
    assert_eq!((answer.state, answer.why.as_deref()), (State::Failed, Some("it answered 500 to GET /metrics")));
    let (_, answer) = round(&mut found("vllm serve m"), 0, &[("/metrics", 0, "nothing\nlistens\u{202e}")]);
    assert_eq!(answer.state, State::Failed);
    assert_eq!(answer.why.as_deref(), Some("GET /metrics: nothing\\x0alistens\\xe2\\x80\\xae"));
}

#[test]
fn llama_server_tells_of_slots_and_metrics() {
    let mut asker = found("llama-server -m /x/m.gguf -np 2 --metrics");
    let (asked, answer) = round(&mut asker, 0, LLAMA);
    assert_eq!(asked, ["/props", "/metrics", "/slots", "/models"]);
    let told = [RequestsRunning, KvTokens, KvUsed, Slots, WeightBytes, PromptTokens, PromptCacheBytes]
        .map(|it| number(&answer, it));
    assert_eq!(told, [0, 2048, 250_000, 2, 470_000, 80, 8192 << 20].map(Some));
    assert_eq!((answer.state, answer.why.as_deref(), &*answer.models[0].name), (State::Up, None, "m.gguf"));
    assert_eq!(number(&answer, Asleep), None, "it never sleeps");
    assert_eq!(round(&mut asker, 5, LLAMA).0, ["/props", "/metrics", "/slots"], "its weights stay the same");

    let silent = PROPS.replace("\"endpoint_metrics\":true", "\"endpoint_metrics\":false");
    let (asked, answer) = round(&mut asker, 10, &[("/props", 200, &silent), LLAMA[2]]);
    assert_eq!((asked, answer.state), (vec!["/props", "/slots"], State::Up));
    assert!(answer.why.as_deref().unwrap().starts_with("it was started without --metrics"));
    assert_eq!(number(&answer, RequestsRunning), Some(1));

    let (_, answer) = round(&mut asker, 15, &[("/props", 503, "")]);
    assert_eq!(answer.state, State::Loading);
    let (asked, answer) = round(&mut asker, 20, &[("/props", 200, PROPS), ("/metrics", 0, "it took too long")]);
    assert_eq!((asked.len(), answer.state), (2, State::Up));
    assert_eq!(answer.why.as_deref(), Some("GET /metrics: it took too long"));
    assert_eq!(number(&answer, RequestsRunning), None);
}

#[test]
fn who_sleeps_is_not_woken() {
    let mut asker = found("llama-server -m m.gguf --metrics --sleep-idle-seconds 60");
    let busy = IDLE.replace("processing 0", "processing 1");
    let working: Answers<'_> =
        &[("/props", 200, PROPS), ("/metrics", 200, &busy), ("/slots", 200, SLOTS), ("/models", 200, WEIGHTS)];
    assert_eq!(round(&mut asker, 0, working).0, ["/props", "/metrics", "/models"], "its slots are never asked for");
    assert_eq!(round(&mut asker, 5, working).0, ["/props", "/metrics"]);
    let (asked, answer) = round(&mut asker, 10, LLAMA);
    assert_eq!((asked.len(), number(&answer, Asleep)), (2, Some(0)));
    for second in (15..70).step_by(5) {
        let (asked, answer) = round(&mut asker, second, LLAMA);
        assert_eq!((asked, answer.state), (vec!["/props"], State::Up), "second {second}");
        let told = [PromptTokens, RequestsRunning].map(|it| number(&answer, it));
        assert_eq!(told, [Some(80), None], "counters stand still; what it does now is not known");
    }
    let asleep = PROPS.replace("\"is_sleeping\":false", "\"is_sleeping\":true");
    let sleeping: Answers<'_> = &[("/props", 200, &asleep), LLAMA[1], LLAMA[2], LLAMA[3]];
    for second in (75..1000).step_by(5) {
        let (asked, answer) = round(&mut asker, second, sleeping);
        assert_eq!((asked, answer.state), (vec!["/props"], State::Asleep));
        let told = [Asleep, RequestsRunning, PromptTokens].map(|it| number(&answer, it));
        assert_eq!(told, [Some(1), Some(0), Some(80)]);
    }
    assert_eq!(round(&mut asker, 1000, LLAMA).0, ["/props", "/metrics"], "a request woke it");
}

#[test]
fn a_router_is_asked_for_its_models_alone() {
    let router = ("/props", 200, "{\"role\":\"router\",\"max_instances\":2,\"models_autoload\":true}");
    let list = (
        "/models",
        200,
        r#"{"data":[{"id":"x","status":{"value":"sleeping"}},{"id":"y","status":{"value":"unloaded"}}]}"#,
    );
    for mut asker in
        [found("llama-server --models-dir /m"), Asker::configured(None), Asker::configured(Some(Kind::LlamaCpp))]
    {
        let (asked, answer) = round(&mut asker, 0, &[router, list, LLAMA[1], LLAMA[2]]);
        assert_eq!((asked, answer.state), (vec!["/props", "/models"], State::Up));
        assert_eq!((asker.kind(), answer.models.len()), (Some(Kind::LlamaRouter), 1));
        assert_eq!(number(&answer, Asleep), Some(1));
        assert_eq!(round(&mut asker, 5, &[router, list]).0, ["/props", "/models"]);
    }
}

#[test]
fn a_server_of_which_nothing_is_known_is_recognised() {
    let loads = ("/v1/loads?include=core,memory,queues", 200, r#"{"loads":[{"num_running_reqs":2}]}"#);
    let ps = ("/api/ps", 200, r#"{"models":[{"name":"llama3.2:latest","size":10,"size_vram":7}]}"#);
    let tgi = ("/metrics", 200, "tgi_queue_size 2\n");
    let nv = (
        "/metrics",
        200,
        "nv_inference_request_success{model=\"r\",version=\"1\"} 4\nnv_pinned_memory_pool_used_bytes 9\n",
    );
    for (answers, kind, asked) in [
        (LLAMA, Kind::LlamaCpp, 4),
        (&[VLLM][..], Kind::Vllm, 2),
        (&[ps], Kind::Ollama, 3),
        (&[loads], Kind::Sglang, 4),
        (&[nv], Kind::Triton, 2),
        (&[tgi, ("/info", 200, "{\"model_id\":\"b/n\"}")], Kind::Tgi, 3),
    ] {
        let mut asker = Asker::configured(None);
        let (paths, answer) = round(&mut asker, 0, answers);
        assert_eq!((asker.kind(), answer.state, paths.len()), (Some(kind), State::Up, asked), "{answer:?}");
        assert!(!answer.models.is_empty());
        let (again, _) = round(&mut asker, 5, answers);
        assert!(again.len() < paths.len().max(4), "it is known now: {again:?}");
    }
    let (_, answer) = round(&mut Asker::configured(None), 0, &[tgi, ("/info", 200, "{\"model_id\":\"b/n\"}")]);
    assert_eq!(&*answer.models[0].name, "n");
    let (_, answer) = round(&mut Asker::configured(None), 0, &[ps]);
    assert_eq!(number(&answer, GpuBytes), Some(7));
    let (_, answer) = round(&mut Asker::configured(None), 0, &[nv]);
    assert_eq!((number(&answer, Requests), number(&answer, PinnedBytes)), (Some(4), Some(9)));
}

#[test]
fn what_is_no_model_server_is_left_alone_for_a_while() {
    let mut asker = Asker::configured(None);
    let html = ("/props", 200, "<html>");
    let (asked, answer) = round(&mut asker, 0, &[html]);
    assert_eq!((asked.len(), answer.state, asker.kind()), (4, State::Failed, None));
    assert_eq!(round(&mut asker, 30, &[html]).0.len(), 0);
    assert_eq!(round(&mut asker, 60, &[VLLM]).1.state, State::Up);
    assert_eq!(asker.kind(), Some(Kind::Vllm));
    let (_, answer) = round(&mut asker, 65, &[("/metrics", 200, "up 1\n")]);
    assert_eq!((answer.state, asker.kind()), (State::Silent, None), "another program listens there now");
    assert_eq!(round(&mut asker, 70, LLAMA).1.state, State::Up);
    assert_eq!(asker.kind(), Some(Kind::LlamaCpp));
}

#[test]
fn the_end_of_a_servers_trouble_is_seen_in_the_next_round() {
    let mut asker = Asker::configured(None);
    let broken = ("/metrics", 500, "");
    assert_eq!(round(&mut asker, 0, &[VLLM]).1.state, State::Up);
    for second in [5, 10, 15] {
        assert_eq!(round(&mut asker, second, &[broken]).1.state, State::Failed, "{second}");
    }
    assert_eq!(round(&mut asker, 20, &[VLLM]).1.state, State::Up);
}

#[test]
fn sglang_without_metrics_tells_its_loads() {
    let loads =
        ("/v1/loads?include=core,memory,queues", 200, r#"{"loads":[{"num_running_reqs":2,"num_waiting_reqs":1}]}"#);
    let mut asker = found("sglang serve --model-path q/Q --max-running-requests 32");
    let (asked, answer) = round(&mut asker, 0, &[loads]);
    assert_eq!((asked, answer.state), (vec!["/metrics", loads.0], State::Up));
    assert_eq!(
        (&*answer.models[0].name, number(&answer, RequestsRunning), number(&answer, Slots)),
        ("Q", Some(2), Some(32))
    );
    assert_eq!(round(&mut asker, 5, &[loads]).0, [loads.0]);
    assert_eq!(round(&mut asker, 10, &[]).1.state, State::Silent);
}

#[test]
fn edges_are_shared_between_rounds() {
    let text = "vllm:time_to_first_token_seconds_bucket{le=\"0.1\"} 1\nvllm:time_to_first_token_seconds_bucket{le=\"+Inf\"} 2\n\
        vllm:time_to_first_token_seconds_sum 3\nvllm:time_to_first_token_seconds_count 2\n";
    let mut asker = found("vllm serve m");
    let mut edges = |second| {
        let answer = round(&mut asker, second, &[("/metrics", 200, text)]).1;
        let latency = &answer.models[0].latency[0];
        assert_eq!((latency.stage, &latency.counts[..]), (Stage::FirstToken, &[1, 1][..]));
        latency.edges.clone()
    };
    assert!(Arc::ptr_eq(&edges(0), &edges(5)));
}

mod any {
    use proptest::prelude::*;

    use super::*;
    use crate::statistic::model::{EDGES, NAME};

    /// Bodies of which some are what servers answer.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let known = [
            PROPS,
            IDLE,
            SLOTS,
            WEIGHTS,
            VLLM.2,
            "",
            "{",
            "[]",
            "null",
            "{\"loads\":[]}",
            "{\"models\":[{}]}",
            "{\"role\":\"router\"}",
        ];
        prop_oneof![
            3 => prop::sample::select(known.map(str::as_bytes).map(<[u8]>::to_vec).to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..60),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

        #[test]
        fn whatever_servers_answer_rounds_end_and_answers_are_bounded(
            kind in prop::option::of(prop::sample::select(Kind::ALL.to_vec())),
            sleep in prop::option::of(1..100u64),
            answers in prop::collection::vec((prop_oneof![Just(200u16), Just(0), any::<u16>()], body()), 1..30)) {
            let mut asker = Asker::configured(kind).sleeping_after(sleep.map(|sleep| sleep * 1_000_000_000));
            let mut answers = answers.into_iter().cycle();
            for now in 0..8 {
                asker.begin(now * 5_000_000_000);
                let mut slots = false;
                for _ in 0..9 {
                    let Some(path) = asker.next() else { break };
                    slots |= path == "/slots";
                    match answers.next().unwrap() {
                        (0, _) => asker.failed("it closed"),
                        (status, body) => asker.got(status, &body),
                    }
                }
                prop_assert_eq!(asker.next(), None, "a round ends");
                prop_assert!(sleep.is_none() || !slots, "one that may sleep is not asked for its slots");
                let answer = asker.finish(1);
                prop_assert!(answer.models.len() <= MODELS + 1 && answer.why.is_none_or(|why| why.len() <= WHY));
                for model in answer.models {
                    prop_assert!(model.name.len() <= NAME && model.latency.iter().all(|latency| latency.edges.len() <= EDGES));
                }
            }
        }
    }
}

//! Rows and expositions: what adds up, what is absent, and that all is bounded.

use proptest::prelude::*;

use super::*;
use crate::statistic::model::Statistic::{Asleep, KvUsed, PromptTokens, Requests, RequestsRunning};
use crate::statistic::model::{EDGES, Latency, NAME};
use crate::text;

const ROWS: [Row; 7] = [
    sum("run", RequestsRunning),
    sum("done", Requests).only("reason", &["stop", "length"]),
    share("kv", KvUsed),
    share("old_kv", KvUsed).or(),
    time("ttft", Stage::FirstToken),
    Row::lacks("awake", Asleep),
    sum("info", PromptTokens).product("blocks", "size"),
];

fn one(text: &str) -> Model {
    let all = gather(text.as_bytes(), &ROWS);
    assert_eq!(all.models.len(), 1, "{all:?}");
    all.models.into_iter().next().unwrap().model
}

fn number(text: &str, statistic: Statistic) -> Option<u64> {
    one(text).values.get(statistic)
}

#[test]
fn engines_add_up_and_ranks_do_not() {
    let text = "run{model_name=\"a/m\",dp_rank=\"0\",tp_rank=\"0\"} 3\nrun{model_name=\"a/m\",dp_rank=\"0\",tp_rank=\"1\"} 3\n\
        run{model_name=\"a/m\",dp_rank=\"1\",tp_rank=\"0\"} 4\nrun{model_name=\"a/m\",dp_rank=\"1\",tp_rank=\"0\",priority=\"7\"} 4\n\
        kv{model_name=\"a/m\",engine=\"0\"} 0.5\nkv{model_name=\"a/m\",engine=\"1\"} 1\nold_kv{model_name=\"a/m\"} 0.1\n";
    let model = one(text);
    assert_eq!(&*model.name, "m");
    assert_eq!((model.values.get(RequestsRunning), model.values.get(KvUsed)), (Some(7), Some(750_000)));
    assert_eq!(number("old_kv 0.25\n", KvUsed), Some(250_000), "the old name is read where there is no new one");
}

#[test]
fn conditions_and_labels_count() {
    let text = "done{reason=\"stop\"} 5\ndone{reason=\"length\"} 2\ndone{reason=\"error\"} 9\ndone 100\n";
    assert_eq!(number(text, Requests), Some(7));
    assert_eq!(number("info{blocks=\"9916\",size=\"16\"} 1\n", PromptTokens), Some(158_656));
    assert!(gather(b"info{blocks=\"None\",size=\"16\"} 1\n", &ROWS).models[0].model.values.is_empty());
    assert_eq!(number("awake{engine=\"0\"} 1\nawake{engine=\"1\"} 0\n", Asleep), Some(1));
    assert_eq!(number("awake 1\n", Asleep), Some(0));
}

#[test]
fn a_number_that_cannot_be_is_absent() {
    for value in ["NaN", "-1", "+Inf", "1e30", "-Inf"] {
        assert_eq!(number(&format!("run{{engine=\"0\"}} 5\nrun{{engine=\"1\"}} {value}\n"), RequestsRunning), None);
    }
    assert_eq!(number("kv 1.001\n", KvUsed), Some(1_000_000));
    assert_eq!(number("kv 97\nold_kv 0.5\n", KvUsed), None, "nor is another taken for it");
}

fn buckets(text: &str) -> Option<Latency> {
    one(text).latency.first().cloned()
}

#[test]
fn buckets_are_told_apart() {
    let engine = |engine: &str, counts: [u32; 3]| {
        let [a, b, all] = counts;
        format!(
            "ttft_bucket{{engine=\"{engine}\",le=\"0.1\"}} {a}\nttft_bucket{{engine=\"{engine}\",le=\"0.5\"}} {b}\n\
             ttft_bucket{{engine=\"{engine}\",le=\"+Inf\"}} {all}\nttft_sum{{engine=\"{engine}\"}} 2.5\nttft_count{{engine=\"{engine}\"}} {all}\n"
        )
    };
    let two = buckets(&[engine("0", [1, 3, 4]), engine("1", [0, 5, 5])].concat()).unwrap();
    let expected = Latency {
        stage: Stage::FirstToken,
        edges: [100_000_000, 500_000_000].into(),
        counts: vec![1, 7, 1],
        sum: 5_000_000_000,
    };
    assert_eq!(two, expected);
    assert_eq!(buckets(&engine("0", [5, 3, 4])), None, "counts that fall");
    assert_eq!(buckets(&engine("0", [1, 5, 4])), None);
    let missing = engine("1", [0, 5, 5]).replace("le=\"0.5\"", "le=\"0.7\"");
    assert_eq!(buckets(&[engine("0", [1, 3, 4]), missing].concat()), None, "other edges");
    assert_eq!(buckets(&engine("0", [1, 3, 4]).replace("2.5", "NaN")), None);
    assert_eq!(buckets(&engine("0", [1, 3, 4]).replace("le=\"0.5\"", "le=\"-0.5\"")), None);
    let mean = buckets("ttft_sum 2\nttft_count 8\nttft{quantile=\"0.5\"} 1\n").unwrap();
    assert_eq!((mean.edges.len(), &mean.counts[..], mean.sum), (0, &[8][..], 2_000_000_000));
    let many = |edges: usize| (0..edges).map(|edge| format!("ttft_bucket{{le=\"{edge}\"}} 1\n")).collect::<String>();
    let rest = "ttft_sum 2\nttft_count 1\n";
    assert_eq!(buckets(&(many(EDGES) + rest)).unwrap().counts.len(), EDGES + 1);
    assert_eq!(buckets(&(many(EDGES + 1) + rest)), None);
}

#[test]
fn models_are_bounded() {
    let text: String = (0..100).map(|index| format!("run{{model_name=\"m{index}\"}} 1\n")).collect();
    let all = gather(text.as_bytes(), &ROWS);
    assert_eq!((all.models.len(), &*all.models[0].model.name), (MODELS, "m0"));
    assert!(all.told > MODELS);
    let same = "run{model_name=\"a/m\"} 1\nrun{model_name=\"b/m\"} 2\n";
    assert_eq!(number(same, RequestsRunning), Some(3), "two with one base name are told as one");
}

/// Expositions in which much is nearly right.
fn exposition() -> impl Strategy<Value = String> {
    let name =
        prop::sample::select(vec!["run", "done", "kv", "old_kv", "ttft_bucket", "ttft_sum", "ttft_count", "info"]);
    let label = prop::sample::select(vec![
        "model_name=\"a\"",
        "model_name=\"\u{202e}/x\\\"\"",
        "engine=\"1\"",
        "tp_rank=\"1\"",
        "reason=\"stop\"",
        "le=\"0.1\"",
        "le=\"1\"",
        "le=\"+Inf\"",
        "le=\"x\"",
        "blocks=\"1e300\"",
        "size=\"1e300\"",
        "priority=\"1\"",
    ]);
    let value = prop::sample::select(vec!["0", "1", "3.5", "-1", "NaN", "+Inf", "1e300", "x", ""]);
    let line = (name, prop::collection::vec(label, 0..4), value)
        .prop_map(|(name, labels, value)| format!("{name}{{{}}} {value}\n", labels.join(",")));
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn whatever_is_told_is_bounded(text in exposition()) {
        let all = gather(text.as_bytes(), &ROWS);
        prop_assert!(all.models.len() <= MODELS + 1);
        for Gathered { model, .. } in &all.models {
            prop_assert!(model.name.len() <= NAME && model.name.chars().all(text::is_shown));
            prop_assert!(model.values.get(KvUsed).is_none_or(|share| share <= WHOLE));
            for latency in &model.latency {
                prop_assert_eq!(latency.counts.len(), latency.edges.len() + 1);
                prop_assert!(latency.edges.is_sorted() && latency.edges.len() <= EDGES);
            }
        }
    }

    #[test]
    fn any_bytes_do(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        gather(&bytes, &ROWS);
    }
}

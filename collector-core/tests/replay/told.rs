//! Answers of model servers in, statistics out: each `tests/fixtures/model/NAME.txt` has the answers to what may be asked, those of llama-server as
//! it gave them and the others as their sources write them, and gives `NAME.json`. `BLESS=1` rewrites these.

use std::fs;
use std::path::PathBuf;

use collector_core::model::Asker;
use collector_core::statistic::model::Answer;
use serde_json::{Value, json};

use crate::fixture::{folder, golden};

/// `>>> STATUS PATH`, and the body until the next.
fn answers(text: &str) -> Vec<(u16, &str, &str)> {
    let parts = text.strip_prefix(">>> ").unwrap().split("\n>>> ");
    parts
        .map(|part| {
            let (head, body) = part.split_once('\n').unwrap_or((part, ""));
            let (status, path) = head.split_once(' ').unwrap();
            (status.parse().unwrap(), path, body)
        })
        .collect()
}

/// One round with a server that answers so, and 404 to all else.
fn round(asker: &mut Asker, second: u64, answers: &[(u16, &str, &str)]) -> (Vec<&'static str>, Answer) {
    asker.begin(second * 1_000_000_000);
    let mut asked = Vec::new();
    while let Some(path) = asker.next() {
        asked.push(path);
        match answers.iter().find(|(_, known, _)| *known == path) {
            Some((status, _, body)) => asker.got(*status, format!("{body}\n").as_bytes()),
            None => asker.got(404, b"not found"),
        }
    }
    (asked, asker.finish(1_000_000))
}

fn files() -> Vec<PathBuf> {
    let all = fs::read_dir(folder("model")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some_and(|it| it == "txt")).collect();
    files.sort();
    files
}

#[test]
fn every_server_is_understood() {
    let files = files();
    assert!(files.len() >= 12, "{files:?}");
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let answers = answers(&text);
        // Nothing is known of it at first; then what it is.
        let mut asker = Asker::configured(None);
        let (first, _) = round(&mut asker, 0, &answers);
        let (then, answer) = round(&mut asker, 5, &answers);
        let told: Value = json!({"kind": asker.kind(), "asked": [first, then], "answer": answer});
        golden(&path.with_extension("json"), &(serde_json::to_string_pretty(&told).unwrap() + "\n"));
    }
}

/// Whatever is cut off, and wherever: there is an answer, and no number that the whole text does not have. A histogram without its last lines is
/// no histogram.
#[test]
fn half_an_exposition_has_no_wrong_numbers() {
    let text = fs::read_to_string(folder("model").join("vllm-0.33.txt")).unwrap();
    let body = answers(&text)[0].2;
    let whole = round(&mut Asker::configured(None), 0, &[(200, "/metrics", body)]).1.models.remove(0);
    for length in (0..body.len()).step_by(97).filter(|length| body.is_char_boundary(*length)) {
        let mut asker = Asker::configured(None);
        asker.begin(0);
        while let Some(path) = asker.next() {
            asker.got(if path == "/metrics" { 200 } else { 404 }, &body.as_bytes()[..length]);
        }
        for model in asker.finish(1).models {
            for (statistic, value) in model.values.iter() {
                // What stands in several lines has those that came.
                assert!(whole.values.get(statistic).is_some_and(|all| value <= all), "{length}: {statistic:?} {value}");
            }
            for latency in model.latency {
                assert!(whole.latency.contains(&latency), "{length}: {latency:?}");
            }
        }
    }
}

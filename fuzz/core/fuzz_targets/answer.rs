//! What model servers answer, and what their processes call themselves: a line with how the server is known, then parts that begin with
//! `>>> STATUS`, one an answer. Rounds end, answers are bounded, and nothing is asked but what is in the list.

#![no_main]

use collector_core::model::{Asker, Get, Process, identify};
use collector_core::statistic::model::{EDGES, Kind, MODELS, NAME, WHOLE};
use collector_core::text::is_shown;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (head, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1));
    let head = head.strip_suffix(b"\n").unwrap_or(head);
    let mut asker = match identify(b"python3", head) {
        Some(Process::Server(found)) => {
            assert!(found.port > 0 && found.model.as_deref().is_none_or(is_name));
            Asker::found(&found)
        }
        _ => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.label().as_bytes() == head);
            Asker::configured(kind).sleeping_after(head.first().map(|byte| u64::from(*byte) << 28))
        }
    };
    let parts = split(rest);
    let mut parts = parts.iter().cycle();
    for round in 0..4 {
        asker.begin(round * 5_000_000_000);
        for asked in 0.. {
            let Some(path) = asker.next() else { break };
            assert!(asked < 10 && Get::ALL.iter().any(|get| get.path() == path), "{path}");
            match parts.next() {
                Some((0, body)) => asker.failed(&String::from_utf8_lossy(body)),
                Some((status, body)) => asker.got(*status, body),
                None => asker.failed("nothing"),
            }
        }
        let answer = asker.finish(1);
        assert!(answer.models.len() <= MODELS + 1);
        assert!(answer.why.is_none_or(|why| why.len() <= 200 && why.chars().all(is_shown)));
        for model in answer.models {
            assert!(model.name.is_empty() || is_name(&model.name), "{:?}", model.name);
            assert!(
                model
                    .values
                    .iter()
                    .all(|(statistic, value)| !format!("{statistic:?}").ends_with("Used") || value <= WHOLE)
            );
            for latency in model.latency {
                assert!(
                    latency.edges.len() <= EDGES
                        && latency.counts.len() == latency.edges.len() + 1
                        && latency.edges.is_sorted()
                );
            }
        }
    }
});

fn is_name(name: &str) -> bool {
    name.len() <= NAME && name.chars().all(is_shown)
}

/// Status and body of each part; without a mark all is one body of status 200.
fn split(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(after) = rest.strip_prefix(b">>> ") {
        let line = after.iter().position(|byte| *byte == b'\n').unwrap_or(after.len());
        let status = after[..line]
            .split(|byte| *byte == b' ')
            .next()
            .and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let body = &after[(line + 1).min(after.len())..];
        let end = body.windows(5).position(|mark| mark == b"\n>>> ").map_or(body.len(), |at| at + 1);
        parts.push((status.unwrap_or(200), &body[..end]));
        rest = &body[end..];
    }
    if parts.is_empty() {
        parts.push((200, rest));
    }
    parts
}

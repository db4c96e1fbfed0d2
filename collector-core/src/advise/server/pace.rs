//! How many requests a server works on at once: too many for its KV cache, or too few for its GPU.

use super::change::{Flags, configure};
use super::room::{WORTH, short, spare, waited};
use super::{Rule, each, give};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::starve::starves;
use crate::amount::{duration, fixed, percent};
use crate::latency::State;
use crate::statistic::model::Kind;
use crate::statistic::model::Statistic::{Preemptions, RetractedTokens, Slots};

/// A GPU should run something for this share of the time while there is work (85 to 90 %).
pub(in crate::advise) const AIM: f64 = 0.85;
const AIMED: f64 = 0.875;
/// Never more than so many times as many at once.
const MOST: f64 = 2.0;
/// With so much less at once, what is there fits.
const LESS: f64 = 0.8;
/// All places are taken while requests wait, for this share of the time, and so many seconds.
const TAKEN: f64 = 0.05;
const TAKEN_SECONDS: f64 = 600.0;
/// With more of the KV cache in use than this there is no room for more requests.
const ROOM: f64 = 0.8;
/// More than so many that wait on average are no chance that fewer at once would do.
const NOBODY: f64 = 0.5;

const KINDS: &[Kind] = &[Kind::Vllm, Kind::Sglang, Kind::LlamaCpp];

pub(super) const CONCURRENCY_LOWER: Rule = Rule {
    name: "concurrency_lower",
    when: "A server preempts requests (ten an hour, or a thousand of their tokens) while hardly any wait, and its GPU has no memory left for a larger KV cache: it admits more at once than its KV cache holds.",
    needs: "metrics of vLLM or SGLang, and NVML",
    judge: |given, judged| {
        for served in each(given, &[Kind::Vllm, Kind::Sglang]) {
            let Some((said, mut evidence)) = short(&served) else { continue };
            let day = &served.day;
            let lost = [Preemptions, RetractedTokens].into_iter().filter_map(|it| day.grown(it)).any(|count| count > 0);
            let few = day.waiting.mean().is_none_or(|waiting| waiting < NOBODY);
            if !lost || !few || !served.seen("concurrency_lower", judged) {
                continue;
            }
            let Some(spare) = spare(&served) else {
                served.lacks("concurrency_lower", judged, "how much memory its GPUs have left");
                continue;
            };
            let Some(running) = day.running.most().filter(|running| *running >= 2.0) else { continue };
            if spare.bytes >= WORTH * spare.total {
                continue;
            }
            let to = (LESS * running).floor().max(1.0);
            let text = fixed(to, 0);
            let flags = Flags {
                vllm: vec![("--max-num-seqs", text.clone())],
                sglang: vec![("--max-running-requests", text.clone())],
                ..Flags::default()
            };
            let title = format!(
                "Let {} work on at most {text} requests at once (it worked on up to {}).",
                served.name(),
                fixed(running, 0)
            );
            let worse =
                served.told.models.get(served.model).is_some_and(|model| model.standing.state() == State::Worse);
            let slower = if worse { ", and its latency is worse than usual" } else { "" };
            let why = format!(
                "In {} {said}{slower}: it admits more requests than its KV cache holds, preempts some and recomputes them. Its GPU has no memory left for a larger KV cache.",
                duration(day.seconds)
            );
            evidence.push(Evidence::measured("requests that it worked on at once, at most", running, Unit::Count));
            evidence.extend(
                day.waiting
                    .mean()
                    .map(|waiting| Evidence::measured("requests that waited, on average", waiting, Unit::Count)),
            );
            evidence.push(Evidence::assumed("share of these that fits", LESS, Unit::Ratio));
            let (confidence, seen) = served.sure(Confidence::Medium);
            let because =
                format!("{seen} How many fit depends on the length of requests, so begin there and watch preemptions.");
            let advice = served.draft("concurrency_lower", configure(&served, &flags), title, why);
            give(judged, Advice { evidence, confidence, because, ..advice });
        }
    },
};

pub(super) const SLOTS_RAISE: Rule = Rule {
    name: "slots_raise",
    when: "Requests waited while a server worked on as many as it does at once, for ten minutes and 5 % of a day at least, its GPUs ran something in less than 85 % of that time, and less than 80 % of its KV cache was ever in use. Not while the host or the link keeps its GPUs waiting.",
    needs: "the server's places, running and waiting requests and KV cache, and NVML",
    judge: |given, judged| {
        for served in each(given, KINDS) {
            let day = &served.day;
            let Some(slots) = served.get(Slots).filter(|slots| *slots >= 1.0) else { continue };
            if day.placed_seconds < TAKEN_SECONDS
                || day.placed_seconds < TAKEN * day.seconds
                || !served.seen("slots_raise", judged)
            {
                continue;
            }
            let Some(used) = day.utilization.mean() else {
                served.lacks("slots_raise", judged, "how busy its GPUs are while requests wait");
                continue;
            };
            let Some(kv) = day.kv.most() else {
                served.lacks("slots_raise", judged, "how full its KV cache is");
                continue;
            };
            if used >= AIM || kv >= ROOM {
                continue;
            }
            if let Some(what) = served.workload.and_then(|workload| starves(given, workload)) {
                let missing = format!("how busy its GPUs are when the host does not slow it down: {what}");
                served.lacks("slots_raise", judged, &missing);
                continue;
            }
            // As many as the GPU and the KV cache have room for, if each request takes what one took.
            let factor = (AIMED / used.max(0.01)).min(0.9 / kv.max(0.01)).min(MOST);
            let to = (slots * factor).floor().max(slots + 1.0);
            let text = fixed(to, 0);
            let flags = Flags {
                vllm: vec![("--max-num-seqs", text.clone())],
                sglang: vec![("--max-running-requests", text.clone())],
                llama: vec![("--parallel", text.clone())],
                ollama: vec![("OLLAMA_NUM_PARALLEL", text.clone())],
            };
            let title = format!("Let {} work on {text} requests at once (now {}).", served.name(), fixed(slots, 0));
            let share = match served.kind {
                Kind::LlamaCpp => " Slots share the context: raise --ctx-size with them, unless requests are short.",
                _ => "",
            };
            let why = format!(
                "For {} requests waited while all {} places were taken, its GPU ran something in {} of that time (aim: 85 to 90 %), and at most {} of its KV cache was in use.{share}",
                duration(day.placed_seconds),
                fixed(slots, 0),
                percent(used),
                percent(kv),
            );
            let evidence = vec![
                Evidence::measured(
                    "time in which requests waited and all places were taken",
                    day.placed_seconds,
                    Unit::Seconds,
                ),
                Evidence::measured("utilization of its GPUs while requests waited", used, Unit::Ratio),
                Evidence::measured("KV cache in use, at most", kv, Unit::Ratio),
                Evidence::configured("requests at once", slots, Unit::Count),
                Evidence::computed("factor for which GPU and KV cache have room", factor, Unit::Ratio),
            ];
            let (confidence, seen) = served.sure(Confidence::Medium);
            let because = format!("{seen} Utilization says that a GPU ran something, not how much of it was busy.");
            let saves = waited(&served, "a place is free for each request that waited");
            let advice = served.draft("slots_raise", configure(&served, &flags), title, why);
            give(judged, Advice { evidence, saves: Some(saves), confidence, because, ..advice });
        }
    },
};

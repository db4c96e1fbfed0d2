//! llama-server's prompt cache: larger than what is left for it, or of no use.

use super::change::{Flags, configure};
use super::host::{GIB, left};
use super::{Judged, Rule, Served, each, give};
use crate::advice::{Confidence, Evidence, Saves, Unit};
use crate::amount::{bytes, percent};
use crate::statistic::model::Kind;
use crate::statistic::model::Statistic::{PrefixHits, PrefixLookups, PromptCacheBytes};

const MIB: f64 = 1_048_576.0;
/// It is advised in these steps.
const STEP: f64 = 256.0 * MIB;
/// Of what is left, it may take this share: others grow as well.
const OF_LEFT: f64 = 0.5;
/// It is of no use if less than this share of what was looked for was found, of so many tokens at least.
const USELESS: f64 = 0.02;
const LOOKED: u64 = 100_000;

pub(super) const PROMPT_CACHE_LOWER: Rule = Rule {
    name: "prompt_cache_lower",
    when: "llama-server's prompt cache (8 GiB unless --cache-ram says otherwise) may still grow by more than its workload and the host have left; or less than 2 % of the tokens of prompts were found again in a day.",
    needs: "/slots or /metrics of llama-server, and the memory of its processes",
    judge: |given, judged| {
        for served in each(given, &[Kind::LlamaCpp]) {
            let Some(limit) = served.get(PromptCacheBytes).filter(|limit| *limit > 0.0) else { continue };
            let Some(held) = served.told.held(given.view).prompt_cache.map(|held| held as f64) else {
                served.lacks("prompt_cache_lower", judged, "the anonymous memory of its processes");
                continue;
            };
            let Some(left) = left(&served) else {
                served.lacks("prompt_cache_lower", judged, "how much memory its workload and the host have left");
                continue;
            };
            let grows = (limit - held).max(0.0);
            if grows > left {
                bounded(judged, &served, limit, held, left);
            } else {
                useless(judged, &served, limit, held);
            }
        }
    },
};

/// It can outgrow what is left.
fn bounded(judged: &mut Judged, served: &Served<'_>, limit: f64, held: f64, left: f64) {
    let to = (((held + OF_LEFT * left) / STEP).floor() * STEP).max(0.0);
    let title =
        format!("Limit the prompt cache of {} to {} (now {}).", served.name(), bytes(to as u64), bytes(limit as u64));
    let why = format!(
        "It keeps the prompts of requests that ended in host memory, up to {}; it holds {} of that, and {} more is left for it before its limit or the host's memory is reached.",
        bytes(limit as u64),
        bytes(held as u64),
        bytes(left as u64),
    );
    let left = Evidence::computed("memory left to its workload and the host", left, Unit::Bytes);
    let advice = served.draft("prompt_cache_lower", configure(served, &cache_flags(to)), title, why);
    give(
        judged,
        crate::advice::Advice {
            evidence: evidence(limit, held, left),
            saves: Some(Saves {
                over_seconds: served.over(),
                bytes: Some(limit - to),
                assuming: "the cache fills up, as it does with enough different prompts".to_owned(),
                ..Saves::default()
            }),
            confidence: Confidence::Medium,
            because: "What it may take and what is left are known; whether enough different prompts come is not."
                .to_owned(),
            ..advice
        },
    );
}

/// Nothing is found in it.
fn useless(judged: &mut Judged, served: &Served<'_>, limit: f64, held: f64) {
    let day = &served.day;
    let Some((hits, looked)) = day.grown(PrefixHits).zip(day.grown(PrefixLookups)) else { return };
    let share = hits as f64 / looked.max(1) as f64;
    if held < GIB || looked < LOOKED || share >= USELESS || !served.seen("prompt_cache_lower", judged) {
        return;
    }
    let title = format!("Switch the prompt cache of {} off: it holds {}.", served.name(), bytes(held as u64));
    let why = format!(
        "Of {looked} tokens of prompts {} were found again, in its slots and in the cache together: its clients send other prompts each time.",
        percent(share)
    );
    let found = Evidence::measured("tokens of prompts that were found again, of all", share, Unit::Ratio);
    let (confidence, because) = served.sure(Confidence::Medium);
    let advice = served.draft("prompt_cache_lower", configure(served, &cache_flags(0.0)), title, why);
    give(
        judged,
        crate::advice::Advice {
            evidence: evidence(limit, held, found),
            saves: Some(Saves {
                over_seconds: served.over(),
                bytes: Some(held),
                assuming: "prompts stay as different as they were".to_owned(),
                ..Saves::default()
            }),
            confidence,
            because,
            ..advice
        },
    );
}

/// Its size and what it holds, and what makes that too much.
fn evidence(limit: f64, held: f64, more: Evidence) -> Vec<Evidence> {
    vec![
        Evidence::configured("prompt cache, at most", limit, Unit::Bytes),
        Evidence::measured("prompt cache now, as its anonymous memory grew since it serves", held, Unit::Bytes),
        more,
    ]
}

fn cache_flags(to: f64) -> Flags {
    let mib = format!("{}", (to / MIB).round());
    Flags { llama: vec![("--cache-ram", mib.clone())], ollama: vec![("LLAMA_ARG_CACHE_RAM", mib)], ..Flags::default() }
}

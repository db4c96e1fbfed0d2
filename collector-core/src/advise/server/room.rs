//! How much of a GPU's memory a server takes for its KV cache: too little while some is free, or much more than it ever uses.

use super::change::{Flags, configure, of_ollama};
use super::{Rule, Served, each, give};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::amount::{bytes, duration, fixed, percent};
use crate::statistic::gpu::Statistic::{MemoryFree, MemoryTotal};
use crate::statistic::model::Kind;
use crate::statistic::model::Statistic::{GpuShare, KvBytes, KvTokens, Preemptions, RetractedTokens};
use crate::statistic::model::WHOLE;
use crate::view::gpu::Gpu;

/// What stays free on a GPU: as admission has it.
const SPARED: f64 = 512.0 * 1_048_576.0;
const SPARED_SHARE: f64 = 0.03;
/// Of SGLang, which computes outside of the share that it is given: by its own guide 5 to 8 GiB, and a tenth of the larger GPUs.
const SGLANG_SPARED: f64 = 8.0 * 1_073_741_824.0;
const SGLANG_SPARED_SHARE: f64 = 0.1;
/// A server that takes more of a GPU than this leaves nothing for what it does not count: graphs, NCCL.
const HIGHEST: f64 = 0.97;
/// More room is worth a restart from this share of the GPU on.
pub(super) const WORTH: f64 = 0.03;
/// Its KV cache is short if it was full, while requests waited, for this share of the time, and for so many seconds.
const SHORT: f64 = 0.02;
const SHORT_SECONDS: f64 = 600.0;
/// Or if so many requests were preempted in an hour.
const PREEMPTED: f64 = 10.0;
/// It is much too large if never more than this share of it was used; then so many times as much as was used is enough.
const LOW: f64 = 0.3;
const SPARE: f64 = 1.5;

pub(super) const KINDS: &[Kind] = &[Kind::Vllm, Kind::Sglang, Kind::LlamaCpp];

/// How short of KV cache it is, in words, with the numbers.
pub(super) fn short(served: &Served<'_>) -> Option<(String, Vec<Evidence>)> {
    let day = &served.day;
    let mut said = Vec::new();
    let mut evidence = Vec::new();
    if day.full_seconds >= SHORT_SECONDS && day.full_seconds >= SHORT * day.seconds {
        said.push(format!(
            "its KV cache was 90 % full or more for {} while requests waited",
            duration(day.full_seconds)
        ));
        evidence.push(Evidence::measured(
            "time in which its KV cache was full and requests waited",
            day.full_seconds,
            Unit::Seconds,
        ));
    }
    let hours = (day.seconds / 3600.0).max(1.0);
    let preempted = day.grown(Preemptions).filter(|count| *count as f64 >= PREEMPTED * hours);
    if let Some(count) = preempted {
        said.push(format!("{count} requests were preempted and recomputed"));
        evidence.push(Evidence::measured("requests that were preempted", count as f64, Unit::Count));
    }
    // Of a request that is sent back at least one token is lost.
    let retracted = day.grown(RetractedTokens).filter(|count| *count as f64 >= 100.0 * PREEMPTED * hours);
    if let Some(count) = retracted {
        said.push(format!("{count} tokens were sent back to the queue"));
        evidence.push(Evidence::measured(
            "tokens of requests that were sent back to the queue",
            count as f64,
            Unit::Count,
        ));
    }
    evidence.extend(day.kv.most().map(|most| Evidence::measured("KV cache in use, at most", most, Unit::Ratio)));
    (!said.is_empty()).then(|| (said.join(", and "), evidence))
}

/// The memory of its GPUs that could be its own: of several, of the one with the least.
pub(super) struct Spare {
    /// In bytes, without what stays free.
    pub bytes: f64,
    pub total: f64,
    /// Somebody else holds memory of one of them.
    pub shared: bool,
}

/// What stays free of a GPU with so much.
fn kept(kind: Kind, total: f64) -> f64 {
    match kind {
        Kind::Sglang => SGLANG_SPARED.max(SGLANG_SPARED_SHARE * total),
        _ => SPARED.max(SPARED_SHARE * total),
    }
}

pub(super) fn spare(served: &Served<'_>) -> Option<Spare> {
    let gpus = served.gpus();
    let view = served.given.view;
    let of = |gpu: &&Gpu| {
        let (free, total) = (gpu.values.get(MemoryFree)? as f64, gpu.values.get(MemoryTotal)? as f64);
        Some((free - kept(served.kind, total), total))
    };
    let all = gpus.iter().map(of).collect::<Option<Vec<_>>>()?;
    let (bytes, total) = all.into_iter().min_by(|one, two| one.0.total_cmp(&two.0))?;
    let own = served.workload.map(|workload| &workload.name);
    let shared =
        gpus.iter().any(|gpu| gpu.holders(&view.workloads).values().any(|(holder, _)| Some(&holder.name) != own));
    Some(Spare { bytes: bytes.max(0.0), total, shared })
}

pub(super) const KV_CACHE_RAISE: Rule = Rule {
    name: "kv_cache_raise",
    when: "A server's KV cache was 90 % full while requests waited, for ten minutes and 2 % of a day at least, or ten requests an hour were preempted; and its GPUs have memory left: 3 % of it, beside the larger of 512 MiB and 3 % (SGLang: 8 GiB and 10 %).",
    needs: "metrics of vLLM or SGLang, and NVML",
    judge: |given, judged| {
        for served in each(given, KINDS) {
            let Some((short, mut evidence)) = short(&served) else { continue };
            if !served.seen("kv_cache_raise", judged) {
                continue;
            }
            let Some(spare) = spare(&served) else {
                served.lacks("kv_cache_raise", judged, "how much memory its GPUs have left");
                continue;
            };
            if spare.bytes < WORTH * spare.total {
                continue;
            }
            evidence.push(Evidence::measured(
                "memory that its GPU has left, without what should stay free",
                spare.bytes,
                Unit::Bytes,
            ));
            let share = served.get(GpuShare).map(|share| share / WHOLE as f64);
            let (title, actions) = match served.kind {
                Kind::LlamaCpp => smaller(&served),
                _ => {
                    let Some(share) = share else {
                        served.lacks(
                            "kv_cache_raise",
                            judged,
                            "which share of the GPU's memory it may take: its command line does not say",
                        );
                        continue;
                    };
                    let highest = match served.kind {
                        Kind::Sglang => HIGHEST.min(1.0 - kept(served.kind, spare.total) / spare.total),
                        _ => HIGHEST,
                    };
                    let to = ((share + spare.bytes / spare.total).min(highest) * 100.0 + 1e-6).floor() / 100.0;
                    if to <= share {
                        continue;
                    }
                    evidence.push(Evidence::configured(
                        "share of the GPU's memory that it may take",
                        share,
                        Unit::Ratio,
                    ));
                    let text = fixed(to, 2);
                    let flags = Flags {
                        vllm: vec![("--gpu-memory-utilization", text.clone())],
                        sglang: vec![("--mem-fraction-static", text.clone())],
                        ..Flags::default()
                    };
                    let title = format!(
                        "Give the KV cache of {} more of its GPU: {text} of its memory (now {}).",
                        served.name(),
                        fixed(share, 2)
                    );
                    (title, configure(&served, &flags))
                }
            };
            let why = format!(
                "In {} {short}, and {} of its GPU's memory are free for it.",
                duration(served.day.seconds),
                bytes(spare.bytes as u64)
            );
            // Who shares the GPU may need what is free. What else its own computation needs, or how many bits its cache has, is not known.
            let most = match served.kind {
                _ if spare.shared => Confidence::Low,
                Kind::Sglang | Kind::LlamaCpp => Confidence::Medium,
                _ => Confidence::High,
            };
            let (confidence, mut because) = served.sure(most);
            if spare.shared {
                because += " Others hold memory of this GPU as well, and may need what is free.";
            }
            let saves = waited(&served, "requests do not wait once there is room for them");
            let advice = served.draft("kv_cache_raise", actions, title, why);
            give(judged, Advice { evidence, saves: Some(saves), confidence, because, ..advice });
        }
    },
};

/// llama-server's KV cache has the size of its context: the same tokens in half of the bytes leave room for twice as many.
fn smaller(served: &Served<'_>) -> (String, Vec<crate::action::Action>) {
    // Ollama's context is that of one request.
    let now = served.get(KvTokens).filter(|tokens| *tokens > 0.0 && !of_ollama(served));
    let context = now.map(|tokens| ("--ctx-size", fixed(2.0 * tokens, 0)));
    let types = [("--cache-type-k", "q8_0".to_owned()), ("--cache-type-v", "q8_0".to_owned())];
    let flags = Flags {
        llama: context.into_iter().chain(types).collect(),
        ollama: vec![("OLLAMA_KV_CACHE_TYPE", "q8_0".to_owned()), ("OLLAMA_FLASH_ATTENTION", "1".to_owned())],
        ..Flags::default()
    };
    let title = match now {
        Some(tokens) => format!(
            "Raise the context of {} to {} tokens (now {}), with its KV cache in 8 bits, which takes half as much.",
            served.name(),
            fixed(2.0 * tokens, 0),
            fixed(tokens, 0)
        ),
        None => format!(
            "Keep the KV cache of {} in 8 bits: it takes half as much, and there is room for twice its context.",
            served.name()
        ),
    };
    let mut actions = configure(served, &flags);
    for command in actions.iter_mut().flat_map(|action| &mut action.commands) {
        let note = command.note.get_or_insert_default();
        // Of Ollama it is among the settings.
        let flash = if of_ollama(served) { "" } else { "flash attention (--flash-attn), and " };
        *note += &format!(" It needs {flash}that its KV cache has 16 bits now.");
    }
    (title, actions)
}

pub(super) fn waited(served: &Served<'_>, assuming: &str) -> Saves {
    Saves {
        over_seconds: served.over(),
        stall_seconds: Some(served.day.waiting_seconds),
        assuming: assuming.to_owned(),
        ..Saves::default()
    }
}

pub(super) const KV_CACHE_LOWER: Rule = Rule {
    name: "kv_cache_lower",
    when: "In most of a day never more than 30 % of a server's KV cache was in use, and somebody else holds memory of the same GPU, or waits for some.",
    needs: "metrics of the server with the size of its KV cache in bytes, and NVML",
    judge: |given, judged| {
        for served in each(given, KINDS) {
            let day = &served.day;
            let worked = day.running.most() >= Some(1.0);
            let Some(most) = day.kv.most().filter(|most| *most <= LOW && worked) else { continue };
            if day.kv.seconds < super::MUCH {
                served.lacks(
                    "kv_cache_lower",
                    judged,
                    &format!("a day of its numbers: there are {} hours", fixed(day.kv.seconds / 3600.0, 0)),
                );
                continue;
            }
            let Some(spare) = spare(&served) else { continue };
            let waits = given.view.leases.waiting.values().any(|waiting| !waiting.lease.want.vram.is_empty());
            if !spare.shared && !waits {
                continue;
            }
            let Some(size) = served.get(KvBytes).filter(|size| *size > 0.0) else {
                served.lacks("kv_cache_lower", judged, "the size of its KV cache in bytes");
                continue;
            };
            let gpus = served.gpus().len().max(1) as f64;
            // Rounded up, so that what was used stays.
            let keep = (SPARE * most).min(1.0);
            let freed = size * (1.0 - keep);
            let share = served.get(GpuShare).map(|share| share / WHOLE as f64);
            let to = share
                .map(|share| ((share - freed / gpus / spare.total) * 100.0 - 1e-6).ceil() / 100.0)
                .filter(|to| Some(*to) < share && *to > 0.0);
            let text = to.map(|to| fixed(to, 2));
            let flags = text.clone().map_or_else(Flags::default, |text| Flags {
                vllm: vec![("--gpu-memory-utilization", text.clone())],
                sglang: vec![("--mem-fraction-static", text)],
                ..Flags::default()
            });
            let title = format!(
                "Lower the KV cache of {} by {}{}.",
                served.name(),
                bytes(freed as u64),
                text.map_or(String::new(), |text| format!(": {text} of its GPU's memory"))
            );
            let why = format!(
                "It never used more than {} of {} in {}, and {}.",
                percent(most),
                bytes(size as u64),
                duration(day.kv.seconds),
                if waits { "others wait for GPU memory" } else { "others hold memory of the same GPU" },
            );
            let mut evidence = vec![
                Evidence::measured("KV cache in use, at most", most, Unit::Ratio),
                Evidence::measured("KV cache", size, Unit::Bytes),
            ];
            evidence.extend(
                share.map(|share| {
                    Evidence::configured("share of the GPU's memory that it may take", share, Unit::Ratio)
                }),
            );
            let saves = Saves {
                over_seconds: served.over(),
                bytes: Some(freed),
                assuming: "no more than half as much again is ever needed as was".to_owned(),
                ..Saves::default()
            };
            let confidence = if waits { Confidence::Medium } else { Confidence::Low };
            let because = "A day is known, but not a week; prefixes that stay in the free part are found again, and then no longer.".to_owned();
            let advice = served.draft("kv_cache_lower", configure(&served, &flags), title, why);
            give(judged, Advice { evidence, saves: Some(saves), confidence, because, ..advice });
        }
    },
};

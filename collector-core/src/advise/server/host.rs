//! What a server keeps in host memory: KV cache, weights, and what is configured and does nothing.

use super::change::{Flags, configure};
use super::{Given, Judged, Rule, Served, each, give};
use crate::action::{Action, Risk, by_hand};
use crate::advice::{Confidence, Evidence, Saves, Unit};
use crate::amount::{bytes, duration, percent};
use crate::statistic::model::Kind;
use crate::statistic::model::Statistic::{
    OffloadBytes, OffloadHits, OffloadLoaded, OffloadStored, OffloadUsed, UnusedSwapBytes, WeightOffloadBytes,
};
use crate::statistic::model::WHOLE;
use crate::view::number::{Known, Number};

pub(super) const GIB: f64 = 1_073_741_824.0;
/// KV cache in host memory is of no use if less than this share of the bytes that were moved there came back, and of use from that one on.
const UNUSED: f64 = 0.05;
const FOUND: f64 = 0.2;
const MOVED: u64 = 1 << 30;
/// The host is full from this share of its memory, and has room below that one (the two-tier deployment's own numbers).
const FULL: f64 = 0.85;
const ROOMY: f64 = 0.65;
/// By so much it is changed at a time, and these are its bounds.
const BY: f64 = 4.0 * GIB;
const LEAST: f64 = 8.0 * GIB;
const MOST: f64 = 24.0 * GIB;
/// Pinned memory is more than configured from this factor on. PyTorch rounds each pinned allocation up to a power of two.
const OVER: f64 = 1.25;
/// vLLM's default for --swap-space: at this value nobody set it.
const DEFAULT_SWAP: f64 = 4.0 * GIB;

/// Bytes that its workload and the host have left: the limit less what reclaim cannot free, and what the host has available.
pub(super) fn left(served: &Served<'_>) -> Option<f64> {
    let view = served.given.view;
    let host = view.host.memory()?.available as f64;
    let known = Known::of(&view.coverage);
    let of = |number: Number| number.of(served.workload?, known).map(|value| value as f64);
    let own = of(Number::Limit).zip(of(Number::WithoutCache)).map(|(limit, kept)| limit - kept);
    Some(own.map_or(host, |own| own.min(host)).max(0.0))
}

/// Mean use of the host's memory: of the last days, if they are known, else now; and whether it is of days.
fn host_used(given: &Given<'_>) -> Option<(f64, bool)> {
    let days = given.past.host.days.iter().filter_map(|day| {
        let used = day.memory?[1] / day.limit.filter(|limit| *limit > 0.0)?;
        Some((used * f64::from(day.seconds), f64::from(day.seconds)))
    });
    let (sum, seconds) = days.fold((0.0, 0.0), |(sum, all), (used, seconds)| (sum + used, all + seconds));
    if seconds >= 86_400.0 {
        return Some((sum / seconds, true));
    }
    Some((given.view.host.memory()?.used_ratio(), false))
}

const OFFLOADS: &[Kind] = &[Kind::Vllm, Kind::Sglang];

/// Another size, over all ranks. SGLang is told the size for each rank, in powers of ten: only of a server with one GPU it is known how
/// many ranks it has.
fn offload(served: &Served<'_>, to: f64) -> Vec<Action> {
    if served.kind == Kind::Sglang && served.gpus().len() != 1 {
        let what =
            format!("Start it with another --hicache-size, which counts for each rank: {} in all", bytes(to as u64));
        return vec![by_hand(served.object(), what, Risk::High)];
    }
    let gib = format!("{}", (to / GIB).round());
    let flags = Flags {
        vllm: vec![("--kv-offloading-size", gib)],
        sglang: vec![("--hicache-size", format!("{}", (to / 1e9).round()))],
        ..Flags::default()
    };
    configure(served, &flags)
}

pub(super) const KV_OFFLOAD_LOWER: Rule = Rule {
    name: "kv_offload_lower",
    when: "A server keeps KV cache in host memory, and less than 5 % of the bytes that it moved there came back in a day; or the host's memory is more than 85 % full on average (then by 4 GiB at a time, and not below 8 GiB).",
    needs: "metrics of vLLM or SGLang with KV cache in host memory",
    judge: |given, judged| {
        for served in each(given, OFFLOADS) {
            let Some(size) = served.get(OffloadBytes).filter(|size| *size > 0.0) else { continue };
            let (stored, loaded) = (served.day.grown(OffloadStored), served.day.grown(OffloadLoaded));
            let back = stored.zip(loaded).filter(|(stored, _)| *stored >= MOVED);
            let back = back.map(|(stored, loaded)| (stored, loaded as f64 / stored as f64));
            let full = host_used(given).filter(|(used, _)| *used > FULL);
            let (to, reason) = match (back, full) {
                (Some((_, back)), _) if back < UNUSED => {
                    if !served.seen("kv_offload_lower", judged) {
                        continue;
                    }
                    (0.0, format!("{} of what it moved to host memory came back", percent(back)))
                }
                (_, Some((used, _))) if size > LEAST => {
                    ((size - BY).max(LEAST), format!("{} of the host's memory is in use", percent(used)))
                }
                (None, None) if stored.is_none() => {
                    served.lacks("kv_offload_lower", judged, "what it moves to host memory and back");
                    continue;
                }
                _ => continue,
            };
            let unused = to == 0.0;
            let title = match unused {
                true => format!(
                    "Switch the KV cache of {} in host memory off: {} pinned.",
                    served.name(),
                    bytes(size as u64)
                ),
                false => format!(
                    "Lower the KV cache of {} in host memory to {} (now {}).",
                    served.name(),
                    bytes(to as u64),
                    bytes(size as u64)
                ),
            };
            let why = format!("It is pinned, so nobody else can have it, and {reason}.");
            let actions = match unused {
                true => vec![by_hand(
                    served.object(),
                    "Start it without --kv-offloading-size (SGLang: --enable-hierarchical-cache)".to_owned(),
                    Risk::High,
                )],
                false => offload(&served, to),
            };
            let (confidence, because) = match (unused, full) {
                (true, _) => served.sure(Confidence::High),
                (false, Some((_, true))) => (
                    Confidence::Medium,
                    "The host was full on average of days; how much the server's clients lose is not known.".to_owned(),
                ),
                _ => (Confidence::Low, "The host is full now; days of history are not there.".to_owned()),
            };
            let mut evidence = vec![Evidence::configured("KV cache in host memory", size, Unit::Bytes)];
            if let Some((stored, back)) = back {
                evidence.push(Evidence::measured("bytes that it moved to host memory", stored as f64, Unit::Bytes));
                evidence.push(Evidence::measured("bytes that came back, as a share of these", back, Unit::Ratio));
            }
            if let Some((used, _)) = full {
                evidence.push(Evidence::measured("memory of the host in use, on average", used, Unit::Ratio));
            }
            let advice = served.draft("kv_offload_lower", actions, title, why);
            let saves = Saves {
                over_seconds: served.over(),
                bytes: Some(size - to),
                assuming: "its clients ask as they did".to_owned(),
                ..Saves::default()
            };
            give(judged, crate::advice::Advice { evidence, saves: Some(saves), confidence, because, ..advice });
        }
    },
};

pub(super) const KV_OFFLOAD_RAISE: Rule = Rule {
    name: "kv_offload_raise",
    when: "A server keeps KV cache in host memory, 20 % or more of the bytes that it moved there came back in a day, its own is full while requests wait, the host's memory is less than 65 % full on average, and 4 GiB more leave it below that. Not above 24 GiB, nor where it says that less than 95 % of it is in use.",
    needs: "metrics of vLLM or SGLang with KV cache in host memory",
    judge: |given, judged| {
        for served in each(given, OFFLOADS) {
            let Some(size) = served.get(OffloadBytes).filter(|size| *size > 0.0 && *size + BY <= MOST) else {
                continue;
            };
            let moved = served
                .day
                .grown(OffloadStored)
                .zip(served.day.grown(OffloadLoaded))
                .filter(|(stored, _)| *stored >= MOVED);
            let Some(back) = moved.map(|(stored, loaded)| loaded as f64 / stored as f64).filter(|back| *back >= FOUND)
            else {
                continue;
            };
            let full = served.get(OffloadUsed).is_none_or(|used| used >= 0.95 * WHOLE as f64);
            if !full || served.day.full_seconds <= 0.0 || !served.seen("kv_offload_raise", judged) {
                continue;
            }
            let Some(memory) = given.view.host.memory() else { continue };
            let Some((used, _)) = host_used(given) else { continue };
            let after = used.max(memory.used_ratio()) + BY / memory.total as f64;
            if after > ROOMY || left(&served).is_none_or(|left| left < 2.0 * BY) {
                continue;
            }
            let hits = served.day.grown(OffloadHits);
            let title = format!(
                "Raise the KV cache of {} in host memory to {} (now {}).",
                served.name(),
                bytes((size + BY) as u64),
                bytes(size as u64)
            );
            let why = format!(
                "{} of what it moves there comes back, its own KV cache was full for {} while requests waited, and the host has room: {} of its memory is in use.",
                percent(back),
                duration(served.day.full_seconds),
                percent(used),
            );
            let mut evidence = vec![
                Evidence::configured("KV cache in host memory", size, Unit::Bytes),
                Evidence::measured("bytes that came back, as a share of those moved there", back, Unit::Ratio),
                Evidence::measured(
                    "time in which its KV cache was full and requests waited",
                    served.day.full_seconds,
                    Unit::Seconds,
                ),
                Evidence::measured("memory of the host in use, on average", used, Unit::Ratio),
            ];
            evidence.extend(
                hits.map(|hits| Evidence::measured("tokens that it found in host memory", hits as f64, Unit::Count)),
            );
            let (confidence, seen) = served.sure(Confidence::Medium);
            let because = format!("{seen} How much more would be found in a larger one is not known.");
            let advice = served.draft("kv_offload_raise", offload(&served, size + BY), title, why);
            give(judged, crate::advice::Advice { evidence, confidence, because, ..advice });
        }
    },
};

pub(super) const KV_OFFLOAD_OVER: Rule = Rule {
    name: "kv_offload_over",
    when: "A server holds 25 % more host memory for KV cache than is configured: PyTorch rounds each pinned allocation up to a power of two.",
    needs: "the memory of vLLM's processes, or what SGLang says",
    judge: |given, judged| {
        for served in each(given, OFFLOADS) {
            let Some(size) = served.get(OffloadBytes).filter(|size| *size > 0.0) else { continue };
            // Weights that were moved to host memory are shared memory as well.
            if served.get(WeightOffloadBytes).is_some_and(|bytes| bytes > 0.0) {
                continue;
            }
            let held = served.told.held(given.view).kv_offload.map(|held| held as f64);
            let Some(held) = held.filter(|held| *held > OVER * size && held - size > GIB) else { continue };
            over(judged, &served, ("kv_offload_over", "KV cache in host memory", size, held), |to| {
                offload(&served, to)
            });
        }
    },
};

pub(super) const WEIGHT_OFFLOAD_OVER: Rule = Rule {
    name: "weight_offload_over",
    when: "vLLM keeps weights in host memory (--cpu-offload-gb), and its drivers pin 25 % more than that for its GPUs together.",
    needs: "pinned memory of the server's processes (transfer.enabled, or VmPin), and its command line",
    judge: |given, judged| {
        for served in each(given, &[Kind::Vllm]) {
            let Some(each) = served.get(WeightOffloadBytes).filter(|size| *size > 0.0) else { continue };
            let all = given.view.models.servers.values().filter(|told| {
                told.workload(&given.view.workloads).map(|it| &it.name) == served.workload.map(|it| &it.name)
            });
            let gpus = served.gpus().len();
            if gpus == 0 || all.count() != 1 {
                continue;
            }
            let Some(pinned) = served.told.held(given.view).pinned else {
                served.lacks("weight_offload_over", judged, "how much its drivers pin");
                continue;
            };
            let (size, held) = (each * gpus as f64, pinned as f64 - served.get(OffloadBytes).unwrap_or(0.0));
            if held > OVER * size && held - size > GIB {
                let change = |to: f64| {
                    let gib = (to / gpus as f64 / GIB).floor().max(1.0);
                    // Less than it has, or there is nothing to type.
                    let vllm = (gib * GIB < each).then(|| ("--cpu-offload-gb", format!("{gib}")));
                    configure(&served, &Flags { vllm: vllm.into_iter().collect(), ..Flags::default() })
                };
                over(judged, &served, ("weight_offload_over", "weights in host memory", size, held), change);
            }
        }
    },
};

/// More is held than configured: what would be held is what was meant.
fn over(
    judged: &mut Judged,
    served: &Served<'_>,
    row: (&'static str, &str, f64, f64),
    change: impl Fn(f64) -> Vec<Action>,
) {
    let (rule, what, size, held) = row;
    let to = (size * size / held / GIB).floor().max(1.0) * GIB;
    // Below a GiB there is nothing less to configure.
    let less = to < size;
    let or = match less {
        true => format!(", or configure {} (now {})", bytes(to as u64), bytes(size as u64)),
        false => String::new(),
    };
    let title = format!("Count with {} of {what} for {}{or}.", bytes(held as u64), served.name());
    let why = format!(
        "{} are configured, and {} are held: pinned allocations are rounded up to powers of two by PyTorch. It cannot be reclaimed, and no limit that was made for {} fits it.",
        bytes(size as u64),
        bytes(held as u64),
        bytes(size as u64),
    );
    let advice = served.draft(rule, if less { change(to) } else { Vec::new() }, title, why);
    give(
        judged,
        crate::advice::Advice {
            evidence: vec![
                Evidence::configured(format!("{what}, as configured"), size, Unit::Bytes),
                Evidence::measured(format!("{what}, as held"), held, Unit::Bytes),
            ],
            saves: less.then(|| Saves {
                over_seconds: served.over(),
                bytes: Some(held - size),
                assuming: "it is rounded up by the same factor again".to_owned(),
                ..Saves::default()
            }),
            confidence: Confidence::Medium,
            because: "Both numbers are known; by how much a smaller one is rounded up is not.".to_owned(),
            ..advice
        },
    );
}

pub(super) const SWAP_SPACE: Rule = Rule {
    name: "vllm_swap_space",
    when: "vLLM is started with a swap space other than the default, and its engine has no blocks for it: since version 1 of the engine it does nothing, and since 0.18 the flag is gone.",
    needs: "metrics of vLLM",
    judge: |given, judged| {
        for served in each(given, &[Kind::Vllm]) {
            let Some(size) = served.get(UnusedSwapBytes).filter(|size| *size > 0.0 && *size != DEFAULT_SWAP) else {
                continue;
            };
            let kv = served.told.held(given.view).kv_offload;
            let title = format!("Drop --swap-space from {} at its next start: it does nothing.", served.name());
            let held = match kv {
                Some(held) if held > 0 => {
                    format!("what it holds in host memory ({}) is KV cache by --kv-offloading-size", bytes(held))
                }
                _ => "use --kv-offloading-size for KV cache in host memory".to_owned(),
            };
            let why = format!(
                "{} are configured, and its engine has no blocks for them: preempted requests are recomputed, not swapped out; {held}.",
                bytes(size as u64)
            );
            let change = by_hand(served.object(), "Start it without --swap-space".to_owned(), Risk::High);
            let advice = served.draft("vllm_swap_space", vec![change], title, why);
            let evidence = vec![
                Evidence::configured("swap space", size, Unit::Bytes),
                Evidence::measured("blocks that its engine has there", 0.0, Unit::Count),
            ];
            let because = "The server itself says that it has no blocks there.".to_owned();
            give(judged, crate::advice::Advice { evidence, confidence: Confidence::High, because, ..advice });
        }
    },
};

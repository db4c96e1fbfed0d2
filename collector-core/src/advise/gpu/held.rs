//! Memory of a GPU that others hold while a model server needs it, and memory that nobody holds any more.

use super::{Rule, cards, holders};
use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::server::contended;
use crate::amount::{bytes, duration};
use crate::statistic::gpu::Statistic::MemoryTotal;

/// Another holder matters from this share of the memory on.
const MUCH: f64 = 0.05;
/// Memory that nobody holds is left behind if nobody did for so many seconds, and the GPU ran nothing meanwhile.
const LEFT_SECONDS: f64 = 600.0;

pub(super) const SHARED: Rule = Rule {
    name: "gpu_shared",
    when: "A model server's KV cache is too small for its requests, its GPU has no memory left, and somebody else holds 5 % of it or more.",
    needs: "metrics of the server, and NVML",
    judge: |given, judged| {
        for (server, workload, said) in contended(given) {
            for card in cards(given) {
                let Some(total) = card.gpu.values.get(MemoryTotal).map(|total| total as f64) else { continue };
                let held = holders(given, card.gpu);
                if !held.iter().any(|(name, _)| *name == &*workload) {
                    continue;
                }
                let other = held.iter().find(|(name, bytes)| {
                    *name != &*workload && bytes.is_some_and(|bytes| bytes as f64 >= MUCH * total)
                });
                let Some((other, Some(held))) = other else { continue };
                let title = format!("Move {other} off {}: it holds {} that {server} needs.", card.name(), bytes(*held));
                let why =
                    format!("Of {server} {said}. The GPU has no memory left, and {other} holds {}.", bytes(*held));
                let evidence = vec![
                    Evidence::measured(format!("GPU memory of {other}"), *held as f64, Unit::Bytes),
                    Evidence::measured("memory of the GPU", total, Unit::Bytes),
                ];
                let actions = vec![by_hand(
                    Object::Workload((*other).to_owned()),
                    "Another GPU (CUDA_VISIBLE_DEVICES), another host, or another time".to_owned(),
                    Risk::High,
                )];
                let saves = Saves {
                    over_seconds: 86_400,
                    bytes: Some(*held as f64),
                    assuming: format!("{server} takes what becomes free"),
                    ..Saves::default()
                };
                let because =
                    "Both hold their memory now; which of them should give way is for you to decide.".to_owned();
                let advice = card.draft("gpu_shared", actions, title, why);
                judged.advice.push(Advice {
                    evidence,
                    saves: Some(saves),
                    confidence: Confidence::Medium,
                    because,
                    ..advice
                });
                break;
            }
        }
    },
};

pub(super) const LEFT: Rule = Rule {
    name: "gpu_memory_left",
    when: "Processes of a reservation hold GPU memory although its owner is gone; or for ten minutes more than a GiB of an idle GPU was in use that no process holds.",
    needs: "NVML's lists of processes",
    judge: |given, judged| {
        for card in cards(given) {
            let leases = given.view.leases.held.values().flat_map(|lease| &lease.orphans);
            let orphans: Vec<_> = leases.filter(|orphan| *orphan.gpu == *card.gpu.device.gpu).collect();
            let day = &card.day;
            let idle = card.gpu.idle_ns(given.view.time).is_some_and(|ns| ns as f64 / 1e9 >= LEFT_SECONDS);
            let unheld = day.unheld.most().filter(|_| idle && day.unheld_seconds >= LEFT_SECONDS);
            let advice = match (orphans.is_empty(), unheld) {
                (false, _) => {
                    let known: Option<u64> = orphans.iter().map(|orphan| orphan.bytes).sum();
                    let pids: Vec<String> = orphans.iter().map(|orphan| orphan.pid.to_string()).collect();
                    let much = known.map_or_else(|| "memory".to_owned(), bytes);
                    let title = format!(
                        "End process {} on {}: it holds {much} for an owner that is gone.",
                        pids.join(", "),
                        card.name()
                    );
                    let why = format!("The owner of its reservation ended, and {much} of the GPU did not come back.");
                    // All of them are one change: several would be ways to choose from.
                    let what = format!("kill {} (SIGTERM first)", pids.join(" "));
                    let mut evidence =
                        vec![Evidence::measured("processes that are left", orphans.len() as f64, Unit::Count)];
                    evidence.extend(
                        known.map(|held| Evidence::measured("GPU memory that they hold", held as f64, Unit::Bytes)),
                    );
                    let saves = known.map(|held| Saves {
                        bytes: Some(held as f64),
                        over_seconds: 86_400,
                        assuming: "they are of no use without their owner".to_owned(),
                        ..Saves::default()
                    });
                    let because =
                        "Their owner is gone, and the driver lists them; whether they end by themselves is not known."
                            .to_owned();
                    let advice = card.draft("gpu_memory_left", card.by_hand(&what, Risk::High), title, why);
                    Advice { evidence, saves, confidence: Confidence::High, because, ..advice }
                }
                (true, Some(most)) => {
                    let title = format!("Free {} of {} that no process holds.", bytes(most as u64), card.name());
                    let why = format!(
                        "For {} more memory was in use than the processes that the driver lists hold, and the GPU ran nothing.",
                        duration(day.unheld_seconds)
                    );
                    let what = "Check who has the device open (fuser -v /dev/nvidia*): processes that hang in the kernel, other containers. If nobody does, reset the GPU (nvidia-smi --gpu-reset)";
                    let evidence = vec![
                        Evidence::computed("memory in use less what processes hold, at most", most, Unit::Bytes),
                        Evidence::measured("for so long without a break", day.unheld_seconds, Unit::Seconds),
                    ];
                    let saves = Saves {
                        over_seconds: 86_400,
                        bytes: Some(most),
                        assuming: "nobody holds it, and a reset gives it back".to_owned(),
                        ..Saves::default()
                    };
                    let because =
                        "The driver may not list every process: in virtual GPUs, and for some containers.".to_owned();
                    let advice = card.draft("gpu_memory_left", card.by_hand(what, Risk::High), title, why);
                    Advice { evidence, saves: Some(saves), confidence: Confidence::Low, because, ..advice }
                }
                (true, None) => continue,
            };
            judged.advice.push(advice);
        }
    },
};

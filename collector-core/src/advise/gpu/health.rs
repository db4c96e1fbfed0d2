//! GPUs that are held back or broken: heat, power, errors.

use super::{Rule, cards};
use crate::action::Risk;
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::draft::{ENOUGH, sure};
use crate::amount::{duration, fixed, percent};
use crate::statistic::gpu::Statistic::{PowerLimit, RemapFailed, RemapPending, Temperature, Throttle};
use crate::statistic::gpu::{REASONS, THROTTLED};
use crate::xid;

/// A GPU is held back from these shares of the time in which it was busy, and so many seconds.
const OFTEN: f64 = 0.1;
const MOSTLY: f64 = 0.5;
const BUSY_SECONDS: f64 = 600.0;

/// Errors that are of the GPU, its memory, its link or its power, and not of a program: NVIDIA's "XID Errors".
const HARDWARE: [u64; 17] = [48, 54, 57, 58, 61, 62, 63, 64, 74, 79, 92, 94, 95, 110, 119, 136, 140];

pub(super) const THROTTLED_CLOCKS: Rule = Rule {
    name: "gpu_throttled",
    when: "Heat, or too little power from its supply, reduced a GPU's clocks in 10 % of the time in which it was busy in the last day, ten minutes at least.",
    needs: "NVML's throttle reasons",
    judge: |given, judged| {
        for card in cards(given) {
            let day = &card.day;
            if day.throttled_seconds < BUSY_SECONDS
                || day.throttled_seconds < OFTEN * day.busy_seconds
                || !card.seen("gpu_throttled", day.busy_seconds, judged)
            {
                continue;
            }
            let share = day.throttled_seconds / day.busy_seconds;
            let reasons = card.gpu.values.get(Throttle).unwrap_or(0) & THROTTLED;
            let names: Vec<&str> =
                REASONS.iter().filter(|(bit, _)| reasons & bit != 0).map(|(_, name)| *name).collect();
            let now = if names.is_empty() { String::new() } else { format!(" Now: {}.", names.join(", ")) };
            let title = format!(
                "Cool {} better, or check its power supply: it was slowed down in {} of its work.",
                card.name(),
                percent(share)
            );
            let why = format!(
                "Its clocks were reduced for {} of the {} in which it was busy.{now}",
                duration(day.throttled_seconds),
                duration(day.busy_seconds)
            );
            let mut evidence = vec![
                Evidence::measured(
                    "time in which heat or too little power slowed it down",
                    day.throttled_seconds,
                    Unit::Seconds,
                ),
                Evidence::measured("of the time in which it was busy", share, Unit::Ratio),
            ];
            let temperature = card.gpu.values.get(Temperature);
            evidence.extend(
                temperature.map(|degrees| Evidence::measured("degrees Celsius now", degrees as f64, Unit::Count)),
            );
            let (confidence, because) = sure(day.busy_seconds, Confidence::High);
            let what = "Fans, dust, airflow and neighbours in the chassis; power cables and the supply; else a lower power limit (nvidia-smi --power-limit), which is steadier";
            let advice = card.draft("gpu_throttled", card.by_hand(what, Risk::Medium), title, why);
            judged.advice.push(Advice { evidence, confidence, because, ..advice });
        }
    },
};

pub(super) const POWER_CAPPED_CLOCKS: Rule = Rule {
    name: "gpu_power_capped",
    when: "Its power limit reduced a GPU's clocks in half of the time in which it was busy in the last day, an hour at least.",
    needs: "NVML's throttle reasons and power limit",
    judge: |given, judged| {
        for card in cards(given) {
            let day = &card.day;
            if day.capped_seconds < ENOUGH || day.capped_seconds < MOSTLY * day.busy_seconds {
                continue;
            }
            let Some(limit) = card.gpu.values.get(PowerLimit).map(|milliwatts| milliwatts as f64 / 1e3) else {
                continue;
            };
            let share = day.capped_seconds / day.busy_seconds;
            let title = format!(
                "Raise the power limit of {} ({} W), if it was lowered and the supply allows it.",
                card.name(),
                fixed(limit, 0)
            );
            let why = format!(
                "The limit reduced its clocks in {} of the time in which it was busy. That is as intended where the limit is the card's own.",
                percent(share)
            );
            let mut evidence = vec![
                Evidence::measured("time in which its power limit slowed it down", day.capped_seconds, Unit::Seconds),
                Evidence::configured("power limit", limit, Unit::Watts),
            ];
            evidence.extend(day.power.mean().map(|watts| Evidence::measured("power, on average", watts, Unit::Watts)));
            let because = "Whether the limit was lowered, and what the card allows, is not read.".to_owned();
            let what = "nvidia-smi -q -d POWER shows what it may be; nvidia-smi --power-limit sets it until the driver is loaded again";
            let advice = card.draft("gpu_power_capped", card.by_hand(what, Risk::Medium), title, why);
            judged.advice.push(Advice { evidence, confidence: Confidence::Low, because, ..advice });
        }
    },
};

pub(super) const ERRORS: Rule = Rule {
    name: "gpu_errors",
    when: "A GPU reported an error (XID) of its hardware since the agent's start, or waits for a reset to replace bad memory, or could not replace it.",
    needs: "NVML's events and remapped rows",
    judge: |given, judged| {
        for card in cards(given) {
            let codes = given
                .view
                .gpus
                .xids()
                .filter(|(uuid, _)| **uuid == card.gpu.device.uuid)
                .flat_map(|(_, xids)| &xids.codes);
            let found: Vec<(u64, u64)> =
                codes.filter(|(code, _)| HARDWARE.contains(code)).map(|(code, (_, count))| (*code, *count)).collect();
            let is = |statistic| card.gpu.values.get(statistic) == Some(1);
            let (pending, failed) = (is(RemapPending), is(RemapFailed));
            if found.is_empty() && !pending && !failed {
                continue;
            }
            let (title, what) = match (failed, pending) {
                (true, _) => (
                    format!("Have {} replaced: bad memory could not be replaced by spare rows.", card.name()),
                    "Drain it, run the field diagnostics, and have it replaced".to_owned(),
                ),
                (_, true) => (
                    format!("Reset {} when its work is done: bad memory waits to be replaced.", card.name()),
                    "nvidia-smi --gpu-reset, once nothing uses it".to_owned(),
                ),
                _ => {
                    let code = found
                        .iter()
                        .max_by_key(|(_, count)| *count)
                        .map_or(String::new(), |(code, _)| code.to_string());
                    (
                        format!("Find the cause of XID {} on {}.", xid::meaning(&code), card.name()),
                        xid::action(&code).to_owned(),
                    )
                }
            };
            let listed: Vec<String> = found
                .iter()
                .map(|(code, count)| format!("XID {} {count} times", xid::meaning(&code.to_string())))
                .collect();
            let why = match listed.is_empty() {
                true => "The driver says so of its memory rows.".to_owned(),
                false => format!("It reported {} since the agent's start.", listed.join(", ")),
            };
            let mut evidence: Vec<Evidence> = found
                .iter()
                .map(|(code, count)| Evidence::measured(format!("errors XID {code}"), *count as f64, Unit::Count))
                .collect();
            if pending || failed {
                evidence.push(Evidence::measured(
                    if failed {
                        "rows that could not be replaced (yes is 1)"
                    } else {
                        "rows that wait to be replaced (yes is 1)"
                    },
                    1.0,
                    Unit::Count,
                ));
            }
            let advice = card.draft("gpu_errors", card.by_hand(&what, Risk::High), title, why);
            let because = "The driver reports it, and programs do not cause these errors.".to_owned();
            judged.advice.push(Advice { evidence, confidence: Confidence::High, because, ..advice });
        }
    },
};

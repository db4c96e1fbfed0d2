//! kswapd that frees too late, so that tasks have to free memory themselves although enough can be had.

use collector_common::histogram;

use crate::action::{Object, sysctl};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::draft::draft;
use crate::advise::shortage::Shortage;
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, duration};
use crate::signal::reclaim::Kind;
use crate::statistic::host::Statistic;
use crate::view::number::{Known, Number};

pub(super) const WATERMARK: Rule = Rule {
    name: "watermark_scale_factor",
    when: "Tasks spent 10 s an hour or more in direct reclaim for the host since the agent started (an hour at least), though a tenth of the memory can be had: kswapd starts too late. Not above a factor of 200 (2 %).",
    needs: "The programs that see direct reclaim, and vm.watermark_scale_factor.",
    judge,
};

const HOUR: f64 = 3600.0;
/// Seconds of all tasks in an hour.
const STALLS: f64 = 10.0;
const MANY: f64 = 100.0;
/// The kernel's default is 10: 0.1 % of the memory.
const STEPS: [u64; 3] = [50, 100, 200];
/// Else memory is short, and earlier reclaim does not help.
const AVAILABLE: f64 = 0.1;

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let Some(now) = view.host.statistics.get(Statistic::WatermarkScaleFactor) else { return };
    let Some(to) = STEPS.into_iter().find(|step| *step >= 2 * now) else { return };
    let Some(memory) = view.host.memory() else { return };
    if !Known::of(&view.coverage).has(Number::ReclaimStall) {
        return;
    }
    let ran = view.time.saturating_sub(view.started) as f64 / 1e9;
    let waited = view.host.reclaim[Kind::Direct as usize][histogram::SUM] as f64 / 1e9;
    if ran < HOUR {
        // Nothing is missing where nobody waits.
        if waited >= STALLS {
            let missing = format!("an hour of direct reclaim: the agent has run for {}", duration(ran));
            judged.lacks(WATERMARK.name, Object::Host, missing);
        }
        return;
    }
    let an_hour = waited / (ran / HOUR);
    let short = Shortage::of(given).and_then(|host| host.peak).is_some_and(|peak| peak >= 1.0 - AVAILABLE / 2.0);
    if an_hour < STALLS || memory.available_ratio() < AVAILABLE || short {
        return;
    }
    let ahead = |factor: u64| memory.total as f64 * factor as f64 / 10_000.0;
    let mut evidence = vec![
        Evidence::measured("time of tasks in direct reclaim for the host", waited, Unit::Seconds),
        Evidence::measured("memory of the host that is available", memory.available as f64, Unit::Bytes),
        Evidence::configured("vm.watermark_scale_factor", now as f64, Unit::Count),
        Evidence::computed("what kswapd frees ahead with it, at least", ahead(now), Unit::Bytes),
    ];
    let stalls = view.host.statistics.get(Statistic::AllocationStalls);
    evidence.extend(stalls.map(|stalls| {
        Evidence::measured("allocations that had to reclaim, since the host started", stalls as f64, Unit::Count)
    }));
    let title = format!("Set vm.watermark_scale_factor from {now} to {to}.");
    let why = format!(
        "Tasks spent {} an hour in direct reclaim, although {} is available: kswapd starts only when {} are left above the minimum; with {to} it would be {}.",
        duration(an_hour),
        bytes(memory.available),
        bytes(ahead(now) as u64),
        bytes(ahead(to) as u64)
    );
    let confidence = if an_hour >= MANY { Confidence::High } else { Confidence::Medium };
    let because = "Bursts larger than what is freed ahead still have to wait.".to_owned();
    let saves = Some(Saves {
        over_seconds: ran as u64,
        stall_seconds: Some(waited),
        assuming: "kswapd keeps up with the bursts".to_owned(),
        ..Saves::default()
    });
    let actions = vec![sysctl("vm.watermark_scale_factor", Some(now.to_string()), to.to_string())];
    judged.advice.push(Advice {
        evidence,
        saves,
        confidence,
        because,
        ..draft(WATERMARK.name, Object::Host, actions, title, why)
    });
}

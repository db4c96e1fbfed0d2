//! memory.high: where it harms, because nothing is left that the kernel could take, and where it helps, because there is.

use super::size::Sizes;
use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::change::memory_high;
use crate::advise::draft::draft;
use crate::advise::need::{Need, need, recent, round_up, sized};
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, percent};
use crate::signal::reclaim::Kind;
use crate::statistic::workload::Statistic;
use crate::view::workload::Workload;

pub(super) const TRAP: Rule = Rule {
    name: "memory_high_trap",
    when: "A workload is at its memory.high (95 %), was throttled there in the last 10 minutes, and of what it holds the kernel can drop and swap out next to nothing (5 %): it then makes no progress and is not killed either. Not while its memory leaks.",
    needs: "cgroup v2.",
    judge: trap,
};

pub(super) const HIGH: Rule = Rule {
    name: "memory_high_set",
    when: "On a host that was short of memory and had to wait or kill in the last 8 days, a workload without memory.high that neither serves a model nor holds GPU memory has page cache of a quarter of the host's memory, and its tasks reclaimed most.",
    needs: "cgroup v2, and a day of history of the workload and of the host (history.db).",
    judge: set,
};

const AT_HIGH: f64 = 0.95;
const THROTTLED_NS: u64 = 600_000_000_000;
/// A workload has so much of the host's memory as page cache.
const CACHE: f64 = 0.25;
/// A limit on it leaves it so much of that cache.
const LEFT: f64 = 0.25;

fn trap(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let sizes = Sizes::of(given);
    for workload in sized(view) {
        let get = |statistic| workload.statistics.get(statistic).map(|bytes| bytes as f64);
        let (Some(high), Some(held)) = (get(Statistic::MemoryHigh), get(Statistic::MemoryCurrent)) else { continue };
        let throttled = workload.recent.throttled.is_some_and(|at| view.time.saturating_sub(at) <= THROTTLED_NS);
        let Some(stays) = workload.unreclaimable(view.host.swap()).map(|bytes| bytes as f64) else { continue };
        if !throttled || held < AT_HIGH * high || stays < AT_HIGH * high {
            continue;
        }
        if sizes.leaks(workload) {
            let missing = "a steady use: its memory leaks, and without memory.high it takes more";
            let object = Object::Workload(workload.name.to_string());
            judged.lacks(TRAP.name, object, missing);
            continue;
        }
        judged.advice.push(trapped(given, workload, (high, held, stays)));
    }
}

fn trapped(given: &Given<'_>, workload: &Workload, (high, held, stays): (f64, f64, f64)) -> Advice {
    let (view, name) = (given.view, &workload.name);
    let shown = |amount: f64| bytes(amount as u64);
    let swap = view.host.swap().free.unwrap_or(0);
    let days = given.past.workloads.get(name).map(|span| &span.days[..]).unwrap_or_default();
    let days = recent(given.past, days)
        .filter_map(|(day, _)| Some((day.memory_waiting.or(day.stalls)?, u64::from(day.seconds))));
    let (waited, seconds) = days.fold((0.0, 0), |(waited, all), (more, seconds)| (waited + more, all + seconds));
    let evidence = vec![
        Evidence::configured("memory.high", high, Unit::Bytes),
        Evidence::measured("memory charged to it", held, Unit::Bytes),
        Evidence::computed("what of it the kernel can neither drop nor swap out", stays, Unit::Bytes),
        Evidence::measured("free swap", swap as f64, Unit::Bytes),
    ];
    // A limit above the host's memory limits nothing.
    let total = view.host.memory().map(|memory| memory.total);
    let set = workload.statistics.get(Statistic::MemoryLimit);
    let limited = set.is_some_and(|limit| total.is_none_or(|total| limit < total));
    let why = format!(
        "It is at its memory.high of {}, and the kernel throttles it there; but {} of what it holds can be neither dropped nor swapped out, so waiting frees nothing.",
        shown(high),
        percent(stays / held)
    );
    let saves = (waited > 0.0).then(|| Saves {
        over_seconds: seconds,
        stall_seconds: Some(waited),
        assuming: "it waited for memory because of memory.high".to_owned(),
        ..Saves::default()
    });
    let object = Object::Workload(name.to_string());
    let (title, actions, confidence) = match limited {
        true => {
            let title = format!("Remove memory.high of {name}, and keep its memory limit.");
            (title, memory_high(view, name, None), Confidence::High)
        }
        false => {
            let title = format!("Set a memory limit for {name}, then remove memory.high.");
            let what = "first memory.max, at the most that it may ever take, then memory.high to max".to_owned();
            (title, vec![by_hand(object.clone(), what, Risk::High)], Confidence::Low)
        }
    };
    let because = match (limited, swap) {
        (false, _) => "It has no other limit, and how much it would take without one is not known.",
        (true, 0) => "There is no free swap, and the kernel's own numbers say what it cannot drop.",
        (true, _) => "Swap is left, but this workload may not use it or has too little to swap.",
    };
    let because = because.to_owned();
    Advice { evidence, saves, confidence, because, ..draft(TRAP.name, object, actions, title, why) }
}

fn set(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    if view.workloads.memory_hierarchy() != 0 {
        return;
    }
    let sizes = Sizes::of(given);
    let Some(host) = sizes.host.filter(|host| host.hurt()) else { return };
    let direct = |workload: &Workload| workload.amounts.reclaim[Kind::Direct as usize].bytes;
    let most = sized(view).map(direct).max().unwrap_or(0);
    for workload in sized(view) {
        let get = |statistic| workload.statistics.get(statistic);
        let Some(cache) = workload.page_cache().map(|bytes| bytes as f64) else { continue };
        let important = sizes.servers.get(&workload.name).serves || workload.vram().is_some_and(|bytes| bytes > 0);
        let bounded = get(Statistic::MemoryHigh).is_some() || get(Statistic::MemoryCurrent).is_none();
        if important || bounded || cache < CACHE * host.total || most == 0 || direct(workload) < most {
            continue;
        }
        let Some(need) = need(given.past, workload).filter(Need::is_enough) else { continue };
        let to = round_up(need.target + LEFT * cache);
        let limit = get(Statistic::MemoryLimit).unwrap_or(u64::MAX);
        if to < limit {
            judged.advice.push(bounded_by(given, workload, (to, cache, direct(workload)), &need));
        }
    }
}

fn bounded_by(given: &Given<'_>, workload: &Workload, (to, cache, reclaimed): (u64, f64, u64), need: &Need) -> Advice {
    let name = &workload.name;
    let evidence = vec![
        Evidence::measured("page cache of the workload", cache, Unit::Bytes),
        Evidence::measured("memory that its tasks reclaimed for the host", reclaimed as f64, Unit::Bytes),
        Evidence::computed("what it needs by its daily peaks, and 15 % more", need.target, Unit::Bytes),
    ];
    let title = format!("Set memory.high of {name} to {}.", bytes(to));
    let why = format!(
        "It fills the host's memory with page cache ({} now) until others wait for memory or are killed; at memory.high it drops its own first.",
        bytes(cache as u64)
    );
    let because = "How much of its page cache it needs is not known: it may read more from disk.".to_owned();
    let actions = memory_high(given.view, name, Some(to));
    let object = Object::Workload(name.to_string());
    Advice { evidence, confidence: Confidence::Medium, because, ..draft(HIGH.name, object, actions, title, why) }
}

//! Limits that are too low, too high or missing, as advice. What is wrong with one is judged in `size.rs`.

use super::size::{Cause, Sizes, Verdict};
use crate::action::Object;
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::change::memory_max;
use crate::advise::draft::draft;
use crate::advise::need::{DAYS, Need, sized};
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, duration, percent};
use crate::statistic::workload::Statistic;
use crate::view::workload::Workload;

const NEEDS: &str = "A day of history of the workload (history.db), and its memory limit.";

pub(super) const RAISE: Rule = Rule {
    name: "memory_limit_raise",
    when: "Processes were killed at the limit in the last 8 days (then by a fifth and 100 MiB at least); or what the kernel cannot drop, by the peaks of these days and 15 % more, passes it by a tenth; or models that it maps are read again and again at the limit; or tasks waited for memory 1 % of the time at the limit while the host was not short. Not while its memory leaks, nor to as much as the host has.",
    needs: NEEDS,
    judge: raise,
};

pub(super) const LOWER: Rule = Rule {
    name: "memory_limit_lower",
    when: "The limit is above what the workload needs by the peaks of the last 8 days, 15 % more and what little data leaves open (the more, the fewer days are known), by a fifth and 256 MiB at least. Models that it maps, caches of its server that may still grow, and what is reserved for it count as needed, and so does the most anonymous memory of all days that are known.",
    needs: NEEDS,
    judge: lower,
};

pub(super) const MISSING: Rule = Rule {
    name: "memory_limit_missing",
    when: "A workload without a limit, nor one above it, held a fifth of the host's memory or more, page cache not counted. Surer if the host was short of memory in the last 8 days, waited or killed, and the workload grew by 5 % of the host's memory or more on such a day.",
    needs: NEEDS,
    judge: missing,
};

/// What made the host short of memory grew by this share of it within a day.
const GREW: f64 = 0.05;
/// So many days make it sure.
const SURE_DAYS: f64 = 7.0;
const SOME_DAYS: f64 = 3.0;

fn raise(given: &Given<'_>, judged: &mut Judged) {
    let sizes = Sizes::of(given);
    for workload in sized(given.view) {
        match sizes.judge(workload) {
            Verdict::Raise { limit, to, cause } => judged.advice.push(raised(&sizes, workload, limit, to, cause)),
            Verdict::Lacking(missing) if workload.memory_limit().flatten().is_some() => {
                judged.lacks(RAISE.name, object(workload), missing);
            }
            _ => {}
        }
    }
}

fn object(workload: &Workload) -> Object {
    Object::Workload(workload.name.to_string())
}

fn raised(sizes: &Sizes<'_>, workload: &Workload, limit: f64, to: u64, cause: Cause) -> Advice {
    let name = &workload.name;
    let more = to as f64 - limit;
    let room = sizes.host.is_none_or(|host| host.available >= more);
    let mut evidence = vec![Evidence::configured("memory limit", limit, Unit::Bytes)];
    let (why, saves, sure, because);
    match cause {
        Cause::Killed(kills) => {
            why = format!("The OOM killer killed {} of it at this limit in the last {DAYS} days.", processes(kills));
            evidence.push(Evidence::measured("kills at this limit", f64::from(kills), Unit::Count));
            saves = Saves {
                kills: Some(f64::from(kills)),
                ..over(DAYS * 86_400, "a fifth more would have been enough for all of them")
            };
            sure = if kills > 1 { Confidence::High } else { Confidence::Medium };
            because = match kills {
                1 => "One kill may have been a single burst.".to_owned(),
                _ => "A kill is counted by the kernel. How much was missing is not known: a fifth more is the usual step.".to_owned(),
            };
        }
        Cause::Near(need) => {
            evidence.extend(of(&need));
            why = format!(
                "It needs up to {} that the kernel cannot drop, {} of its limit.",
                shown(need.peak),
                percent(need.peak / limit)
            );
            saves = over(need.seconds, "without room for a burst the next one ends in a kill");
            sure = if need.days() >= SOME_DAYS { Confidence::High } else { Confidence::Medium };
            because = known(&need);
        }
        Cause::Model { mapped, again } => {
            evidence.push(Evidence::measured("size of the model files that it maps", mapped, Unit::Bytes));
            evidence.push(Evidence::measured(
                "read again after it was dropped, since they are watched",
                again,
                Unit::Bytes,
            ));
            why = format!(
                "It maps models of {} and is at its limit: {} of them was dropped and read from disk again.",
                shown(mapped),
                shown(again)
            );
            saves = over(DAYS * 86_400, "the models stay in memory once they fit");
            sure = Confidence::High;
            because = "The kernel counts what it reads again; a server that has its layers on a GPU may need less of the file.".to_owned();
        }
        Cause::Starved { share, waited } => {
            evidence.push(Evidence::measured(
                "time in which tasks waited for memory at the limit",
                waited,
                Unit::Seconds,
            ));
            why = format!(
                "It was at its limit, and some task of it waited for memory for {} of the time, while the host was not short of memory.",
                percent(share)
            );
            saves = Saves {
                stall_seconds: Some(waited),
                ..over((waited / share) as u64, "all of these waits were for the limit")
            };
            sure = Confidence::Medium;
            because =
                "How much of its page cache it needs is not known: a fifth more is a step after which to look again."
                    .to_owned();
        }
    }
    let (confidence, because) = match room {
        true => (sure, because),
        false => (
            Confidence::Low,
            "The host does not have so much to give: move the workload, or make room first.".to_owned(),
        ),
    };
    if let Some(host) = sizes.host {
        evidence.push(Evidence::measured("memory of the host that is available", host.available, Unit::Bytes));
    }
    let title = format!("Raise the memory limit of {name} from {} to {}.", shown(limit), bytes(to));
    let actions = memory_max(sizes.given.view, name, Some(to));
    let saves = Some(saves).filter(|saves| saves.kills.is_some() || saves.stall_seconds.is_some());
    Advice { evidence, saves, confidence, because, ..draft(RAISE.name, object(workload), actions, title, why) }
}

fn lower(given: &Given<'_>, judged: &mut Judged) {
    let sizes = Sizes::of(given);
    for workload in sized(given.view) {
        if let Verdict::Lower { limit, to, need, full, beyond } = sizes.judge(workload) {
            judged.advice.push(lowered(&sizes, workload, (limit, to), &need, (full, beyond)));
        }
    }
}

fn lowered(
    sizes: &Sizes<'_>,
    workload: &Workload,
    (limit, to): (f64, u64),
    need: &Need,
    (full, beyond): (bool, bool),
) -> Advice {
    let name = &workload.name;
    let served = sizes.servers.get(name);
    let mut evidence = vec![Evidence::configured("memory limit", limit, Unit::Bytes)];
    evidence.extend(of(need));
    let besides =
        [(served.mapped, "model files that it maps"), (served.promised, "what its server's caches may still take")];
    let besides = besides.into_iter().filter(|(amount, _)| *amount > 0.0);
    evidence.extend(besides.clone().map(|(amount, what)| Evidence::computed(what, amount, Unit::Bytes)));
    let besides: String = besides.map(|(amount, what)| format!(", and {} of {what}", shown(amount))).collect();
    let (confidence, because) = match () {
        () if full => (
            Confidence::Low,
            "Page cache fills its limit at times, and how much of that it needs is not known.".to_owned(),
        ),
        () if beyond => (
            Confidence::Low,
            "On some day it held more than that: page cache, or memory that is shared or of the kernel, of which it is not known how much it needs.".to_owned(),
        ),
        () => (sureness(need), known(need)),
    };
    let gives = limit - to as f64;
    let why = format!("In {} it needed {} at most{besides}.", days(need), shown(need.peak));
    let title = format!("Lower the memory limit of {name} from {} to {}.", shown(limit), bytes(to));
    let saves = Saves {
        bytes: Some(gives),
        ..over(need.seconds, "what is promised to it and never used can be given to others")
    };
    let actions = memory_max(sizes.given.view, name, Some(to));
    Advice {
        evidence,
        saves: Some(saves),
        confidence,
        because,
        ..draft(LOWER.name, object(workload), actions, title, why)
    }
}

fn missing(given: &Given<'_>, judged: &mut Judged) {
    let sizes = Sizes::of(given);
    for workload in sized(given.view) {
        match sizes.judge(workload) {
            Verdict::Missing { to, need } => judged.advice.extend(bounded(&sizes, workload, to, &need)),
            Verdict::Lacking(missing) if workload.memory_limit() == Some(None) => {
                judged.lacks(MISSING.name, object(workload), missing);
            }
            _ => {}
        }
    }
}

fn bounded(sizes: &Sizes<'_>, workload: &Workload, to: u64, need: &Need) -> Option<Advice> {
    let host = sizes.host?;
    // What it holds now would be reclaimed or killed at once.
    if workload.statistics.get(Statistic::MemoryWithoutCache).unwrap_or(0) >= to {
        return None;
    }
    let name = &workload.name;
    let share = need.peak / host.total;
    let mut evidence = of(need);
    evidence.push(Evidence::measured("memory of the host", host.total, Unit::Bytes));
    let hurt = host.hurt();
    let harm = match host.kills {
        0 if hurt => {
            format!(", and tasks of the host waited {} for memory on days on which it was short", duration(host.waited))
        }
        0 => String::new(),
        kills => format!(", and the OOM killer killed {} while the host was short of memory", processes(kills)),
    };
    if host.kills > 0 {
        evidence.push(Evidence::measured(
            "kills while the host was short of memory",
            f64::from(host.kills),
            Unit::Count,
        ));
    }
    let grew = host.grew(sizes.given.past, name, GREW);
    let (confidence, because) = match hurt && need.days() >= SOME_DAYS {
        true if grew => (
            Confidence::Medium,
            format!("{} It grew when the host was short, and whether others grew more is not known.", known(need)),
        ),
        true => (
            Confidence::Low,
            "It is not known to have grown on the days on which the host was short, so something else may have."
                .to_owned(),
        ),
        false => (
            Confidence::Low,
            "The host was not short of memory, or too little is known: the limit is only for the case that it grows."
                .to_owned(),
        ),
    };
    let why =
        format!("It has no limit, and held up to {}, {} of the host's memory{harm}.", shown(need.peak), percent(share));
    let title = format!("Set a memory limit of {} for {name}.", bytes(to));
    let saves = Saves {
        kills: Some(f64::from(host.kills)),
        ..over(host.seconds, "the host was short because this workload grew, and others were killed for it")
    };
    let actions = memory_max(sizes.given.view, name, Some(to));
    let saves = Some(saves).filter(|_| host.kills > 0 && grew);
    Some(Advice { evidence, saves, confidence, because, ..draft(MISSING.name, object(workload), actions, title, why) })
}

/// `a process`, `3 processes`.
fn processes(count: u32) -> String {
    match count {
        1 => "a process".to_owned(),
        more => format!("{more} processes"),
    }
}

fn over(seconds: u64, assuming: &str) -> Saves {
    Saves { over_seconds: seconds, assuming: assuming.to_owned(), ..Saves::default() }
}

fn of(need: &Need) -> Vec<Evidence> {
    vec![
        Evidence::measured(format!("most that the kernel cannot drop, in {}", days(need)), need.peak, Unit::Bytes),
        Evidence::computed("that by its daily peaks, and 15 % more", need.target, Unit::Bytes),
    ]
}

fn days(need: &Need) -> String {
    match need.days() {
        days if days < 1.75 => format!("{:.0} hours", days * 24.0),
        days => format!("{days:.0} days"),
    }
}

fn sureness(need: &Need) -> Confidence {
    match need.days() {
        _ if need.with_cache => Confidence::Low,
        days if days >= SURE_DAYS => Confidence::High,
        days if days >= SOME_DAYS => Confidence::Medium,
        _ => Confidence::Low,
    }
}

fn known(need: &Need) -> String {
    match need.with_cache {
        true => "How much of what it held was page cache is not known.".to_owned(),
        false => {
            format!("It rests on {} of its history; what is shared or of the kernel is taken as it is now.", days(need))
        }
    }
}

fn shown(amount: f64) -> String {
    bytes(amount as u64)
}

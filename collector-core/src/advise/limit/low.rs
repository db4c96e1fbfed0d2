//! memory.low: protection for who is reclaimed from while others cause it. Only for who serves models or holds GPU memory: protecting
//! everybody protects nobody.

use super::size::Sizes;
use crate::action::Object;
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::change::memory_low;
use crate::advise::draft::draft;
use crate::advise::need::{Need, need, recent, round_up, sized};
use crate::advise::{Given, Judged, Rule};
use crate::amount::{bytes, duration, percent};
use crate::signal::reclaim::Kind;
use crate::statistic::workload::Statistic;
use crate::text::capital;
use crate::view::slow::Fact;
use crate::view::workload::{OTHER, Workload};

pub(super) const LOW: Rule = Rule {
    name: "memory_low",
    when: "A workload that serves a model or holds GPU memory reads 1 MB a second of its pages again that were dropped or swapped out, or waited for memory a thousandth of the time on two of the last 8 days, below its own limit and while the host reclaimed or was short; and it did not itself cause most of the reclaim.",
    needs: "cgroup v2. What the workload reads again (it is watched while it serves or holds GPU memory), or a day of its history.",
    judge,
};

/// Bytes a second that are read again, and that the host reclaims.
const AGAIN: f64 = 1e6;
const RECLAIMED: f64 = 1e6;
/// How far back what is read again is judged.
const REACH_NS: u64 = 180_000_000_000;
/// It is at its own limit from this share on: then nobody else presses it out.
const AT_LIMIT: f64 = 0.9;
/// It waits from this share of a day on.
const WAITS: f64 = 0.001;
/// All that is protected leaves the rest of the host so much at least.
const PROTECTED: f64 = 0.8;

/// What shows that it is reclaimed from.
#[derive(Clone, Copy, Debug, Default)]
struct Sign {
    /// Bytes that it reads again per second now.
    again: Option<f64>,
    /// Days on which it waited, and for how many seconds.
    days: u32,
    waited: f64,
    seconds: u64,
}

fn judge(given: &Given<'_>, judged: &mut Judged) {
    // v1 has none that acts alike.
    if given.view.workloads.memory_hierarchy() != 0 {
        return;
    }
    let sizes = Sizes::of(given);
    let Some(total) = sizes.host.map(|host| host.total) else { return };
    let protected: f64 = sized(given.view).filter_map(protected).sum();
    for workload in sized(given.view) {
        let served = sizes.servers.get(&workload.name);
        if !served.serves && workload.vram().is_none_or(|bytes| bytes == 0) {
            continue;
        }
        let Some(sign) = sign(given, workload) else { continue };
        if caused_by_itself(given, workload) {
            continue;
        }
        let need = need(given.past, workload).filter(Need::is_enough);
        let get = |statistic| workload.statistics.get(statistic).map(|bytes| bytes as f64);
        let Some(held) = need.map(|need| need.peak).or(get(Statistic::MemoryWorkingSet)) else { continue };
        let limit = get(Statistic::MemoryLimit).unwrap_or(f64::INFINITY);
        // Of a model file that is hardly in memory, as where its layers are on a GPU, no more is protected than there is.
        let mapped = served.mapped.min(served.cached.max(get(Statistic::MemoryCurrent).unwrap_or(0.0)));
        let to = (round_up((held + mapped).min(limit)) as f64).min(limit);
        // All of it is protected, or nobody knows how much.
        let Some(now) = low(workload).filter(|now| *now < 0.9 * to) else { continue };
        if protected - now + to > PROTECTED * total {
            let missing = format!(
                "room: with {} for it, {} of the host's memory would be protected",
                bytes(to as u64),
                percent((protected - now + to) / total)
            );
            let object = Object::Workload(workload.name.to_string());
            judged.lacks(LOW.name, object, missing);
            continue;
        }
        judged.advice.push(advice(given, workload, to as u64, now, (sign, need)));
    }
}

/// Absent where it is not read, and where it is `max`.
fn low(workload: &Workload) -> Option<f64> {
    workload.statistics.get(Statistic::MemoryLow).map(|bytes| bytes as f64)
}

/// How much of it is protected: where its memory is read and its memory.low is absent, all that it holds.
fn protected(workload: &Workload) -> Option<f64> {
    low(workload).or_else(|| workload.statistics.get(Statistic::MemoryCurrent).map(|bytes| bytes as f64))
}

/// `None` if nothing shows it.
fn sign(given: &Given<'_>, workload: &Workload) -> Option<Sign> {
    let mut sign = Sign { again: again(given, workload), ..Sign::default() };
    let span = given.past.workloads.get(&workload.name);
    for (day, _) in span.into_iter().flat_map(|span| recent(given.past, &span.days)) {
        let host = given.past.host.days.iter().find(|host| host.time == day.time);
        let short = host.is_some_and(|host| {
            let used = host.memory.zip(host.limit).map(|([.., most], total)| most / total.max(1.0));
            used.is_some_and(|used| used >= AT_LIMIT)
        });
        let below = day.limit.is_none_or(|limit| day.memory.is_none_or(|[.., most]| most < AT_LIMIT * limit));
        let waited = day.memory_waiting.or(day.stalls).unwrap_or(0.0);
        sign.seconds += u64::from(day.seconds);
        if short && below && waited >= WAITS * f64::from(day.seconds) && waited > 0.0 {
            (sign.days, sign.waited) = (sign.days + 1, sign.waited + waited);
        }
    }
    (sign.again.is_some() || sign.days >= 2).then_some(sign)
}

/// What it reads again per second, while the host reclaims and it is below its own limits.
fn again(given: &Given<'_>, workload: &Workload) -> Option<f64> {
    let (until, slow) = (given.view.time, &given.view.slow);
    let since = until.saturating_sub(REACH_NS);
    let trail = slow.workload(&workload.name)?;
    let now = |fact| trail.means(fact, since, until).map(|means| means.now);
    let host = slow.host()?.means(Fact::HostReclaimed, since, until)?.now;
    let again = [Fact::RefaultFile, Fact::RefaultAnon].into_iter().filter_map(now).sum::<f64>();
    let memory = now(Fact::Memory)?;
    let below =
        [Fact::MemoryLimit, Fact::MemoryHigh].into_iter().filter_map(now).all(|limit| memory < AT_LIMIT * limit);
    (again >= AGAIN && host >= RECLAIMED && below).then_some(again)
}

/// Whether its own tasks reclaimed most of what tasks reclaimed for the host, since the agent started.
fn caused_by_itself(given: &Given<'_>, workload: &Workload) -> bool {
    let direct = |workload: &Workload| workload.amounts.reclaim[Kind::Direct as usize].bytes;
    let all: u64 = given.view.workloads.iter().map(direct).fold(0, u64::saturating_add);
    all > 0 && direct(workload) > all / 2
}

/// Who else reclaimed most.
fn who(given: &Given<'_>, workload: &Workload) -> Option<(String, u64)> {
    let direct = |workload: &Workload| workload.amounts.reclaim[Kind::Direct as usize].bytes;
    let others = given.view.workloads.iter().filter(|other| other.name != workload.name && *other.name != *OTHER);
    let most = others.max_by_key(|other| direct(other)).filter(|other| direct(other) > 0)?;
    Some((most.name.to_string(), direct(most)))
}

fn advice(given: &Given<'_>, workload: &Workload, to: u64, now: f64, (sign, need): (Sign, Option<Need>)) -> Advice {
    let name = &workload.name;
    let mut evidence = vec![Evidence::configured("memory.low now", now, Unit::Bytes)];
    evidence.extend(need.map(|need| Evidence::measured("most that the kernel cannot drop", need.peak, Unit::Bytes)));
    let mut why = Vec::new();
    if let Some(again) = sign.again {
        evidence.push(Evidence::measured("pages read again per second", again, Unit::BytesPerSecond));
        why.push(format!(
            "it reads {} a second of its pages again that the host just took from it",
            bytes(again as u64)
        ));
    }
    if sign.days > 0 {
        evidence.push(Evidence::measured(
            "time in which it waited for memory while the host was short",
            sign.waited,
            Unit::Seconds,
        ));
        why.push(format!(
            "it waited {} for memory on {} days on which the host was short, below its own limit",
            duration(sign.waited),
            sign.days
        ));
    }
    let whose = who(given, workload).map(|(other, reclaimed)| {
        evidence.push(Evidence::measured(
            format!("memory that tasks of {other} reclaimed"),
            reclaimed as f64,
            Unit::Bytes,
        ));
        format!(" Most was reclaimed by {other}, {}.", bytes(reclaimed))
    });
    let confidence = match (sign.again.is_some(), sign.days) {
        (true, 2..) => Confidence::High,
        (true, _) | (_, 3..) => Confidence::Medium,
        _ => Confidence::Low,
    };
    let why = format!("{}.{}", capital(&why.join(", and ")), whose.unwrap_or_default());
    let because = "The kernel then takes from others first, as far as the cgroups above it are protected as well; if others have nothing to give, it still takes from this one.".to_owned();
    let saves = (sign.waited > 0.0).then(|| Saves {
        over_seconds: sign.seconds,
        stall_seconds: Some(sign.waited),
        assuming: "others have that much to give".to_owned(),
        ..Saves::default()
    });
    let title = format!("Protect {} of {name} from being reclaimed (memory.low).", bytes(to));
    let actions = memory_low(given.view, name, to);
    let object = Object::Workload(name.to_string());
    Advice { evidence, saves, confidence, because, ..draft(LOW.name, object, actions, title, why) }
}

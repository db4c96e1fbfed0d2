//! May this start here? A pure function over the view: what there is, less what others were promised, against what is needed. It
//! changes nothing; who waits and who gets what is the engine's.

pub mod ahead;
mod book;
mod gpu;
mod host;
mod rest;
mod way;

pub use book::Claimed;

use std::borrow::Cow;

use crate::lease::verdict::INSUFFICIENT;
use crate::lease::{Caller, Decision, Line, Priority, Verdict, Want, Way, words};
use crate::need::Need;
use crate::view::View;

/// Leases that end within this time are worth waiting for, in nanoseconds.
const SOON_NS: u64 = 600_000_000_000;
/// Holders that are named for each resource.
const HOLDERS: usize = 5;

/// What is to be judged.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub want: &'a Want,
    pub priority: Priority,
    /// The GPUs that it may have; any, if there are none here.
    pub gpus: &'a [String],
    pub caller: &'a Caller,
    /// What is started, by whose failures and starts it may have to wait.
    pub unit: Option<&'a str>,
    /// Nanoseconds after which it ends in any case, if that is known.
    pub lasts: Option<u64>,
    /// Whether somebody reads who holds what: finding that takes longer.
    pub told: bool,
}

/// A verdict, and what follows from it.
#[derive(Clone, Debug)]
pub struct Judged {
    pub verdict: Verdict,
    /// It could not fit even if nobody else were here, or nobody can say: waiting does not help.
    pub hopeless: bool,
    /// What is not known now may be known soon: a reading is late.
    pub late: bool,
    /// What it takes if it starts.
    pub taken: Claimed,
}

/// One resource that was looked at.
struct Found {
    line: Line,
    /// It can never fit.
    hopeless: bool,
    /// It is not known, and time does not change that.
    lasting: bool,
    /// What would make room.
    room: Vec<Way>,
    not_known: Option<String>,
    /// Why it does not fit, where numbers do not say it.
    why: Option<String>,
    /// Nanoseconds until it may fit.
    retry: Option<u64>,
    /// Milliseconds that work which paces itself should pause.
    delay: Option<u64>,
}

impl Found {
    fn new(resource: &str, of: Option<&str>, need: u64) -> Found {
        let line = Line { resource: resource.to_owned(), of: of.map(str::to_owned), need, ..Line::default() };
        Found {
            line,
            hopeless: false,
            lasting: false,
            room: Vec::new(),
            not_known: None,
            why: None,
            retry: None,
            delay: None,
        }
    }

    fn unknown(self, why: impl Into<String>) -> Found {
        Found { line: Line { verdict: Decision::Unknown, ..self.line }, not_known: Some(why.into()), ..self }
    }

    /// The same of what this host does not say.
    fn never_known(self, why: impl Into<String>) -> Found {
        Found { lasting: true, ..self.unknown(why) }
    }

    /// With so much available of at most so much; what is promised until some time may come back by then.
    fn compared(mut self, available: u64, most: u64, promised: impl Iterator<Item = (u64, Option<u64>)>) -> Found {
        let need = self.line.need;
        (self.line.available, self.line.short) = (Some(available), need.saturating_sub(available));
        self.hopeless = need > most;
        self.line.verdict = Decision::Yes;
        if self.line.short > 0 {
            self.retry = if self.hopeless { None } else { ends(self.line.short, promised) };
            self.line.verdict = if self.retry.is_some() { Decision::Wait } else { Decision::No };
        }
        self
    }
}

/// What must stay free of so much, where a verdict keeps to the limits of the level: the share, 0 to 1, that may be used.
fn kept(view: &View, all: u64, share: f64) -> u64 {
    if view.leases.limits.within { (all as f64 * (1.0 - share).clamp(0.0, 1.0)).round() as u64 } else { 0 }
}

/// When leases that end soon have given back this much: nanoseconds from now.
fn ends(short: u64, promised: impl Iterator<Item = (u64, Option<u64>)>) -> Option<u64> {
    let soon = |(amount, left): (u64, Option<u64>)| Some((left.filter(|left| *left <= SOON_NS)?, amount));
    let mut soon: Vec<(u64, u64)> = promised.filter_map(soon).collect();
    soon.sort_unstable();
    let mut sum = 0_u64;
    soon.into_iter().find_map(|(left, amount)| {
        sum = sum.saturating_add(amount);
        (sum >= short).then_some(left)
    })
}

/// The reservation made ahead that a case takes up if it starts.
pub fn taken_up(view: &View, case: &Case<'_>) -> Option<u64> {
    view.leases.taken_up_by(case.caller.uid, case.unit, case.lasts)
}

/// What of it is in the way.
pub fn concerning<'a>(view: &View, case: &Case<'_>, claimed: &'a [Claimed]) -> Cow<'a, [Claimed]> {
    let own = taken_up(view, case);
    match claimed.iter().all(|one| one.concerns(case, own)) {
        true => Cow::Borrowed(claimed),
        false => claimed.iter().filter(|one| one.concerns(case, own)).cloned().collect(),
    }
}

/// Judges what is wanted beside all that is claimed.
pub fn judge(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Judged {
    let claimed = &*concerning(view, case, claimed);
    let mut found = host::memory(view, case, claimed);
    let (gpus, chosen) = gpu::memory(view, case, claimed);
    found.extend(gpus);
    found.extend(rest::others(view, case, claimed));
    let mut verdict = Verdict { verdict: Decision::Yes, gpus: chosen, ..Verdict::default() };
    let (mut hopeless, mut lasting, mut why) = (false, false, None);
    for found in found {
        if found.line.verdict != verdict.verdict && found.line.verdict.and(verdict.verdict) == found.line.verdict {
            why = found.why;
        }
        verdict.verdict = verdict.verdict.and(found.line.verdict);
        hopeless |= found.hopeless || found.line.verdict == Decision::Unknown;
        lasting |= found.hopeless || found.lasting;
        verdict.room.extend(found.room);
        verdict.not_known.extend(found.not_known);
        let retry = found.retry.map(|ns| ns.div_ceil(1_000_000_000));
        verdict.retry_after_seconds = verdict.retry_after_seconds.max(retry);
        verdict.delay_milliseconds = verdict.delay_milliseconds.max(found.delay);
        verdict.resources.push(found.line);
    }
    if verdict.verdict != Decision::Wait {
        (verdict.retry_after_seconds, verdict.delay_milliseconds) = (None, None);
    }
    let short = verdict.resources.iter().any(|line| line.short > 0 && !line.verdict.fits());
    verdict.error = short.then(|| INSUFFICIENT.to_owned());
    verdict.reason = why.unwrap_or_else(|| reason(&verdict));
    let taken = Claimed::new(case, &verdict.gpus);
    let late = verdict.verdict == Decision::Unknown && !lasting;
    Judged { verdict, hopeless, late, taken }
}

/// How much host memory that cannot be reclaimed is short below each limit that holds, by its cgroup; of the whole host by none.
pub fn host_short(view: &View, case: &Case<'_>, claimed: &[Claimed]) -> Vec<(Option<String>, u64)> {
    host::short(view, case, &concerning(view, case, claimed))
}

/// The same of a need, as it was asked about.
pub fn judge_need(view: &View, need: &Need, case: &Case<'_>, claimed: &[Claimed]) -> Judged {
    let mut judged = judge(view, case, claimed);
    let missing = need.missing();
    if let Some(why) = need.refused.first() {
        (judged.verdict.verdict, judged.hopeless, judged.late) = (Decision::No, true, false);
        judged.verdict.reason = why.sentence.clone();
    } else if let Some(why) = missing.first().filter(|_| judged.verdict.verdict != Decision::No) {
        (judged.verdict.verdict, judged.hopeless, judged.late) = (Decision::Unknown, true, false);
        judged.verdict.reason = format!("not known: {why}");
    }
    judged.verdict.not_known.extend(missing);
    if need.upper_bound && !judged.verdict.verdict.fits() {
        judged.verdict.not_known.push("what it really needs: the need is an upper bound".to_owned());
    }
    judged
}

/// The worst line in words.
fn reason(verdict: &Verdict) -> String {
    let worst = verdict.resources.iter().find(|line| line.verdict == verdict.verdict);
    let Some(line) = worst else { return "nothing is needed that is limited here".to_owned() };
    let what = name(line);
    let by = line.limited_by.as_deref().map(|by| format!(" below {by}")).unwrap_or_default();
    match line.verdict {
        Decision::Yes => "all that is needed is free".to_owned(),
        Decision::Unknown => match verdict.not_known.first() {
            Some(why) => format!("not known: {why}"),
            None => format!("what there is of {what} is not known"),
        },
        Decision::Tight => format!(
            "it fits, but {} of the files that it maps would not stay in memory{by}: they would be read again and again",
            amount_of(line, line.short)
        ),
        Decision::Wait | Decision::No => {
            let available = line.available.map(|available| amount_of(line, available)).unwrap_or_default();
            let (need, short) = (amount_of(line, line.need), amount_of(line, line.short));
            let first =
                line.holders.first().map(|held| format!("; {} holds {}", held.workload, amount_of(line, held.amount)));
            format!("{what}: {need} needed, {available} available{by}, {short} short{}", first.unwrap_or_default())
        }
    }
}

/// A resource as it is called in a sentence.
pub fn name(line: &Line) -> String {
    words::name(&line.resource, line.of.as_deref())
}

/// An amount in the unit of its resource.
pub fn amount_of(line: &Line, amount: u64) -> String {
    words::amount(&line.resource, amount)
}

#[cfg(test)]
mod tests;

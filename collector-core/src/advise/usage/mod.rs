//! Models by the hours of the week in which they are used: load one before it is used, keep one that is used all day, unload one that
//! nobody uses. Knows what the history counted of them, and what is loaded now.

mod reserve;

use std::sync::Arc;

use super::{Given, Judged, Rule};
use crate::action::{self, Action, Command, Kind, Object, Risk, Setting, Tool, by_hand, load_model, unload_model};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::amount;
use crate::past::model::Use;
use crate::past::{HOURS, Hour, hour_of_week};
use crate::program::{Flags, Program};
use crate::statistic::model as server;
use crate::statistic::model::Statistic::{GeneratedTokens, PromptTokens, Requests};
use crate::target;
use crate::view::View;
use crate::view::model::Told;
use crate::zone::DAY_NAMES;

const WARM: &str = "model_warm_up";
const KEEP: &str = "model_keep";
const UNLOAD: &str = "model_unload";

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: WARM,
        when: "A model that is not loaded is used from the same hour on, on most days of the week on which it is used at all. Not one that only servers of users have.",
        needs: "A week of history in which a model server counted requests or tokens of it.",
        judge: warm,
    },
    Rule {
        name: KEEP,
        when: "A model of Ollama is used for hours, with breaks after which Ollama has unloaded it. Not one that only servers of users have.",
        needs: "A week of history in which Ollama counted requests or tokens of it.",
        judge: keep,
    },
    Rule {
        name: UNLOAD,
        when: "A model is loaded, was not used for a day, and was seldom used in the hours of the week that come next. Not one that only servers of users have.",
        needs: "A week of history in which its server counted requests or tokens of it.",
        judge: unload,
    },
];

const HOUR_NS: u64 = 3_600_000_000_000;
const WEEK_SECONDS: u64 = 7 * 24 * 3600;
/// Of a week this share is known, or it is none.
const KNOWN: f64 = 0.8;
/// An hour of the week in which it is used so often is one of its hours; one in which it is used so seldom is none.
const USED: f64 = 0.6;
const UNUSED: f64 = 0.2;
/// Hours without use before the first.
const QUIET: usize = 2;
/// It begins at the same hour on so many days of the week, or in so many weeks on one.
const DAYS: usize = 3;
const WEEKS: u16 = 3;
/// A model that is used for so many hours in a row is kept.
const ROW: usize = 4;
/// Quarters of an hour of four that are used in such an hour: with fewer there are breaks of a quarter of an hour.
const BREAKS: f64 = 3.5;
/// A model that was not used for so long, and is not expected to be, is unloaded.
const IDLE_NS: u64 = 24 * HOUR_NS;

/// The share of the known weeks in which it was used in an hour of the week; `None` of hours of which too little is known.
fn share(used: &Use, week: &[Hour], hour: usize) -> Option<f64> {
    let known = week.get(hour)?.weeks;
    let weeks = used.week.get(hour)?.weeks;
    (known > 0).then(|| (f64::from(weeks) / f64::from(known)).min(1.0))
}

/// How many whole weeks are known.
fn weeks(given: &Given<'_>) -> f64 {
    given.past.host.seconds() as f64 / WEEK_SECONDS as f64
}

/// Models of the history, if there is a week of it.
fn known<'a>(given: &'a Given<'_>, rule: &str, judged: &mut Judged) -> &'a std::collections::BTreeMap<Arc<str>, Use> {
    static NONE: std::collections::BTreeMap<Arc<str>, Use> = std::collections::BTreeMap::new();
    let weeks = weeks(given);
    if weeks >= KNOWN {
        return &given.past.models;
    }
    if !given.view.models.servers.is_empty() {
        let missing = format!("a week of history: there are {:.1} days", weeks * 7.0);
        judged.lacks(rule, Object::Host, missing);
    }
    &NONE
}

/// The history has models by their names, which users choose for their own servers.
enum Whose<'a> {
    /// A server that is no user's, or of which that is not known, has it loaded now: advice is no surer than this.
    Loaded(&'a Arc<Told>, Confidence),
    /// Only servers of users have it.
    Users,
    /// No server has it now: whose it was is not known.
    Nobodys,
}

impl Whose<'_> {
    fn sure(&self) -> Confidence {
        if let Whose::Loaded(_, sure) = self { *sure } else { Confidence::Low }
    }

    /// What is added to why it is not surer.
    fn doubt(&self) -> &'static str {
        match self.sure() {
            Confidence::Low => " Whose servers it was used on is not known.",
            _ => "",
        }
    }
}

fn whose<'a>(view: &'a View, model: &str) -> Whose<'a> {
    let mut found = Whose::Nobodys;
    for told in view.models.servers.values().filter(|told| told.is_up() && told.models.contains_key(model)) {
        found = match (told.is_of_host(&view.workloads), found) {
            (Some(false), Whose::Nobodys) => Whose::Users,
            (Some(true), Whose::Nobodys | Whose::Users | Whose::Loaded(_, Confidence::Low)) => {
                Whose::Loaded(told, Confidence::High)
            }
            (None, Whose::Nobodys | Whose::Users) => Whose::Loaded(told, Confidence::Low),
            (_, found) => found,
        };
    }
    found
}

/// The one that runs, if it is no user's.
fn ollama(view: &View) -> Option<&Arc<Told>> {
    let is_ollama = |told: &Told| told.server.kind == Some(server::Kind::Ollama) && told.is_up();
    view.models.servers.values().find(|told| is_ollama(told) && told.is_of_host(&view.workloads) != Some(false))
}

/// Whether it is a model of Ollama: Ollama has it, or nobody but users, and it is called as one: `llama3:8b`, `hf.co/owner/name:tag`.
fn is_of_ollama(view: &View, model: &str) -> bool {
    let has = |told: &&Arc<Told>| told.models.contains_key(model) && told.is_of_host(&view.workloads) != Some(false);
    let mut have = view.models.servers.values().filter(has).peekable();
    if have.peek().is_some() {
        return have.any(|told| told.server.kind == Some(server::Kind::Ollama));
    }
    model.rsplit('/').next().is_some_and(|name| name.contains(':'))
        && (!model.contains('/') || model.starts_with("hf.co/"))
}

fn confidence(weeks: f64, share: f64) -> Confidence {
    match () {
        () if weeks >= 3.0 && share >= 0.8 => Confidence::High,
        () if weeks >= 1.8 => Confidence::Medium,
        () => Confidence::Low,
    }
}

/// A name that a shell and JSON take as it is.
fn is_plain(model: &str) -> bool {
    model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}

/// The first hours of a model's days: by hour of the day, the days of the week on which it begins then.
fn begins(used: &Use, week: &[Hour]) -> Option<(usize, Vec<usize>)> {
    let is_first = |hour: usize| {
        let busy = share(used, week, hour).is_some_and(|share| share >= USED);
        let before = (1..=QUIET).map(|back| (hour + HOURS - back) % HOURS);
        busy && before.into_iter().all(|hour| share(used, week, hour).is_some_and(|share| share <= UNUSED))
    };
    let days = |hour: usize| (0..7).filter(|day| is_first(day * 24 + hour)).collect::<Vec<_>>();
    let enough = |(hour, days): &(usize, Vec<usize>)| {
        let often = days.iter().any(|day| used.week[day * 24 + hour].weeks >= WEEKS);
        days.len() >= DAYS || often
    };
    (0..24)
        .map(|hour| (hour, days(hour)))
        .filter(enough)
        .max_by_key(|(hour, days)| (days.len(), std::cmp::Reverse(*hour)))
}

fn warm(given: &Given<'_>, judged: &mut Judged) {
    let week = &given.past.host.week;
    for (model, used) in known(given, WARM, judged) {
        let Some((hour, days)) = begins(used, week) else { continue };
        let ollama = ollama(given.view).filter(|_| is_of_ollama(given.view, model));
        let whose = whose(given.view, model);
        match &whose {
            Whose::Users => continue,
            // What is loaded all the time needs no warming.
            Whose::Loaded(told, _) if told.server.kind != Some(server::Kind::Ollama) => continue,
            _ => {}
        }
        let slots: Vec<usize> = days.iter().map(|day| day * 24 + hour).collect();
        let count = |slots: &mut dyn Iterator<Item = usize>| {
            slots.fold((0_u32, 0_u32), |(used_in, of), slot| {
                (used_in + u32::from(used.week[slot].weeks), of + u32::from(week[slot].weeks))
            })
        };
        let (used_in, of) = count(&mut slots.iter().copied());
        let (before, _) = count(&mut slots.iter().map(|slot| (slot + HOURS - 1) % HOURS));
        // Before midnight it is the day before.
        let on = |day: &usize| DAY_NAMES[(day + if hour == 0 { 6 } else { 0 }) % 7];
        let names = days.iter().map(on).collect::<Vec<_>>().join(", ");
        let at = format!("{:02}:45", (hour + 23) % 24);
        let object = Object::Host;
        let share = f64::from(used_in) / f64::from(of.max(1));
        let weeks = weeks(given);
        let load = ollama.and_then(|told| load_model(&told.server.url, model, "2h"));
        let mut commands: Vec<Command> =
            load.map(|command| Command { tool: Tool::Ollama, ..command }).into_iter().collect();
        if is_plain(model) {
            let text = format!("headroom reserve --at {at}Z --for 2h --unit {model} --memory SIZE --vram SIZE");
            commands.push(Command { tool: Tool::Headroom, text, file: None, note: None });
            commands.push(reserve::table(given.view, model, &slots));
        }
        judged.advice.push(Advice {
            id: format!("{WARM}:{model}"),
            rule: WARM.to_owned(),
            title: format!("Load {model} by {at} UTC on {names}, before it is used from {hour:02}:00 on."),
            why: format!(
                "It was used from {hour:02}:00 UTC on in {used_in} of {of} such hours, and in {before} of as many hours before: whoever asks first waits \
                 until it is loaded."
            ),
            evidence: vec![
                Evidence::measured("share of these hours in which it was used", share, Unit::Ratio),
                Evidence::measured("requests in these hours", slots.iter().map(|slot| used.week[*slot].requests).sum(), Unit::Count),
                Evidence::measured("tokens in these hours", slots.iter().map(|slot| used.week[*slot].tokens).sum(), Unit::Count),
            ],
            saves: None,
            confidence: confidence(weeks, share).min(whose.sure()),
            because: format!(
                "{weeks:.1} weeks are known; how long loading takes was not measured.{}",
                whose.doubt()
            ),
            risk: Risk::Low,
            actions: vec![Action {
                kind: Kind::ByHand,
                object: object.clone(),
                key: None,
                before: None,
                after: Some(format!("{model} loaded from {at} UTC on, on {names}")),
                risk: Risk::Low,
                undo: "Remove the timer that loads it.".to_owned(),
                commands,
            }],
            object,
        });
    }
}

fn keep(given: &Given<'_>, judged: &mut Judged) {
    let Some(told) = ollama(given.view) else { return };
    let week = &given.past.host.week;
    for (model, used) in known(given, KEEP, judged) {
        let whose = whose(given.view, model);
        if matches!(whose, Whose::Users) || !is_of_ollama(given.view, model) {
            continue;
        }
        let is_busy = |hour: usize| share(used, week, hour % HOURS).is_some_and(|share| share >= USED);
        // Hours of the week that stand in a row of busy ones.
        let in_row: Vec<usize> = (0..HOURS)
            .filter(|hour| (0..ROW).any(|back| (0..ROW).all(|step| is_busy(hour + HOURS - back + step))))
            .collect();
        let sum = |of: &dyn Fn(&crate::past::model::UseHour) -> u16| {
            in_row.iter().map(|hour| f64::from(of(&used.week[*hour]))).sum::<f64>()
        };
        let (hours, quarters) = (sum(&|hour| hour.weeks), sum(&|hour| hour.quarters));
        if in_row.len() < ROW * 2 || hours == 0.0 || quarters / hours > BREAKS {
            continue;
        }
        let weeks = weeks(given);
        let workload = told.workload(&given.view.workloads);
        let object = workload.map_or(Object::Host, |workload| Object::Workload(workload.name.to_string()));
        let breaks = 4.0 * hours - quarters;
        let settings = [Setting::new("OLLAMA_KEEP_ALIVE", "1h")];
        let action = match workload.and_then(|workload| target::of(given.view, &workload.name)) {
            Some(target) => target.configure(Program::Ollama, &settings, &Flags::new()),
            None => action::configure(object.clone(), None, Program::Ollama, &settings, &Flags::new()),
        };
        judged.advice.push(Advice {
            id: format!("{KEEP}:{model}"),
            rule: KEEP.to_owned(),
            title: format!("Keep {model} loaded for an hour after its last request: {} hours of the week are busy.", in_row.len()),
            why: format!(
                "In these hours it was used in {quarters:.0} of {:.0} quarters of an hour: in {breaks:.0} it was not used at all, after which Ollama has \
                 unloaded it, unless it was told to keep it for more than its usual five minutes.",
                4.0 * hours
            ),
            evidence: vec![
                Evidence::computed("hours of the week in which it is used for hours", in_row.len() as f64, Unit::Count),
                Evidence::measured("quarters of an hour of these without use", breaks, Unit::Count),
            ],
            saves: None,
            // What OLLAMA_KEEP_ALIVE is nobody told.
            confidence: confidence(weeks, 0.0).min(Confidence::Medium).min(whose.sure()),
            because: format!(
                "How long Ollama keeps it now is not known: five minutes unless somebody set it.{}",
                whose.doubt()
            ),
            // Ollama is started again for it.
            risk: action.as_ref().map_or(Risk::High, |action| action.risk),
            actions: action.into_iter().collect(),
            object,
        });
    }
}

fn unload(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let week = &given.past.host.week;
    for (model, used) in known(given, UNLOAD, judged) {
        let whose = whose(view, model);
        let Whose::Loaded(told, _) = whose else { continue };
        let Some(served) = told.models.get(model) else { continue };
        let counts = [Requests, PromptTokens, GeneratedTokens].into_iter().any(|it| served.values.get(it).is_some());
        let idle = view.time.saturating_sub(used.last);
        let now = hour_of_week(view.time);
        let next: Vec<f64> = (0..24).filter_map(|ahead| share(used, week, (now + ahead) % HOURS)).collect();
        let most = next.iter().copied().fold(0.0, f64::max);
        if !counts || idle < IDLE_NS || next.len() < 20 || most > UNUSED {
            continue;
        }
        // Of a server with several models nobody knows which holds what.
        let alone = told.models.len() == 1;
        let workload = told.workload(&view.workloads);
        let of = |name: &str| {
            let held = view.gpus.iter().filter_map(|gpu| gpu.holders(&view.workloads).get(name)?.1);
            held.fold(0_u64, u64::saturating_add)
        };
        let vram = workload.filter(|_| alone).map(|workload| of(&workload.name));
        let bytes = vram.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64);
        let object = workload.map_or(Object::Host, |workload| Object::Workload(workload.name.to_string()));
        let weeks = weeks(given);
        let days = idle as f64 / (24 * HOUR_NS) as f64;
        let holds =
            bytes.map(|bytes| format!(" It holds {} of GPU memory.", amount::bytes(bytes as u64))).unwrap_or_default();
        let action = told.server.kind.and_then(|kind| unload_model(object.clone(), kind, &told.server.url, model));
        let action = action.unwrap_or_else(|| Action {
            key: Some(model.to_string()),
            undo: "Start its server again.".to_owned(),
            ..by_hand(object.clone(), "stop its server until it is needed".to_owned(), Risk::High)
        });
        judged.advice.push(Advice {
            id: format!("{UNLOAD}:{model}"),
            rule: UNLOAD.to_owned(),
            title: format!("Unload {model}: it was not used for {days:.1} days."),
            why: format!(
                "In none of the next 24 hours of the week it was used in more than {} of the weeks that are known.{holds}",
                amount::percent(UNUSED)
            ),
            evidence: vec![
                Evidence::measured("time since it was last used", idle as f64 / 1e9, Unit::Seconds),
                Evidence::measured("highest share of weeks in which it was used in one of the next 24 hours", most, Unit::Ratio),
            ],
            saves: bytes.map(|bytes| Saves {
                over_seconds: (days * 86_400.0) as u64,
                bytes: Some(bytes),
                assuming: "all GPU memory of the workload belongs to this model".to_owned(),
                ..Saves::default()
            }),
            confidence: confidence(weeks, 1.0 - most).min(whose.sure()),
            because: format!("{weeks:.1} weeks are known.{}", whose.doubt()),
            risk: action.risk,
            actions: vec![action],
            object,
        });
    }
}

#[cfg(test)]
mod tests;

//! Rules for alerts that never or always fire.

use super::draft::draft;
use super::{Given, Judged, Rule};
use crate::action::{self, Object, Risk, Tool};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::amount::{fixed, percent, seconds};
use crate::past::{AlertDay, DAY_NS, Past};
use crate::rule::parse::PACK;
use crate::view::firing::{Comparison, RuleState};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: ALWAYS,
        when: "In the last seven days a rule fired for half of the time or more: whoever sees it no longer looks.",
        needs: "a week of alerts",
        judge: always,
    },
    Rule {
        name: FLAPS,
        when: "In the last seven days a rule fired ten times a day or more, on five days or more.",
        needs: "a week of alerts",
        judge: flaps,
    },
    Rule {
        name: NEVER,
        when: "A rule that the operator wrote on headroom_host_memory_used_ratio did not fire in four weeks, and the ratio never exceeded three quarters of its threshold.",
        needs: "four weeks of alerts and of the host's memory use",
        judge: never,
    },
];

const ALWAYS: &str = "alert_always";
const FLAPS: &str = "alert_flaps";
const NEVER: &str = "alert_never";

const WEEK: u64 = 7;
const MONTH: u64 = 28;
/// A rule always fires from this share of the week on.
const HALF: f64 = 0.5;
/// It flaps if it fires so often in a week, on so many days.
const OFTEN: u32 = 70;
const ON_DAYS: usize = 5;
/// A threshold beyond which nothing helps but less use.
const FULL: f64 = 0.95;
/// It comes to this share of the threshold at most.
const NEAR: f64 = 0.75;
/// Of an hour's peaks so many are below the threshold that is advised.
const QUANTILE: f64 = 0.95;

/// What a rule did in the last week.
struct Week {
    fired: u32,
    seconds: u64,
    days: usize,
}

fn week(given: &Given<'_>, days: &[AlertDay]) -> Week {
    let since = given.view.time.saturating_sub(WEEK * DAY_NS);
    let last = days.iter().filter(|day| day.time + DAY_NS > since);
    last.fold(Week { fired: 0, seconds: 0, days: 0 }, |week, day| Week {
        fired: week.fired + day.fired,
        seconds: week.seconds + u64::from(day.seconds),
        days: week.days + usize::from(day.fired > 0),
    })
}

/// For how many days alerts are known.
fn known(given: &Given<'_>) -> Option<u64> {
    Some(given.view.time.saturating_sub(given.past.events_from?) / DAY_NS)
}

/// Rules that fired, if a week is known; else what is missing.
fn fired<'a>(given: &Given<'a>, rule: &str, judged: &mut Judged) -> Vec<(&'a RuleState, Week)> {
    let mut found = Vec::new();
    for state in &given.view.firing.0 {
        let Some(days) = given.past.alerts.get(&state.name) else { continue };
        let week = week(given, days);
        let object = Object::Alert(state.name.to_string());
        match known(given) {
            Some(days) if days >= WEEK => found.push((state, week)),
            days if week.fired > 0 => {
                let missing = format!("a week of alerts: there are {} days", days.unwrap_or(0));
                judged.lacks(rule, object, missing);
            }
            _ => {}
        }
    }
    found
}

fn always(given: &Given<'_>, judged: &mut Judged) {
    for (state, week) in fired(given, ALWAYS, judged) {
        let share = week.seconds as f64 / (WEEK * 86_400) as f64;
        if share < HALF {
            continue;
        }
        let object = Object::Alert(state.name.to_string());
        let better = state.comparison.as_deref().and_then(|it| Some((it, threshold(given.past, it)?)));
        let (title, actions) = match better {
            Some((it, to)) => {
                let (old, new) = (fixed(it.threshold, 2), fixed(to, 2));
                let title = format!("Raise the threshold of {} from {old} to {new}: it always fires.", state.name);
                (title, vec![setting(&state.name, "above", &new, old, &new)])
            }
            None => {
                let title = format!("Remove what makes {} fire, or narrow the rule: it always fires.", state.name);
                let what = "what makes it fire, or, if that is harmless, the rule: so that it leaves out what is known";
                (title, vec![action::by_hand(object.clone(), what.to_owned(), Risk::Medium)])
            }
        };
        let why = format!("It fired for {} of the last week.", percent(share.min(1.0)));
        let mut evidence = vec![Evidence::measured("share of the week in which it fired", share, Unit::Ratio)];
        evidence.extend(
            better.map(|(_, to)| Evidence::computed("what its number exceeds in one hour of twenty", to, Unit::Ratio)),
        );
        let because = match better {
            Some(_) => {
                "Where the number usually is, is measured; whether that is healthy is for you to say.".to_owned()
            }
            None => {
                "Whether what it reports is harmless is for you to decide: headroom alerts says what to do about it."
                    .to_owned()
            }
        };
        let advice = draft(ALWAYS, object, actions, title, why);
        judged.advice.push(Advice { evidence, confidence: Confidence::Low, because, ..advice });
    }
}

fn flaps(given: &Given<'_>, judged: &mut Judged) {
    for (state, week) in fired(given, FLAPS, &mut Judged::default()) {
        if week.fired < OFTEN || week.days < ON_DAYS || week.seconds as f64 >= HALF * (WEEK * 86_400) as f64 {
            continue;
        }
        let object = Object::Alert(state.name.to_string());
        let mean = week.seconds as f64 / f64::from(week.fired);
        // An alert that lasts shorter than the time that it must hold does not begin.
        let lasting = state.comparison.as_deref().map(|it| {
            let before = it.lasting as f64 / 1e9;
            (before, ((before + mean) / 60.0).ceil() * 60.0)
        });
        let (title, actions) = match lasting {
            Some((before, to)) => {
                let (old, new) = (format!("{before}s"), format!("{to}s"));
                let title = format!("Let {} fire only after {}: it comes and goes.", state.name, seconds(to));
                (title, vec![setting(&state.name, "for", &format!("\"{new}\""), old, &new)])
            }
            None => {
                let by_hand = action::by_hand(object.clone(), "what makes it come and go".to_owned(), Risk::Low);
                (format!("Find what makes {} fire so often.", state.name), vec![by_hand])
            }
        };
        let why = format!(
            "It fired {} times in the last week, on {} days, for {} each on average.",
            week.fired,
            week.days,
            seconds(mean)
        );
        let evidence = vec![
            Evidence::measured("how often it fired in a week", f64::from(week.fired), Unit::Count),
            Evidence::measured("how long it fired on average", mean, Unit::Seconds),
        ];
        let because =
            "That it comes and goes is certain; whether each time was worth knowing is for you to say.".to_owned();
        let advice = draft(FLAPS, object, actions, title, why);
        judged.advice.push(Advice { evidence, confidence: Confidence::Medium, because, ..advice });
    }
}

fn never(given: &Given<'_>, judged: &mut Judged) {
    for state in &given.view.firing.0 {
        // One of the rules that come with the agent may be silent for years.
        let own = !PACK.contains(&format!("alert = \"{}\"\n", state.name));
        let silent = state.fired == 0
            && given.past.alerts.get(&state.name).is_none_or(|days| days.iter().all(|day| day.fired == 0));
        let Some(it) = state.comparison.as_deref().filter(|it| own && silent && it.above) else { continue };
        let Some(most) = peaks(given.past, it).and_then(|peaks| peaks.into_iter().reduce(f64::max)) else { continue };
        let object = Object::Alert(state.name.to_string());
        let days = known(given).unwrap_or(0).min(given.past.host.days.len() as u64);
        if days < MONTH {
            let missing = format!("four weeks: there are {days} days");
            judged.lacks(NEVER, object, missing);
            continue;
        }
        if most >= NEAR * it.threshold {
            continue;
        }
        let (old, new) = (fixed(it.threshold, 2), fixed(most * 1.1, 2));
        let title = format!(
            "Lower the threshold of {} from {old} to {new} if it should tell of a change: it never fires.",
            state.name
        );
        let why = format!("In four weeks {} was at most {}.", it.metric, fixed(most, 2));
        let actions = vec![setting(&state.name, "above", &new, old, &new)];
        let evidence = vec![
            Evidence::measured("the most in four weeks", most, Unit::Ratio),
            Evidence::configured("its threshold", it.threshold, Unit::Ratio),
        ];
        let because = "A rule that never fires may be there for the one day when it must.".to_owned();
        judged.advice.push(Advice {
            evidence,
            confidence: Confidence::Low,
            because,
            ..draft(NEVER, object, actions, title, why)
        });
    }
}

/// What the metric of a rule was at most, hour by hour of the week, where the history has it.
fn peaks(past: &Past, it: &Comparison) -> Option<Vec<f64>> {
    if it.metric != "headroom_host_memory_used_ratio" {
        return None;
    }
    let total = past.host.days.last()?.limit.filter(|total| *total > 0.0)?;
    let peaks: Vec<f64> = past.host.week.iter().filter_map(|hour| hour.memory.map(|[_, most]| most / total)).collect();
    (!peaks.is_empty()).then_some(peaks)
}

/// The threshold that its number exceeds in one hour of twenty; `None` where that is not known, is no higher, or leaves no room.
fn threshold(past: &Past, it: &Comparison) -> Option<f64> {
    let mut peaks = peaks(past, it).filter(|_| it.above)?;
    peaks.sort_unstable_by(f64::total_cmp);
    let at = ((peaks.len() - 1) as f64 * QUANTILE).round() as usize;
    let to = (peaks[at] * 100.0).ceil() / 100.0;
    (to > it.threshold && to < FULL).then_some(to)
}

/// A key of a rule in the configuration, and its value as it is written there.
fn setting(alert: &str, key: &str, value: &str, before: String, after: &str) -> action::Action {
    let text = format!("[[rule]]\nalert = {}\n{key} = {value}\n", serde_json::Value::from(alert));
    let note = "Then: systemctl reload headroom. A rule with the name of one that is there sets only what it changes."
        .to_owned();
    let command = action::Command {
        tool: Tool::Headroom,
        text,
        file: Some("/etc/headroom/headroom.toml".to_owned()),
        note: Some(note),
    };
    action::Action {
        kind: action::Kind::Configure,
        object: Object::Alert(alert.to_owned()),
        key: Some(key.to_owned()),
        before: Some(before),
        after: Some(after.to_owned()),
        risk: Risk::Low,
        undo: "Take the lines out again, and reload.".to_owned(),
        commands: vec![command],
    }
}

#[cfg(test)]
mod tests;

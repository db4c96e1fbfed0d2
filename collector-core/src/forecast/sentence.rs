//! A forecast in words. Knows no numbers but those of the outlook.

use super::step::Step;
use super::{Outlook, Point, Resource, Shape};
use crate::advice::Unit;
use crate::amount;

const HOUR_NS: f64 = 3600e9;

/// What an outlook says, with when it went to a new level if that is its shape.
pub(super) fn of(outlook: &Outlook, step: Option<(u64, Step)>, now: u64) -> String {
    let show = |value: f64| amount_of(outlook.unit, value);
    let mut text = format!("{} now", show(outlook.now));
    match outlook.shape {
        Shape::Grows => text += &format!(", grows by {} a day", show(outlook.a_day)),
        Shape::Shrinks => text += &format!(", shrinks by {} a day", show(-outlook.a_day)),
        Shape::Flat => text += ", flat",
        Shape::Daily => text += ", with a daily pattern",
        Shape::Weekly => text += ", with a weekly pattern",
        Shape::Saw => text += ", rises and falls again and again",
        Shape::Step => text += ", on a new level",
    }
    if let Some((time, step)) = step {
        let way = if step.after > step.before { "up" } else { "down" };
        let ago = span(now.saturating_sub(time) as f64 / HOUR_NS);
        text += &format!(" ({way} from {} to {} {ago} ago)", show(step.before), show(step.after));
    }
    if let Some(last) = outlook.points.last() {
        let hours = (last.time.saturating_sub(now)) as f64 / HOUR_NS;
        text += &format!(", {} to {} in {}", show(last.low), show(last.high), span(hours));
    }
    if let Some(limit) = outlook.limit {
        text += &format!("; {} is {}", limit_name(outlook.resource), show(limit));
        text += &reach(outlook, now);
    }
    text.push('.');
    for cleaner in &outlook.cleaners {
        let when = match cleaner.time {
            Some(time) => format!("expected in {}", span(time.saturating_sub(now) as f64 / HOUR_NS)),
            None => "not expected in this time".to_owned(),
        };
        text += &format!(" From {} on: {} ({when}).", show(cleaner.from), cleaner.who);
    }
    text
}

fn limit_name(resource: Resource) -> &'static str {
    match resource {
        Resource::Memory | Resource::Vram => "the limit",
        Resource::Disk => "the size",
        Resource::Cpu => "all CPUs",
        Resource::HostToDevice => "the link",
    }
}

fn reach(outlook: &Outlook, now: u64) -> String {
    let away = |time: u64| span(time.saturating_sub(now) as f64 / HOUR_NS);
    match outlook.reaches {
        Some(reach) => match reach.time {
            Some(time) => format!(", reached in {} (10 % chance: within {})", away(time), away(reach.earliest)),
            None => format!(", 10 % chance to reach it within {}", away(reach.earliest)),
        },
        None => match highest(&outlook.points) {
            Some(high) if high > outlook.now => {
                format!(", not reached (below {} with 90 % probability)", amount_of(outlook.unit, high))
            }
            _ => ", not reached".to_owned(),
        },
    }
}

fn highest(points: &[Point]) -> Option<f64> {
    points.iter().map(|point| point.high).reduce(f64::max)
}

/// An amount in its unit.
pub fn amount_of(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => amount::bytes(value.max(0.0) as u64),
        Unit::BytesPerSecond => format!("{}/s", amount::bytes(value.max(0.0) as u64)),
        Unit::Ratio => amount::percent(value),
        Unit::Cpus => format!("{value:.2} CPUs"),
        Unit::Seconds => amount::seconds(value),
        Unit::Watts => format!("{value:.0} W"),
        Unit::Count => format!("{value:.0}"),
    }
}

/// A span of hours: `40 min`, `7 h`, `3 d`.
pub fn span(hours: f64) -> String {
    match hours {
        ..2.0 => format!("{:.0} min", hours * 60.0),
        ..48.0 => format!("{hours:.0} h"),
        _ => format!("{:.1} d", hours / 24.0),
    }
}

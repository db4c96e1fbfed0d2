//! Whether an advice was followed: what its action sets, as it is now, against what it was and what was advised.

use crate::action::{Action, Kind, Object};
use crate::advice::Advice;
use crate::statistic::host;
use crate::statistic::workload::Statistic;
use crate::view::View;

/// Whoever went so far of the way followed it.
const WAY: f64 = 0.75;
/// Of what had no value before: this share more or less.
const ABOUT: f64 = 0.25;

/// A value that is set.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Number(f64),
    /// No limit.
    Unlimited,
}

/// What it was set to, if one of its actions was carried out, by whomever.
pub fn followed(view: &View, advice: &Advice) -> Option<String> {
    advice.actions.iter().find_map(|action| {
        let now = current(view, action)?;
        let (before, after) = (action.before.as_deref().and_then(parse), action.after.as_deref().and_then(parse)?);
        is_about(before, now, after).then(|| match now {
            Value::Number(number) => format!("{number}"),
            Value::Unlimited => "max".to_owned(),
        })
    })
}

fn is_about(before: Option<Value>, now: Value, after: Value) -> bool {
    use Value::{Number, Unlimited};
    match (before, now, after) {
        (Some(before), now, _) if before == now => false,
        (_, Unlimited, Unlimited) => true,
        (_, Unlimited, _) | (_, _, Unlimited) => false,
        (Some(Number(before)), Number(now), Number(after)) if before != after => {
            (now - before) / (after - before) >= WAY
        }
        (_, Number(now), Number(after)) => (now - after).abs() <= ABOUT * after.abs(),
    }
}

/// What an action sets, as it is now; none where the view does not have it.
fn current(view: &View, action: &Action) -> Option<Value> {
    let swap = || view.host.statistics.get(host::Statistic::SwapTotal).map(|total| Value::Number(total as f64));
    let statistic = match action.kind {
        Kind::MemoryMax => Statistic::MemoryLimit,
        Kind::MemoryHigh => Statistic::MemoryHigh,
        Kind::MemoryLow => Statistic::MemoryLow,
        Kind::MemoryMin => Statistic::MemoryMin,
        Kind::SwapOn | Kind::SwapOff if action.object == Object::Host => return swap(),
        Kind::Sysctl => {
            let statistic = match action.key.as_deref()? {
                "vm.swappiness" => host::Statistic::Swappiness,
                "vm.watermark_scale_factor" => host::Statistic::WatermarkScaleFactor,
                _ => return None,
            };
            return view.host.statistics.get(statistic).map(|value| Value::Number(value as f64));
        }
        _ => return None,
    };
    let Object::Workload(name) = &action.object else { return None };
    let statistics = &view.workloads.find(name)?.statistics;
    // A workload that is gone has no limit any more, but nobody took it away.
    statistics.get(Statistic::MemoryCurrent)?;
    Some(statistics.get(statistic).map_or(Value::Unlimited, |value| Value::Number(value as f64)))
}

/// `21474836480`, `20GiB`, `20G`, `max`.
fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if matches!(text, "max" | "infinity" | "none" | "unlimited" | "-1") {
        return Some(Value::Unlimited);
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit.trim().trim_end_matches(['B', 'b']).trim_end_matches('i') {
        "" => 0,
        "K" | "k" => 1,
        "M" | "m" => 2,
        "G" | "g" => 3,
        "T" | "t" => 4,
        _ => return None,
    };
    Some(Value::Number(number.parse::<f64>().ok()? * 1024f64.powi(scale)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_they_are_typed() {
        for (text, value) in [
            ("21474836480", Some(Value::Number(21_474_836_480.0))),
            ("20GiB", Some(Value::Number(21_474_836_480.0))),
            ("20 GiB", Some(Value::Number(21_474_836_480.0))),
            ("1.5G", Some(Value::Number(1_610_612_736.0))),
            ("512m", Some(Value::Number(536_870_912.0))),
            ("2.5", Some(Value::Number(2.5))),
            ("max", Some(Value::Unlimited)),
            ("madvise", None),
            ("", None),
            ("20 apples", None),
        ] {
            assert_eq!(parse(text), value, "{text}");
        }
    }

    #[test]
    fn who_went_most_of_the_way_or_further_followed_it() {
        let (number, max) = (Value::Number, Value::Unlimited);
        let of = |before, now, after| is_about(before, now, after);
        assert!(of(Some(number(10.0)), number(20.0), number(20.0)));
        assert!(
            of(Some(number(10.0)), number(18.0), number(20.0)) && of(Some(number(10.0)), number(30.0), number(20.0))
        );
        assert!(
            !of(Some(number(10.0)), number(12.0), number(20.0)) && !of(Some(number(10.0)), number(5.0), number(20.0))
        );
        assert!(of(Some(number(40.0)), number(21.0), number(20.0)), "down, too");
        assert!(of(Some(max), number(22.0), number(20.0)) && of(None, number(18.0), number(20.0)));
        assert!(!of(Some(max), number(60.0), number(20.0)), "another limit than was advised");
        assert!(of(Some(number(10.0)), max, max) && !of(Some(max), max, max));
        assert!(!of(Some(number(10.0)), max, number(20.0)), "taken away instead");
        assert!(!of(Some(number(20.0)), number(20.0), number(20.0)), "nobody changed it");
    }
}

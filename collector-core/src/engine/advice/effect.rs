//! What happened to whom an advice is about, before it was followed and after. Knows only the last days.

use crate::action::Object;
use crate::past::{DAY_NS, Day, Past};
use crate::standing::Effect;

const WEEK_NS: u64 = 7 * DAY_NS;

/// On the whole days of the week before.
pub fn before(past: &Past, object: &Object, at: u64) -> Effect {
    of(past, object, at.saturating_sub(WEEK_NS), at).unwrap_or_default()
}

/// On the whole days since, up to a week; none until there was one.
pub fn after(past: &Past, object: &Object, at: u64) -> Option<Effect> {
    of(past, object, at, past.time.min(at.saturating_add(WEEK_NS + DAY_NS)))
}

fn of(past: &Past, object: &Object, from: u64, to: u64) -> Option<Effect> {
    let span = match object {
        Object::Workload(name) => past.workloads.get(name.as_str())?,
        _ => &past.host,
    };
    let days: Vec<&Day> =
        span.days.iter().filter(|day| day.time >= from && day.time.saturating_add(DAY_NS) <= to).collect();
    let seconds: u64 = days.iter().map(|day| u64::from(day.seconds)).sum();
    let kills: Vec<u32> = days.iter().filter_map(|day| day.kills).collect();
    // Waits that the kernel tells and stalls that programs count cannot be added up.
    let told = days.iter().any(|day| day.memory_waiting.is_some());
    let stall = |day: &&Day| {
        let stalled = if told { day.memory_waiting } else { day.stalls };
        stalled.filter(|_| day.seconds > 0).map(|stalled| (stalled, f64::from(day.seconds)))
    };
    let stalls = days.iter().filter_map(stall).reduce(|(one, time), (other, more)| (one + other, time + more));
    (!days.is_empty()).then(|| Effect {
        seconds,
        kills_per_day: (!kills.is_empty())
            .then(|| kills.iter().copied().map(f64::from).sum::<f64>() / kills.len() as f64),
        stall_seconds_per_day: stalls.map(|(stalled, seconds)| stalled / seconds * 86_400.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::Span;

    #[test]
    fn only_whole_days_count_and_half_a_day_counts_as_half() {
        let day = |time: u64, seconds, kills, stalls| Day {
            time: time * DAY_NS,
            seconds,
            kills,
            stalls: Some(stalls),
            ..Day::default()
        };
        let days = vec![
            day(1, 86_400, None, 9e9),
            day(9, 86_400, Some(2), 100.0),
            day(10, 43_200, Some(1), 50.0),
            day(11, 86_400, Some(7), 1000.0),
            day(12, 86_400, Some(0), 10.0),
            day(13, 3600, Some(0), 0.0),
        ];
        let past = Past {
            time: 13 * DAY_NS + 7,
            workloads: [("a".into(), Span { days, week: Vec::new() })].into(),
            ..Past::default()
        };
        let (object, at) = (Object::Workload("a".into()), 11 * DAY_NS + 5);
        let wanted = Effect { seconds: 129_600, kills_per_day: Some(1.5), stall_seconds_per_day: Some(100.0) };
        assert_eq!(before(&past, &object, at), wanted);
        let wanted = Effect { seconds: 86_400, kills_per_day: Some(0.0), stall_seconds_per_day: Some(10.0) };
        assert_eq!(after(&past, &object, at), Some(wanted));
        assert_eq!(after(&past, &object, 12 * DAY_NS + 1), None, "no day after it is over");
        assert_eq!(before(&past, &Object::Host, at), Effect::default());
    }
}

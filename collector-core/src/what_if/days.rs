//! What another memory limit would have saved a workload in the last days: for advice. Knows days, and no recording.

use crate::advice::Saves;
use crate::amount::bytes as amount;
use crate::past::{Day, Span};

/// A kill shows that more was wanted, and not how much: as is usual, a fifth more than the limit, or this, is taken for enough.
const MORE: f64 = 1.2;
const LEAST_MORE: f64 = (100u64 << 20) as f64;

/// With a limit of so many bytes on all of these days. `None` if nothing is known of them, or it would neither have saved nor cost
/// anything. Kills are negative where it would have caused more than it averts.
pub fn limit(span: &Span, bytes: u64) -> Option<Saves> {
    let (limit, days) = (bytes as f64, &span.days);
    let averted: f64 =
        days.iter().filter(|day| is_averted(day, limit)).filter_map(|day| day.kills).map(f64::from).sum();
    // Page cache gives way; the rest does not.
    let caused = days.iter().filter(|day| is_caused(day, limit)).count() as f64;
    let freed = days.last().and_then(|day| day.limit).map(|before| before - limit).filter(|freed| *freed > 0.0);
    let known = days.iter().any(|day| day.kills.is_some());
    let kills = averted - caused;
    let saves = Saves {
        over_seconds: span.seconds(),
        kills: (known || caused > 0.0).then_some(kills).filter(|kills| *kills != 0.0),
        bytes: freed,
        assuming: match freed {
            Some(_) => format!("it asks for as much as before, of which up to {} has room", amount(bytes)),
            None => format!("whenever it was killed it wanted no more than {}", amount(bytes)),
        },
        ..Saves::default()
    };
    (saves.kills.is_some() || saves.bytes.is_some()).then_some(saves)
}

fn is_averted(day: &Day, limit: f64) -> bool {
    let wanted = |before: f64| (before * MORE).max(before + LEAST_MORE);
    day.limit.is_some_and(|before| limit >= wanted(before))
}

fn is_caused(day: &Day, limit: f64) -> bool {
    let fitted = day.limit.is_none_or(|before| before > limit);
    fitted && day.anon.is_some_and(|[_, _, most]| most > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    fn day(kills: u32, anon: f64, limit: f64) -> Day {
        let anon = Some([0.0, anon * GIB / 2.0, anon * GIB]);
        Day { seconds: 86_400, kills: Some(kills), anon, limit: Some(limit * GIB), ..Day::default() }
    }

    fn with(days: Vec<Day>, gib: u64) -> Option<Saves> {
        limit(&Span { days, ..Span::default() }, gib << 30)
    }

    #[test]
    fn a_higher_limit_averts_kills_and_a_lower_one_frees_memory_or_kills() {
        let killed = || vec![day(2, 9.9, 10.0), day(0, 5.0, 10.0), day(1, 9.9, 10.0)];
        let saves = with(killed(), 12).unwrap();
        assert_eq!((saves.kills, saves.bytes, saves.over_seconds), (Some(3.0), None, 3 * 86_400));
        assert_eq!(with(killed(), 11), None, "perhaps not enough");
        let idle = with(vec![day(0, 3.0, 10.0)], 4).unwrap();
        assert_eq!((idle.kills, idle.bytes), (None, Some(6.0 * GIB)));
        let worse = with(vec![day(0, 3.0, 10.0), day(0, 8.0, 10.0)], 4).unwrap();
        assert_eq!(worse.kills, Some(-1.0));
        assert_eq!(with(Vec::new(), 4), None);
    }
}

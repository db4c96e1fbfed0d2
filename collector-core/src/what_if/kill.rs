//! Whether a kill of the recording would have happened. Reads what its limit held before it; knows neither the engine nor other kills.

use super::change::Change;
use super::domain::Domain;
use super::point::{Place, Point};
use super::report::Fate;
use crate::amount::{bytes, seconds};

/// Growth is looked for in the last so many seconds, the shortest first.
const SPANS: [f64; 3] = [4.0, 15.0, 120.0];
/// Less than this share of the limit in such a time is none.
const GROWS: f64 = 0.02;
/// What was taken between the last tick and the kill is a spike, if it is this many times what the growth before explains …
const SPIKE: f64 = 3.0;
/// … and this share of the limit.
const LARGE: f64 = 0.1;

/// What is known of the kill itself.
pub struct Shortage {
    pub time: u64,
    /// The limit that was reached, in bytes.
    pub limit: Option<u64>,
    /// The task that asked for memory was in the changed workload.
    pub by_subject: bool,
    /// The changed workload would have been killed before.
    pub gone: bool,
}

pub struct Judged {
    pub fate: Fate,
    pub later_seconds: Option<f64>,
    pub why: String,
}

impl Judged {
    pub fn new(fate: Fate, why: String) -> Judged {
        Judged { fate, later_seconds: None, why }
    }
}

pub fn judge(change: &Change, domain: &mut Domain, shortage: &Shortage) -> Judged {
    let Shortage { time, gone, .. } = *shortage;
    if matches!((change, domain.place), (Change::Without { .. }, Place::Own | Place::Above)) {
        return Judged::new(Fate::Avoided, "It would not have run.".to_owned());
    }
    let Some(point) = domain.at(time).copied() else {
        return Judged::new(Fate::NotKnown, "What was held before it is not in the recording.".to_owned());
    };
    let Some(limit) = shortage.limit.or(point.limit) else {
        return Judged::new(Fate::NotKnown, "The limit that was reached is not in the recording.".to_owned());
    };
    let changed = point.changed(change, domain.place, gone);
    let wanted = changed.limit.filter(|_| domain.place == Place::Own).or(Some(limit));
    let room = match (change, domain.place) {
        (Change::Limit { bytes: None, .. }, Place::Own) => None,
        _ => wanted,
    };
    // Since the last tick it grew to the limit; whose that is shows who asked for memory.
    let jump = limit.saturating_sub(point.held.hard);
    let removed = shortage.by_subject && domain.place == Place::Below && matches!(change, Change::Without { .. });
    let before = i128::from(point.held.hard) - i128::from(changed.held.hard);
    let less = before + if removed { i128::from(jump) } else { 0 };
    let would = (i128::from(limit) - less).max(0);
    let Some(room) = room else {
        return Judged::new(
            Fate::Avoided,
            "There would have been no limit; how much of the host's memory it would have taken is not in the recording.".to_owned(),
        );
    };
    let left = i128::from(room) - would;
    if left <= 0 {
        let earlier = domain.take_caused(time).map(|at| time.saturating_sub(at) as f64 / 1e9);
        let why = match earlier {
            Some(earlier) => {
                format!("It would have come {} earlier: there would have been less room.", seconds(earlier))
            }
            None => "There would have been no more room.".to_owned(),
        };
        return Judged { later_seconds: earlier.map(|earlier| -earlier), ..Judged::new(Fate::Same, why) };
    }
    let left = left as u64;
    let rest = |point: &Point| point.changed(change, domain.place, gone).held.hard as f64;
    let earlier: Vec<(f64, f64)> =
        domain.points.iter().filter(|it| it.time <= time).map(|it| ((time - it.time) as f64 / 1e9, rest(it))).collect();
    let pace = growth(&earlier, limit as f64);
    let since = time.saturating_sub(point.time) as f64 / 1e9;
    let taken = would as f64 - rest(&point);
    let explained = pace.unwrap_or(0.0) * since.max(0.1);
    if !removed && taken > LARGE * limit as f64 && taken > SPIKE * explained {
        let why = format!(
            "There would have been {} more, but it allocated {} in the last {}: how much more it would have allocated is not in the recording.",
            bytes(left),
            bytes(taken as u64),
            seconds(since)
        );
        return Judged::new(Fate::NotKnown, why);
    }
    match pace {
        Some(pace) => {
            let later = left as f64 / pace;
            let why = format!(
                "There would have been {} more; what remains grew by {} a second, and if that had gone on, it would have been full {} later.",
                bytes(left),
                bytes(pace as u64),
                seconds(later)
            );
            Judged { later_seconds: Some(later), ..Judged::new(Fate::Later, why) }
        }
        None => {
            let why = format!("There would have been {} more, and what remains did not grow.", bytes(left));
            Judged::new(Fate::Avoided, why)
        }
    }
}

/// Bytes a second, if it grew before the kill: in the shortest time in which that is seen. Points are seconds before the kill, oldest first.
fn growth(points: &[(f64, f64)], limit: f64) -> Option<f64> {
    let (newest, last) = *points.last()?;
    SPANS.iter().find_map(|span| {
        let (ago, first) = *points.iter().find(|(ago, _)| *ago <= newest + span)?;
        let (time, grown) = (ago - newest, last - first);
        (time > 0.0 && grown >= GROWS * limit).then(|| grown / time)
    })
}

#[cfg(test)]
mod tests {
    use super::super::point::Held;
    use super::*;

    const MIB: u64 = 1 << 20;
    const SECOND: u64 = 1_000_000_000;

    /// A limit of 100 MiB, reached half a second after the last tick. What all and what the changed workload held, in MiB.
    fn judged(change: &Change, place: Place, held: &[(u64, u64)], by_subject: bool) -> Judged {
        let mut domain = Domain::new(Some("/p".into()), place);
        for (second, (all, subject)) in (1..).zip(held) {
            let of = |mib: u64| Held { total: mib * MIB, hard: mib * MIB, anon: mib * MIB };
            let (held, subject) = (of(*all), of(*subject));
            let point = Point { time: second * SECOND, held, limit: Some(100 * MIB), subject, fresh: true };
            domain.read(change, point, 0, false);
        }
        let time = held.len() as u64 * SECOND + SECOND / 2;
        judge(change, &mut domain, &Shortage { time, limit: Some(100 * MIB), by_subject, gone: false })
    }

    fn limit(mib: u64) -> Change {
        Change::Limit { workload: "/p".to_owned(), bytes: Some(mib * MIB) }
    }

    fn without() -> Change {
        Change::Without { workload: "/p/x".to_owned() }
    }

    #[test]
    fn steady_growth_comes_to_a_higher_limit_later_and_to_a_lower_one_earlier() {
        let rising: Vec<(u64, u64)> = (1..=9).map(|second| (second * 10 + 5, second * 10 + 5)).collect();
        let later = judged(&limit(150), Place::Own, &rising, true);
        assert_eq!(later.fate, Fate::Later, "{}", later.why);
        assert!((later.later_seconds.unwrap() - 5.0).abs() < 0.1, "{:?}", later.later_seconds);
        let earlier = judged(&limit(70), Place::Own, &rising, true);
        assert_eq!((earlier.fate, earlier.later_seconds), (Fate::Same, Some(-2.5)), "{}", earlier.why);
    }

    #[test]
    fn without_a_neighbour_there_is_room_unless_what_remains_grows() {
        let crowded: Vec<(u64, u64)> = (1..=9).map(|second| (40 + second * 6, second * 6)).collect();
        assert_eq!(judged(&without(), Place::Below, &crowded, true).fate, Fate::Avoided);
        let grows: Vec<(u64, u64)> = (1..=9).map(|second| (40 + second * 6, 40)).collect();
        let later = judged(&without(), Place::Below, &grows, false);
        assert_eq!(later.fate, Fate::Later, "{}", later.why);
        assert!((later.later_seconds.unwrap() - 40.0 / 6.0).abs() < 0.2, "{:?}", later.later_seconds);
        let alone: Vec<(u64, u64)> = (1..=9).map(|second| (second * 10 + 5, 0)).collect();
        assert_eq!(judged(&without(), Place::Below, &alone, false).fate, Fate::Same, "it held nothing");
    }

    #[test]
    fn a_spike_between_two_ticks_does_not_show_how_much_was_wanted() {
        let flat = vec![(30, 30); 9];
        assert_eq!(judged(&limit(150), Place::Own, &flat, true).fate, Fate::NotKnown);
        assert_eq!(judged(&limit(90), Place::Own, &flat, true).fate, Fate::Same);
        assert_eq!(
            judged(&Change::Limit { workload: "/p".to_owned(), bytes: None }, Place::Own, &flat, true).fate,
            Fate::Avoided
        );
    }
}

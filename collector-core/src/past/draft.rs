//! Puts [`Past`] together from what is on disk: which workloads matter, and what is known of them. Pure; knows neither files nor when it is
//! asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::day::{DAY_NS, midnight};
use super::disk::Disks;
use super::event::Events;
use super::model::Uses;
use super::week::Week;
use super::{Day, Past, Span, WORKLOADS};
use crate::tier::{Known, Rare};

/// Most workloads of one user: many of them leave room for others.
pub const OF_OWNER: usize = 128;
/// Whose workloads are of which only kills are known: of nobody knows whom, so they share the room of one user.
const UNKNOWN: &str = "?";
/// Most workloads before those that matter are chosen.
const CANDIDATES: usize = 2 * WORKLOADS;

/// Who never held so many bytes, nothing on a GPU, and lost no process, is left out.
const SMALL: f64 = (16 << 20) as f64;

/// What is being put together.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    host: Drawn,
    week: Week,
    workloads: BTreeMap<Arc<str>, Drawn>,
    pub events: Events,
    models: Uses,
    disks: Disks,
}

#[derive(Clone, Debug, Default)]
struct Drawn {
    owner: Arc<str>,
    days: Vec<Day>,
}

impl Drawn {
    fn add(&mut self, quarters: &[Known]) {
        for day in quarters.chunk_by(|one, other| midnight(one.time) == midnight(other.time)) {
            self.days.extend(day.first().map(|first| Day::of(midnight(first.time), day)));
        }
    }

    fn most(&self, of: impl Fn(&Day) -> Option<[f64; 3]>) -> f64 {
        self.days.iter().filter_map(|day| Some(of(day)?[2])).fold(0.0, f64::max)
    }
}

impl Draft {
    /// Adds whole days of the host, the oldest first; none of them twice.
    pub fn host(&mut self, quarters: &[Known]) {
        self.host.add(quarters);
        quarters.iter().for_each(|quarter| self.week.add(quarter));
    }

    /// The same of a workload; its owner is empty if that is root.
    pub fn workload(&mut self, name: &str, owner: &str, quarters: &[Known]) {
        if quarters.is_empty() || (self.workloads.len() >= CANDIDATES && !self.workloads.contains_key(name)) {
            return;
        }
        let drawn = self.workloads.entry(name.into()).or_default();
        if *drawn.owner != *owner {
            drawn.owner = owner.into();
        }
        drawn.add(quarters);
    }

    /// Adds what was counted in quarters of an hour, the oldest first.
    pub fn counts(&mut self, counts: &[(u64, Rare, u64)]) {
        self.models.add(counts);
        self.disks.add(counts);
    }

    pub fn knows(&self, name: &str) -> bool {
        self.workloads.contains_key(name)
    }

    /// Those that are known so far, each with its owner.
    pub fn names(&self) -> impl Iterator<Item = (Arc<str>, Arc<str>)> {
        self.workloads.iter().map(|(name, drawn)| (name.clone(), drawn.owner.clone()))
    }

    /// All of it, as of now. Kills are known of days of which the journal has all; what is older than `from` is left out.
    pub fn finish(mut self, from: u64, now: u64, events_from: Option<u64>) -> Past {
        let events = std::mem::take(&mut self.events);
        let killed: BTreeSet<Arc<str>> = events.killed().cloned().collect();
        for name in &killed {
            if self.workloads.len() < CANDIDATES {
                let unknown = || Drawn { owner: UNKNOWN.into(), ..Drawn::default() };
                self.workloads.entry(name.clone()).or_insert_with(unknown);
            }
        }
        let within = |time: u64| time >= midnight(from) && time <= now;
        let knows_kills = |day: u64| events_from.is_some_and(|since| since <= day);
        let span = |name: Option<&Arc<str>>, drawn: Drawn| {
            let mut days: BTreeMap<u64, Day> = drawn.days.into_iter().map(|day| (day.time, day)).collect();
            for time in events.kill_days(name) {
                days.entry(time).or_insert(Day { time, ..Day::default() });
            }
            let mut days: Vec<Day> = days.into_values().filter(|day| within(day.time)).collect();
            for day in days.iter_mut().filter(|day| knows_kills(day.time)) {
                let kills = events.kills(name, day.time);
                (day.kills, day.kills_here) = (Some(kills.all), Some(kills.here));
            }
            days.retain(|day| *day != Day { time: day.time, ..Day::default() });
            Span { days, week: Vec::new() }
        };
        let host = Span { week: self.week.hours(), ..span(None, self.host) };
        let mut workloads = BTreeMap::new();
        for (name, drawn) in chosen(self.workloads, &killed) {
            let span = span(Some(&name), drawn);
            if !span.days.is_empty() {
                workloads.insert(name, span);
            }
        }
        let mut alerts = events.alerts();
        alerts.values_mut().for_each(|days| days.retain(|day| within(day.time)));
        let (models, disks) = (self.models.finish(), self.disks.finish());
        Past { time: now, host, workloads, alerts, models, disks, events_from }
    }
}

/// Those with kills first, then those with the highest peaks; of one user not too many.
fn chosen(workloads: BTreeMap<Arc<str>, Drawn>, killed: &BTreeSet<Arc<str>>) -> Vec<(Arc<str>, Drawn)> {
    let mut ranked: Vec<(bool, f64, Arc<str>, Drawn)> = workloads
        .into_iter()
        .map(|(name, drawn)| (killed.contains(&name), drawn.most(|day| day.memory), name, drawn))
        .filter(|(killed, peak, _, drawn)| *killed || *peak >= SMALL || drawn.most(|day| day.vram) > 0.0)
        .collect();
    ranked.sort_by(|one, other| other.0.cmp(&one.0).then(other.1.total_cmp(&one.1)).then_with(|| one.2.cmp(&other.2)));
    let mut of_owner: BTreeMap<Arc<str>, usize> = BTreeMap::new();
    ranked.retain(|(.., drawn)| {
        let count = of_owner.entry(drawn.owner.clone()).or_default();
        *count += 1;
        drawn.owner.is_empty() || *count <= OF_OWNER
    });
    ranked.into_iter().take(WORKLOADS).map(|(.., name, drawn)| (name, drawn)).collect()
}

/// When the first of the days that are kept began, today among them.
pub fn first_day(now: u64) -> u64 {
    midnight(now).saturating_sub((super::DAYS as u64 - 1) * DAY_NS)
}

#[cfg(test)]
mod tests {
    use super::super::event::Short;
    use super::*;
    use crate::series::Series;
    use crate::tier::{KEPT, Tier, kept};

    const MIB: f32 = (1 << 20) as f32;
    const QUARTER: u64 = Tier::QuarterHour.step();
    const NOW: u64 = 40 * DAY_NS + 5 * QUARTER;

    fn quarter(time: u64, peak: f32) -> Known {
        let mut values = [[None; 3]; KEPT.len()];
        values[kept(Series::Memory).unwrap()] = [Some(0.0), Some(peak / 2.0), Some(peak)];
        Known { time, seconds: 900, values }
    }

    #[test]
    fn days_are_apart_gaps_are_missing_and_what_is_of_tomorrow_is_left_out() {
        let mut draft = Draft::default();
        let times = [38 * DAY_NS, 38 * DAY_NS + QUARTER, 40 * DAY_NS, 41 * DAY_NS];
        draft.host(&times.map(|time| quarter(time, MIB)));
        let past = draft.finish(first_day(NOW), NOW, None);
        let days: Vec<_> = past.host.days.iter().map(|day| (day.time / DAY_NS, day.seconds, day.kills)).collect();
        assert_eq!(days, [(38, 1800, None), (40, 900, None)], "the clock was ahead once");
        assert_eq!(past.time, NOW);
        assert_eq!(first_day(NOW), 13 * DAY_NS, "28 days with today");
        assert_eq!(first_day(DAY_NS), 0);
    }

    #[test]
    fn kills_are_zero_where_the_journal_reaches_and_unknown_before() {
        let mut draft = Draft::default();
        draft.workload("a", "", &[38, 39, 40].map(|day| quarter(day * DAY_NS, 64.0 * MIB)));
        draft.events.kill(39 * DAY_NS + 1, Some("a"), 3, Short::OwnLimit);
        draft.events.kill(37 * DAY_NS + 1, Some("gone"), 1, Short::Host);
        draft.events.kill(39 * DAY_NS + 2, Some("gone"), 1, Short::Host);
        let past = draft.finish(first_day(NOW), NOW, Some(38 * DAY_NS + 1));
        let kills =
            |name: &str| past.workloads[name].days.iter().map(|day| (day.time / DAY_NS, day.kills)).collect::<Vec<_>>();
        assert_eq!(kills("a"), [(38, None), (39, Some(3)), (40, Some(0))]);
        assert_eq!(kills("gone"), [(39, Some(1))], "nothing else is known of it");
        let host: Vec<_> = past.host.days.iter().map(|day| (day.time / DAY_NS, day.kills, day.seconds)).collect();
        assert_eq!(host, [(39, Some(4), 0)]);
        let here = [&past.workloads["a"].days[1], &past.workloads["gone"].days[0], &past.host.days[0]];
        assert_eq!(here.map(|day| day.kills_here), [Some(3), Some(0), Some(1)], "for its own limit, or for the host");
    }

    #[test]
    fn those_of_which_only_kills_are_known_leave_room_for_others() {
        let mut draft = Draft::default();
        for number in 0..WORKLOADS {
            draft.workload(&format!("w{number:03}"), "", &[quarter(40 * DAY_NS, 100.0 * MIB)]);
            draft.events.kill(40 * DAY_NS, Some(&format!("gone{number:03}")), 1, Short::OwnLimit);
        }
        let past = draft.finish(first_day(NOW), NOW, Some(0));
        let gone = past.workloads.keys().filter(|name| name.starts_with("gone")).count();
        assert_eq!((past.workloads.len(), gone), (WORKLOADS, OF_OWNER));
    }

    #[test]
    fn who_matters_is_kept_and_nobody_crowds_others_out() {
        let mut draft = Draft::default();
        for number in 0..(OF_OWNER + 50) {
            draft.workload(&format!("crowd{number:03}"), "user-1000", &[quarter(40 * DAY_NS, 9000.0 * MIB)]);
        }
        for number in 0..WORKLOADS {
            draft.workload(&format!("w{number:03}"), "", &[quarter(40 * DAY_NS, (100 + number) as f32 * MIB)]);
        }
        draft.workload("idle", "", &[quarter(40 * DAY_NS, MIB)]);
        draft.workload("killed", "", &[quarter(40 * DAY_NS, MIB)]);
        draft.events.kill(40 * DAY_NS, Some("killed"), 1, Short::Other);
        let past = draft.finish(first_day(NOW), NOW, Some(0));
        let count = |prefix: &str| past.workloads.keys().filter(|name| name.starts_with(prefix)).count();
        assert_eq!((past.workloads.len(), count("crowd"), count("w")), (WORKLOADS, OF_OWNER, WORKLOADS - OF_OWNER - 1));
        assert!(past.workloads.contains_key("killed") && !past.workloads.contains_key("idle"));
        assert!(
            past.workloads.contains_key("w511") && !past.workloads.contains_key("w000"),
            "the smallest are left out"
        );
    }
}

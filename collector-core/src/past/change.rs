//! What is new in [`Past`] since it was handed over last, in parts that each fit into a line of a recording. A day that is over is sent once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::disk::DiskDay;
use super::model::{MODELS, Use};
use super::{AlertDay, Day, HOURS, Hour, Past, Span};
use crate::standing::Standing;

/// Days and hours in a part: half a megabyte as JSON at most.
const PART: usize = 1024;
/// Rules, filesystems or models in a part, each with its days: half a megabyte at most.
const ENTRIES: usize = 64;
/// Advice in a part, each some kilobytes.
const STANDING: usize = 24;

/// A part of what is new.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// [`Past::time`].
    pub time: u64,
    /// What was known before counts no longer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub afresh: bool,
    /// More parts follow; only all of them are what is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_from: Option<u64>,
    #[serde(default, skip_serializing_if = "New::is_empty")]
    pub host: New,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub workloads: BTreeMap<Arc<str>, New>,
    /// Those of which nothing is known any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<Arc<str>>,
    /// All days of the rules for alerts that changed; none: it is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alerts: BTreeMap<Arc<str>, Vec<AlertDay>>,
    /// The same of filesystems, and of models; none: it is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<Arc<str>, Vec<DiskDay>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<Arc<str>, Option<Use>>,
    /// Advice that there was when the agent was last stopped. No part of [`Past`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub standing: Vec<Standing>,
}

/// What is new of the host or a workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct New {
    /// Older days count no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// By hour of the week.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub week: BTreeMap<u8, Hour>,
    /// Hours of the week are no longer kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_week: bool,
}

impl New {
    fn is_empty(&self) -> bool {
        *self == New::default()
    }

    fn size(&self) -> usize {
        1 + self.days.len() + self.week.len()
    }

    fn between(before: &Span, after: &Span) -> New {
        let known: BTreeMap<u64, &Day> = before.days.iter().map(|day| (day.time, day)).collect();
        let days = after.days.iter().filter(|day| known.get(&day.time) != Some(day)).cloned().collect();
        let oldest = |span: &Span| span.days.first().map(|day| day.time);
        let from = oldest(after).filter(|oldest_now| oldest(before).is_some_and(|oldest| oldest < *oldest_now));
        let hour = |index: usize| before.week.get(index).copied().unwrap_or_default();
        let changed = after.week.iter().enumerate().filter(|(index, now)| hour(*index) != **now);
        let week = changed.map(|(index, hour)| (index as u8, *hour)).collect();
        New { from, days, week, no_week: after.week.is_empty() && !before.week.is_empty() }
    }

    fn apply(&self, span: &mut Span) {
        if let Some(from) = self.from {
            span.days.retain(|day| day.time >= from);
        }
        for day in &self.days {
            match span.days.binary_search_by_key(&day.time, |day| day.time) {
                Ok(place) => span.days[place] = day.clone(),
                Err(place) => span.days.insert(place, day.clone()),
            }
        }
        // Whoever makes a recording up makes no more of it than an agent does.
        let surplus = span.days.len().saturating_sub(super::DAYS);
        span.days.drain(..surplus);
        if self.no_week {
            span.week.clear();
        }
        if !self.week.is_empty() && span.week.is_empty() {
            span.week = vec![Hour::default(); HOURS];
        }
        for (index, hour) in &self.week {
            if let Some(place) = span.week.get_mut(usize::from(*index)) {
                *place = *hour;
            }
        }
    }
}

impl Change {
    /// Puts advice of before the start first, in parts of its own.
    pub fn after(standing: &[Standing], parts: Vec<Change>) -> Vec<Change> {
        let time = parts.first().map_or(0, |part| part.time);
        let own = standing.chunks(STANDING);
        let own = own.map(|standing| Change { time, more: true, standing: standing.to_vec(), ..Change::default() });
        own.chain(parts).collect()
    }

    /// What is new, as parts that have an order. At least one.
    pub fn between(before: &Past, after: &Past) -> Vec<Change> {
        // A day in the middle that is no longer known cannot be taken back.
        let keeps =
            |(before, after): (&Span, &Span)| {
                let from = after.days.first().map_or(0, |day| day.time);
                before.days.iter().all(|day| {
                    day.time < from || after.days.binary_search_by_key(&day.time, |after| after.time).is_ok()
                }) && (after.week.is_empty() || before.week.is_empty() || before.week.len() == after.week.len())
            };
        let both = before.workloads.iter().filter_map(|(name, span)| Some((span, after.workloads.get(name)?)));
        let afresh = before.time == 0 || !both.chain([(&before.host, &after.host)]).all(keeps);
        let (none, nothing) = (Past::default(), Span::default());
        let before = if afresh { &none } else { before };
        let head = Change {
            time: after.time,
            afresh,
            events_from: after.events_from,
            host: New::between(&before.host, &after.host),
            gone: before.workloads.keys().filter(|name| !after.workloads.contains_key(*name)).cloned().collect(),
            ..Change::default()
        };
        let part = || Change { time: after.time, events_from: after.events_from, ..Change::default() };
        let mut parts = vec![head];
        parts.extend(pieces(differing(&before.alerts, &after.alerts)).map(|alerts| Change { alerts, ..part() }));
        parts.extend(pieces(differing(&before.disks, &after.disks)).map(|disks| Change { disks, ..part() }));
        parts.extend(pieces(used(before, after)).map(|models| Change { models, ..part() }));
        let mut size = usize::MAX;
        for (name, span) in &after.workloads {
            let known = before.workloads.get(name);
            let new = New::between(known.unwrap_or(&nothing), span);
            if new.is_empty() && known.is_some() {
                continue;
            }
            if size.saturating_add(new.size()) > PART {
                parts.push(part());
                size = 0;
            }
            size += new.size();
            if let Some(part) = parts.last_mut() {
                part.workloads.insert(name.clone(), new);
            }
        }
        let last = parts.len() - 1;
        parts[..last].iter_mut().for_each(|part| part.more = true);
        parts
    }
}

/// So few entries each that they fit into a line.
fn pieces<T>(all: BTreeMap<Arc<str>, T>) -> impl Iterator<Item = BTreeMap<Arc<str>, T>> {
    let mut all = all.into_iter();
    std::iter::from_fn(move || {
        let piece: BTreeMap<_, _> = all.by_ref().take(ENTRIES).collect();
        (!piece.is_empty()).then_some(piece)
    })
}

/// Entries that changed; those that are gone are empty.
fn differing<T: Clone + PartialEq>(
    before: &BTreeMap<Arc<str>, Vec<T>>,
    after: &BTreeMap<Arc<str>, Vec<T>>,
) -> BTreeMap<Arc<str>, Vec<T>> {
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Vec::new()));
    let changed = after.iter().filter(|(name, days)| before.get(*name) != Some(days));
    changed.map(|(name, days)| (name.clone(), days.clone())).chain(gone).collect()
}

/// Models whose use changed; those that are gone have none.
fn used(before: &Past, after: &Past) -> BTreeMap<Arc<str>, Option<Use>> {
    let gone = before.models.keys().filter(|name| !after.models.contains_key(*name)).map(|name| (name.clone(), None));
    let changed = after.models.iter().filter(|(name, used)| before.models.get(*name) != Some(used));
    changed.map(|(name, used)| (name.clone(), Some(used.clone()))).chain(gone).collect()
}

impl Past {
    /// Adds a part of what is new. What is known is whole again after the last part.
    pub fn apply(&mut self, change: &Change) {
        if change.afresh {
            *self = Past::default();
        }
        self.time = change.time;
        self.events_from = change.events_from;
        change.host.apply(&mut self.host);
        change.gone.iter().for_each(|name| _ = self.workloads.remove(name));
        for (name, new) in &change.workloads {
            if self.workloads.contains_key(name) || self.workloads.len() < super::WORKLOADS {
                new.apply(self.workloads.entry(name.clone()).or_default());
            }
        }
        replace(&mut self.alerts, &change.alerts);
        replace(&mut self.disks, &change.disks);
        change.models.iter().filter(|(_, used)| used.is_none()).for_each(|(name, _)| _ = self.models.remove(name));
        for (name, used) in &change.models {
            if let Some(used) = used.as_ref().filter(|used| used.week.len() == HOURS)
                && (self.models.len() < MODELS || self.models.contains_key(name))
            {
                self.models.insert(name.clone(), used.clone());
            }
        }
    }
}

fn replace<T: Clone>(kept: &mut BTreeMap<Arc<str>, Vec<T>>, changed: &BTreeMap<Arc<str>, Vec<T>>) {
    for (name, days) in changed {
        match days.is_empty() {
            true => _ = kept.remove(name),
            false if kept.len() < super::WORKLOADS || kept.contains_key(name) => {
                kept.insert(name.clone(), days.iter().take(super::DAYS).cloned().collect());
            }
            false => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::model::UseHour;
    use proptest::prelude::*;

    fn span() -> impl Strategy<Value = Span> {
        let day = (1..=9u64, 0..3u32).prop_map(|(time, seconds)| Day { time, seconds, ..Day::default() });
        let days = proptest::collection::btree_map(1..=9u64, day, 1..6)
            .prop_map(|days| days.into_iter().map(|(time, day)| Day { time, ..day }).collect());
        let hour = (0..3u16).prop_map(|weeks| Hour { weeks, ..Hour::default() });
        let week = prop_oneof![Just(Vec::new()), proptest::collection::vec(hour, HOURS)];
        (days, week).prop_map(|(days, week)| Span { days, week })
    }

    fn past() -> impl Strategy<Value = Past> {
        let name = || "[ab]{1,3}".prop_map(Arc::from);
        let alert = (1..9u64).prop_map(|time| AlertDay { time, ..AlertDay::default() });
        let alerts = proptest::collection::btree_map(name(), proptest::collection::vec(alert, 1..3), 0..3);
        let disk = (1..9u64).prop_map(|time| DiskDay { time, ..DiskDay::default() });
        let disks = proptest::collection::btree_map(name(), proptest::collection::vec(disk, 1..3), 0..3);
        let used = (1..9u64).prop_map(|last| Use { last, week: vec![UseHour::default(); HOURS], ..Use::default() });
        let models = proptest::collection::btree_map(name(), used, 0..3);
        let workloads = proptest::collection::btree_map(name(), span(), 0..12);
        (1..99u64, span(), workloads, alerts, disks, models, proptest::option::of(1..9u64)).prop_map(
            |(time, host, workloads, alerts, disks, models, events_from)| Past {
                time,
                host,
                workloads,
                alerts,
                models,
                disks,
                events_from,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_new_added_to_what_was_known_is_what_is_known(steps in proptest::collection::vec(past(), 1..5)) {
            let mut known = Past::default();
            for after in steps {
                let parts = Change::between(&known, &after);
                for (index, part) in parts.iter().enumerate() {
                    let line = serde_json::to_string(part).unwrap();
                    let read: Change = serde_json::from_str(&line).unwrap();
                    prop_assert_eq!(&read, part);
                    prop_assert_eq!(part.more, index + 1 < parts.len());
                    known.apply(&read);
                }
                prop_assert_eq!(&known, &after);
            }
        }
    }

    fn large(workloads: usize) -> Past {
        let day = |time: u64| Day {
            time: time * 86_400_000_000_000,
            seconds: 86_400,
            memory: Some([21_474_836_480.0, 21_480_000_000.0, 21_495_808_000.0]),
            anon: Some([21_474_836_480.0, 21_480_000_000.0, 21_495_808_000.0]),
            vram: Some([21_474_836_480.0, 21_480_000_000.0, 21_495_808_000.0]),
            cpus: Some([12.34, 56.78]),
            limit: Some(21_495_808_000.0),
            memory_waiting: Some(1234.0),
            stalls: Some(1234.0),
            kills: Some(1),
            kills_here: Some(1),
        };
        let pair = Some([21_480_000_000.0, 21_495_808_000.0]);
        let hour = Hour { weeks: 4, memory: pair };
        let span = |week: bool| Span {
            days: (20_000..20_028).map(day).collect(),
            week: if week { vec![hour; HOURS] } else { Vec::new() },
        };
        let name = |index: usize| Arc::from(format!("kubepods/burstable/pod-of-some-team/{index:03}"));
        let workloads = (0..workloads).map(|index| (name(index), span(false))).collect();
        Past { time: 1, host: span(true), workloads, ..Past::default() }
    }

    #[test]
    fn the_largest_is_bounded_in_a_recording_and_later_only_today_is_sent() {
        let mut past = large(super::super::WORKLOADS);
        let parts = Change::between(&Past::default(), &past);
        let lines: Vec<usize> = parts.iter().map(|part| serde_json::to_string(part).unwrap().len()).collect();
        assert!(lines.iter().all(|bytes| *bytes < 3 << 18), "a line of a recording has a limit: {lines:?}");
        let all: usize = lines.iter().sum();
        assert!(all < 10 << 20, "{all}");
        let before = past.clone();
        past.time = 2;
        for span in past.workloads.values_mut() {
            span.days[27].seconds -= 1;
        }
        let later = Change::between(&before, &past);
        let bytes: usize = later.iter().map(|part| serde_json::to_string(part).unwrap().len()).sum();
        assert!(bytes < 1 << 19, "{bytes}");
    }

    #[test]
    fn the_use_of_all_models_fits_into_a_line() {
        let hour = UseHour { weeks: 4, quarters: 16, requests: 123_456.0, tokens: 123_456_789.0 };
        let used = Use { first: u64::MAX, last: u64::MAX, requests: 1e9, tokens: 1e12, week: vec![hour; HOURS] };
        let models =
            (0..MODELS).map(|number| (format!("a/model/of/some/team:{number}").into(), used.clone())).collect();
        let past = Past { time: 1, models, ..Past::default() };
        let [_, part] = &Change::between(&Past::default(), &past)[..] else { panic!() };
        let bytes = serde_json::to_string(part).unwrap().len();
        assert!(bytes < 3 << 18, "{bytes}");
    }

    #[test]
    fn the_days_of_all_rules_fit_into_lines() {
        let alert = |time: u64| AlertDay { time: time * 86_400_000_000_000, fired: 86_400, seconds: 86_400 };
        let alerts = (0..512)
            .map(|number| (Arc::from(format!("A rule of some team {number}")), (20_000..20_028).map(alert).collect()));
        let past = Past { time: 1, alerts: alerts.collect(), ..Past::default() };
        let parts = Change::between(&Past::default(), &past);
        let lines: Vec<usize> = parts.iter().map(|part| serde_json::to_string(part).unwrap().len()).collect();
        assert!(lines.len() > 2 && lines.iter().all(|bytes| *bytes < 3 << 18), "{lines:?}");
        let mut known = Past::default();
        parts.iter().for_each(|part| known.apply(part));
        assert_eq!(known, past);
    }

    #[test]
    fn a_recording_that_somebody_made_up_is_bounded_too() {
        let mut past = Past::default();
        for round in 0..3u64 {
            let days = (0..40).map(|time| Day { time: round * 40 + time, ..Day::default() }).collect();
            let new = New { days, week: BTreeMap::from([(255, Hour::default())]), ..New::default() };
            let workloads = (0..400).map(|index| (Arc::from(format!("{round}-{index}")), new.clone())).collect();
            past.apply(&Change { time: 1, workloads, host: new.clone(), ..Change::default() });
        }
        assert_eq!((past.workloads.len(), past.host.days.len()), (super::super::WORKLOADS, super::super::DAYS));
        assert!(past.workloads.values().all(|span| span.days.len() <= super::super::DAYS));
    }
}

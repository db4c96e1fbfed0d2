//! What models were used for, by hour of the week. Knows neither where it was counted nor what follows from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{HOURS, hour_of_week};
use crate::tier::Rare;

/// At most so many models, those with most tokens: all of them fit into a line of a recording.
pub const MODELS: usize = 32;
/// While they are counted so many names have a place: who runs a server chooses them.
const NAMES: usize = 512;
const HOUR_NS: u64 = 3_600_000_000_000;

/// What a model was used for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Use {
    /// The first and the last quarter of an hour in which it was used, by when they began, in nanoseconds since the Unix epoch.
    pub first: u64,
    pub last: u64,
    pub requests: f64,
    pub tokens: f64,
    /// By hour of the week in UTC, from Monday at midnight on.
    pub week: Vec<UseHour>,
}

/// An hour of the week, over all weeks that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UseHour {
    /// In how many weeks it was used in it.
    pub weeks: u16,
    /// In how many quarters of an hour.
    pub quarters: u16,
    pub requests: f64,
    pub tokens: f64,
}

/// Counts of quarters of an hour, put together.
#[derive(Clone, Debug, Default)]
pub struct Uses(BTreeMap<Arc<str>, Counted>);

#[derive(Clone, Debug)]
struct Counted {
    used: Use,
    /// The last hour and the last quarter that counted.
    hour: u64,
    quarter: u64,
}

impl Uses {
    /// In the order of time.
    pub fn add(&mut self, counts: &[(u64, Rare, u64)]) {
        for (time, rare, count) in counts {
            let (Rare::Requests(name) | Rare::Tokens(name)) = rare else { continue };
            if self.0.len() >= NAMES && !self.0.contains_key(name) {
                continue;
            }
            let new = || Use { first: *time, week: vec![UseHour::default(); HOURS], ..Use::default() };
            let counted = self.0.entry(name.clone()).or_insert_with(|| Counted {
                used: new(),
                hour: u64::MAX,
                quarter: u64::MAX,
            });
            let used = &mut counted.used;
            used.last = used.last.max(*time);
            let slot = &mut used.week[hour_of_week(*time)];
            let hour = time / HOUR_NS;
            slot.weeks += u16::from(std::mem::replace(&mut counted.hour, hour) != hour);
            slot.quarters += u16::from(std::mem::replace(&mut counted.quarter, *time) != *time);
            let more = *count as f64;
            match rare {
                Rare::Requests(_) => (used.requests, slot.requests) = (used.requests + more, slot.requests + more),
                _ => (used.tokens, slot.tokens) = (used.tokens + more, slot.tokens + more),
            }
        }
    }

    /// Those with most tokens.
    pub fn finish(self) -> BTreeMap<Arc<str>, Use> {
        let mut uses: Vec<_> = self.0.into_iter().map(|(name, counted)| (name, counted.used)).collect();
        let most = |one: &Use| (one.tokens, one.requests);
        uses.sort_by(|(_, one), (_, other)| most(other).partial_cmp(&most(one)).unwrap_or(std::cmp::Ordering::Equal));
        uses.truncate(MODELS);
        uses.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(counts: &[(u64, Rare, u64)]) -> BTreeMap<Arc<str>, Use> {
        let mut uses = Uses::default();
        counts.iter().for_each(|count| uses.add(std::slice::from_ref(count)));
        uses.finish()
    }

    #[test]
    fn an_hour_counts_once_a_week_and_sums_up() {
        let model = || Arc::from("llama3:8b");
        let monday = 4 * 24 * HOUR_NS;
        let quarter = HOUR_NS / 4;
        let week = HOURS as u64 * HOUR_NS;
        let mut counts = Vec::new();
        for time in [monday + 9 * HOUR_NS, monday + 9 * HOUR_NS + quarter, monday + week + 9 * HOUR_NS] {
            counts.push((time, Rare::Requests(model()), 2));
            counts.push((time, Rare::Tokens(model()), 100));
        }
        let used = &uses(&counts)["llama3:8b"];
        assert_eq!(used.week[9], UseHour { weeks: 2, quarters: 3, requests: 6.0, tokens: 300.0 });
        assert_eq!((used.requests, used.tokens, used.first), (6.0, 300.0, monday + 9 * HOUR_NS));
        assert_eq!(used.week.iter().filter(|hour| hour.weeks > 0).count(), 1);
        assert!(uses(&[(0, Rare::Start, 1)]).is_empty());
    }

    #[test]
    fn those_with_most_tokens_have_a_place() {
        let counts: Vec<_> =
            (0..MODELS as u64 + 9).map(|number| (0, Rare::Tokens(format!("m{number}").into()), number + 1)).collect();
        let kept = uses(&counts);
        assert!(kept.len() == MODELS && !kept.contains_key("m8") && kept.contains_key("m9"));
    }
}

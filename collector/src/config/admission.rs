//! `[admission]`: how much anybody may lease, how long a start may take, and what a verdict keeps to.

use std::collections::BTreeMap;
use std::time::Duration;

use collector_core::lease::Limits;

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Admission {
    /// Whether a verdict also holds to the limits of `[level]`.
    pub within_limits: bool,
    /// How long a start keeps others from its GPU at most.
    pub start_timeout: Duration,
    /// How long work must have been measured before what it needed is remembered; zero remembers nothing.
    pub learn_after: Duration,
    /// Leases of one user, and claims of one user that wait.
    pub user_reservations: usize,
    pub user_waiting: usize,
    /// Percentage of the host's memory.
    pub user_share: usize,
    /// Users who may ask for more than the usual priority, by name or number.
    pub high_priority: Vec<String>,
    /// Slots that all users share: `NAME`, or `NAME=PLACES`.
    pub slots: Vec<String>,
}

impl Default for Admission {
    fn default() -> Admission {
        Admission {
            within_limits: false,
            start_timeout: Duration::from_secs(300),
            learn_after: Duration::from_secs(60),
            user_reservations: 64,
            user_waiting: 64,
            user_share: 50,
            high_priority: Vec::new(),
            slots: Vec::new(),
        }
    }
}

impl Admission {
    /// # Errors
    /// If the places of a slot are no number.
    pub fn limits(&self) -> Result<Limits, String> {
        let slot = |text: &String| {
            let (name, places) = text.split_once('=').unwrap_or((text, "1"));
            let wrong = || format!("admission.slots: {text:?} is neither a name nor NAME=PLACES");
            match places.parse().ok().filter(|_| !name.is_empty()) {
                Some(places) => Ok((name.to_owned(), places)),
                None => Err(wrong()),
            }
        };
        Ok(Limits {
            start_ns: u64::try_from(self.start_timeout.as_nanos()).unwrap_or(u64::MAX),
            learn_ns: u64::try_from(self.learn_after.as_nanos()).unwrap_or(u64::MAX),
            leases: self.user_reservations,
            waiting: self.user_waiting,
            share: self.user_share as u64,
            slots: self.slots.iter().map(slot).collect::<Result<BTreeMap<_, u64>, _>>()?,
            within: self.within_limits,
            ..Limits::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_a_name_and_one_place_unless_it_has_more() {
        let of = |slots: &[&str]| {
            let slots = slots.iter().map(|slot| (*slot).to_owned()).collect();
            Admission { slots, ..Admission::default() }.limits().map(|limits| limits.slots)
        };
        assert_eq!(of(&["a", "b=3"]).unwrap(), BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 3)]));
        for wrong in ["=1", "a=", "a=-1", "a=x"] {
            assert!(of(&[wrong]).unwrap_err().contains("admission.slots"), "{wrong}");
        }
        assert_eq!(Admission::default().limits().unwrap(), Limits::default());
    }
}

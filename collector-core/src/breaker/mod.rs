//! Circuit breakers: a unit that fails again and again for the same cause may not start for a while, then once as a probe; and one
//! that is started too often within a minute waits. Pure over [`Circuits`]; knows no request and no clock.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::circuit::unit::{CAUSES, Circuit, FAILURES, PARTS, Phase, Record, Starts, Unit};
use crate::circuit::{Cause, LONGEST};
use crate::text::escape;
use crate::view::circuit::{Circuits, Key, SHARE, UNITS};

const SECOND: u64 = 1_000_000_000;
/// Failures within this time count together, and so long a unit must do well until earlier ones are forgotten.
const WINDOW: u64 = 600 * SECOND;
/// How long a circuit is open at first; twice as long each time in a row, up to the longest.
const FIRST: u64 = 60 * SECOND;
const LONGEST_OPEN: u64 = 600 * SECOND;
/// The parts in which starts are counted: the last minute is at least all but the present one.
const PART: u64 = 5 * SECOND;

/// Why a unit may not start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// One sentence.
    pub why: String,
    /// After which it is worth asking again.
    pub seconds: u64,
}

/// The name of a unit as it is kept and shown: what cannot be shown is escaped, and what is too long is cut.
pub fn name(text: &str) -> String {
    escape(text.as_bytes()).chars().take(LONGEST).collect()
}

/// Whether this owner's unit may start now, with this many starts a minute (0: any number). Changes nothing.
pub fn check(circuits: &Circuits, time: u64, uid: u32, unit: &str, most_starts: u32) -> Option<Wait> {
    let unit = name(unit);
    let known = circuits.units.get(&key(uid, &unit))?;
    let waits = known.circuits.iter().filter_map(|circuit| closed_to(circuit, time, &unit));
    let waits = waits.chain(too_often(&known.starts, time, &unit, most_starts));
    waits.max_by_key(|wait| wait.seconds)
}

fn closed_to(circuit: &Circuit, time: u64, unit: &str) -> Option<Wait> {
    let left = |since: u64, length: u64| length.saturating_sub(time.saturating_sub(since)).div_ceil(SECOND);
    let cause = circuit.cause;
    let failed = match circuit.opened {
        0 | 1 => format!("{unit} failed {FAILURES} times within 10 min ({cause})"),
        _ => format!("{unit} failed again ({cause})"),
    };
    let (seconds, why) = match circuit.phase {
        Phase::Closed { .. } => return None,
        Phase::Open { since, length, .. } => {
            let seconds = left(since, length);
            (seconds, format!("{failed}: it may not start for another {seconds} s"))
        }
        Phase::Probing { since, .. } => (
            left(since, WINDOW),
            format!("{failed}, and the one that was started to see whether it works now still runs"),
        ),
    };
    (seconds > 0).then_some(Wait { why, seconds })
}

fn too_often(starts: &Starts, time: u64, unit: &str, most: u32) -> Option<Wait> {
    let now = starts.at(time);
    let mut sum: u32 = now.counts.iter().sum();
    if most == 0 || sum < most {
        return None;
    }
    // The oldest parts leave first.
    let mut leaves = 0;
    for (age, count) in now.counts.iter().enumerate().rev() {
        sum -= count;
        leaves = (PARTS - age) as u64;
        if sum < most {
            break;
        }
    }
    let until = (now.part + leaves) * PART;
    let seconds = until.saturating_sub(time).div_ceil(SECOND).max(1);
    Some(Wait {
        why: format!("{unit} was started {most} times within a minute, which is the most that may be"),
        seconds,
    })
}

/// This owner's unit starts, under this reservation.
pub fn started(circuits: &mut Circuits, time: u64, uid: u32, unit: &str, reservation: u64) {
    let named = key(uid, &name(unit));
    let unit = take(circuits, time, uid, unit);
    unit.starts = unit.starts.at(time);
    unit.starts.counts[0] = unit.starts.counts[0].saturating_add(1);
    for circuit in &mut unit.circuits {
        if matches!(circuit.phase, Phase::Open { since, length, .. } if time.saturating_sub(since) >= length) {
            circuit.phase = Phase::Probing { since: time, reservation };
        }
    }
    if !unit.circuits.is_empty() {
        circuits.changed.insert(named);
    }
}

/// What was started ended: well, or for this cause. `reservation` is the one that it was started under, if known.
pub fn ended(circuits: &mut Circuits, time: u64, uid: u32, unit: &str, reservation: Option<u64>, cause: Option<Cause>) {
    let named = key(uid, &name(unit));
    let unit = take(circuits, time, uid, unit);
    let failed_before = !unit.circuits.is_empty();
    for circuit in &mut unit.circuits {
        let probe = match circuit.phase {
            Phase::Probing { reservation, .. } => Some(reservation),
            Phase::Open { unheard, .. } => unheard,
            Phase::Closed { .. } => None,
        };
        if probe.is_some_and(|probe| reservation.is_none_or(|ended| ended == probe)) {
            circuit.phase = match cause {
                None => Phase::Closed { since: time },
                Some(cause) if cause == circuit.cause => Phase::Probing { since: time, reservation: 0 },
                // It failed for another cause, which says nothing of this one: the next is the probe.
                Some(_) => Phase::Open { since: time, length: 0, unheard: None },
            };
        }
    }
    let Some(cause) = cause else {
        if failed_before {
            circuits.changed.insert(named);
        }
        return;
    };
    let circuit = circuit(unit, cause);
    circuit.failures.rotate_left(1);
    circuit.failures[FAILURES - 1] = time;
    match circuit.phase {
        // Others that were started before it opened.
        Phase::Open { .. } => {}
        Phase::Probing { .. } => open(circuit, time),
        Phase::Closed { since } => {
            let recovering = circuit.opened > 0 && time.saturating_sub(since) < WINDOW;
            let oldest = circuit.failures[0];
            if recovering || oldest > 0 && time.saturating_sub(oldest) < WINDOW {
                open(circuit, time);
            }
        }
    }
    circuits.changed.insert(named);
}

/// A unit of before a restart.
pub fn restore(circuits: &mut Circuits, record: &Record) {
    let Record { uid, unit, state } = record;
    let used = state.used;
    *take(circuits, used, *uid, unit) = state.clone();
}

/// What is to be kept for a restart: the units that changed since this was last asked. One without failures is forgotten.
pub fn changed(circuits: &mut Circuits) -> Vec<Record> {
    let changed = std::mem::take(&mut circuits.changed);
    let record = |Key { uid, unit }: Key| {
        let state = circuits.units.get(&Key { uid, unit: unit.clone() }).cloned().unwrap_or_default();
        Record { uid, unit, state }
    };
    changed.into_iter().map(record).collect()
}

/// A reservation ended. If it was a probe whose end nobody has reported, the next start is the probe, unless that comes first.
pub fn released(circuits: &mut Circuits, time: u64, reservation: u64) {
    for (key, unit) in &mut circuits.units {
        for circuit in &mut unit.circuits {
            if matches!(circuit.phase, Phase::Probing { reservation: probe, .. } if probe == reservation) {
                circuit.phase = Phase::Open { since: time, length: 0, unheard: Some(reservation) };
                circuits.changed.insert(key.clone());
            }
        }
    }
}

/// Forgets what is over, and what a clock that was set back says of the future.
pub fn tick(circuits: &mut Circuits, time: u64) {
    let Circuits { units, changed } = circuits;
    units.retain(|key, unit| {
        let before = unit.circuits.len();
        unit.used = unit.used.min(time);
        unit.starts = unit.starts.at(time);
        unit.circuits.retain_mut(|circuit| {
            circuit.failures = circuit.failures.map(|failed| failed.min(time));
            match &mut circuit.phase {
                Phase::Closed { since } | Phase::Open { since, .. } | Phase::Probing { since, .. } => {
                    *since = time.min(*since);
                }
            }
            // It has done well for long enough, although it did not end.
            if matches!(circuit.phase, Phase::Probing { since, .. } if time - since >= WINDOW) {
                circuit.phase = Phase::Closed { since: time - WINDOW };
            }
            let good = |since: u64| time - since >= WINDOW;
            match circuit.phase {
                Phase::Closed { since } => !(good(since) && good(circuit.failures[FAILURES - 1])),
                // Nobody has tried for a whole window after it could: earlier failures are forgotten.
                Phase::Open { since, length, .. } => time - since < length + WINDOW,
                Phase::Probing { .. } => true,
            }
        });
        if unit.circuits.len() < before {
            changed.insert(key.clone());
        }
        !unit.circuits.is_empty() || unit.starts.counts != [0; PARTS]
    });
}

fn open(circuit: &mut Circuit, time: u64) {
    let length = FIRST.saturating_mul(1 << circuit.opened.min(8)).min(LONGEST_OPEN);
    circuit.opened = circuit.opened.saturating_add(1);
    circuit.phase = Phase::Open { since: time, length, unheard: None };
}

fn key(uid: u32, unit: &str) -> Key {
    Key { uid, unit: unit.into() }
}

/// The unit, which is made if it is new. Who has more units than a share, or the most where there are too many, loses the one that
/// was not used for longest.
fn take<'a>(circuits: &'a mut Circuits, time: u64, uid: u32, unit: &str) -> &'a mut Unit {
    let key = key(uid, &name(unit));
    let units = &mut circuits.units;
    if !units.contains_key(&key) {
        let mut counts = BTreeMap::<u32, usize>::new();
        units.keys().for_each(|key| *counts.entry(key.uid).or_default() += 1);
        let owner = match units.len() {
            _ if counts.get(&uid).is_some_and(|count| *count >= SHARE) => Some(uid),
            UNITS.. => counts.into_iter().max_by_key(|(_, count)| *count).map(|(owner, _)| owner),
            _ => None,
        };
        let oldest = units.iter().filter(|(key, _)| Some(key.uid) == owner).min_by_key(|(_, unit)| unit.used);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            units.remove(&oldest);
            circuits.changed.insert(oldest);
        }
    }
    let unit = units.entry(key).or_default();
    unit.used = time;
    unit
}

/// The circuit of this cause; the one that failed longest ago gives way.
fn circuit(unit: &mut Unit, cause: Cause) -> &mut Circuit {
    let circuits = &mut unit.circuits;
    let at = match circuits.iter().position(|circuit| circuit.cause == cause) {
        Some(at) => at,
        None if circuits.len() < CAUSES => {
            circuits.push(Circuit::new(cause));
            circuits.len() - 1
        }
        None => {
            let newest = |at: &usize| circuits[*at].failures[FAILURES - 1];
            let oldest = (0..circuits.len()).min_by_key(newest).unwrap_or_default();
            circuits[oldest] = Circuit::new(cause);
            oldest
        }
    };
    &mut circuits[at]
}

impl Starts {
    /// The same at a later time.
    fn at(&self, time: u64) -> Starts {
        let part = time / PART;
        let mut starts = Starts { part, ..*self };
        // A clock that was set back moves nothing.
        let passed = usize::try_from(part.saturating_sub(self.part)).unwrap_or(PARTS).min(PARTS);
        starts.counts.copy_within(..PARTS - passed, passed);
        starts.counts[..passed].fill(0);
        starts
    }
}

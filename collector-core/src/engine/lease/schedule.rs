//! What the configuration reserves ahead: makes the next occasion of each table a day before it begins, and once; releases what the
//! configuration no longer contains, and tries again what does not fit. When each begins is computed in `schedule.rs`.

use super::{claim, plan, told};
use crate::lease::{Caller, Claim, Lease, Occasion, Owner, State as Has, Step};
use crate::outcome::Outcome;
use crate::schedule::{Entry, Schedule};
use crate::view::View;
use crate::view::schedule::{Key, Next, State};
use crate::zone::Zone;

const SECOND: u64 = 1_000_000_000;
/// How often occasions are looked at, in nanoseconds.
const LOOK_NS: u64 = 10 * SECOND;
/// How long before its begin one is made.
const AHEAD_NS: u64 = 24 * 3600 * SECOND;
/// So soon after the start a reading that is missing may still come.
const START_NS: u64 = 60 * SECOND;
/// The clock on the wall may be slewed: a lease that begins so much too early or too late stays as it is.
const DRIFT_NS: u64 = 30 * SECOND;

pub(super) fn tick(view: &mut View, time: u64) -> Vec<Outcome> {
    let state = &view.schedule;
    let is_early = state.looked <= time && time - state.looked < LOOK_NS;
    if !state.changed && (is_early || state.schedule.entries.is_empty()) {
        return Vec::new();
    }
    let schedule = state.schedule.clone();
    (view.schedule.changed, view.schedule.looked) = (false, time);
    let mut outcomes = Vec::new();
    withdraw(view, &schedule, &mut outcomes);
    follow(view, time, &mut outcomes);
    note(view, time);
    let mut next = Vec::with_capacity(schedule.entries.len());
    for entry in &schedule.entries {
        let begins = entry.next(&schedule.zone, time);
        let state = begins.map_or(State::Later, |begins| look(view, entry, begins, time, &mut outcomes));
        next.push(Next { begins, state });
    }
    view.schedule.next = next;
    outcomes
}

fn key(lease: &Lease) -> Option<Key> {
    let begins = lease.occasion.as_ref()?.begins;
    Some((begins, lease.uid, lease.unit.clone().unwrap_or_default()))
}

/// Whether it is what a table says.
fn is_of(lease: &Lease, entry: &Entry, zone: &Zone) -> bool {
    let Some(Occasion { begins, gpus }) = &lease.occasion else { return false };
    let lasts = lease.expires.zip(lease.begins).map(|(expires, begins)| expires.saturating_sub(begins));
    lease.uid == entry.uid
        && lease.unit.as_deref() == Some(entry.unit.as_str())
        && lease.priority == entry.priority
        && lease.want == entry.want
        && *gpus == entry.gpus
        && lasts == Some(entry.seconds.saturating_mul(SECOND))
        && entry.begins(zone, *begins, begins.saturating_add(1)).next().is_some()
}

/// Gives back what no table says any more, unless it was taken up.
fn withdraw(view: &mut View, schedule: &Schedule, outcomes: &mut Vec<Outcome>) {
    let Schedule { entries, zone } = schedule;
    let planned = view.leases.held.values().filter(|lease| lease.state == Has::Planned && lease.occasion.is_some());
    let gone = planned.filter(|lease| !entries.iter().any(|entry| is_of(lease, entry, zone)));
    let gone: Vec<u64> = gone.map(|lease| lease.id).collect();
    for lease in gone.into_iter().filter_map(|id| view.leases.held.remove(&id)).collect::<Vec<_>>() {
        if let Some(key) = key(&lease) {
            view.schedule.made.remove(&key);
            view.schedule.refused.remove(&key);
        }
        let unit = lease.unit.as_deref().unwrap_or_default();
        let is_there = entries.iter().any(|entry| entry.uid == lease.uid && entry.unit == unit);
        let why = if is_there { "changed" } else { "is not in the configuration any more" };
        let sentence = format!("reservation {} was given back: [[reservation]] {unit} {why}", lease.id);
        outcomes.push(told(view, Step::Released, &lease, sentence));
    }
}

/// Leases go by a clock that never jumps, and these begin by the one on the wall, which may have been set.
fn follow(view: &mut View, time: u64, outcomes: &mut Vec<Outcome>) {
    let now = view.leases.now;
    let mut moved = Vec::new();
    for lease in view.leases.held.values_mut().filter(|lease| lease.state == Has::Planned) {
        let (Some(occasion), Some(begins), Some(expires)) = (&lease.occasion, lease.begins, lease.expires) else {
            continue;
        };
        let due = now.saturating_add(occasion.begins).saturating_sub(time);
        if due.abs_diff(begins) > DRIFT_NS {
            lease.expires = Some(due.saturating_add(expires.saturating_sub(begins)));
            lease.begins = Some(due);
            moved.push(lease.clone());
        }
    }
    for lease in moved {
        let seconds = lease.begins.unwrap_or(now).saturating_sub(now) / SECOND;
        let sentence = format!("reservation {} now starts in {seconds} s: the system clock was changed", lease.id);
        outcomes.push(told(view, Step::Changed, &lease, sentence));
    }
}

/// Which occasions were made, also before a restart, and which of them may be forgotten.
fn note(view: &mut View, time: u64) {
    let View { leases, schedule, .. } = view;
    schedule.made.extend(leases.held.values().filter_map(key));
    let is_near = |key: &Key| key.0.abs_diff(time) <= 2 * AHEAD_NS;
    schedule.made.retain(is_near);
    schedule.refused.retain(is_near);
}

/// Makes it if it is time, and says what became of it.
fn look(view: &mut View, entry: &Entry, begins: u64, time: u64, outcomes: &mut Vec<Outcome>) -> State {
    let own: Key = (begins, entry.uid, entry.unit.clone());
    if view.schedule.made.contains(&own) {
        let is_it = |lease: &&Lease| lease.state == Has::Planned && key(lease).as_ref() == Some(&own);
        let lease = view.leases.held.values().find(is_it);
        return lease.map_or(State::Over, |lease| State::Reserved(lease.id));
    }
    let ahead = begins.saturating_sub(time);
    if ahead > AHEAD_NS {
        return State::Later;
    }
    let wanted = lease(view, entry, begins);
    match plan::make(view, wanted, ahead, entry.seconds.saturating_mul(SECOND), outcomes) {
        Ok(made) => {
            view.schedule.refused.remove(&own);
            view.schedule.made.insert(own);
            State::Reserved(made.id)
        }
        Err(short) if !short.known && time.saturating_sub(view.started) < START_NS => State::Later,
        Err(short) => {
            if view.schedule.refused.insert(own) {
                let sentence = format!(
                    "[[reservation]] {} for user {}, {entry}, is not made yet: {}",
                    entry.unit, entry.uid, short.why
                );
                outcomes.push(told(view, Step::Refused, &lease(view, entry, begins), sentence));
            }
            State::Refused(short.why)
        }
    }
}

/// What a table asks for. It has no number yet, and belongs to nobody.
fn lease(view: &View, entry: &Entry, begins: u64) -> Lease {
    let caller = Caller { uid: entry.uid, privileged: true, ..Caller::default() };
    let claim = Claim { unit: Some(entry.unit.clone()), priority: entry.priority, ..Claim::default() };
    let owner = Owner::Cgroup { path: "/".to_owned() };
    Lease {
        want: entry.want.clone(),
        occasion: Some(Occasion { begins, gpus: entry.gpus.clone() }),
        gpus: entry.gpus.clone(),
        number: None,
        ..claim::lease(view, 0, &caller, &claim, owner)
    }
}

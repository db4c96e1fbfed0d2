//! Advice over time: judges the rules at most once a minute, and keeps what came of each advice. Knows no rule.

mod effect;
mod rank;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::advice::Advice;
use crate::advise::{Given, Judged};
use crate::outcome::Outcome;
use crate::standing::{Standing, State};
use crate::view::View;
use crate::view::advice::{Advices, LACKING, LISTED, PAST};
use rank::{first, room};

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// Until the sources have read everything once, what is missing may only not have been read yet.
const SETTLE: u64 = 10 * SECOND;
/// What holds is shown after it held for so long, and leaves after it did not for so long.
const HOLD: u64 = 5 * MINUTE;
/// How long it is shown what became of it.
const FOLLOWED: u64 = 8 * DAY;
const GONE: u64 = DAY;
/// A jump of the host's clock, or a suspended host, counts as this at most.
const STEP: u64 = 2 * MINUTE;
/// Most advice that is followed over time.
const TRACKS: usize = 1000;
/// Most that is told at once: a start with much to say takes no room from other events.
const TOLD: usize = 16;

/// Advice over time.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    tracks: BTreeMap<String, Track>,
    /// How long it has run, in nanoseconds: does not jump.
    clock: u64,
    /// The last tick.
    last: Option<u64>,
    /// When it judged last, by its own clock.
    judged: Option<u64>,
    /// What was known of the last days then.
    past: u64,
    /// What happened, and was not told yet.
    waiting: VecDeque<Outcome>,
}

#[derive(Clone, Debug)]
struct Track {
    standing: Standing,
    /// By the fold's own clock: since when it holds, and when it was last seen to hold; for what is over, when that was.
    begun: u64,
    seen: u64,
    /// The last time it was seen to hold, in nanoseconds since the Unix epoch.
    time: u64,
    shown: bool,
    /// Of before the agent's start, and not judged since.
    restored: bool,
    /// How old it was then, in nanoseconds.
    age: u64,
}

/// At a tick.
pub fn tick(fold: &mut Fold, view: &mut View, time: u64) -> Vec<Outcome> {
    fold.tick(view, time, Judged::of)
}

impl Fold {
    /// Takes over what there was before the agent's start, the newest first.
    pub fn restore(&mut self, before: &[Standing], time: u64) {
        for standing in before.iter().take(TRACKS) {
            let at = match standing.state {
                State::Holds => time,
                State::Followed { at, .. } => at,
                State::Gone { .. } => continue,
            };
            let (shown, age) = (standing.state != State::Holds, time.saturating_sub(at));
            let clock = self.clock;
            let standing = standing.clone();
            let track = Track { standing, begun: clock, seen: clock, time, shown, restored: true, age };
            let id = &track.standing.advice.id;
            let key = if self.tracks.contains_key(id) { aside(id, at) } else { id.clone() };
            self.tracks.entry(key).or_insert(track);
        }
    }

    fn tick(&mut self, view: &mut View, time: u64, judge: impl FnOnce(&Given<'_>) -> Judged) -> Vec<Outcome> {
        let step = self.last.map_or(0, |last| time.saturating_sub(last).min(STEP));
        self.last = Some(time);
        self.clock += step;
        let new_past = view.past.time != self.past;
        let due = self.judged.is_none_or(|judged| self.clock - judged >= MINUTE);
        // Nothing is allocated until then.
        if self.clock < SETTLE || !(due || new_past) {
            return Vec::new();
        }
        self.judged = Some(self.clock);
        self.past = view.past.time;
        let Judged { mut advice, mut lacking } = judge(&Given { view, past: &view.past });
        advice.sort_by(first);
        let surplus = advice.split_off(TRACKS.min(advice.len())).len();
        let mut outcomes = Vec::new();
        let mut holding = BTreeSet::new();
        for advice in advice {
            if holding.insert(advice.id.clone()) {
                self.holds(view, time, advice, &mut outcomes);
            }
        }
        self.others(view, time, &holding, &mut outcomes);
        let all = lacking.len();
        let mut room = room(view);
        lacking.retain(|lacking| room(&lacking.object));
        drop(room);
        lacking.truncate(LACKING);
        let lacking_left_out = count(all - lacking.len());
        let (standing, left_out) = self.shown(view);
        view.advice = Advices {
            judged: time,
            standing: Arc::new(standing),
            left_out: count(left_out + surplus),
            lacking: Arc::new(lacking),
            lacking_left_out,
        };
        self.waiting.extend(outcomes);
        self.waiting.truncate(TRACKS);
        self.waiting.drain(..TOLD.min(self.waiting.len())).collect()
    }

    /// An advice was judged to hold.
    fn holds(&mut self, view: &View, time: u64, advice: Advice, outcomes: &mut Vec<Outcome>) {
        let clock = self.clock;
        if let Some(track) = self.tracks.get_mut(&advice.id) {
            let value = moved(&track.standing.advice, &advice).then(|| track.followed(view)).flatten();
            if let (State::Holds, Some(value)) = (&track.standing.state, value) {
                // It was followed, and now the same rule asks for more.
                track.end(clock, done(view, track, time, value));
                outcomes.push(track.outcome());
            }
            if track.standing.state != State::Holds {
                self.set_aside(&advice.id);
            }
        }
        let track = self.tracks.entry(advice.id.clone()).or_insert_with(|| Track::new(time, clock, advice.clone()));
        track.standing.advice = advice;
        (track.seen, track.time) = (clock, time);
        let restored = std::mem::take(&mut track.restored);
        // What goes on since before the start is said once more: nobody else knows that it still holds.
        if !track.shown && (restored || clock - track.begun >= HOLD) {
            track.shown = true;
            outcomes.push(track.outcome());
        }
    }

    /// What was followed stays listed beside what the same rule asks for now. What was gone is there again.
    fn set_aside(&mut self, id: &str) {
        let Some(track) = self.tracks.remove(id) else { return };
        if let State::Followed { at, .. } = track.standing.state {
            self.tracks.insert(aside(id, at), track);
        }
    }

    /// What was not judged to hold.
    fn others(&mut self, view: &View, time: u64, holding: &BTreeSet<String>, outcomes: &mut Vec<Outcome>) {
        let clock = self.clock;
        self.tracks.retain(|id, track| {
            if holding.contains(id) {
                return true;
            }
            let object = &track.standing.advice.object;
            match &mut track.standing.state {
                State::Holds if !track.shown && !track.restored => false,
                State::Holds => {
                    let value = track.followed(view);
                    // What its rule needs may not be known again for long after a start; nobody is told that it is over.
                    if value.is_none() && track.restored {
                        return clock - track.seen < FOLLOWED;
                    }
                    if value.is_none() && clock - track.seen < HOLD {
                        return true;
                    }
                    let standing = match value {
                        Some(value) => done(view, track, time, value),
                        None => Standing { state: State::Gone { at: track.time }, ..track.standing.clone() },
                    };
                    track.end(clock, standing);
                    outcomes.push(track.outcome());
                    true
                }
                State::Followed { at, after, .. } => {
                    *after = effect::after(&view.past, object, *at);
                    clock - track.seen + track.age < FOLLOWED
                }
                State::Gone { .. } => clock - track.seen < GONE,
            }
        });
        // What is over leaves first.
        while self.tracks.len() > 2 * TRACKS {
            let over = self.tracks.iter().filter(|(_, track)| track.standing.state != State::Holds);
            let Some(oldest) = over.min_by_key(|(_, track)| track.seen).map(|(id, _)| id.clone()) else { break };
            self.tracks.remove(&oldest);
        }
    }

    /// What is listed, and how much that holds is not.
    fn shown(&self, view: &View) -> (Vec<Standing>, usize) {
        let (mut holds, mut over): (Vec<&Track>, Vec<&Track>) =
            self.tracks.values().filter(|track| track.shown).partition(|track| track.standing.state == State::Holds);
        holds.sort_by(|one, other| first(&one.standing.advice, &other.standing.advice));
        let all = holds.len();
        let mut room = room(view);
        holds.retain(|track| room(&track.standing.advice.object));
        holds.truncate(LISTED);
        let is_gone = |track: &Track| matches!(track.standing.state, State::Gone { .. });
        over.sort_by(|one, other| is_gone(one).cmp(&is_gone(other)).then(other.seen.cmp(&one.seen)));
        over.truncate(PAST);
        let left_out = all - holds.len();
        (holds.into_iter().chain(over).map(|track| track.standing.clone()).collect(), left_out)
    }
}

impl Track {
    fn new(time: u64, clock: u64, advice: Advice) -> Track {
        let standing = Standing { advice, since: time, state: State::Holds };
        Track { standing, begun: clock, seen: clock, time, shown: false, restored: false, age: 0 }
    }

    /// What it was set to, if it was followed since it was shown.
    fn followed(&self, view: &View) -> Option<String> {
        let known = self.shown || self.restored;
        known.then(|| value::followed(view, &self.standing.advice)).flatten()
    }

    /// It was followed, or is gone: that is shown.
    fn end(&mut self, clock: u64, standing: Standing) {
        self.standing = standing;
        (self.seen, self.shown, self.restored, self.age) = (clock, true, false, 0);
    }

    fn outcome(&self) -> Outcome {
        Outcome::Advice(Box::new(self.standing.clone()))
    }
}

/// Where what was followed is kept, once the same rule asks for more.
fn aside(id: &str, at: u64) -> String {
    format!("{id} {at}")
}

/// Whether a newer advice begins at other values. One whose numbers were only computed again does not.
fn moved(older: &Advice, newer: &Advice) -> bool {
    older.actions.iter().map(|action| &action.before).ne(newer.actions.iter().map(|action| &action.before))
}

/// An advice that was followed just now.
fn done(view: &View, track: &Track, at: u64, value: String) -> Standing {
    let before = effect::before(&view.past, &track.standing.advice.object, at);
    Standing { state: State::Followed { at, value, before, after: None }, ..track.standing.clone() }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

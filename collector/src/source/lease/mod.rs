//! The owners of leases, and those who wait for one: whether they live, what they use, and the limits above them. A thread of its own
//! reads them, because there may be many; nothing is read while there are none.

pub mod place;
pub mod program;
pub mod tree;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::lease::{Change, Kept, Lease, Owner, State};
use collector_core::sample::{Reading, Sample};

use super::{Health, Source};
use crate::clock;
use crate::mutex::lock;
use place::Places;
use program::Programs;
use tree::Found;

/// How long the cgroup that owns a lease may be empty.
const EMPTY: Duration = Duration::from_secs(30);
/// The longest time between two looks.
const LONGEST: Duration = Duration::from_secs(1);
/// After a look the thread rests for so many times as long as it took: who leases for the roots of many large trees takes a tenth of a
/// CPU at most.
const REST: u32 = 9;

/// Which leases there are, and what was read of them. Shared with the fold loop, which adds and removes them.
#[derive(Debug, Default)]
pub struct Followed {
    state: Mutex<State_>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State_ {
    leases: BTreeMap<u64, One>,
    found: Vec<Kept>,
    /// How long the last round took, until somebody has learned of it.
    round: Option<Duration>,
    ended: bool,
}

#[derive(Clone, Debug)]
struct One {
    owner: Owner,
    cgroup: Option<String>,
    waits: bool,
    /// Which programs its owner runs is looked for, until it has started; and what was found last.
    seeks: bool,
    starts: bool,
    programs: Programs,
    empty: Option<Instant>,
}

impl Followed {
    /// A lease is there, has another owner, or is no more.
    pub fn change(&self, change: &Change) {
        match change.step.is_end() {
            true => drop(lock(&self.state).leases.remove(&change.lease.id)),
            false => self.add(&change.lease),
        }
    }

    pub fn add(&self, lease: &Lease) {
        let mut state = lock(&self.state);
        if matches!(lease.state, State::Ending | State::Planned) {
            // Its owner is gone already, or it has none yet.
            state.leases.remove(&lease.id);
            return;
        }
        let (owner, cgroup) = (lease.owner.clone(), lease.cgroup.clone());
        // The time for which an owner has had no process starts again only with another owner.
        let empty = state.leases.get(&lease.id).filter(|one| one.owner == owner).and_then(|one| one.empty);
        // What was read of another owner is not this one's.
        if state.leases.get(&lease.id).is_some_and(|one| one.owner != owner) {
            let is_old = |kept: &Kept| match kept {
                Kept::Used { id, .. } | Kept::Gone { id } | Kept::Ran { id, .. } => *id == lease.id,
                _ => false,
            };
            state.found.retain(|kept| !is_old(kept));
        }
        let one = One {
            owner,
            cgroup,
            waits: lease.state == State::Waiting,
            seeks: lease.learns && lease.granted.is_some(),
            starts: lease.state == State::Starting,
            programs: Programs::default(),
            empty,
        };
        state.leases.insert(lease.id, one);
        self.changed.notify_all();
    }

    fn end(&self) {
        lock(&self.state).ended = true;
        self.changed.notify_all();
    }

    /// Reads all of them, again and again.
    fn run(&self, places: &Places, interval: Duration) {
        loop {
            let leases = {
                let mut state = lock(&self.state);
                while state.leases.is_empty() && !state.ended {
                    state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                }
                if state.ended {
                    return;
                }
                state.leases.clone()
            };
            let begun = Instant::now();
            // Several leases of one owner are one look.
            let mut looked = BTreeMap::new();
            for (id, one) in leases {
                let owner = looked.entry(one.owner.clone()).or_insert_with(|| tree::look(places, &one.owner)).clone();
                let programs = match &owner {
                    Found::Has(used) if one.seeks => Some(program::look(places, &one.owner, used)),
                    _ => None,
                };
                let found = Look { owner, ceilings: ceilings(places, id, &one) };
                let mut state = lock(&self.state);
                // It may have changed, or gone, meanwhile.
                let Some(now) = state.leases.get_mut(&id).filter(|now| now.owner == one.owner) else { continue };
                let programs = programs.filter(|found| *found != now.programs);
                // Once more after its start is over.
                now.seeks &= one.starts;
                if let Some(programs) = &programs {
                    now.programs = programs.clone();
                }
                let over = match &found.owner {
                    Found::Gone => true,
                    Found::Has(_) => {
                        now.empty = None;
                        false
                    }
                    Found::Empty(_) => now.empty.get_or_insert_with(Instant::now).elapsed() >= EMPTY,
                };
                match found.owner {
                    Found::Has(used) | Found::Empty(used) if !over => state.found.push(Kept::Used { id, used }),
                    _ => {
                        state.leases.remove(&id);
                        state.found.push(Kept::Gone { id });
                    }
                }
                let ran = |Programs { executables, names }| Kept::Ran { id, executables, names };
                state.found.extend(programs.map(ran));
                state.found.extend(found.ceilings);
            }
            let mut state = lock(&self.state);
            state.round = Some(begun.elapsed());
            let (state, _) = self
                .changed
                .wait_timeout_while(state, interval.max(begun.elapsed() * REST), |state| !state.ended)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            drop(state);
        }
    }
}

struct Look {
    owner: Found,
    ceilings: Option<Kept>,
}

/// The limits above one that waits: they may be other ones by the time that it is served.
fn ceilings(places: &Places, id: u64, one: &One) -> Option<Kept> {
    one.waits.then(|| {
        let (ceilings, missing) = match places.ceilings(one.cgroup.as_deref()) {
            Ok(ceilings) => (ceilings, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Kept::Ceilings { id, ceilings, missing }
    })
}

/// The source.
pub struct Owners {
    followed: Arc<Followed>,
}

impl Owners {
    pub fn start(followed: &Arc<Followed>, places: Places, tick: Duration) -> Result<Owners> {
        let owners = Owners { followed: followed.clone() };
        let followed = followed.clone();
        let run = move || followed.run(&places, tick.min(LONGEST));
        std::thread::Builder::new().name("headroom-lease".into()).spawn(run).context("start a thread for leases")?;
        Ok(owners)
    }
}

impl Drop for Owners {
    fn drop(&mut self) {
        self.followed.end();
    }
}

impl Source for Owners {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let (found, round) = {
            let mut state = lock(&self.followed.state);
            (std::mem::take(&mut state.found), state.round.take())
        };
        let time = clock::unix_ns();
        found.into_iter().for_each(|kept| emit(Sample { time, reading: Reading::Lease(kept) }));
        match round {
            Some(round) => Health::Round { ns: round.as_nanos() as u64, result: Ok(()) },
            None => Health::Silent,
        }
    }
}

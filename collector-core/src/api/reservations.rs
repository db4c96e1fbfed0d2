//! All leases at one moment, and those who wait for one: the answer of `/api/v1/reservations`, and what `headroom reservations` prints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lease::{Lease, Reservation};
use crate::schedule::Entry;
use crate::view::View;
use crate::view::schedule::{Next, State};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reservations {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Leases, the oldest first.
    pub reservations: Vec<Reservation>,
    /// Claims that wait, in the order in which they are served.
    pub waiting: Vec<Reservation>,
    /// What the configuration reserves ahead (`[[reservation]]`), in its order. A user sees only what is for it; root, and whoever sees
    /// everything, all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scheduled: Vec<Scheduled>,
}

/// A table `[[reservation]]` of the configuration, with what became of the next time for which it reserves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scheduled {
    /// The unit whose start takes it up.
    pub unit: String,
    /// Whose start that is.
    pub uid: u32,
    /// When, in local time of the host: `Mon-Fri at 08:30`.
    pub when: String,
    /// When it begins next, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<u64>,
    /// `later`: it is made a day ahead; `reserved`; `over`: it was taken up or given back; `refused`: there is no room for it, and it is tried again
    /// until it begins. Absent before it was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The reservation that was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<u64>,
    /// Why it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Who reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Viewer {
    /// Somebody at an address: all leases, without whose they are.
    #[default]
    Stranger,
    /// This user: the same, and whose its own are.
    User(u32),
    /// Root, or whoever else sees everything.
    All,
}

impl Viewer {
    /// Whether it sees what belongs to this user.
    pub fn sees(self, uid: u32) -> bool {
        match self {
            Viewer::Stranger => false,
            Viewer::User(own) => own == uid,
            Viewer::All => true,
        }
    }
}

impl Reservations {
    pub fn of(view: &View, viewer: Viewer) -> Reservations {
        let leases = &view.leases;
        let shown = |lease: &Lease| {
            let shown = view.reservation(lease);
            if viewer.sees(lease.uid) { shown } else { shown.hidden() }
        };
        let waits_for = |claim: u64| {
            let asked = |lease: &&Lease| {
                lease.eviction.as_ref().is_some_and(|eviction| eviction.claim == claim && !eviction.spared)
            };
            leases.held.values().filter(asked).map(|lease| lease.id).collect()
        };
        let waiting = leases.queue().into_iter().filter_map(|id| leases.waiting.get(&id));
        let waiting =
            waiting.map(|waiting| Reservation { waits_for: waits_for(waiting.lease.id), ..shown(&waiting.lease) });
        Reservations {
            time: view.time,
            reservations: leases.held.values().map(shown).collect(),
            waiting: waiting.collect(),
            scheduled: scheduled(view, viewer),
        }
    }
}

fn scheduled(view: &View, viewer: Viewer) -> Vec<Scheduled> {
    let seen = view.schedule.iter().filter(|(entry, _)| viewer.sees(entry.uid));
    let one = |(entry, next): (&Entry, Option<&Next>)| {
        let state = next.map(|next| &next.state);
        Scheduled {
            unit: entry.unit.clone(),
            uid: entry.uid,
            when: entry.to_string(),
            begins: next.and_then(|next| next.begins),
            state: state.map(|state| state.label().to_owned()),
            reservation: if let Some(State::Reserved(id)) = state { Some(*id) } else { None },
            why: if let Some(State::Refused(why)) = state { Some(why.clone()) } else { None },
        }
    };
    seen.map(one).collect()
}

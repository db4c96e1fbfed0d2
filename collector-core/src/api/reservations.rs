//! All leases at one moment, and those who wait for one: the answer of `/api/v1/reservations`, and what `headroom reservations` prints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lease::{Lease, Reservation};
use crate::view::View;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Reservations {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Leases, the oldest first.
    pub reservations: Vec<Reservation>,
    /// Claims that wait, in the order in which they are served.
    pub waiting: Vec<Reservation>,
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
        }
    }
}

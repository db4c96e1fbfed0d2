//! All leases at one moment, and those who wait for one: the answer of `/api/v1/reservations`, and what `headroom reservations` prints.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lease::Reservation;
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

impl Reservations {
    pub fn of(view: &View) -> Reservations {
        let leases = &view.leases;
        let waiting = leases.queue().into_iter().filter_map(|id| leases.waiting.get(&id));
        Reservations {
            time: view.time,
            reservations: leases.held.values().map(|lease| view.reservation(lease)).collect(),
            waiting: waiting.map(|waiting| view.reservation(&waiting.lease)).collect(),
        }
    }
}

//! A search for names: of the host's containers, or of users' own.

use collector_core::identity::Identity;

use super::request::{Found, Missing, Request};

pub(super) trait Search {
    /// Returns a result per request, in the same order.
    fn find(&mut self, requests: &[&Request]) -> Vec<Found>;

    /// For a container or pod without names: where they were looked for, and what to do so that they are found.
    fn missing(&mut self, identity: &Identity) -> Missing;

    /// CPU time in nanoseconds that other threads spent on it since the last call.
    fn cpu_ns(&mut self) -> u64 {
        0
    }
}

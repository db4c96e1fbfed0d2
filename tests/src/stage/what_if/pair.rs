//! [`Pair`]: the same work twice, once as it was, once with the change.

use collector_core::what_if::Change;

use super::row::Row;
use crate::stage::scenario::Scenario;
use crate::stage::script::Scale;

#[derive(Clone, Debug)]
pub struct Pair {
    pub name: &'static str,
    /// What is changed, as a phrase.
    pub what: &'static str,
    pub was: Scenario,
    pub would: Scenario,
    pub change: Supposed,
    /// The cgroup of which the size is compared.
    pub measured: &'static str,
    /// Whether its waits are compared, not its kills.
    pub waits: bool,
}

impl Pair {
    /// Nothing is known of it yet.
    pub fn row(&self) -> Row {
        Row { name: self.name.to_owned(), what: self.what.to_owned(), ..Row::default() }
    }
}

/// A change, in percentages of the pair's size; names are of cgroups below its own.
#[derive(Clone, Copy, Debug)]
pub enum Supposed {
    Limit(&'static str, f64),
    NoLimit(&'static str),
    Without(&'static str),
    Start(&'static str, f64),
}

impl Supposed {
    /// `root` is the path of the scenario's own cgroup.
    pub fn change(self, root: &str, scale: &Scale) -> Change {
        let of = |name: &str| if name.is_empty() { root.to_owned() } else { format!("{root}/{name}") };
        match self {
            Supposed::Limit(name, percent) => Change::Limit { workload: of(name), bytes: Some(scale.bytes(percent)) },
            Supposed::NoLimit(name) => Change::Limit { workload: of(name), bytes: None },
            Supposed::Without(name) => Change::Without { workload: of(name) },
            Supposed::Start(name, percent) => Change::Start { bytes: scale.bytes(percent), within: Some(of(name)) },
        }
    }
}

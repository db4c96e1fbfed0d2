//! Requests as they reach the engine: what was asked, and what the agent read about who asked. Samples like any other.

use serde::{Deserialize, Serialize};

use super::{Ask, Claim, Ended, Lease, Limits, Mark, Owner, Use};
use crate::circuit::unit::Record;
use crate::learn::{Entry, File};

/// A request, with a number that its answer bears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub number: u64,
    pub caller: Caller,
    pub asked: Asked,
}

/// Who asks, by the kernel's word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Caller {
    pub uid: u32,
    /// Root, or the agent itself: no share binds it.
    pub privileged: bool,
    /// It may see what is of others: privileged, or of the group that may.
    pub all: bool,
    /// It may ask for more than the usual priority.
    pub high: bool,
    /// The memory cgroup that the work will be in: the owner's, or the caller's own.
    pub cgroup: Option<String>,
    /// That cgroup and all above it, nearest first, except the root.
    pub ceilings: Vec<Ceiling>,
    /// Why they are not known.
    pub missing: Option<String>,
}

/// A memory cgroup with its limit, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ceiling {
    pub path: String,
    /// The lower of its two limits, if it has any.
    pub limit: Option<u64>,
    /// It is `memory.high`, above which it is slowed down and not killed.
    pub high: bool,
    pub used: u64,
    /// What the kernel can take back of that: page cache and objects of its own.
    pub reclaimable: u64,
}

impl Ceiling {
    /// What is left below the limit, if there is one.
    pub fn left(&self) -> Option<u64> {
        Some(self.limit?.saturating_sub(self.used.saturating_sub(self.reclaimable)))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    Admit(Ask),
    /// `used` is what the owner has now.
    Claim {
        claim: Claim,
        owner: Owner,
        used: Use,
    },
    Release {
        id: u64,
    },
    /// It is in use.
    Touch {
        id: u64,
    },
    /// Whether its owner may be asked to give it up.
    Mark {
        id: u64,
        mark: Mark,
    },
    /// It has started.
    Settled {
        id: u64,
    },
    /// It has another owner from now on, whose process is this old, in nanoseconds.
    Own {
        id: u64,
        owner: Owner,
        used: Use,
        age: u64,
    },
    /// What was started under a lease ended.
    Ended(Ended),
    /// What was learned of the caller's own work; root sees that of all.
    Learned,
    /// The same is forgotten: one entry, or all.
    Forget {
        id: Option<u64>,
    },
    /// Who made the request with this number has gone: nobody will learn of its answer.
    Withdraw {
        number: u64,
    },
}

/// What is read about leases while they are held, and what was kept of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// How much anybody may lease.
    Limits(Limits),
    /// Of before a restart of the agent.
    Lease(Box<Lease>),
    /// A claim that waited when the agent last ran: whoever repeats it with its key has its place.
    Place { uid: u32, key: String, asked: u64 },
    /// A unit that failed before a restart of the agent.
    Unit(Box<Record>),
    /// All ids below this were given before.
    Next(u64),
    /// What the owner of a lease has now.
    Used { id: u64, used: Use },
    /// The owner of a lease is gone.
    Gone { id: u64 },
    /// Executables and names of processes that the owner of a lease has or had.
    Ran { id: u64, executables: Vec<File>, names: Vec<String> },
    /// What was learned before a restart of the agent.
    Learned(Box<Entry>),
    /// The cgroups of who waits.
    Ceilings { id: u64, ceilings: Vec<Ceiling>, missing: Option<String> },
}

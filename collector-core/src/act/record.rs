//! A row of the actuator's journal: what was changed, by whom, why, and what became of it. Data alone.

use serde::{Deserialize, Serialize};

use super::place::Caller;
use super::request::Object;
use crate::action::{Kind, Risk};

/// A change, from before it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: u64,
    /// Milliseconds since the epoch.
    pub time: u64,
    /// The start of the host that it belongs to (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    pub who: Who,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The caller's own key of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The rule of the policy that allows it.
    pub rule: String,
    pub kind: Kind,
    pub object: Object,
    pub risk: Risk,
    /// Although a check said that it is dangerous.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// What is written, in this order; nothing for a signal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Milliseconds since the epoch at which it is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// The same since the host started: no clock that is set moves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_boot: Option<u64>,
    pub state: State,
    /// What there is to say about the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How it ends, written down before that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
}

/// A value in a file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Whose hierarchy the cgroup is in, as cgroup v1 calls it.
    pub controller: String,
    pub file: String,
    /// The inode number of the cgroup's directory in that hierarchy.
    pub cgroup: u64,
    pub before: String,
    pub after: String,
    /// What the kernel showed after the write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    pub uid: u32,
    pub pid: u32,
    pub comm: String,
}

impl From<&Caller> for Who {
    fn from(caller: &Caller) -> Who {
        Who { uid: caller.uid, pid: caller.pid, comm: caller.comm.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Milliseconds since the epoch.
    pub time: u64,
    /// Who undoes it; nobody where its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
}

impl Ending {
    /// What the change is afterwards.
    pub fn state(&self) -> State {
        if self.who.is_some() { State::Undone } else { State::Expired }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is about to be made.
    Intended,
    Done,
    /// It was not made.
    Failed,
    Undone,
    /// Somebody else changed the same since: it is theirs.
    SteppedAside,
    /// Its time was over, and it was undone.
    Expired,
}

impl State {
    pub fn label(self) -> &'static str {
        match self {
            State::Intended => "intended",
            State::Done => "done",
            State::Failed => "failed",
            State::Undone => "undone",
            State::SteppedAside => "stepped aside",
            State::Expired => "expired",
        }
    }
}

impl Record {
    /// Whether it must be looked at again: it is half made or half undone, or ends at a time.
    pub fn is_pending(&self) -> bool {
        match self.state {
            State::Intended => true,
            State::Done => self.ending.is_some() || self.until_boot.is_some(),
            _ => false,
        }
    }
}

//! A lease: a need that was granted to an owner, or waits to be; how much of it the owner uses by now, and how it ends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Eviction, Priority, Want};

/// In times, nanoseconds since the Unix epoch, by a clock that never jumps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lease {
    pub id: u64,
    pub state: State,
    /// The user that asked.
    pub uid: u32,
    pub owner: Owner,
    /// The memory cgroup that it was judged in: the owner's. Absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    pub want: Want,
    /// The number of each GPU that it has, in the order of the need's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    pub priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub evictable: bool,
    /// Root lets claims of any user ask for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anyone: bool,
    /// Its owner was asked to give it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eviction: Option<Eviction>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub asked: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// Of one that was made ahead: when it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins: Option<u64>,
    /// The occurrence of a `[[reservation]]` that this lease, or the one that it took up, was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occasion: Option<Occasion>,
    /// When it last grew, or somebody said that it is used.
    pub touched: u64,
    /// What the owner used when it was granted, without what earlier leases of the same owner had of that.
    pub base: Spent,
    /// What it uses now beyond that.
    #[serde(default)]
    pub spent: Spent,
    /// The most of that so far: growth is what is more.
    #[serde(default)]
    pub most: Spent,
    /// Processes that use a GPU although the owner is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
    /// The owner's processes, and what it uses in all, as last read.
    #[serde(skip)]
    pub pids: Vec<u32>,
    #[serde(skip)]
    pub seen: Spent,
    /// Processes that held its GPUs before it was granted.
    #[serde(skip)]
    pub before: Vec<u32>,
    /// What its owner uses is measured for the next start of the same work.
    #[serde(skip)]
    pub learns: bool,
    /// The request that it was granted for, until somebody has learned of it.
    #[serde(skip)]
    pub number: Option<u64>,
}

/// One of the times for which the configuration reserves a unit ahead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occasion {
    /// When it begins by the clock on the wall, in nanoseconds since the Unix epoch.
    pub begins: u64,
    /// The GPUs that it may be on; any if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LeaseState)]
pub enum State {
    /// Not granted yet.
    Waiting,
    /// Made ahead: it belongs to nobody until a claim of the same user and unit takes it up.
    Planned,
    /// Granted, and its use still grows. Nothing else starts on its GPUs.
    Starting,
    /// Its use no longer grows, or its owner said that it started.
    Settled,
    /// Its owner is gone, or it was released: what it still holds is looked for.
    Ending,
}

/// Whose use is counted. The lease ends with it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schema(as = LeaseOwner)]
pub enum Owner {
    /// A process with all that it starts. `started` is in clock ticks since boot: pids are reused.
    Process { pid: u32, started: u64 },
    /// All processes of the cgroup at this path.
    Cgroup { path: String },
}

/// Amounts that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spent {
    /// Bytes of host memory that cannot be reclaimed.
    pub hard: u64,
    /// Bytes of files in memory.
    pub soft: u64,
    /// Bytes by the number of the GPU.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub vram: BTreeMap<String, u64>,
}

/// What an owner has at one moment, as read from the kernel's files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Use {
    pub hard: u64,
    pub soft: u64,
    /// Its processes, as far as they were read.
    pub pids: Vec<u32>,
    /// The kernel's own peak of its cgroup, page cache included; absent if it has no cgroup of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// What drivers and networks pinned of it, as far as the kernel counts it by process; absent where it is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<u64>,
}

/// A process that still holds memory of a GPU although the owner of the lease is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Orphan {
    pub pid: u32,
    /// Its cgroup, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    pub gpu: String,
    /// Absent if the driver does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl Spent {
    /// What is more than in another.
    pub fn beyond(&self, base: &Spent) -> Spent {
        let of = |(gpu, bytes): (&String, &u64)| {
            (gpu.clone(), bytes.saturating_sub(base.vram.get(gpu).copied().unwrap_or(0)))
        };
        Spent {
            hard: self.hard.saturating_sub(base.hard),
            soft: self.soft.saturating_sub(base.soft),
            vram: self.vram.iter().map(of).collect(),
        }
    }

    /// Both together.
    pub fn and(&self, other: &Spent) -> Spent {
        let mut sum = self.clone();
        sum.hard = sum.hard.saturating_add(other.hard);
        sum.soft = sum.soft.saturating_add(other.soft);
        for (gpu, bytes) in &other.vram {
            let mine = sum.vram.entry(gpu.clone()).or_default();
            *mine = mine.saturating_add(*bytes);
        }
        sum
    }

    /// Takes over what is more in another, by `step` at least. Returns whether anything was.
    pub fn rise(&mut self, other: &Spent, step: u64) -> bool {
        let mut rose = false;
        let mut rise = |mine: &mut u64, theirs: u64| {
            if theirs >= mine.saturating_add(step) {
                (*mine, rose) = (theirs, true);
            }
        };
        rise(&mut self.hard, other.hard);
        rise(&mut self.soft, other.soft);
        for (gpu, bytes) in &other.vram {
            rise(self.vram.entry(gpu.clone()).or_default(), *bytes);
        }
        rose
    }

    pub fn is_nothing(&self) -> bool {
        self.hard == 0 && self.soft == 0 && self.vram.values().all(|bytes| *bytes == 0)
    }
}

impl Lease {
    /// Whether a claim of this user and priority may ask the owner to give it up: it is less important work of the same user, or root
    /// lets anybody ask who is as important.
    pub fn may_be_asked_by(&self, uid: u32, priority: Priority) -> bool {
        self.evictable && (self.uid == uid && self.priority < priority || self.anyone && self.priority <= priority)
    }

    /// Whether it may still grow.
    pub fn is_held(&self) -> bool {
        matches!(self.state, State::Starting | State::Settled)
    }

    /// What the owner uses of it: what is more than that is nobody's here.
    pub fn burned(&self) -> Spent {
        let settled = self.settled();
        let own = |(gpu, bytes): (&String, &u64)| {
            let at = self.gpus.iter().position(|number| number == gpu).and_then(|at| u32::try_from(at).ok());
            let want = at.and_then(|at| self.want.vram.get(&at)).map_or(0, |want| want.at(settled));
            (gpu.clone(), (*bytes).min(want))
        };
        Spent {
            hard: self.spent.hard.min(self.want.hard.at(settled)),
            soft: self.spent.soft.min(self.want.soft),
            vram: self.spent.vram.iter().map(own).collect(),
        }
    }

    fn settled(&self) -> bool {
        self.state == State::Settled
    }

    /// Host memory that it was granted and does not use yet: what cannot be reclaimed, and files.
    pub fn unspent_host(&self) -> [u64; 2] {
        if !self.is_held() {
            return [0; 2];
        }
        let hard = self.want.hard.at(self.settled()).saturating_sub(self.spent.hard);
        [hard, self.want.soft.saturating_sub(self.spent.soft)]
    }

    /// The same of a GPU.
    pub fn unspent_vram(&self, gpu: &str) -> u64 {
        if !self.is_held() {
            return 0;
        }
        let own = self.gpus.iter().position(|number| number == gpu).and_then(|at| u32::try_from(at).ok());
        let want = own.and_then(|own| self.want.vram.get(&own)).copied().unwrap_or_default();
        want.at(self.settled()).saturating_sub(self.spent.vram.get(gpu).copied().unwrap_or(0))
    }

    /// Whether its start keeps others from this GPU.
    pub fn starts_on(&self, gpu: &str) -> bool {
        self.state == State::Starting && !self.want.vram.is_empty() && self.gpus.iter().any(|number| number == gpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(hard: u64, vram: u64) -> Spent {
        Spent { hard, soft: 0, vram: BTreeMap::from([("0".to_owned(), vram)]) }
    }

    #[test]
    fn growth_is_what_is_beyond_the_base_and_a_rise_is_a_whole_step() {
        assert_eq!(spent(7, 5).beyond(&spent(3, 9)), spent(4, 0));
        let mut most = spent(10, 10);
        assert!(!most.rise(&spent(19, 19), 10) && most == spent(10, 10));
        assert!(most.rise(&spent(5, 20), 10) && most == spent(10, 20));
        assert!(spent(0, 0).is_nothing() && !spent(0, 1).is_nothing());
    }
}

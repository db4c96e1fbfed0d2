//! Changes of a workload as actions: with what is set now, the risk, the undo, and the commands of whoever owns it.

use super::command;
use super::program::{self, Setting};
use super::{Action, Change, Kind, Object, Target};
use crate::amount;
use crate::program::{Flags, Program};

impl Target {
    /// The action for a change; `None` if this host's cgroups cannot do it, or nobody could set that value.
    pub fn change(&self, change: &Change) -> Option<Action> {
        if !change.is_valid() || !self.unified && change.legacy().is_none() {
            return None;
        }
        let key = match self.unified {
            true => change.unified().0,
            false => change.legacy().map(|(_, file, _)| file)?,
        };
        let before = self.before(change);
        let raw = before.as_ref().map(|(change, _)| change.value());
        let kind = change.kind();
        Some(Action {
            kind,
            object: Object::Workload(self.name.to_string()),
            key: Some(key.to_owned()),
            before: raw,
            after: Some(change.value()),
            risk: kind.risk(self.tightens(change)),
            undo: kind.undo(before.as_ref().map(|(_, words)| &**words)),
            commands: command::of(self, change),
        })
    }

    pub fn memory_max(&self, bytes: Option<u64>) -> Option<Action> {
        self.change(&Change::MemoryMax(bytes))
    }

    pub fn memory_high(&self, bytes: Option<u64>) -> Option<Action> {
        self.change(&Change::MemoryHigh(bytes))
    }

    pub fn memory_low(&self, bytes: u64) -> Option<Action> {
        self.change(&Change::MemoryLow(bytes))
    }

    pub fn memory_min(&self, bytes: u64) -> Option<Action> {
        self.change(&Change::MemoryMin(bytes))
    }

    pub fn swap_max(&self, bytes: Option<u64>) -> Option<Action> {
        self.change(&Change::SwapMax(bytes))
    }

    pub fn cpu_weight(&self, weight: u64) -> Option<Action> {
        self.change(&Change::CpuWeight(weight))
    }

    /// A quota, in CPUs.
    pub fn cpu_max(&self, cpus: Option<f64>) -> Option<Action> {
        self.change(&Change::CpuMax(cpus))
    }

    /// Lists as the kernel writes them: `0-3,8`.
    pub fn cpuset(&self, cpus: &str, nodes: Option<&str>) -> Option<Action> {
        self.change(&Change::Cpuset(cpus.to_owned(), nodes.map(str::to_owned)))
    }

    pub fn io_weight(&self, weight: u64) -> Option<Action> {
        self.change(&Change::IoWeight(weight))
    }

    /// Bytes per second on a device, by its number (`8:0`).
    pub fn io_max(&self, device: &str, read: Option<u64>, write: Option<u64>) -> Option<Action> {
        self.change(&Change::IoMax { device: device.to_owned(), read, write })
    }

    pub fn reclaim(&self, bytes: u64) -> Option<Action> {
        self.change(&Change::Reclaim(bytes))
    }

    pub fn freeze(&self) -> Option<Action> {
        self.change(&Change::Freeze)
    }

    pub fn thaw(&self) -> Option<Action> {
        self.change(&Change::Thaw)
    }

    /// Stops it and starts it again.
    pub fn restart(&self) -> Option<Action> {
        let kind = Kind::Restart;
        Some(Action {
            kind,
            object: Object::Workload(self.name.to_string()),
            key: None,
            before: None,
            after: None,
            risk: kind.risk(true),
            undo: kind.undo(None),
            commands: command::restart(self),
        })
    }

    /// Starts the program in it with other flags or variables than it was `given`.
    pub fn configure(&self, program: Program, settings: &[Setting], given: &Flags) -> Option<Action> {
        program::configure(Object::Workload(self.name.to_string()), Some(&self.owner), program, settings, given)
    }

    /// What is set now, as a change and in words; `None` if that is not known.
    fn before(&self, change: &Change) -> Option<(Change, String)> {
        let known = &self.known;
        let limit = |bytes: Option<u64>| bytes.map_or_else(|| "no limit".to_owned(), amount::bytes);
        let before = match change {
            Change::MemoryMax(_) => (Change::MemoryMax(known.memory_max), limit(known.memory_max)),
            Change::MemoryHigh(_) => (Change::MemoryHigh(known.memory_high), limit(known.memory_high)),
            Change::MemoryLow(_) => {
                let low = known.memory_low?;
                (Change::MemoryLow(low), amount::bytes(low))
            }
            Change::MemoryMin(_) => {
                let min = known.memory_min?;
                (Change::MemoryMin(min), amount::bytes(min))
            }
            Change::SwapMax(_) => (Change::SwapMax(known.swap_max), limit(known.swap_max)),
            Change::CpuMax(_) => {
                let cpus = known.cpu_max?;
                (Change::CpuMax(Some(cpus)), format!("{} CPUs", amount::fixed(cpus, 2)))
            }
            Change::Freeze => (Change::Thaw, String::new()),
            Change::Thaw => (Change::Freeze, String::new()),
            _ => return None,
        };
        (known.limits || !matches!(change, Change::MemoryMax(_) | Change::MemoryHigh(_) | Change::SwapMax(_)))
            .then_some(before)
    }

    /// Whether it has less afterwards. What is not known might be more.
    fn tightens(&self, change: &Change) -> bool {
        let less = |after: Option<u64>, before: Option<u64>| match after {
            None => false,
            Some(after) => !self.known.limits || before.is_none_or(|before| after < before),
        };
        match change {
            Change::MemoryMax(after) => less(*after, self.known.memory_max),
            Change::SwapMax(after) => less(*after, self.known.swap_max),
            _ => true,
        }
    }
}

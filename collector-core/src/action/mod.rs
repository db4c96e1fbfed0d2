//! What may be changed on a host, as data: what is changed, from what to what, how risky that is, how it is undone, and what a person types
//! for it. Knows neither why it is advised nor how it is carried out. Some kinds are not used by any advice yet.

mod build;
mod change;
mod command;
mod file;
mod host;
mod model;
mod process;
mod program;
mod quote;
mod risk;
mod target;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use change::Change;
pub use file::{delete_model, delete_own_files, find_large, move_model};
pub use host::{DEFRAG, SCHEDULER, WEIGHING, huge_pages_defrag, io_weights, swap_file, sysctl, zram, zram_smaller};
pub use model::{load_model, unload_model};
pub use process::end;
pub use program::{Setting, configure};
pub use risk::by_hand;
pub use target::{Above, Known, Owner, Target};

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Action {
    pub kind: Kind,
    #[schema(value_type = ActionObject)]
    pub object: Object,
    /// What of it is changed: a file of a cgroup, a sysctl, flags of a program. Of a cgroup the
    /// values below are bytes as digits, CPUs as a number, or `max`; of others as it has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its value now; absent: not known, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    pub risk: Risk,
    /// How it is undone, in one sentence.
    pub undo: String,
    /// What a person types, by who owns the object: the first fits best.
    pub commands: Vec<Command>,
}

/// What is done. The order is that of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionKind)]
pub enum Kind {
    MemoryLow,
    MemoryMin,
    MemoryHigh,
    MemoryMax,
    SwapMax,
    CpuWeight,
    CpuMax,
    Cpuset,
    IoWeight,
    IoMax,
    /// Has the kernel free a bounded amount of a workload's memory.
    Reclaim,
    Freeze,
    Thaw,
    Terminate,
    Kill,
    /// Restarts it: what it had in memory is lost.
    Restart,
    SwapOn,
    SwapOff,
    ZramOn,
    ZramOff,
    Sysctl,
    UnloadModel,
    /// Of the agent's own files.
    DeleteOwnFiles,
    DeleteModel,
    MoveModel,
    /// A program is started with other flags, variables or configuration. Nobody but its owner can do that.
    Configure,
    /// Something that no command does: a card in another slot, a program that must be changed.
    ByHand,
}

/// What it is done to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionObject)]
pub enum Object {
    Host,
    /// By its name.
    Workload(String),
    /// A model server, by its name: a workload may have several.
    Server(String),
    /// A GPU, by its number.
    Gpu(u32),
    /// A block device, by its name.
    Disk(String),
    /// A file or directory, by its path.
    File(String),
    /// A process, by its number.
    Process(u32),
    /// A rule for alerts, by its name.
    Alert(String),
}

/// For the description of the API, whose generator takes the name `Object` for any object.
pub type ActionObject = Object;

/// What may happen to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionRisk)]
pub enum Risk {
    /// Reversible in place, without a restart, and nobody is made to wait.
    Low,
    /// May slow somebody.
    Medium,
    /// May stop somebody.
    High,
}

/// What a person types, or puts into a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ActionCommand)]
pub struct Command {
    pub tool: Tool,
    /// A command line; of a patch or a file, its text.
    pub text: String,
    /// The file that the text belongs into, if it is no command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What to know of it, in one or two sentences: how long it lasts, what must follow, what it cannot do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Command {
    fn new(tool: Tool, text: String) -> Command {
        Command { tool, text, file: None, note: None }
    }

    fn note(self, note: impl Into<String>) -> Command {
        Command { note: Some(note.into()), ..self }
    }

    fn file(self, file: impl Into<String>) -> Command {
        Command { file: Some(file.into()), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ActionTool)]
pub enum Tool {
    Systemd,
    Docker,
    Compose,
    Podman,
    Kubernetes,
    Slurm,
    /// A file of the cgroup, where nobody else owns it.
    Cgroup,
    Sysctl,
    Ollama,
    LlamaCpp,
    Vllm,
    Sglang,
    Headroom,
    Shell,
}

impl Risk {
    pub fn label(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::Medium => "medium",
            Risk::High => "high",
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Host => f.write_str("host"),
            Object::Workload(name)
            | Object::Server(name)
            | Object::Disk(name)
            | Object::File(name)
            | Object::Alert(name) => f.write_str(name),
            Object::Gpu(number) => write!(f, "gpu{number}"),
            Object::Process(pid) => write!(f, "process {pid}"),
        }
    }
}

impl Kind {
    /// Whether its values are bytes, as digits.
    pub const fn is_bytes(self) -> bool {
        use Kind::{MemoryHigh, MemoryLow, MemoryMax, MemoryMin, Reclaim, SwapMax, SwapOff, SwapOn, ZramOn};
        matches!(self, MemoryLow | MemoryMin | MemoryHigh | MemoryMax | SwapMax | Reclaim | SwapOn | SwapOff | ZramOn)
    }

    /// A value that it sets, for people: bytes with their unit.
    pub fn shown(self, value: &str) -> String {
        match value.parse() {
            Ok(amount) if self.is_bytes() => crate::amount::bytes(amount),
            _ => value.to_owned(),
        }
    }
}

impl Risk {
    pub const fn meaning(self) -> &'static str {
        match self {
            Risk::Low => "undone in place, without a restart, and nobody is made to wait",
            Risk::Medium => "it may slow somebody",
            Risk::High => "it may stop somebody",
        }
    }
}

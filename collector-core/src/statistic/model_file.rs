//! Model files: which processes use which, how much of each is in memory, and stores of them. Knows neither how they are found nor
//! when one counts as used.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cgroup::Id;

/// At most this many files of a process are told.
pub const FILES: usize = 16;
/// At most this many files of a store are told one by one: the largest.
pub const LARGEST: usize = 32;

/// What a file lies on, by the device's own facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StorageTier)]
pub enum Tier {
    /// A filesystem in memory.
    Memory,
    /// A device that does not rotate.
    Ssd,
    /// A device that says that it rotates. Disks of virtual machines often do.
    Hdd,
    /// A filesystem of another host.
    Network,
    Unknown,
}

impl Tier {
    pub fn label(self) -> &'static str {
        ["memory", "ssd", "hdd", "network", "unknown"][self as usize]
    }
}

/// How a process uses a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ModelFileUse)]
pub enum How {
    /// It has it mapped.
    Mapped,
    /// It has it open.
    Open,
    /// Its command line names it.
    Argument,
}

/// A model file that a process uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The label `file`: its base name, at most 64 bytes, all of which can be shown.
    pub name: Arc<str>,
    /// Device and inode.
    pub id: (u64, u64),
    pub how: How,
    pub bytes: u64,
    /// Bytes of it in the page cache; absent if the kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Bytes of it that were there, were dropped, and of which the kernel still knows that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<u64>,
    pub tier: Tier,
    /// Type of the filesystem: `ext4`, `nfs4`, `overlay`.
    pub fstype: Arc<str>,
}

/// A process of a model server, or one that holds GPU memory, and the model files that it uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    /// The name of the model server that it is, or belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Arc<str>>,
    /// Its memory cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// At most [`FILES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// Its page faults that needed IO since it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faults: Option<u64>,
    /// Bytes of all files that its cgroup read again since it was made (`workingset_refault_file`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refaulted: Option<u64>,
}

/// How a store names its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ModelStoreKind)]
pub enum Layout {
    Ollama,
    HuggingFace,
    /// A folder with model files, without names by content.
    Folder,
}

impl Layout {
    pub const ALL: [Layout; 3] = [Layout::Ollama, Layout::HuggingFace, Layout::Folder];

    /// In labels and settings.
    pub const fn label(self) -> &'static str {
        ["ollama", "huggingface", "folder"][self as usize]
    }
}

/// A place where model files are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The label `store`: unique on this host.
    pub name: Arc<str>,
    pub layout: Layout,
    /// Where it is. Not in labels.
    pub path: Arc<str>,
    pub tier: Tier,
    pub fstype: Arc<str>,
    pub files: u64,
    pub bytes: u64,
    /// Files whose content is in this store or one before it already, by the names that say what is in them; absent if names do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<Amount>,
    /// Files that no manifest and no snapshot names; absent if a store has neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreferenced: Option<Amount>,
    /// Files that nothing used for `model_file.unused_after`; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused: Option<Amount>,
    /// What is not known, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Arc<str>>,
    /// At most [`LARGEST`], the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub largest: Vec<Stored>,
}

/// How many files, and how much they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amount {
    pub files: u64,
    pub bytes: u64,
}

impl Amount {
    pub fn add(&mut self, bytes: u64) {
        (self.files, self.bytes) = (self.files + 1, self.bytes.saturating_add(bytes));
    }
}

/// A file of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    pub name: Arc<str>,
    /// The models whose manifests or snapshots name it, at most three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<Arc<str>>,
    pub bytes: u64,
    /// Whether something uses it now, or that is not known.
    pub in_use: bool,
    /// When it was last used, as far as anybody saw, in nanoseconds since the Unix epoch; absent if nobody saw it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Its content is elsewhere, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// Nothing used it for `model_file.unused_after`, and that is known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// All model files that a process uses now.
    Used(Arc<Process>),
    /// A process that was reported before has ended, or uses no model file any more.
    Gone {
        pid: u32,
    },
    Store(Arc<Store>),
    /// A store is gone, or cannot be read.
    StoreGone {
        name: Arc<str>,
    },
}

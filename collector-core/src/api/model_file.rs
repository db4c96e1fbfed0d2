//! Model files that are in use, and stores of them, as the API shows them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::statistic::model_file::{How, Layout, Stored, Tier};
use crate::view::View;

/// A model file that processes of one workload, or of one model server of it, use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelFile {
    /// Its base name.
    pub file: String,
    pub workload: String,
    /// The model server; absent if it is another process that holds GPU memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Whether it is mapped, open, or only named by the command line.
    pub how: How,
    /// Files of this name that are added up here.
    pub files: u64,
    pub bytes: u64,
    /// Bytes of it in the page cache; absent if the kernel does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_bytes: Option<u64>,
    /// Bytes that were dropped from the page cache since the agent first saw it in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_bytes: Option<u64>,
    /// Bytes that came back after they were dropped: an estimate, by what rose and by what its cgroup read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_again_bytes: Option<u64>,
    /// What it lies on.
    pub tier: Tier,
    /// Type of the filesystem.
    pub filesystem: String,
    /// When it was last seen in use, in nanoseconds since the Unix epoch.
    pub used: u64,
}

/// A place where model files are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ModelStore {
    pub store: String,
    pub layout: Layout,
    pub path: String,
    pub tier: Tier,
    pub filesystem: String,
    pub files: u64,
    pub bytes: u64,
    /// Content that is in this store, or in one before it, already, by the SHA-256 that names a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duplicate_bytes: Option<u64>,
    /// Files that no manifest and no snapshot names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreferenced_bytes: Option<u64>,
    /// Files that nobody was seen to use for `model_file.unused_after`; absent where that cannot be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_bytes: Option<u64>,
    /// What is not known, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// The largest files.
    pub largest: Vec<StoredFile>,
}

/// A file of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StoredFile {
    pub file: String,
    /// The models that it belongs to, at most three.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    pub bytes: u64,
    /// Something uses it now, or that is not known.
    pub in_use: bool,
    /// When it was last used as far as that was seen, in nanoseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
    /// Its content is elsewhere, too.
    pub duplicate: bool,
}

/// The files, the largest first.
pub fn files(view: &View) -> Vec<ModelFile> {
    let lines = view.model_files.lines(&view.workloads);
    let mut files: Vec<ModelFile> = lines
        .into_iter()
        .map(|(([workload, ..], server, file), line)| ModelFile {
            file: file.to_owned(),
            workload: workload.to_owned(),
            server: Some(server).filter(|server| !server.is_empty()).map(str::to_owned),
            how: line.how,
            files: line.files,
            bytes: line.bytes,
            cached_bytes: line.cached,
            evicted_bytes: line.cached.map(|_| line.evicted),
            read_again_bytes: line.cached.map(|_| line.again),
            tier: line.tier,
            filesystem: line.file.fstype.to_string(),
            used: line.time,
        })
        .collect();
    files.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.file.cmp(&other.file)));
    files
}

/// The stores, by name.
pub fn stores(view: &View) -> Vec<ModelStore> {
    let stored = |stored: &Stored| StoredFile {
        file: stored.name.to_string(),
        models: stored.models.iter().map(ToString::to_string).collect(),
        bytes: stored.bytes,
        in_use: stored.in_use,
        used: stored.used,
        duplicate: stored.duplicate,
    };
    let stores = view.model_files.stores.values().map(|store| ModelStore {
        store: store.name.to_string(),
        layout: store.layout,
        path: store.path.to_string(),
        tier: store.tier,
        filesystem: store.fstype.to_string(),
        files: store.files,
        bytes: store.bytes,
        duplicate_bytes: store.duplicates.map(|amount| amount.bytes),
        unreferenced_bytes: store.unreferenced.map(|amount| amount.bytes),
        unused_bytes: store.unused.map(|amount| amount.bytes),
        missing: store.why.as_deref().map(str::to_owned),
        largest: store.largest.iter().map(stored).collect(),
    });
    stores.collect()
}

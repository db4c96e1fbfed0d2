//! The list of sources, in the order in which a round reads them. Knows how each is opened, and not when it is read.

use anyhow::Result;

use super::filesystem::Filesystems;
use super::gpu::Gpus;
use super::host::Host;
use super::kernel::Kernel;
use super::name::{Answering, Asker};
use super::process::Own;
use super::root::Root;
use super::statistic::{Limits, Reader};
use super::transfer::Transfers;
use super::{Finding, Source};
use crate::config::Config;

/// The kernel's place in [`SOURCES`].
pub const KERNEL: usize = 0;

/// All sources. The kernel tells of a cgroup's birth before anything is read of that cgroup.
pub const SOURCES: &[Row] = &[
    // The agent opens it before the others, while it still has the capabilities that attaching takes.
    row::<Kernel>("kernel", |_| Ok(None)),
    row::<Reader>("cgroup", |it| some(Reader::open(it.root, it.kernel.hierarchies(), Limits::of(it.config)))),
    row::<Asker>("name", |it| some(Asker::start(it.root, it.kernel.hierarchies(), it.config, it.names.clone()))),
    row::<Host>("host", |it| some(Ok(Host::new(it.root, it.config)))),
    row::<Filesystems>("filesystem", |it| some(Ok(Filesystems::new(it.root, &it.config.filesystem)))),
    row::<Gpus>("gpu", |it| match it.config.gpu.enabled.as_str() {
        "off" => Ok(None),
        _ => some(Ok(Gpus::new(it.root, it.kernel.hierarchies(), &it.config.gpu))),
    }),
    row::<Transfers>("transfer", |it| match it.config.transfer.enabled {
        false => Ok(None),
        true => some(Transfers::start(it.root, it.kernel.waiting()?, it.config.transfer.scan)),
    }),
    row::<Own>("process", |it| some(Own::open(it.started))),
];

type Opened = Result<Option<Box<dyn Source>>>;
type Open = fn(&Opening<'_>) -> Opened;

/// A source, before it is open.
pub struct Row {
    /// The label `source` of `headroom_source_up`, where it has any health to show.
    pub name: &'static str,
    /// Opens it; `None` if the configuration switches it off.
    pub open: Open,
    /// See [`Source::examine`].
    pub examine: fn(&Config, &Root) -> Vec<Finding>,
}

/// What sources are opened with.
pub struct Opening<'a> {
    /// What the operator wants.
    pub config: &'a Config,
    /// The host's root.
    pub root: &'a Root,
    /// The kernel, which is open already.
    pub kernel: &'a Kernel,
    /// Takes names as they are found, between ticks too.
    pub names: &'a Answering,
    /// When the agent started, in nanoseconds since the Unix epoch.
    pub started: u64,
}

const fn row<S: Source>(name: &'static str, open: Open) -> Row {
    Row { name, open, examine: S::examine }
}

fn some<S: Source + 'static>(source: Result<S>) -> Opened {
    Ok(Some(Box::new(source?)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_and_findings_are_told_apart() {
        let names: BTreeSet<_> = SOURCES.iter().map(|row| row.name).collect();
        assert_eq!((names.len(), SOURCES[KERNEL].name), (SOURCES.len(), "kernel"));
        let (config, root) = (Config { gpu: off(), ..Config::default() }, Root::new("/nowhere"));
        let findings: Vec<_> = SOURCES.iter().flat_map(|row| (row.examine)(&config, &root)).collect();
        let keys: BTreeSet<_> = findings.iter().map(|finding| finding.key).collect();
        assert_eq!(keys.len(), findings.len());
        // A host without a single file has no cgroups, and says so.
        assert!(findings.iter().any(|finding| finding.key == "cgroup" && !finding.ok), "{findings:?}");
    }

    fn off() -> crate::config::Gpu {
        crate::config::Gpu { enabled: "off".to_owned(), ..Config::default().gpu }
    }
}

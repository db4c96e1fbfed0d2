//! The list of sources, in the order in which a round reads them. Knows how each is opened, not when it is read.

use std::cell::Cell;
use std::sync::Arc;

use anyhow::Result;

use super::contention::{self, Contention};
use super::filesystem::Filesystems;
use super::gpu::Gpus;
use super::host::Host;
use super::kernel::Kernel;
use super::kernel::pass::Pass;
use super::lease::place::Places;
use super::lease::{Followed, Owners};
use super::model::Models;
use super::model::wanted::Wanted;
use super::model_file::ModelFiles;
use super::name::{NameSender, NameSource};
use super::network::Networks;
use super::observed::Observed;
use super::process::OwnProcess;
use super::rising::{self, Rising};
use super::root::Root;
use super::statistic::{Limits, Reader};
use super::transfer::Transfers;
use super::{Finding, Source};
use crate::config::Config;

/// Index of the kernel in [`SOURCES`].
pub const KERNEL: usize = 0;

/// All sources. The kernel comes first: it reports the birth of a cgroup before other sources read that cgroup.
pub const SOURCES: &[Row] = &[
    // The agent opens it first, while it still has the capabilities that attaching needs.
    row::<Kernel>("kernel", |_| Ok(None)),
    // Before what says how much there is: what an owner took meanwhile is then counted twice for a moment, and never not at all.
    row::<Owners>("lease", |it| {
        some(Owners::start(it.leases, Places::new(it.root, it.kernel.hierarchies()), it.config.tick))
    }),
    row::<Reader>("cgroup", |it| {
        let reader = Reader::open(it.root, it.kernel.hierarchies(), Limits::of(it.config));
        some(reader.and_then(|reader| reader.with(it.pass.take()).sampling(it.config)))
    }),
    row::<Contention>("contention", |it| {
        let interval = it.config.workload.close_interval;
        some(contention::start(it.root, it.kernel.hierarchies(), it.watched, interval))
    }),
    row::<Rising>("rising", |it| {
        some(rising::start(it.root, it.kernel.hierarchies(), it.rising, it.config.leak.window))
    }),
    row::<NameSource>("name", |it| {
        some(NameSource::start(it.root, it.kernel.hierarchies(), it.config, it.names.clone()))
    }),
    row::<Host>("host", |it| some(Ok(Host::new(it.root, it.config).counting(it.kernel.completed())))),
    row::<Filesystems>("filesystem", |it| {
        let config = &it.config.filesystem;
        some(Filesystems::new(it.root, config).with_private(it.root, it.kernel.hierarchies(), config))
    }),
    row::<Networks>("network", |it| match it.config.network.enabled {
        false => Ok(None),
        true => some(Networks::start(it.root, it.kernel.hierarchies(), &it.config.network)),
    }),
    row::<Models>("model", |it| match it.config.models.enabled {
        false => Ok(None),
        true => some(Models::start(it.root, it.kernel.hierarchies(), it.models, it.observed)),
    }),
    row::<Gpus>("gpu", |it| match it.config.gpu.enabled.as_str() {
        "off" => Ok(None),
        _ => some(Ok(Gpus::new(it.root, it.kernel.hierarchies(), &it.config.gpu).telling(it.observed))),
    }),
    // After what finds the processes.
    row::<ModelFiles>("model_file", |it| match it.config.model_file.enabled {
        false => Ok(None),
        true => some(ModelFiles::start(it.root, it.kernel.hierarchies(), it.config, it.observed, it.started)),
    }),
    row::<Transfers>("transfer", |it| match it.config.transfer.enabled {
        false => Ok(None),
        true => some(Transfers::start(it.root, it.kernel.waiting()?, it.config.transfer.scan)),
    }),
    row::<OwnProcess>("process", |it| some(OwnProcess::open(it.started, it.kernel.map_bytes()))),
];

type Opened = Result<Option<Box<dyn Source>>>;
type Open = fn(&Opening<'_>) -> Opened;

/// How to open and examine one source.
pub struct Row {
    /// The label `source` of `headroom_source_up`, if the source reports health.
    pub name: &'static str,
    /// `None` if the configuration disables it.
    pub open: Open,
    pub examine: fn(&Config, &Root) -> Vec<Finding>,
}

/// The arguments for opening a source.
pub struct Opening<'a> {
    pub config: &'a Config,
    pub root: &'a Root,
    /// Already open.
    pub kernel: &'a Kernel,
    /// Over all cgroups, for whoever takes it.
    pub pass: Cell<Option<Pass>>,
    /// Receives names as they are found, between ticks too.
    pub names: &'a NameSender,
    /// Whose owners are followed.
    pub leases: &'a Arc<Followed>,
    /// What the configuration says of model servers.
    pub models: &'a Arc<Wanted>,
    /// The processes whose model files are looked at.
    pub observed: &'a Arc<Observed>,
    /// Which workloads are watched closely.
    pub watched: &'a Arc<contention::Watched>,
    /// Of which the memory rises.
    pub rising: &'a Arc<rising::Watched>,
    /// The agent's start in nanoseconds since the Unix epoch.
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
    fn names_and_finding_keys_are_unique() {
        let names: BTreeSet<_> = SOURCES.iter().map(|row| row.name).collect();
        assert_eq!((names.len(), SOURCES[KERNEL].name), (SOURCES.len(), "kernel"));
        let (config, root) = (Config { gpu: off(), ..Config::default() }, Root::new("/nowhere"));
        let findings: Vec<_> = SOURCES.iter().flat_map(|row| (row.examine)(&config, &root)).collect();
        let keys: BTreeSet<_> = findings.iter().map(|finding| finding.key).collect();
        assert_eq!(keys.len(), findings.len());
        // A host without any files has no cgroups, and the finding says so.
        assert!(findings.iter().any(|finding| finding.key == "cgroup" && !finding.ok), "{findings:?}");
    }

    fn off() -> crate::config::Gpu {
        crate::config::Gpu { enabled: "off".to_owned(), ..Config::default().gpu }
    }
}

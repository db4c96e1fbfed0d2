//! A host planted as files, as the agent sees it: its real sources read the files, and an engine folds what they find.

use std::time::Duration;

use collector::config::Config;
use collector::exposition::{Cap, Format, render};
use collector::source::cgroup::{Hierarchies, walk};
use collector::source::name::{self, NameReceiver, NameSource};
use collector::source::root::Root;
use collector::source::statistic::{Limits, Reader};
use collector::source::{self, Source as _};
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample, Start};
use collector_core::signal::cgroup::Reading as Change;

use super::manifest::Tree;

/// Time limit for a name: the thread that looks for it may have to wait for a CPU.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time of all readings, in nanoseconds since the Unix epoch.
const NOW: u64 = 1_700_000_000_000_000_000;

/// A host as the agent sees it.
pub struct Host {
    pub tree: Tree,
    hierarchies: Hierarchies,
    pub reader: Reader,
    asker: NameSource,
    answers: NameReceiver,
    pub engine: Engine,
}

impl Host {
    pub fn open(tree: Tree) -> Host {
        Host::with(tree, 1000, 1000)
    }

    /// With this many descriptors for the files of cgroups, and at most this many workloads.
    pub fn with(tree: Tree, descriptors: usize, workloads: usize) -> Host {
        let root = Root::new(&tree.root);
        let hierarchies = Hierarchies::find(&root).unwrap();
        let limits = Limits { workloads, descriptors, period: 1 };
        let reader = Reader::open(&root, &hierarchies, limits).unwrap();
        let (answering, answers) = name::channel();
        let asker = NameSource::start(&root, &hierarchies, &Config::default(), answering).unwrap();
        let mut host = Host { tree, hierarchies, reader, asker, answers, engine: Engine::new() };
        host.apply(Reading::Start(Start {
            version: "0.1.0".into(),
            kernel: "6.18.0".into(),
            memory_hierarchy: host.hierarchies.memory.id,
            io_hierarchy: host.hierarchies.io.id,
            workload_max: workloads,
            workload_grace: 60_000_000_000,
            own: None,
            history: None,
            level: None,
            starved: None,
            leak: None,
            controllers: None,
        }));
        host
    }

    pub fn apply(&mut self, reading: Reading) {
        self.reader.follow(&reading);
        self.asker.follow(&reading);
        self.engine.apply(&Sample { time: NOW, reading });
    }

    /// Finds the cgroups.
    pub fn walk(&mut self) {
        let mut all = Vec::new();
        for hierarchy in self.hierarchies.distinct() {
            walk(hierarchy, &mut |id, path| all.push(Change::Born { id, path: path.to_owned() })).unwrap();
        }
        // In an order of its own, since a file system returns any.
        all.sort_by_key(|change| format!("{change:?}").split_once("path").map(|(_, path)| path.to_owned()));
        self.apply(Reading::Cgroup(Change::Walk));
        all.into_iter().for_each(|change| self.apply(Reading::Cgroup(change)));
        self.apply(Reading::Cgroup(Change::Walked));
    }

    /// Reads the cgroups' files; returns an error if there was one.
    pub fn read(&mut self) -> Option<String> {
        let mut samples = Vec::new();
        source::read("cgroup", &mut self.reader, &mut |sample| samples.push(sample.reading));
        let mut error = None;
        for reading in samples {
            if let Reading::Source(source) = &reading {
                error.clone_from(&source.error);
                assert_eq!(source.up, error.is_none());
            }
            self.apply(reading);
        }
        self.apply(Reading::Tick);
        error
    }

    /// Waits for this many names.
    pub fn await_names(&mut self, count: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for number in 0..count {
            let next = async { tokio::time::timeout(PATIENCE, self.answers.next()).await };
            let sample = runtime.block_on(next).unwrap_or_else(|_| panic!("{number} of {count} names came"));
            self.apply(sample.reading);
        }
    }

    /// The families of workloads; those of probes are left out.
    pub fn exposition(&self) -> String {
        let text = render(self.engine.view(), Format::OpenMetrics, Cap::NONE).text;
        let ours = |line: &&str| {
            let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ").trim_start_matches("# UNIT ");
            name.starts_with("headroom_workload") && !name.contains("_created")
        };
        text.lines().filter(ours).map(|line| format!("{line}\n")).collect()
    }

    /// Value of the only series with this name and these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.exposition();
        let mut found = text.lines().filter(|line| {
            line.starts_with(&format!("{name}{{"))
                && labels.iter().all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
        });
        let line = found.next()?;
        assert_eq!(found.next(), None, "{name} {labels:?} is not unique: {line}");
        Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
    }
}

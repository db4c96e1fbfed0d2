//! Reads the host without an agent: one walk over the cgroups, with the agent's own sources and engine. It changes nothing, and
//! needs no privileges; what only programs in the kernel see stays unknown.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use collector_core::engine::Engine;
use collector_core::identity::Grants;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::view::View;

use crate::clock;
use crate::config::Config;
use crate::source::cgroup::{Hierarchies, Owners, walk};
use crate::source::filesystem::Filesystems;
use crate::source::gpu::Gpus;
use crate::source::host::Host;
use crate::source::kernel;
use crate::source::name::{self, NameReceiver, NameSource};
use crate::source::root::Root;
use crate::source::statistic::{Limits, Reader};
use crate::source::{self, Source};

/// How long to wait for the names of containers and pods, and between two looks.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(5);
/// How long the filesystems may take, and the GPUs where there is a driver.
const SLOW: Duration = Duration::from_millis(300);
const DRIVER: Duration = Duration::from_secs(3);

pub struct Direct {
    engine: Engine,
    reader: Reader,
    names: NameReceiver,
    /// Sources of the host as a whole, by the names of the catalogue.
    host: Vec<(&'static str, Box<dyn Source>)>,
    /// How long to wait for them.
    patience: Vec<(&'static str, Duration)>,
}

impl Direct {
    /// Finds all present cgroups.
    pub fn open(config: &Config) -> Result<Direct> {
        Direct::with(config, Engine::new())
    }

    /// The same with the host's own numbers: memory, CPUs, disks, filesystems, GPUs. These rules are evaluated.
    pub fn with_host(config: &Config, rules: Arc<Rules>) -> Result<Direct> {
        let mut direct = Direct::with(config, Engine::with(rules))?;
        let root = Root::new(&config.rootfs);
        direct.host.push(("host", Box::new(Host::new(&root, config))));
        direct.host.push(("filesystem", Box::new(Filesystems::new(&root, &config.filesystem))));
        direct.patience.push(("filesystem", SLOW));
        if config.gpu.enabled != "off" {
            let hierarchies = Hierarchies::find(&root)?;
            direct.host.push(("gpu", Box::new(Gpus::new(&root, &hierarchies, &config.gpu))));
            if config.gpu.library.is_some() || root.at("/dev/nvidiactl").exists() {
                direct.patience.push(("gpu", DRIVER));
            }
        }
        Ok(direct)
    }

    fn with(config: &Config, mut engine: Engine) -> Result<Direct> {
        let root = Root::new(&config.rootfs);
        let hierarchies = Hierarchies::find(&root)?;
        // Each of the few readings reads everything.
        let limits = Limits { period: 1, ..Limits::of(config) };
        let mut reader = Reader::open(&root, &hierarchies, limits)?;
        let (answering, names) = name::channel();
        let mut asker = NameSource::start(&root, &hierarchies, config, answering)?;
        let (mut named, mut grants) = (0, Grants::default());
        let mut say = |reading| {
            named += usize::from(has_names(&reading, hierarchies.memory.id, &mut grants));
            reader.follow(&reading);
            asker.follow(&reading);
            engine.apply(&Sample { time: clock::unix_ns(), reading });
        };
        say(Reading::Start(kernel::start(config, &hierarchies)));
        say(Reading::Cgroup(cgroup::Reading::Walk));
        let mut owners = Owners::new(&hierarchies.memory);
        for hierarchy in hierarchies.distinct() {
            walk(hierarchy, &mut |id, path| {
                if id.hierarchy == hierarchies.memory.id {
                    owners.above(path, false, &mut |reading| say(Reading::Cgroup(reading)));
                }
                say(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
            })?;
        }
        say(Reading::Cgroup(cgroup::Reading::Walked));
        let mut direct = Direct { engine, reader, names, host: Vec::new(), patience: Vec::new() };
        // Rates need the names in the first reading, too.
        let until = Instant::now() + PATIENCE;
        while named > 0 && Instant::now() < until {
            match direct.names.try_next() {
                Some(name) => {
                    direct.engine.apply(&name);
                    named -= 1;
                }
                None => sleep(PAUSE),
            }
        }
        Ok(direct)
    }

    /// Reads everything once. What threads of their own read, filesystems and GPUs, is what they have found by now.
    pub fn read(&mut self) -> &Arc<View> {
        let Direct { engine, reader, names, host, .. } = self;
        while let Some(name) = names.try_next() {
            engine.apply(&name);
        }
        reader.read(&mut |sample| drop(engine.apply(&sample)));
        for (name, source) in host {
            source::read(name, &mut **source, &mut |sample| drop(engine.apply(&sample)));
        }
        engine.apply(&Sample { time: clock::unix_ns(), reading: Reading::Tick });
        self.engine.view()
    }

    /// What was read last.
    pub fn view(&self) -> &Arc<View> {
        self.engine.view()
    }

    /// Waits until the threads have completed a round, as long as that may take.
    pub fn wait(&mut self) {
        let Direct { engine, host, patience, .. } = self;
        let begun = Instant::now();
        for (name, source) in host.iter_mut() {
            let Some((_, limit)) = patience.iter().find(|(of, _)| of == name) else { continue };
            while !engine.view().coverage.sources.contains_key(*name) && begun.elapsed() < *limit {
                sleep(PAUSE);
                source::read(name, &mut **source, &mut |sample| drop(engine.apply(&sample)));
            }
        }
    }
}

/// Whether names are looked for because of this reading.
fn has_names(reading: &Reading, memory: u64, grants: &mut Grants) -> bool {
    let (id, path) = match reading {
        Reading::Cgroup(cgroup::Reading::Born { id, path }) => (id, path),
        Reading::Cgroup(cgroup::Reading::Given { path, uid }) => {
            grants.set(path, *uid);
            return false;
        }
        _ => return false,
    };
    let identity = grants.identity(path);
    id.hierarchy == memory && identity.has_names() && *identity.top == **path
}

//! Reads workloads without an agent: one walk over the cgroups, with the agent's own reader and engine.

use anyhow::Result;
use collector_core::api::workloads::Summary;
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;

use crate::clock;
use crate::config::Config;
use crate::source::Source;
use crate::source::cgroup::{Hierarchies, walk};
use crate::source::kernel;
use crate::source::name::{self, NameReceiver, NameSource};
use crate::source::root::Root;
use crate::source::statistic::{Limits, Reader};

pub struct Direct {
    engine: Engine,
    reader: Reader,
    names: NameReceiver,
}

impl Direct {
    /// Finds all present cgroups.
    pub fn open(config: &Config) -> Result<Direct> {
        let root = Root::new(&config.rootfs);
        let hierarchies = Hierarchies::find(&root)?;
        // Each of the few readings reads everything.
        let limits = Limits { period: 1, ..Limits::of(config) };
        let mut reader = Reader::open(&root, &hierarchies, limits)?;
        let mut engine = Engine::new();
        let (answering, names) = name::channel();
        let mut asker = NameSource::start(&root, &hierarchies, config, answering)?;
        let mut say = |reading| {
            reader.follow(&reading);
            asker.follow(&reading);
            engine.apply(&Sample { time: clock::unix_ns(), reading });
        };
        say(Reading::Start(kernel::start(config, &hierarchies)));
        say(Reading::Cgroup(cgroup::Reading::Walk));
        for hierarchy in hierarchies.distinct() {
            walk(hierarchy, &mut |id, path| say(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() })))?;
        }
        say(Reading::Cgroup(cgroup::Reading::Walked));
        Ok(Direct { engine, reader, names })
    }

    pub fn read(&mut self) -> Result<Summary> {
        let Direct { engine, reader, names } = self;
        while let Some(name) = names.try_next() {
            engine.apply(&name);
        }
        reader.read(&mut |sample| drop(engine.apply(&sample)));
        engine.apply(&Sample { time: clock::unix_ns(), reading: Reading::Tick });
        Ok(Summary::of(engine.view()))
    }
}

//! Reads workloads without an agent: one walk over the cgroups, with the agent's own reader and engine.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Result;
use collector_core::api::workloads::Summary;
use collector_core::engine::Engine;
use collector_core::identity::Grants;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;

use crate::clock;
use crate::config::Config;
use crate::source::Source;
use crate::source::cgroup::{Hierarchies, Owners, walk};
use crate::source::kernel;
use crate::source::name::{self, NameReceiver, NameSource};
use crate::source::root::Root;
use crate::source::statistic::{Limits, Reader};

/// How long to wait for the names of containers and pods, and between two looks.
const PATIENCE: Duration = Duration::from_millis(300);
const PAUSE: Duration = Duration::from_millis(5);

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
        let mut direct = Direct { engine, reader, names };
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

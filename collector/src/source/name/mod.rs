//! The names of containers and pods as a source: read from the files of the kubelet and the container engines, without an API
//! or credentials. Separate threads read, because a disk may be slow and a directory long. They look a name up when
//! the cgroup of a container or pod is born, and again a few times, because the name may appear after the cgroup.
//!
//! One thread reads what root writes, another what users write: what users do delays no name of the host.

mod books;
mod channel;
mod directory;
pub mod engine;
mod examine;
mod home;
mod json;
mod kubelet;
mod lookup;
mod queue;
mod request;
mod search;
mod thread;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Error, Result};
use collector_core::cgroup::Id;
use collector_core::identity::Grants;
use collector_core::sample::{Lost, Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::stage::Stage;

use super::cgroup::Hierarchies;
use super::root::Root;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;
pub use channel::{NameReceiver, NameSender, channel};
use home::Homes;
use lookup::Lookup;
use request::Request;
use thread::Names;

/// Requests names from the threads as cgroups are born.
pub struct NameSource {
    host: Names,
    users: Names,
    lost: Arc<AtomicU64>,
    /// Cgroups whose names were requested, each with the last walk that met it.
    requested: HashMap<Id, u64>,
    memory_hierarchy: u64,
    grants: Grants,
    walk: u64,
}

impl NameSource {
    /// Starts the threads. Only cgroups in the memory controller's hierarchy have names.
    pub fn start(root: &Root, hierarchies: &Hierarchies, config: &Config, sender: NameSender) -> Result<NameSource> {
        let lost = Arc::new(AtomicU64::new(0));
        let memory = &hierarchies.memory;
        let lookup = Box::new(Lookup::new(root, &config.workload));
        let host = Names::start("headroom-name", lookup, memory, sender.clone(), &lost)?;
        // What users do to the names of their own containers is logged, and is no loss of the agent's.
        let users = Names::start("headroom-user", Box::new(Homes::new(root)), memory, sender, &Arc::default())?;
        let (requested, grants) = (HashMap::new(), Grants::default());
        Ok(NameSource { host, users, lost, requested, memory_hierarchy: memory.id, grants, walk: 0 })
    }

    fn born(&mut self, cgroup: Id, path: &str) {
        if let Some(walk) = self.requested.get_mut(&cgroup) {
            *walk = self.walk;
            return;
        }
        let identity = self.grants.identity(path);
        if !identity.has_names() || *identity.top != *path {
            return;
        }
        let request = Request { cgroup, identity };
        let of_user = request.user().is_some();
        let names = if of_user { &self.users } else { &self.host };
        if names.request(request) {
            self.requested.insert(cgroup, self.walk);
        } else if !of_user {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Source for NameSource {
    /// Emits only the number of lost names: the names themselves arrive through [`NameReceiver`], between ticks too.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            emit(Sample { time: clock::unix_ns(), reading: Reading::Lost(Lost { stage: Stage::Name, count }) });
        }
        let result = match self.host.hangs() {
            true => Err(Error::msg("the files of the kubelet or of a container engine cannot be read: no answer")),
            false => Ok(()),
        };
        Health::Round { ns: self.host.round_ns(), result }
    }

    fn follow(&mut self, reading: &Reading) {
        match reading {
            Reading::Cgroup(cgroup::Reading::Born { id, path }) if id.hierarchy == self.memory_hierarchy => {
                self.born(*id, path);
            }
            Reading::Cgroup(cgroup::Reading::Died { id }) => {
                self.requested.remove(id);
            }
            Reading::Cgroup(cgroup::Reading::Given { path, uid }) => self.grants.set(path, *uid),
            Reading::Cgroup(cgroup::Reading::Walk) => self.walk += 1,
            Reading::Cgroup(cgroup::Reading::Walked) => self.requested.retain(|_, walk| *walk == self.walk),
            _ => {}
        }
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        examine::examine(config, root).into_iter().collect()
    }
}

//! `/dev/shm` of workloads in mount namespaces of their own (LXC, Incus, nerdctl, engines of users), which no mount of the host
//! shows. The mountinfo of one of their processes tells its size; how full it is only who may look into that process, which
//! others must estimate. A thread of its own reads: workloads are many, and what a user mounts may hang.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use caps::Capability;
use collector_core::cgroup::{Id, contains};
use collector_core::identity::{Grants, Identity, Kind, Shares};
use collector_core::signal::cgroup;
use collector_core::statistic::filesystem::{Owner, Reading, State, Statistic, Values};
use collector_core::text::escape;

use super::mount::{self, Shm};
use super::{STACK, figures};
use crate::config;
use crate::privilege;
use crate::source::cgroup::{Hierarchy, path_in};
use crate::source::root::Root;
use crate::source::text::{lines, number};
use crate::source::untrusted::{self, Place, patience::Patience};

/// Limit on workloads whose processes are asked, and for each owner a quarter of it. Containers beyond it are counted as lost.
const MAX_WORKLOADS: usize = 2048;
/// The same for services and the like, which seldom have such a volume: they leave places for containers.
const MAX_OTHERS: usize = 1024;
/// Limit on the bytes of one process's mountinfo. What is longer is not known.
const MAX_BYTES: u64 = 1 << 20;
/// Limit on the cgroups below a workload's own in which a process is searched.
const MAX_NESTED: usize = 64;
/// A process without such a volume of its own is asked again in every so many rounds.
const SELDOM: u64 = 10;

const VOLUME: &str = "/dev/shm";

type Request = Arc<[(Id, Arc<Identity>)]>;
/// `None`: the workload has no such volume.
type Answer = (Id, Option<State>);

pub struct Private {
    /// Each with the last walk that met it.
    workloads: BTreeMap<Id, (Arc<Identity>, u64)>,
    owners: Shares,
    walk: u64,
    /// Containers for which there was no place, and on the walk that goes on.
    left_out: u64,
    met: Option<u64>,
    grants: Grants,
    memory: Hierarchy,
    /// The volumes that were reported.
    shown: HashMap<Id, Arc<Identity>>,
    /// Those that are gone with their workload, until that is reported.
    gone: Vec<Reading>,
    /// The same as a request, until they change: a tick shall not allocate.
    request: Option<Request>,
    requests: SyncSender<Request>,
    answers: Receiver<Answer>,
    lost: u64,
}

impl Private {
    /// Starts the thread. `None` if the configuration leaves such volumes out.
    pub fn start(root: &Root, memory: &Hierarchy, config: &config::Filesystem) -> io::Result<Option<Private>> {
        let exclude = mount::Exclude::of(config);
        if exclude.volumes.matches(VOLUME) || exclude.types.matches("tmpfs") {
            return Ok(None);
        }
        let (requests, orders) = sync_channel::<Request>(1);
        let (sender, answers) = channel();
        let mut worker = Worker::new(root, memory, config.deadline);
        let run = move || {
            for request in orders {
                // The receiver lives as long as the sender of requests.
                worker.round(&request, &mut |answer| drop(sender.send(answer)));
            }
        };
        thread::Builder::new().name("headroom-shm".to_owned()).stack_size(STACK).spawn(run)?;
        Ok(Some(Private {
            workloads: BTreeMap::new(),
            owners: Shares::default(),
            walk: 0,
            left_out: 0,
            met: None,
            grants: Grants::default(),
            memory: memory.clone(),
            shown: HashMap::new(),
            gone: Vec::new(),
            request: None,
            requests,
            answers,
            lost: 0,
        }))
    }

    pub fn follow(&mut self, reading: &cgroup::Reading) {
        match reading {
            cgroup::Reading::Born { id, path } if id.hierarchy == self.memory.id => self.born(*id, path),
            cgroup::Reading::Renamed { id, path } if id.hierarchy == self.memory.id => {
                self.died(*id);
                self.born(*id, path);
            }
            cgroup::Reading::Given { path, uid } => self.grants.set(path, *uid),
            cgroup::Reading::Died { id } => self.died(*id),
            cgroup::Reading::Walk => (self.walk, self.met) = (self.walk + 1, Some(0)),
            cgroup::Reading::Walked => self.walked(),
            _ => {}
        }
    }

    fn born(&mut self, id: Id, path: &str) {
        if let Some((known, walk)) = self.workloads.get_mut(&id)
            && *known.top == *path
        {
            *walk = self.walk;
            return;
        }
        let identity = self.grants.identity(path);
        if *identity.top != *path || !may_have_namespace(identity.kind) {
            return;
        }
        let likely = is_container(identity.kind);
        let most = if likely { MAX_WORKLOADS } else { MAX_OTHERS };
        if self.workloads.len() < most && self.owners.has_room(&identity.owner, most) {
            self.died(id);
            self.owners.take(&identity.owner);
            self.workloads.insert(id, (Arc::new(identity), self.walk));
            self.request = None;
        } else if likely {
            match &mut self.met {
                Some(met) => *met += 1,
                None => (self.left_out, self.lost) = (self.left_out + 1, self.lost + 1),
            }
        }
    }

    /// A walk meets those that were left out again: only more than before are lost.
    fn walked(&mut self) {
        let Some(met) = self.met.take() else { return };
        self.lost += met.saturating_sub(self.left_out);
        self.left_out = met;
        let missed = self.workloads.iter().filter(|(_, (_, walk))| *walk != self.walk).map(|(id, _)| *id);
        missed.collect::<Vec<_>>().into_iter().for_each(|id| self.died(id));
    }

    fn died(&mut self, id: Id) {
        if let Some((identity, _)) = self.workloads.remove(&id) {
            self.owners.leave(&identity.owner);
            self.request = None;
        }
        if let Some(identity) = self.shown.remove(&id) {
            self.gone.push(reading(id, &identity, State::Gone));
        }
    }

    /// How many workloads were left out since the last call.
    pub fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Asks for all workloads, unless the thread has not ended the round before.
    pub fn start_round(&mut self) {
        if self.workloads.is_empty() {
            return;
        }
        let all = || self.workloads.iter().map(|(id, (identity, _))| (*id, identity.clone())).collect();
        let request = self.request.get_or_insert_with(all);
        let _ = self.requests.try_send(request.clone());
    }

    /// Emits the answers since the last call.
    pub fn collect(&mut self, emit: &mut dyn FnMut(Reading)) {
        self.gone.drain(..).for_each(&mut *emit);
        while let Ok((id, state)) = self.answers.try_recv() {
            let Some((identity, _)) = self.workloads.get(&id) else { continue };
            match state {
                Some(state) => {
                    emit(reading(id, identity, state));
                    self.shown.entry(id).or_insert_with(|| identity.clone());
                }
                None => {
                    if let Some(identity) = self.shown.remove(&id) {
                        emit(reading(id, &identity, State::Gone));
                    }
                }
            }
        }
    }
}

/// Slices and pods share what their workloads mount, or have no process.
fn may_have_namespace(kind: Kind) -> bool {
    !matches!(kind, Kind::Other | Kind::Root | Kind::Slice | Kind::Unit | Kind::Monitor | Kind::Pod)
}

fn is_container(kind: Kind) -> bool {
    matches!(kind, Kind::Container | Kind::Machine | Kind::Job | Kind::Step | Kind::Task)
}

fn reading(id: Id, identity: &Identity, state: State) -> Reading {
    let Identity { name, container_id, pod_uid, top, .. } = identity.clone();
    let owner = Owner { name, container_id, pod_uid, cgroup: Some(id), volume: VOLUME.into() };
    let mountpoint = format!("{VOLUME} in {top}").into();
    Reading { mountpoint, device: "tmpfs".into(), fstype: "tmpfs".into(), owner: Some(owner), state }
}

/// The thread's.
struct Worker {
    proc: PathBuf,
    host: PathBuf,
    memory: Hierarchy,
    patience: Patience,
    /// The agent may look into processes: what it may is decided before this starts.
    may_look: bool,
    /// Processes without such a volume of their own, each with the first round in which that was so.
    without: HashMap<Id, (u32, u64)>,
    rounds: u64,
}

impl Worker {
    fn new(root: &Root, memory: &Hierarchy, deadline: Duration) -> Worker {
        Worker {
            proc: root.at("/proc"),
            host: root.process().join("mountinfo"),
            memory: memory.clone(),
            patience: Patience::new("headroom-shm-user", deadline),
            may_look: privilege::has(Capability::CAP_SYS_PTRACE),
            without: HashMap::new(),
            rounds: 0,
        }
    }

    fn round(&mut self, request: &[(Id, Arc<Identity>)], answer: &mut dyn FnMut(Answer)) {
        let Ok(host) = read(&self.host) else { return };
        let host: HashSet<u64> = mount::devices(&host).collect();
        let mut seen = HashSet::new();
        let asked: HashSet<Id> = request.iter().map(|(id, _)| *id).collect();
        self.without.retain(|id, _| asked.contains(id));
        for (id, identity) in request {
            let found = self.volume(*id, identity, &host).filter(|(shm, _)| seen.insert(shm.device));
            answer((*id, found.map(|(_, state)| state)));
        }
        self.rounds += 1;
    }

    fn volume(&mut self, id: Id, identity: &Identity, host: &HashSet<u64>) -> Option<(Shm, State)> {
        let pid = process(&self.memory, identity)?;
        let since = self.without.get(&id).filter(|(of, _)| *of == pid).map(|(_, since)| *since);
        // One that starts may mount it later: it is asked twice.
        if since.is_some_and(|since| since + 1 < self.rounds) && !self.rounds.is_multiple_of(SELDOM) {
            return None;
        }
        let process = self.proc.join(pid.to_string());
        let shm = read(&process.join("mountinfo")).ok().and_then(|text| mount::shm(&text));
        // Most see what the host mounts.
        let Some(shm) = shm.filter(|shm| !host.contains(&shm.device)) else {
            self.without.insert(id, (pid, since.unwrap_or(self.rounds)));
            return None;
        };
        self.without.remove(&id);
        // The process may have ended, and another have its number.
        let cgroups = read(&process.join("cgroup")).ok()?;
        if !contains(&identity.top, &path_in(&cgroups, self.memory.id)?) {
            return None;
        }
        let exact = self.exact(&process, identity, &shm);
        let size = || shm.size.map(|size| Values::from_iter([(Statistic::Size, size)]));
        let values = exact.or_else(size)?;
        Some((shm, State::Read(values)))
    }

    /// What only who may look into the process learns. The way there may lead over a filesystem of a user's own.
    fn exact(&mut self, process: &Path, identity: &Identity, shm: &Shm) -> Option<Values> {
        if !self.may_look {
            return None;
        }
        let owner = match fs::metadata(process).ok()?.uid() {
            0 => untrusted::Owner::Process,
            uid => untrusted::Owner::User(uid),
        };
        let place = Place::new(process.join("root"), untrusted::Owner::Process).join(VOLUME.trim_start_matches('/'));
        let device = shm.device;
        let look = move || {
            let seen = place.look().ok()??;
            (seen.id().0 == device).then(|| seen.space().ok())?.map(|space| figures(&space))
        };
        let what = format!("{VOLUME} of {}", identity.name);
        self.patience.call(owner, &what, look).ok().flatten()
    }
}

/// The content of a file of /proc or cgroupfs. An error if it is longer than the limit.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Without room it would be read in steps that begin with 32 bytes.
    let mut content = Vec::with_capacity(4096);
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(content) }
}

/// The oldest process of a workload: of those that are as near to its own cgroup as any, the one with the lowest number, which is
/// a container's first. Processes of another pid namespace appear as 0.
fn process(memory: &Hierarchy, workload: &Identity) -> Option<u32> {
    let mut level = vec![workload.top.to_string()];
    let mut room = MAX_NESTED;
    while !level.is_empty() {
        let directories: Vec<PathBuf> = level.iter().filter_map(|path| memory.directory(path)).collect();
        let members = directories.iter().filter_map(|directory| read(&directory.join("cgroup.procs")).ok());
        let lowest = |text: Vec<u8>| lines(&text).filter_map(number).filter(|pid| *pid != 0).min();
        if let Some(pid) = members.filter_map(lowest).min() {
            return u32::try_from(pid).ok();
        }
        let below = level.iter().zip(&directories).flat_map(|(path, directory)| children(path, directory));
        // What is nested may be another workload.
        level = below.filter(|path| Identity::of(path).top == workload.top).take(room).collect();
        room -= level.len();
    }
    None
}

/// The paths of the cgroups in one, escaped as all paths are.
fn children(path: &str, directory: &Path) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(move |entry| format!("{path}/{}", escape(entry.file_name().as_bytes())))
}

#[cfg(test)]
mod tests;

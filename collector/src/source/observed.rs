//! [`Observed`]: the processes whose model files are looked at, as other sources find them: model servers, and who holds a GPU's
//! memory. Knows neither how they are found nor what is looked at.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use collector_core::cgroup::Id;
use collector_core::statistic::gpu::Holder;

use crate::mutex::lock;

/// A process of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// Its memory cgroup.
    pub cgroup: Option<Id>,
    /// The model server that it is.
    pub server: Option<Arc<str>>,
    /// The models that the server says it has loaded.
    pub models: Vec<Arc<str>>,
}

#[derive(Debug, Default)]
pub struct Observed {
    found: Mutex<Found>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Found {
    servers: Vec<Process>,
    /// By the GPU that they hold memory of.
    holders: BTreeMap<Arc<str>, Vec<Process>>,
    /// Counts changes.
    version: u64,
    stop: bool,
}

impl Observed {
    /// All model servers that there are now.
    pub fn servers(&self, servers: Vec<Process>) {
        let mut found = lock(&self.found);
        if found.servers != servers {
            found.servers = servers;
            self.tell(found);
        }
    }

    /// All processes that hold memory of a GPU now.
    pub fn holders(&self, gpu: &Arc<str>, holders: &[Holder]) {
        let mut found = lock(&self.found);
        let before = found.holders.get(gpu).map(Vec::as_slice).unwrap_or_default();
        // They are read once a second, and seldom change.
        let key = |process: &Process| (process.pid, process.cgroup);
        if before.iter().map(key).eq(holders.iter().map(|holder| (holder.pid, holder.cgroup))) {
            return;
        }
        let process =
            |holder: &Holder| Process { pid: holder.pid, cgroup: holder.cgroup, server: None, models: Vec::new() };
        found.holders.insert(gpu.clone(), holders.iter().map(process).collect());
        self.tell(found);
    }

    /// A GPU is gone, and who held its memory is not known.
    pub fn forget(&self, gpu: &str) {
        lock(&self.found).holders.remove(gpu);
    }

    /// All of them, servers first; each process once. And which change was the last.
    pub fn all(&self) -> (Vec<Process>, u64) {
        let found = lock(&self.found);
        let mut all = found.servers.clone();
        for holder in found.holders.values().flatten() {
            if !all.iter().any(|process| process.pid == holder.pid) {
                all.push(holder.clone());
            }
        }
        (all, found.version)
    }

    /// Waits until something changed since that change, for this long, or until [`Self::stop`].
    pub fn wait(&self, since: u64, time: Duration) {
        let found = lock(&self.found);
        let same = |found: &mut Found| found.version == since && !found.stop;
        drop(self.changed.wait_timeout_while(found, time, same).unwrap_or_else(PoisonError::into_inner));
    }

    fn tell(&self, mut found: MutexGuard<'_, Found>) {
        found.version = found.version.wrapping_add(1);
        self.changed.notify_all();
    }

    pub fn stop(&self) {
        lock(&self.found).stop = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, server: Option<&str>) -> Process {
        Process { pid, cgroup: None, server: server.map(Arc::from), models: Vec::new() }
    }

    #[test]
    fn each_process_is_named_once_and_as_the_server_that_it_is() {
        let observed = Observed::default();
        assert_eq!(observed.all().0, []);
        let holder = |pid| Holder { pid, cgroup: None, bytes: Some(1) };
        observed.holders(&"GPU-1".into(), &[holder(7), holder(8)]);
        observed.holders(&"GPU-2".into(), &[holder(8), holder(9)]);
        observed.servers(vec![process(8, Some("vllm:8000"))]);
        let pids = |observed: &Observed| observed.all().0.iter().map(|process| process.pid).collect::<Vec<_>>();
        assert_eq!(observed.all().0[0], process(8, Some("vllm:8000")));
        assert_eq!(pids(&observed), [8, 7, 9]);
        observed.holders(&"GPU-1".into(), &[]);
        observed.forget("GPU-2");
        assert_eq!(pids(&observed), [8]);
    }

    #[test]
    fn who_waits_is_woken_by_a_change_and_by_the_end() {
        let observed = &Observed::default();
        let (_, before) = observed.all();
        // Without the change, and without the end, this would not end.
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| observed.wait(before, Duration::from_secs(3600)));
            observed.servers(vec![process(1, None)]);
            waits.join().unwrap();
            let (_, now) = observed.all();
            observed.wait(before, Duration::from_secs(3600));
            observed.servers(vec![process(1, None)]);
            assert_eq!(observed.all().1, now, "nothing changed");
            let waits = scope.spawn(move || observed.wait(now, Duration::from_secs(3600)));
            observed.stop();
            waits.join().unwrap();
        });
    }
}

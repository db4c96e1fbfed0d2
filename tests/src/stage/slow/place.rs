//! [`Stage`]: where a scenario plays: cgroups with limits, who else is there, and the server.

use std::fs;
use std::path::Path;
use std::process::Child;

use collector::source::cgroup::Controller;

use super::Slow;
use super::server::Serving;
use super::tell::Took;
use crate::cgroup::Cgroup;
use crate::provocation;
use crate::scratch::{Scratch, scratch};
use crate::stage::Programs;
use crate::swap::Swap;

/// Bytes of swap, where there is any.
const SWAP: u64 = 1 << 30;

/// Where a scenario plays.
pub struct Stage {
    serving: Option<Serving>,
    children: Vec<Child>,
    program: String,
    pub(super) folder: Scratch,
    pub server: Place,
    pub beside: Place,
    pub above: Place,
    _swap: Option<Swap>,
}

/// A cgroup with limits.
pub struct Place(pub(super) Cgroup);

impl Place {
    /// Without any limit.
    fn free(&self) {
        let v2 = self.0.is_v2();
        let files = [
            (Controller::Cpu, ["cpu.max", "cpu.cfs_quota_us"], ["max 100000", "-1"]),
            (Controller::Memory, ["memory.max", "memory.limit_in_bytes"], ["max", "-1"]),
            (Controller::Memory, ["memory.high", ""], ["max", ""]),
        ];
        for (controller, names, values) in files {
            // Not every kernel has each of them.
            let _ = fs::write(self.0.file(controller, names[usize::from(!v2)]), values[usize::from(!v2)]);
        }
    }

    /// In hundredths of a CPU.
    pub fn quota(&self, percent: u64) {
        self.0.try_quota(percent as f64).unwrap();
    }

    /// As many times as usual.
    pub fn weight(&self, times: u64) {
        self.0.try_weight(1024 * times).unwrap();
    }

    /// Its share of a disk that is scheduled by bfq, from 1 to 1000.
    pub fn io_weight(&self, weight: u64) {
        // Newer kernels have it under its general name as well.
        let file = self.0.file(Controller::Io, "io.bfq.weight");
        fs::write(&file, format!("default {weight}")).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    }

    pub fn limit(&self, bytes: u64) {
        self.0.limit(bytes);
    }

    /// A limit beyond which it swaps.
    pub fn limit_before_swap(&self, bytes: u64) {
        self.0.try_limit_before_swap(bytes).unwrap();
    }

    pub fn high(&self, bytes: u64) {
        fs::write(self.0.memory().join("memory.high"), bytes.to_string()).unwrap();
    }
}

impl Stage {
    pub(super) fn new(programs: Programs<'_>, scenario: &Slow) -> Stage {
        let above = Cgroup::everywhere(&format!("stage-{}", scenario.name));
        for controller in ["cpu", "memory", "io"] {
            let _ = above.delegate(controller);
        }
        let [server, beside] =
            ["server", "neighbour"].map(|name| Cgroup::everywhere_at(&format!("{}/{name}", above.path)));
        let [server, beside, above] = [server, beside, above].map(Place);
        Stage {
            serving: None,
            children: Vec::new(),
            program: programs.provoke.to_owned(),
            folder: scratch(),
            server,
            beside,
            above,
            _swap: scenario.swap.then(|| Swap::compressed(SWAP)),
        }
    }

    /// Starts the server and its usual clients. Returns its port.
    pub(super) fn serve(&mut self, serve: &str, scenario: &Slow) -> String {
        let mut serving = Serving::start(scenario, serve, &self.folder, &self.server.0);
        let port = serving.port();
        serving.join(scenario.clients);
        self.serving = Some(serving);
        port
    }

    fn act(&mut self, place: fn(&Stage) -> &Place, steps: &[&str]) {
        let steps = [&["act"], steps].concat();
        let child = provocation::spawn(&self.program, &place(self).0, &steps);
        self.children.push(child);
    }

    pub fn neighbour(&mut self, steps: &[&str]) {
        self.act(|stage| &stage.beside, steps);
    }

    pub fn sidecar(&mut self, steps: &[&str]) {
        self.act(|stage| &stage.server, steps);
    }

    /// It writes past the page cache with several threads.
    pub fn neighbour_on_disk(&mut self) {
        let path = self.file("flood");
        self.neighbour(&[&format!("write:{path}:600:64")]);
    }

    /// It reads past the page cache with several threads.
    pub fn neighbour_that_reads(&mut self) {
        let path = self.file("scanned");
        self.neighbour(&[&format!("scan:{path}:600:64")]);
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::write(&path, vec![1; 64 << 20]).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(super) fn took(&mut self) -> Took {
        self.serving.as_mut().map_or((0, 0.0), Serving::took)
    }

    /// More clients, until it is calm.
    pub fn clients(&mut self, count: usize) {
        self.serving.as_mut().expect("it was started").join(count);
    }

    /// What made it slow is over.
    pub(super) fn calm(&mut self, usual: usize) {
        self.end_children();
        self.serving.iter_mut().for_each(|serving| serving.leave(usual));
        [&self.above, &self.server, &self.beside].into_iter().for_each(Place::free);
    }

    fn end_children(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is asked ends sooner without what makes it slow.
        self.end_children();
        self.serving = None;
    }
}

/// Lets bfq schedule all disks that can have it, so that weights act: on a machine that is only for tests.
pub fn schedule_by_weight() {
    let disks = fs::read_dir("/sys/block").unwrap().flatten().map(|disk| disk.path().join("queue/scheduler"));
    let set: Vec<_> = disks.filter(|file| has_bfq(file)).map(|file| fs::write(file, "bfq")).collect();
    assert!(set.iter().any(Result::is_ok), "no disk is scheduled by bfq: {set:?}");
}

fn has_bfq(scheduler: &Path) -> bool {
    fs::read_to_string(scheduler).is_ok_and(|all| all.contains("bfq"))
}

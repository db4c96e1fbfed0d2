//! What a scenario of a starving job is: cgroups, what a batch takes, and the trouble.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use collector::source::cgroup::Controller;

use super::super::row::Row;
use super::job::{Card, Job};
use crate::cached;
use crate::cgroup::Cgroup;
use crate::process::Killed;
use crate::swap::Swap;

/// What a batch takes, unless a scenario says otherwise: the GPU is busy for nearly all of the time, and the workers need a seventh of
/// one CPU.
const BATCH: [(&str, u64); 9] = [
    ("work", 3000),
    ("read", 8),
    ("direct", 0),
    ("touch", 0),
    ("compute", 20_000),
    ("copy", 0),
    ("pinned", 0),
    ("idle", 0),
    ("write", 0),
];
/// Swap for scenarios that need any.
const SWAP: u64 = 1 << 30;

pub struct Scenario {
    pub name: &'static str,
    /// What happens, as a phrase.
    pub what: &'static str,
    /// Names of causes that are right; none: nothing must be told.
    pub causes: &'static [&'static str],
    /// Words of the sentence.
    pub says: &'static [&'static str],
    /// What a batch takes, where it differs from [`BATCH`].
    pub batch: &'static [(&'static str, u64)],
    /// MiB of data.
    pub data: u64,
    /// Whether the job copies through a CUDA driver.
    pub cuda: bool,
    pub swap: bool,
    /// Sets limits before the job starts.
    pub prepare: fn(&Stage) -> io::Result<()>,
    /// The trouble.
    pub act: fn(&mut Stage) -> Result<(), String>,
}

impl Scenario {
    pub fn new(
        name: &'static str,
        what: &'static str,
        causes: &'static [&'static str],
        act: fn(&mut Stage) -> Result<(), String>,
    ) -> Scenario {
        let (says, batch): (&[&str], &[(&str, u64)]) = (&[], &[]);
        Scenario { name, what, causes, says, batch, data: 32, cuda: false, swap: false, prepare: |_| Ok(()), act }
    }

    /// Whether this machine has what it needs.
    pub fn applies(&self) -> bool {
        !self.swap || Swap::is_possible()
    }

    pub fn numbers(&self) -> Vec<(&'static str, u64)> {
        let other = |name: &str| self.batch.iter().find(|(it, _)| *it == name).map(|(_, number)| *number);
        BATCH.iter().map(|(name, number)| (*name, other(name).unwrap_or(*number))).collect()
    }

    pub fn row(&self) -> Row {
        Row::of(self.name, self.what, self.causes)
    }
}

/// What exists while it is staged. When dropped, everything is removed, the inner cgroups first.
pub struct Stage {
    running: Option<Job>,
    others: Vec<Killed>,
    program: String,
    folder: PathBuf,
    card: Option<Card>,
    pub job: Cgroup,
    pub noise: Cgroup,
    /// Above both.
    pub root: Cgroup,
    _swap: Option<Swap>,
}

impl Stage {
    pub fn new(program: &str, scenario: &Scenario, folder: &Path) -> Result<Stage, String> {
        let root = Cgroup::everywhere("starved");
        // If one is missing, the knob that needs it fails.
        ["memory", "io", "cpu"].iter().for_each(|controller| drop(root.delegate(controller)));
        let [job, noise] = ["job", "noise"].map(|name| Cgroup::everywhere_at(&format!("{}/{name}", root.path)));
        let stage = Stage {
            running: None,
            others: Vec::new(),
            program: program.to_owned(),
            folder: folder.to_owned(),
            card: None,
            job,
            noise,
            root,
            _swap: scenario.swap.then(|| Swap::compressed(SWAP)),
        };
        (scenario.prepare)(&stage).map_err(|error| format!("prepare it: {error}"))?;
        Ok(stage)
    }

    /// A file on the disk, none of it in the page cache.
    pub fn make_data(&self, mebibytes: u64) -> Result<(), String> {
        self.make("data", mebibytes)
    }

    pub fn make(&self, name: &str, mebibytes: u64) -> Result<(), String> {
        let made = cached::make(&self.folder.join(name), mebibytes << 20);
        made.map_err(|error| format!("make {name}: {error}"))
    }

    pub fn start(&mut self, job: Job, card: Card) {
        (self.running, self.card) = (Some(job), Some(card));
    }

    pub fn running(&self) -> &Job {
        self.running.as_ref().expect("it was started")
    }

    /// Changes what a batch takes.
    pub fn set(&mut self, name: &'static str, number: u64) {
        self.running.as_mut().expect("it was started").set(name, number);
    }

    /// Changes what the GPU says.
    pub fn gpu(&self, change: impl FnOnce(&mut serde_json::Value)) {
        super::change(self.card.as_ref().expect("it was started"), change);
    }

    /// Starts a neighbour: steps of `provoke act`, separated by `; `. `disk/` is the folder of the data.
    pub fn neighbour(&mut self, script: &str) {
        let folder = format!("{}/", self.folder.display());
        let mut command = Command::new(&self.program);
        command.arg("act").args(script.split("; ").map(|step| step.replace("disk/", &folder)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.others.push(Killed(self.noise.spawn(&mut command)));
    }

    /// Ends the job, then the neighbours.
    pub fn end(&mut self) {
        self.running = None;
        self.others.clear();
    }
}

/// How many bytes it may read from the disk in a second.
pub fn read_limit(cgroup: &Cgroup, bytes: u64) -> io::Result<()> {
    let disk = fs::metadata(std::env::temp_dir())?.dev();
    let disk = format!("{}:{}", rustix::fs::major(disk), rustix::fs::minor(disk));
    match cgroup.is_v2() {
        true => fs::write(cgroup.file(Controller::Io, "io.max"), format!("{disk} rbps={bytes}")),
        false => fs::write(cgroup.file(Controller::Io, "blkio.throttle.read_bps_device"), format!("{disk} {bytes}")),
    }
}

pub fn text(error: io::Error) -> String {
    error.to_string()
}

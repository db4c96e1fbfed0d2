//! What a scenario is: cgroups, what happens in them in order, and what is true of it. Sizes are percentages of the scenario's
//! own size, which differs from run to run, as do its times.

use crate::cgroup::is_v2;
use crate::require::own_machine;

/// Names of kinds of incidents.
pub const OOM: &str = "oom";
pub const MEMORY_PRESSURE: &str = "memory_pressure";
pub const IO_PRESSURE: &str = "io_pressure";
/// Killed by another process than the kernel.
pub const KILLED: &str = "killed";

#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    /// What happens, as a phrase.
    pub what: &'static str,
    /// Hosts that it can be staged on.
    pub host: Host,
    /// Whether nothing else may be staged at the same time.
    pub alone: bool,
    /// Whether its own cgroup is a systemd slice.
    pub slice: bool,
    /// Whether the host gets swap.
    pub swap: bool,
    /// Files on the disk, which are in `disk/`, and their sizes.
    pub files: Vec<(&'static str, f64)>,
    pub groups: Vec<Group>,
    pub acts: Vec<Act>,
    pub truth: Truth,
}

/// Where a scenario applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    Any,
    /// Memory is accounted on cgroup v1.
    V1,
    /// Memory is accounted on cgroup v2.
    V2,
    /// A machine for tests only, with cgroup v2: the host itself may be harmed.
    Own,
}

impl Host {
    pub(super) fn applies(self) -> bool {
        match self {
            Host::Any => true,
            Host::V1 => !is_v2(),
            Host::V2 => is_v2(),
            Host::Own => own_machine() && is_v2(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Group {
    /// Path below the scenario's own cgroup, whose name is empty.
    pub name: &'static str,
    pub knobs: Vec<Knob>,
}

/// A control file of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Knob {
    /// Hard limit, without any swap.
    Limit(f64),
    High(f64),
    /// Swap beyond the limit, which is set before.
    Swap(f64),
    /// The kernel does not kill at the limit.
    NoKill,
    /// All processes are killed together.
    Together,
    /// Percentage of one CPU.
    Cpu(f64),
    /// Percentage of the scenario's size that it may write to the disk in a second.
    Write(f64),
    /// Memory that is not taken from it (cgroup v2).
    Min(f64),
}

#[derive(Clone, Debug)]
pub enum Act {
    /// Starts a process.
    Run(Actor),
    /// Waits until it prints `ready`.
    Ready(&'static str),
    Pause(f64),
    Set(&'static str, Knob),
    /// Sends a signal from outside.
    Signal(&'static str, i32),
    /// Waits until it was killed.
    Dies(&'static str),
    /// Waits until it ended by itself.
    Ends(&'static str),
    /// Kills what is left in a cgroup, and removes it.
    Remove(&'static str),
    /// Creates a cgroup, with these knobs, that did not exist before.
    Create(Group),
}

#[derive(Clone, Debug)]
pub struct Actor {
    pub name: &'static str,
    pub group: &'static str,
    /// See `provoke/act`: steps, separated by `;`.
    pub script: &'static str,
    pub score: Option<i32>,
}

/// What must be told.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The name of the kind of incident; none must be told if absent.
    pub kind: Option<&'static str>,
    /// Another kind that is as right.
    pub or_kind: Option<&'static str>,
    /// The cgroup of the workload that it is about, or after `=` a name as the agent names workloads. Alternatives are separated
    /// by `|`.
    pub workload: &'static str,
    /// Names of causes that are right.
    pub causes: Vec<&'static str>,
    /// The cgroup whose limit it was, and the size of that limit.
    pub limit: Option<(&'static str, f64)>,
    /// Names of numbers of the cause that are sizes, and how large these are, about.
    pub sizes: Vec<(&'static str, f64)>,
    /// Whether the time that it grew must be right.
    pub timed: bool,
    /// Each must be in the sentence; alternatives are separated by `|`, and `{name}` is the cgroup with that name.
    pub says: Vec<&'static str>,
    /// None may be in the sentence.
    pub never: Vec<&'static str>,
    /// An alert about the workload will do as well, if it says this.
    pub alert: bool,
    /// How many processes the kernel kills, if that is certain: otherwise it was not staged.
    pub killed: Option<u64>,
    /// All processes of a cgroup are killed together.
    pub together: bool,
}

impl Scenario {
    pub fn new(name: &'static str, what: &'static str) -> Scenario {
        Scenario {
            name,
            what,
            host: Host::Any,
            alone: false,
            slice: false,
            swap: false,
            files: Vec::new(),
            groups: Vec::new(),
            acts: Vec::new(),
            truth: Truth::default(),
        }
    }

    pub fn on(mut self, host: Host) -> Scenario {
        self.host = host;
        self
    }

    pub fn alone(mut self) -> Scenario {
        self.alone = true;
        self
    }

    pub fn slice(mut self) -> Scenario {
        self.slice = true;
        self
    }

    pub fn swap(mut self) -> Scenario {
        self.swap = true;
        self
    }

    pub fn file(mut self, name: &'static str, percent: f64) -> Scenario {
        self.files.push((name, percent));
        self
    }

    pub fn group(mut self, name: &'static str, knobs: &[Knob]) -> Scenario {
        self.groups.push(Group { name, knobs: knobs.to_vec() });
        self
    }

    fn act(mut self, act: Act) -> Scenario {
        self.acts.push(act);
        self
    }

    pub fn run(self, name: &'static str, group: &'static str, script: &'static str) -> Scenario {
        self.act(Act::Run(Actor { name, group, script, score: None }))
    }

    /// With an `oom_score_adj`.
    pub fn run_scored(self, name: &'static str, group: &'static str, score: i32, script: &'static str) -> Scenario {
        self.act(Act::Run(Actor { name, group, script, score: Some(score) }))
    }

    pub fn ready(self, name: &'static str) -> Scenario {
        self.act(Act::Ready(name))
    }

    pub fn pause(self, seconds: f64) -> Scenario {
        self.act(Act::Pause(seconds))
    }

    pub fn set(self, group: &'static str, knob: Knob) -> Scenario {
        self.act(Act::Set(group, knob))
    }

    pub fn signal(self, name: &'static str, signal: i32) -> Scenario {
        self.act(Act::Signal(name, signal))
    }

    pub fn dies(self, name: &'static str) -> Scenario {
        self.act(Act::Dies(name))
    }

    pub fn ends(self, name: &'static str) -> Scenario {
        self.act(Act::Ends(name))
    }

    pub fn remove(self, group: &'static str) -> Scenario {
        self.act(Act::Remove(group))
    }

    pub fn create(self, name: &'static str, knobs: &[Knob]) -> Scenario {
        self.act(Act::Create(Group { name, knobs: knobs.to_vec() }))
    }

    /// Truth: an OOM kill in this cgroup, for one of these causes.
    pub fn oom(self, workload: &'static str, causes: impl AsRef<[&'static str]>) -> Scenario {
        self.incident(OOM, workload, causes)
    }

    pub fn incident(
        mut self,
        kind: &'static str,
        workload: &'static str,
        causes: impl AsRef<[&'static str]>,
    ) -> Scenario {
        (self.truth.kind, self.truth.workload, self.truth.causes) = (Some(kind), workload, causes.as_ref().to_vec());
        self
    }

    /// Truth: nobody was killed by the kernel. If anything is told, then one of these causes.
    pub fn none(mut self, causes: &[&'static str]) -> Scenario {
        (self.truth.causes, self.truth.killed) = (causes.to_vec(), Some(0));
        self
    }

    /// The kernel may kill or not: as many kills are told as it counts.
    pub fn uncounted(mut self) -> Scenario {
        self.truth.killed = None;
        self
    }

    /// Truth: an alert about the workload will do as well, if it has these words.
    pub fn or_alert(mut self) -> Scenario {
        self.truth.alert = true;
        self
    }

    /// Truth: the cgroup whose limit was hit, and how large it was.
    pub fn limit(mut self, group: &'static str, percent: f64) -> Scenario {
        self.truth.limit = Some((group, percent));
        self
    }

    pub fn size(mut self, name: &'static str, percent: f64) -> Scenario {
        self.truth.sizes.push((name, percent));
        self
    }

    pub fn together(mut self) -> Scenario {
        self.truth.together = true;
        self
    }

    /// Truth: it grew for as long as its last step took.
    pub fn timed(mut self) -> Scenario {
        self.truth.timed = true;
        self
    }

    pub fn says(mut self, words: &'static str) -> Scenario {
        self.truth.says.push(words);
        self
    }

    pub fn never(mut self, words: &'static str) -> Scenario {
        self.truth.never.push(words);
        self
    }

    pub fn killed(mut self, count: u64) -> Scenario {
        self.truth.killed = Some(count);
        self
    }

    /// An incident of this kind will do as well.
    pub fn or_kind(mut self, kind: &'static str) -> Scenario {
        self.truth.or_kind = Some(kind);
        self
    }
}

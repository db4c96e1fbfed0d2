//! What the host says about somebody who asks, and about what a request names. Data alone.

/// Who asks, by the kernel's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    pub uid: u32,
    pub gids: Vec<u32>,
    pub pid: u32,
    /// The name of the process.
    pub comm: String,
}

/// What a request names, as it was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    Cgroup {
        path: String,
        /// Whether all directories on the way are root's: only then nobody else chose the names on the path.
        rooted: bool,
        /// Whether the actuator is in it.
        own: bool,
        /// What is in it, where that matters.
        processes: Vec<Process>,
    },
    Process(Process),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub uid: u32,
    pub comm: String,
    /// Its cgroup.
    pub path: String,
    /// Whether the directories on the path are root's.
    pub rooted: bool,
    /// A thread of the kernel.
    pub kernel: bool,
    /// The actuator itself.
    pub own: bool,
}

impl Place {
    /// The path of its cgroup, and whether root chose the names on it.
    pub fn path(&self) -> (&str, bool) {
        match self {
            Place::Cgroup { path, rooted, .. } => (path, *rooted),
            Place::Process(process) => (&process.path, process.rooted),
        }
    }
}

//! The processes that a command started, as long as they can be seen: those that live at a look. Bounded. Knows not why that matters.

use std::collections::BTreeSet;
use std::fs;

/// Processes that are remembered.
const MOST: usize = 4096;

/// A process, and those below it that were seen.
#[derive(Debug)]
pub struct Tree {
    seen: BTreeSet<u32>,
}

impl Tree {
    pub fn new(root: u32) -> Tree {
        Tree { seen: [root].into() }
    }

    /// Looks for new ones.
    pub fn look(&mut self) {
        let mut open: Vec<u32> = self.seen.iter().copied().collect();
        while let Some(pid) = open.pop() {
            for child in children(pid) {
                if self.seen.len() < MOST && self.seen.insert(child) {
                    open.push(child);
                }
            }
        }
    }

    pub fn has(&self, pid: u32) -> bool {
        self.seen.contains(&pid)
    }
}

/// The children of all its threads; none if it is gone.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn children_of_children_are_seen_and_stay_known() {
        let script = "sh -c 'sleep 60 & echo $!; wait' & wait";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let sleeps: u32 = line.trim().parse().unwrap();
        let mut tree = Tree::new(child.id());
        tree.look();
        assert!(tree.has(sleeps) && tree.has(child.id()) && !tree.has(std::process::id()), "{tree:?}");
        let pid = rustix::process::Pid::from_raw(sleeps as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        tree.look();
        assert!(tree.has(sleeps));
    }
}

//! One cgroup as it is now: its directories in the hierarchies, its files for a plan, what is in it, and what it holds. Reads, and writes nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use collector_core::act::{Files, Place, Process, Readings, bytes};
use collector_core::action::{Change, Kind};
use collector_core::cgroup::contains;

use super::process::hold;
use super::tree::{Directory, Tree};
use crate::source::cgroup::own_path;

/// Most processes that are looked at. Whoever has more is not frozen or ended as a whole.
const MOST_PROCESSES: usize = 10_000;
/// Most cgroups below that are looked at.
const MOST_CGROUPS: usize = 10_000;
const KIB: u64 = 1024;

type Found = Result<Rc<Directory>, String>;

pub struct Cgroup<'a> {
    tree: &'a Tree,
    pub path: String,
    page: u64,
    /// By controller, as they were first found: all that follows is about the same cgroups.
    open: RefCell<HashMap<String, Found>>,
}

impl<'a> Cgroup<'a> {
    pub fn new(tree: &'a Tree, path: &str, page: u64) -> Cgroup<'a> {
        Cgroup { tree, path: path.to_owned(), page, open: RefCell::default() }
    }

    /// The same, if the cgroup at the path is the one with this id.
    pub fn identified(tree: &'a Tree, path: &str, id: u64, page: u64) -> Result<Cgroup<'a>, String> {
        let cgroup = Cgroup::new(tree, path, page);
        let now = cgroup.directory("memory")?.id;
        match now == id {
            true => Ok(cgroup),
            false => Err(format!("{path} is another cgroup by now: its id is {now}, and {id} was asked for")),
        }
    }

    pub fn directory(&self, controller: &str) -> Found {
        let mut open = self.open.borrow_mut();
        let found = open.entry(controller.to_owned());
        found.or_insert_with(|| self.tree.open(controller, &self.path).map(Rc::new)).clone()
    }

    /// As a policy looks at it; with what is in it where a change stops that.
    pub fn place(&self, kind: Kind) -> Result<Place, String> {
        let processes = match kind {
            Kind::Freeze => self.processes("freezer")?,
            Kind::Terminate | Kind::Kill => self.processes("memory")?,
            _ => Vec::new(),
        };
        let own =
            own_path().is_some_and(|own| contains(&self.path, &own)) || processes.iter().any(|process| process.own);
        Ok(Place::Cgroup { path: self.path.clone(), rooted: self.tree.is_rooted(&self.path), own, processes })
    }

    /// The numbers of all processes in it and below.
    pub fn pids(&self, controller: &str) -> Result<Vec<u32>, String> {
        let mut open = vec![self.directory(controller)?];
        let (mut pids, mut seen) = (Vec::new(), 0);
        let unknown = |why: &dyn std::fmt::Display| format!("which processes are in {} is not known: {why}", self.path);
        while let Some(directory) = open.pop() {
            seen += 1;
            let text = directory.read("cgroup.procs").map_err(|error| unknown(&error))?;
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            let children = directory.children().map_err(|error| unknown(&error))?;
            open.extend(children.into_iter().map(|(_, child)| Rc::new(child)));
            if pids.len() > MOST_PROCESSES || seen + open.len() > MOST_CGROUPS {
                return Err(unknown(&"there are too many"));
            }
        }
        Ok(pids)
    }

    fn processes(&self, controller: &str) -> Result<Vec<Process>, String> {
        // Who has ended meanwhile is not in it.
        let held = self.pids(controller)?.into_iter().filter_map(|pid| hold(self.tree, pid, None).ok());
        Ok(held.map(|held| held.process).collect())
    }

    fn number(&self, file: &str) -> Option<u64> {
        let content = self.read("memory", file)?;
        content.trim().parse().ok()
    }

    /// What its memory holds, and the limit that a change of memory or swap has now.
    pub fn readings(&self, change: &Change) -> (Readings, Option<u64>) {
        let unified = self.tree.hierarchy("memory").is_ok_and(|it| it.id == 0);
        let stat = self.read("memory", "memory.stat").unwrap_or_default();
        let of =
            |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok());
        let names =
            if unified { ["inactive_file", "active_file"] } else { ["total_inactive_file", "total_active_file"] };
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let host = |name: &str| {
            let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kib| kib * KIB)
        };
        let usage = self.number(if unified { "memory.current" } else { "memory.usage_in_bytes" });
        let readings = Readings {
            usage,
            reclaimable: of(names[0]).zip(of(names[1])).map(|(inactive, active)| inactive + active),
            swap: host("SwapFree").and_then(|free| self.swap(free, unified)),
            host: host("MemTotal"),
        };
        let limit = match (change, unified) {
            (Change::MemoryMax(_), true) => Some("memory.max"),
            (Change::MemoryMax(_), false) => Some("memory.limit_in_bytes"),
            (Change::SwapMax(_), true) => Some("memory.swap.max"),
            _ => None,
        };
        let limit = limit.and_then(|file| self.read("memory", file)).and_then(|text| bytes(&text, self.page));
        (readings, limit)
    }

    /// The swap that it can still use: the host's free, and what it and those above it may have. `None` if that is not known.
    fn swap(&self, free: u64, unified: bool) -> Option<u64> {
        if !unified || free == 0 {
            return Some(free);
        }
        let ends = self.path.match_indices('/').map(|(at, _)| at).skip(1).chain([self.path.len()]);
        let mut least = free;
        for end in ends {
            let above = self.tree.open("memory", &self.path[..end]).ok()?;
            // A kernel without it lets everybody swap.
            let Ok(limit) = above.read("memory.swap.max") else { continue };
            let used = above.read("memory.swap.current").ok()?.trim().parse::<u64>().ok()?;
            least = bytes(&limit, self.page).map_or(least, |limit| least.min(limit.saturating_sub(used)));
        }
        Some(least)
    }
}

impl Files for Cgroup<'_> {
    fn find(&self, controller: &str) -> Result<(u64, bool), String> {
        Ok((self.directory(controller)?.id, self.tree.hierarchy(controller)?.id == 0))
    }

    fn read(&self, controller: &str, file: &str) -> Option<String> {
        self.directory(controller).ok()?.read(file).ok()
    }

    fn has(&self, controller: &str, file: &str) -> bool {
        self.directory(controller).is_ok_and(|directory| directory.has(file))
    }
}

//! Memory nodes of the host: how much of a workload's memory is in each, and whether its tasks may run on the CPUs there. Which nodes there
//! are is read once; on a host with one, nothing else is. Knows no GPU.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::statistic::contention::Node;

use super::group::read;
use crate::source::text::{fields, lines, number};

/// At most this many nodes are looked at, and processes of a workload.
const NODES: usize = 64;
const PROCESSES: usize = 16;

/// Numbers from one to another, as the kernel lists CPUs and nodes.
type Span = (u64, u64);

#[derive(Debug)]
struct Place {
    node: u32,
    cpus: Arc<str>,
    spans: Vec<Span>,
}

#[derive(Debug)]
pub struct Nodes {
    proc: PathBuf,
    /// Empty unless there are several.
    places: Vec<Place>,
    page: u64,
}

impl Nodes {
    /// `folder` is the kernel's with a directory for each node.
    pub fn new(folder: &Path, proc: PathBuf) -> Nodes {
        let with_memory = read(&folder.join("has_memory")).map(|text| spans(&text)).unwrap_or_default();
        let numbers = with_memory.into_iter().flat_map(|(first, last)| (first..=last).take(NODES)).take(NODES);
        let place = |node: u64| {
            let text = read(&folder.join(format!("node{node}/cpulist"))).unwrap_or_default();
            let cpus = String::from_utf8_lossy(text.trim_ascii()).into();
            Some(Place { node: u32::try_from(node).ok()?, cpus, spans: spans(&text) })
        };
        let places: Vec<Place> = numbers.filter_map(place).collect();
        Nodes {
            proc,
            places: if places.len() > 1 { places } else { Vec::new() },
            page: rustix::param::page_size() as u64,
        }
    }

    /// Of a workload: `folder` is its own cgroup, `pids` are its processes.
    pub fn read(&self, folder: Option<&Path>, pids: &[u32]) -> Arc<[Node]> {
        if self.places.is_empty() {
            return Arc::default();
        }
        let text = folder.and_then(|folder| read(&folder.join("memory.numa_stat")));
        let mut allowed = Vec::new();
        for pid in pids.iter().take(PROCESSES) {
            let Some(text) = read(&self.proc.join(pid.to_string()).join("status")) else { continue };
            let list = lines(&text).find_map(|line| line.strip_prefix(b"Cpus_allowed_list:"));
            allowed.extend(list.map(spans).unwrap_or_default());
        }
        let node = |place: &Place| {
            let meets = |own: &Span| allowed.iter().any(|it| it.0 <= own.1 && own.0 <= it.1);
            Node {
                node: place.node,
                bytes: text.as_deref().and_then(|text| self.bytes(text, place.node)),
                runs: (!allowed.is_empty()).then(|| place.spans.iter().any(meets)),
                cpus: place.cpus.clone(),
            }
        };
        self.places.iter().map(node).collect()
    }

    /// `memory.numa_stat` has bytes by kind of page on cgroup v2, and pages with their sum on v1, where only the hierarchical ones have what
    /// is below.
    fn bytes(&self, text: &[u8], node: u32) -> Option<u64> {
        let name = format!("N{node}=");
        let of = |line: &[u8]| fields(line).find_map(|field| number(field.strip_prefix(name.as_bytes())?));
        let total = lines(text).find(|line| line.starts_with(b"hierarchical_total="));
        if let Some(total) = total {
            return Some(of(total)?.saturating_mul(self.page));
        }
        let kinds = [&b"anon "[..], b"file "];
        let parts = kinds.map(|kind| lines(text).find(|line| line.starts_with(kind)).and_then(of));
        let [anon, file] = parts;
        Some(anon?.saturating_add(file?))
    }
}

/// `0-3,8` as spans. What is no number is left out.
fn spans(text: &[u8]) -> Vec<Span> {
    let span = |part: &[u8]| {
        let part = part.trim_ascii();
        let (first, last) = match part.iter().position(|byte| *byte == b'-') {
            Some(at) => (&part[..at], &part[at + 1..]),
            None => (part, part),
        };
        number(first).zip(number(last)).filter(|(first, last)| first <= last)
    };
    text.split(|byte| *byte == b',').filter_map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(spans(b"0-3,8,10-11\n"), [(0, 3), (8, 8), (10, 11)]);
        assert_eq!(spans(b"\n"), []);
        assert_eq!(spans(b"3-1,x,-,7"), [(7, 7)]);
    }
}

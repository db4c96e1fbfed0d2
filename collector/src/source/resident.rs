//! What the processes of a server hold in memory, from `/proc/PID/status`: it needs no right to look into a process, and costs the process
//! nothing. Knows neither which servers there are nor what they hold it for.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use collector_core::statistic::model::Memory;

use super::text::{cut, fields, lines, number};

/// Processes of a cgroup that are looked at: those of one server are fewer.
const PROCESSES: usize = 256;
/// Bytes that are read of a list of processes.
const LIST: u64 = 64 << 10;
/// Bytes that are read of a process's status. It has 1.5 KiB; lists of CPUs and memory nodes may be long, but come last.
const STATUS: u64 = 4 << 10;

/// What one process says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Status {
    parent: u32,
    memory: Memory,
}

/// The processes of a cgroup. 0 is one of another pid namespace.
pub fn mates(directory: &Path) -> Vec<u32> {
    let mut text = Vec::new();
    let list = File::open(directory.join("cgroup.procs")).map(|file| file.take(LIST).read_to_end(&mut text));
    // The last line may be cut.
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let pids = lines(&text[..whole]).filter_map(number).filter_map(|pid| u32::try_from(pid).ok());
    if list.is_ok() { pids.filter(|pid| *pid > 0).collect() } else { Vec::new() }
}

/// The memory of a process and of those that it started, among these `mates`: the processes of its cgroup. Those of `others`, servers of
/// their own that it started, and of what these started, do not count. Shared memory counts for each process that touched it: whoever
/// knows what their cgroup is charged with knows a bound. `None` if the process is gone.
pub fn of(proc: &Path, pid: u32, mates: &[u32], others: &[u32]) -> Option<Memory> {
    let mut sum = status(proc, pid)?.memory;
    let mut rest: Vec<(u32, Status)> = Vec::new();
    for mate in mates.iter().copied().filter(|mate| *mate != pid && !others.contains(mate)).take(PROCESSES) {
        rest.extend(status(proc, mate).map(|status| (mate, status)));
    }
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        rest.retain(|(child, status)| {
            let is_child = status.parent == parent;
            if is_child {
                parents.push(*child);
                add(&mut sum, &status.memory);
            }
            !is_child
        });
    }
    Some(sum)
}

fn status(proc: &Path, pid: u32) -> Option<Status> {
    let mut text = Vec::new();
    let file = File::open(proc.join(pid.to_string()).join("status")).ok()?;
    file.take(STATUS).read_to_end(&mut text).ok()?;
    Some(parse(&text))
}

/// Lines such as `RssAnon: 7752 kB`. A kernel thread, and a process that ends, has none of memory.
fn parse(text: &[u8]) -> Status {
    let mut status = Status::default();
    for line in lines(text) {
        let Some((key, rest)) = cut(line, b':') else { continue };
        let value = || fields(rest).next().and_then(number);
        let bytes = || value().unwrap_or(0).saturating_mul(1024);
        match key {
            // The name of a process cannot be a line of its own: the kernel escapes what would end one.
            b"PPid" => status.parent = value().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
            b"RssAnon" => status.memory.anon = bytes(),
            b"RssFile" => status.memory.file = bytes(),
            b"RssShmem" => status.memory.shmem = bytes(),
            b"VmPin" => status.memory.pinned = bytes(),
            _ => {}
        }
    }
    status
}

fn add(sum: &mut Memory, more: &Memory) {
    let Memory { anon, shmem, file, pinned } = more;
    for (sum, more) in
        [(&mut sum.anon, anon), (&mut sum.shmem, shmem), (&mut sum.file, file), (&mut sum.pinned, pinned)]
    {
        *sum = sum.saturating_add(*more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    fn process(tree: &Tree, pid: u32, parent: u32, anon: u64) {
        let text = format!(
            "Name:\tvllm\\nPPid:\t1\nPPid:\t{parent}\nVmPin:\t4 kB\nVmLck:\t0 kB\nRssAnon:\t{anon} kB\nRssFile:\t2 kB\nRssShmem:\t3 kB\n"
        );
        tree.write(&format!("{pid}/status"), &text);
    }

    #[test]
    fn children_count_but_not_those_of_another_server_that_it_started() {
        let tree = Tree::new();
        for (pid, parent, anon) in
            [(10, 1, 1), (11, 10, 10), (12, 11, 100), (20, 10, 1000), (21, 20, 1000), (30, 1, 1000)]
        {
            process(&tree, pid, parent, anon);
        }
        let mates = [12, 30, 21, 20, 11, 10, 99];
        let all = of(&tree.0, 10, &mates, &[20]).unwrap();
        let kib = |count: u64| count * 1024;
        let wanted = Memory { anon: kib(111), shmem: kib(9), file: kib(6), pinned: kib(12) };
        assert_eq!(all, wanted);
        assert_eq!(of(&tree.0, 10, &[], &[]).unwrap().anon, kib(1), "without a list it is the process alone");
        assert_eq!(of(&tree.0, 99, &mates, &[]), None, "it is gone");
        // A circle cannot be, but numbers of processes are used again while they are read.
        process(&tree, 10, 12, 1);
        assert_eq!(of(&tree.0, 10, &mates, &[20]).unwrap().anon, kib(111));
    }

    #[test]
    fn the_processes_of_a_cgroup_are_listed_but_for_a_line_that_was_cut() {
        let tree = Tree::new();
        assert_eq!(mates(&tree.0), [0; 0]);
        tree.write("cgroup.procs", "7\n0\nx\n12\n1");
        assert_eq!(mates(&tree.0), [7, 12]);
    }

    #[test]
    fn any_text_is_accepted() {
        for text in [
            &b""[..],
            b":",
            b"RssAnon",
            b"RssAnon:",
            b"RssAnon: -1 kB",
            b"RssAnon: 99999999999999999999 kB",
            b"\xff: 1",
        ] {
            assert_eq!(parse(text), Status::default(), "{text:?}");
        }
        assert_eq!(parse(b"RssAnon: 18446744073709551615 kB").memory.anon, u64::MAX);
    }

    #[test]
    fn the_kernel_says_of_this_process_what_it_holds() {
        let held = vec![1u8; 32 << 20];
        let memory = of(Path::new("/proc"), std::process::id(), &[], &[]).unwrap();
        assert!(memory.anon >= held.len() as u64 && memory.file > 0, "{memory:?} {}", held[held.len() - 1]);
    }
}

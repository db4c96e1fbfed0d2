//! The pass over all cgroups, compared with the kernel's files: two readers, one of which has it, over cgroups that change.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use collector::config::Config;
use collector::source::cgroup::{Hierarchies, own_directory, walk};
use collector::source::kernel::Kernel;
use collector::source::root::Root;
use collector::source::statistic::{Limits, Reader, handle};
use collector::source::{self, Source as _};
use collector_core::sample::Reading;
use collector_core::signal::cgroup;
use collector_core::statistic::Statistic as _;
use collector_core::statistic::workload::{LEFT_BEHIND, Statistic as S, Values};
use collector_tests::cgroup::Cgroup;
use collector_tests::forest::Forest;
use collector_tests::require::is_root;
use collector_tests::{applies, needs, provoke};
use rustix::fs::{MemfdFlags, memfd_create};

const CGROUPS: usize = 500;
const ROUNDS: usize = 4;
const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;

/// What a reader last emitted of each cgroup.
struct Read {
    reader: Reader,
    values: BTreeMap<u64, Values>,
}

impl Read {
    fn new(reader: Reader, born: &[(collector_core::cgroup::Id, String)]) -> Read {
        let mut read = Read { reader, values: BTreeMap::new() };
        for (id, path) in born {
            let born = cgroup::Reading::Born { id: *id, path: path.clone() };
            read.reader.follow(&Reading::Cgroup(born));
        }
        read.tick();
        read
    }

    fn tick(&mut self) {
        let Read { reader, values } = self;
        source::read("cgroup", reader, &mut |sample| match sample.reading {
            Reading::Statistics(it) => drop(values.insert(it.cgroup.id, it.values)),
            Reading::Source(it) => assert!(it.up, "{it:?}"),
            _ => {}
        });
    }
}

/// Changes what the cgroup with this number holds, and its limits.
fn change(directory: &Path, v2: bool, number: usize, round: usize, pages: &File) {
    let write = |file: &str, text: String| {
        let path = directory.join(file);
        // A kernel without swap accounting has no limit on swap.
        if path.exists() {
            fs::write(&path, &text).unwrap_or_else(|error| panic!("{}: {text}: {error}", path.display()));
        }
    };
    let limit = (number % 7 > 2).then(|| 16 * MIB + (number + round) as u64 * PAGE);
    let bytes = |factor: u64| limit.map_or("max".to_owned(), |limit| (limit * factor).to_string());
    match v2 {
        true => {
            write("memory.max", bytes(4));
            write("memory.high", bytes(3));
            write("memory.low", bytes(2));
            write("memory.min", limit.unwrap_or(0).to_string());
            write("memory.swap.max", bytes(1));
        }
        false => {
            // The limit on both is never below that on memory.
            write("memory.memsw.limit_in_bytes", "-1".to_owned());
            write("memory.limit_in_bytes", limit.map_or("-1".to_owned(), |limit| limit.to_string()));
            write("memory.memsw.limit_in_bytes", limit.map_or("-1".to_owned(), |limit| (3 * limit).to_string()));
            write("memory.swappiness", (number % 100).to_string());
        }
    }
    write("cgroup.procs", "0".to_owned());
    if round == 0 {
        // With less and without a process, it would count as empty, and hardly any of its files would be read.
        let at = (ROUNDS * CGROUPS * 5) as u64 * PAGE + number as u64 * LEFT_BEHIND;
        pages.write_all_at(&[7; LEFT_BEHIND as usize], at).unwrap();
    }
    for page in 0..=(number + round) % 5 {
        let at = ((ROUNDS * number + round) * 5 + page) as u64 * PAGE;
        pages.write_all_at(&[7; PAGE as usize], at).unwrap();
    }
}

/// Statistics that differ although the files said the same before and after the pass; and the number of those compared.
fn compare(before: &Read, passed: &Read, after: &Read) -> (Vec<String>, usize) {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for (id, first) in &before.values {
        let (ours, last) = (&passed.values[id], &after.values[id]);
        for statistic in S::ALL.iter().filter(|it| first.get(**it) == last.get(**it)) {
            compared += 1;
            if ours.get(*statistic) != first.get(*statistic) {
                let values = (ours.get(*statistic), first.get(*statistic));
                wrong.push(format!("{id} {}: {values:?}", statistic.name()));
            }
        }
    }
    (wrong, compared)
}

/// Whether the kernel can iterate over cgroups (from 6.1).
fn iterates() -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 1)
}

#[test]
fn the_pass_over_all_cgroups_and_their_files_say_the_same() {
    needs!(is_root(), "cgroups and programs need root");
    let pass = Kernel::open(&Config::default()).unwrap().take_pass();
    assert_eq!(pass.is_some(), iterates(), "an iterator over cgroups");
    applies!(pass.is_some(), "this kernel cannot iterate over cgroups");
    let mut forest = Forest::new("pass");
    for number in 0..CGROUPS {
        forest.make(format!("n{number}"));
    }
    let killed = Cgroup::new("pass-killed");
    killed.limit(8 * MIB);
    assert!(!provoke!(&killed, &["hog", "anon=67108864"]).wait().unwrap().success());
    assert_eq!(killed.kills(), 1);

    let hierarchies = Hierarchies::find(&Root::default()).unwrap();
    let below = format!("{}/", forest.path);
    let mut born = Vec::new();
    walk(&hierarchies.memory, &mut |id, path| {
        if path.starts_with(&below) || path == killed.path {
            born.push((id, path.to_owned()));
        }
    })
    .unwrap();
    assert_eq!(born.len(), CGROUPS + 1);
    let descriptors = handle::raise() / 3;
    let open = || {
        let limits = Limits { workloads: 2 * CGROUPS, descriptors, period: 1 };
        Reader::open(&Root::default(), &hierarchies, limits).unwrap()
    };
    let [mut before, mut after] = [(); 2].map(|()| Read::new(open(), &born));
    let mut passed = Read::new(open().with(pass), &born);

    let (_, home): (_, PathBuf) = own_directory().unwrap();
    let pages = File::from(memfd_create("pass", MemfdFlags::CLOEXEC).unwrap());
    let mut decided = 0;
    for round in 0..ROUNDS {
        // First all of them, then every other.
        for number in (round % 2..CGROUPS).step_by(1 + round.min(1)) {
            change(&forest.directory().join(format!("n{number}")), forest.is_v2(), number, round, &pages);
        }
        fs::write(home.join("cgroup.procs"), "0").unwrap();
        before.tick();
        passed.tick();
        after.tick();
        assert_eq!(passed.reader.passed(), CGROUPS + 1);
        let (wrong, compared) = compare(&before, &passed, &after);
        assert!(wrong.is_empty(), "round {round}: {} of {compared}: {:?}", wrong.len(), &wrong[..wrong.len().min(20)]);
        decided += compared;
    }
    assert!(decided > ROUNDS * CGROUPS * S::ALL.len() * 9 / 10, "{decided} numbers compared");
    let kills = passed.values[&killed.memory_id()].get(S::MemoryEventOomKill);
    assert_eq!(kills, Some(1));
    let limits = passed.values.values().filter(|values| values.get(S::MemoryLimit).is_some()).count();
    assert!((CGROUPS / 4..CGROUPS).contains(&limits), "{limits} with a limit");
}

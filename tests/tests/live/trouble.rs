//! The agent under load on a bad day: killed again and again, stopped during a storm, a full disk, cgroups and processes made
//! faster than anything can read. It continues, leaves nothing behind, and counts what it lost.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_core::sample::{Reading, Sample};
use collector_core::signal::oom::Reading as Oom;
use collector_core::stage::Stage;
use collector_tests::agent::{Agent, get};
use collector_tests::bpf::Objects;
use collector_tests::cgroup::{Cgroup, own};
use collector_tests::forest::Forest;
use collector_tests::load::Load;
use collector_tests::mount::Mount;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::process::{descriptors, resident};
use collector_tests::record::{lost, reported};
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::Signal;

const CONFIG: &str = "tick = \"100ms\"\n[kernel]\nmeasure = \"0s\"\n[workload]\ngrace = \"500ms\"\n";
const MIB: u64 = 1 << 20;
const CPU: &str = "headroom_workload_cpu_seconds_total";

/// Makes the kernel kill a process in a cgroup of its own; returns the pid.
fn kill() -> u32 {
    let cgroup = Cgroup::new("trouble");
    cgroup.limit(16 * MIB);
    let mut hog = Command::new(env!("CARGO_BIN_EXE_provoke"));
    let mut hog = cgroup.spawn(hog.args(["hog", "anon=67108864"]).stdout(Stdio::null()).stderr(Stdio::null()));
    assert_eq!(hog.wait().unwrap().signal(), Some(libc::SIGKILL));
    hog.id()
}

fn killed(samples: &[Sample]) -> BTreeSet<u32> {
    let pid = |sample: &Sample| match &sample.reading {
        Reading::Oom(Oom::Kill(kill)) => Some(kill.pid),
        _ => None,
    };
    samples.iter().filter_map(pid).collect()
}

/// Memory cgroups directly below the root.
fn cgroups() -> BTreeSet<String> {
    let parent = Cgroup::new("count").memory().parent().unwrap().to_owned();
    let entries = fs::read_dir(parent).unwrap().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn killed_again_and_again_under_load_it_leaves_nothing_and_continues_counting() {
    needs!(is_root(), "loading eBPF programs needs root");
    const TIMES: u32 = 10;
    let (directory, before) = (scratch(), cgroups());
    let spawn = || {
        Agent::spawn(CONFIG, |command| {
            command.arg("--lock").arg(directory.join("lock")).env("HEADROOM_JOURNAL_DIR", directory.join("journal"));
        })
    };
    let worker = Cgroup::everywhere("busy");
    let busy = Killed(worker.spawn(Command::new("sh").args(["-c", "while :; do :; done"])));
    let own = [("workload", worker.path.as_str())];
    let load = Load::start(Duration::from_millis(5));
    let (mut seconds, mut programs) = (Vec::new(), 0);
    for time in 0..TIMES {
        let mut agent = spawn();
        if time % 3 == 2 {
            // Somewhere during its start.
            sleep(Duration::from_millis(u64::from(time) * 40));
        } else {
            agent.await_ready();
            let seen = agent.scrape_until("the worker", |it| it.has(CPU, &own));
            seconds.push(seen.sum(CPU, &own));
        }
        // Stopped, so that it opens nothing while its descriptors are read.
        agent.signal(Signal::STOP);
        let objects = Objects::of(agent.pid());
        programs += objects.programs.len();
        agent.signal(Signal::KILL);
        assert_eq!(agent.wait().signal(), Some(libc::SIGKILL));
        objects.await_gone();
    }
    let mut agent = spawn();
    agent.await_ready();
    let seen = agent.scrape_until("the worker", |it| it.has(CPU, &own));
    seconds.push(seen.sum(CPU, &own));
    assert!(seconds.is_sorted(), "the kernel's own count continues: {seconds:?}");
    let pid = kill();
    agent.await_kills(1);
    agent.settle();
    assert!(killed(&agent.samples()).contains(&pid));
    let done = load.done.clone();
    drop((load, busy));
    eprintln!("{TIMES} times killed, {programs} programs gone; meanwhile {done:?}");
    assert!(programs >= 10 && done.kills.load(Ordering::Relaxed) > 0, "{programs}, {done:?}");
    agent.stop();
    drop(worker);
    assert_eq!(cgroups(), before, "cgroups before and after");
}

#[test]
fn stopped_for_ten_seconds_during_a_storm_it_counts_what_it_lost_and_continues() {
    needs!(is_root(), "loading eBPF programs needs root");
    const STOPPED: Duration = Duration::from_secs(10);
    // Others on this machine may make and remove cgroups meanwhile, and move processes.
    const OTHERS: u64 = 200;
    let agent = Agent::start(CONFIG);
    let mut forest = Forest::new("stopped");
    let memory = forest.memory_hierarchy();
    agent.settle();
    let (begun, mut ids) = (Instant::now(), HashSet::new());
    agent.signal(Signal::STOP);
    let early: BTreeSet<u32> = (0..3).map(|_| kill()).collect();
    while begun.elapsed() < STOPPED {
        for number in 0..50 {
            ids.insert(forest.make(format!("n{number}")));
        }
        forest.clear();
    }
    let left = forest.make("left");
    ids.insert(left);
    agent.signal(Signal::CONT);
    let below = format!("{}/left", forest.path);
    let info = "headroom_workload_info";
    // The record of its creation was lost, and it is found all the same.
    agent.scrape_until("what is left", |it| it.has(info, &[("workload", &below)]));
    let late = kill();
    agent.await_kills(4);
    agent.settle();
    assert!(get(&agent.address, "/-/healthy", "").starts_with("HTTP/1.1 200"));
    drop(forest);
    let samples = agent.stop();
    let [born, died, others_born, others_died] = reported(&samples, &ids, memory);
    let lost = lost(&samples, Stage::RingCritical);
    // The remaining one may have been removed after the last round.
    let produced = 2 * ids.len() as u64 - 1;
    eprintln!(
        "{} cgroups: {born} births, {died} deaths, {lost} lost; of others {others_born}, {others_died}",
        ids.len()
    );
    assert!(lost > 0, "the ring was never full: {} cgroups", ids.len());
    assert!((produced..=produced + 1 + OTHERS).contains(&(born + died + lost)), "{born} + {died} + {lost}: {produced}");
    let killed = killed(&samples);
    assert!(early.is_subset(&killed) && killed.contains(&late), "{early:?}, {late}: {killed:?}");
}

#[test]
fn a_full_disk_costs_journal_and_record_and_nothing_else() {
    needs!(is_root(), "loading eBPF programs needs root");
    let disk = Mount::tmpfs("size=1m");
    needs!(disk.is_ok(), disk.as_ref().err().map_or("", String::as_str));
    let disk = disk.unwrap();
    let (record, journal) = (disk.0.join("record.jsonl"), disk.0.join("journal"));
    let mut agent = Agent::spawn_recording(CONFIG, &record, |command| {
        command.env("HEADROOM_JOURNAL_DIR", &journal);
    });
    agent.await_ready();
    // In place of what its record would have filled over time.
    let filler = disk.0.join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[7; 4096]).is_ok() {}
    let lost = |stage: &str| agent.scrape().lost(stage);
    agent.scrape_until("a full disk", |it| it.lost("record") > 0.0);
    let (up, mut kills) = ([("source", "journal")], 0);
    // The journal's last page may have room, and its log some that it had before.
    while kills < 30 && agent.scrape().values("headroom_source_up", &up) == [1.0] {
        kill();
        kills += 1;
        agent.await_kills(kills);
    }
    assert_eq!(agent.scrape().values("headroom_source_up", &up), [0.0], "after {kills} kills");
    let before = lost("record");
    agent.scrape_until("more of what is lost", |it| it.lost("record") > before);
    assert!(agent.log().contains(record.to_str().unwrap()), "{}", agent.log());
    assert_eq!(agent.scrape().sum("headroom_source_up", &[("source", "kernel")]), 1.0);
    eprintln!("{kills} kills; {} samples of the record lost, {} of the journal", lost("record"), lost("journal"));
    // The file that filled the disk is removed, and the journal is written again.
    drop(file);
    fs::remove_file(filler).unwrap();
    agent.scrape_until("the journal", |it| it.values("headroom_source_up", &up) == [1.0]);
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait().code(), Some(0), "{}", agent.log());
}

/// Makes cgroups and processes in them as fast as possible; returns the cgroups' ids.
fn bomb(forest: &mut Forest, duration: Duration) -> HashSet<u64> {
    let (begun, mut ids) = (Instant::now(), HashSet::new());
    while begun.elapsed() < duration {
        let mut children = Vec::new();
        for number in 0..10 {
            ids.insert(forest.make(format!("n{number}")));
            children.push(forest.spawn_in_last(&mut Command::new("true")));
        }
        children.iter_mut().for_each(|child| drop(child.wait()));
        forest.clear();
    }
    ids
}

#[test]
fn cgroups_and_processes_made_as_fast_as_possible_are_all_accounted_for() {
    needs!(is_root(), "loading eBPF programs needs root");
    const LONG: Duration = Duration::from_secs(5);
    let agent = Agent::start(CONFIG);
    let memory = Forest::new("count").memory_hierarchy();
    let ours = own("bomb");
    let clean = |agent: &Agent| {
        agent.scrape_until("that they are gone", |it| !it.text.contains(&ours));
        agent.settle();
        (descriptors(agent.pid(), &ours), resident(agent.pid()))
    };
    let mut all = HashSet::new();
    let mut after = Vec::new();
    for _ in 0..2 {
        let bombs = (0..3).map(|_| {
            std::thread::spawn(|| {
                let mut forest = Forest::new("bomb");
                bomb(&mut forest, LONG)
            })
        });
        let bombs: Vec<_> = bombs.collect();
        bombs.into_iter().for_each(|bomb| all.extend(bomb.join().unwrap()));
        after.push(clean(&agent));
    }
    let samples = agent.stop();
    let [born, died, ..] = reported(&samples, &all, memory);
    let lost = lost(&samples, Stage::RingCritical);
    eprintln!("{} cgroups: {born} births, {died} deaths, {lost} lost; after each {after:?}", all.len());
    let produced = 2 * all.len() as u64;
    assert!(born + died + lost >= produced && born + died <= produced, "{born} + {died} + {lost}: {produced}");
    let [first, second] = after[..] else { panic!("{after:?}") };
    assert_eq!((first.0.0, second.0), (0, first.0), "descriptors");
    assert!(second.1 <= first.1 + 2 * MIB, "{first:?} {second:?}");
}

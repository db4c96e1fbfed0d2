//! Thousands of cgroups that come and go while the agent reads their files: each is seen or counted as lost, and nothing of
//! them remains, neither in memory nor as open files. Those over the agent's limit are counted, and are in `other`.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup::Reading as Change;
use collector_core::stage::Stage;
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::{Cgroup, own};
use collector_tests::exposition::Exposition;
use collector_tests::forest::Forest;
use collector_tests::needs;
use collector_tests::process::{Killed, descriptors, resident};
use collector_tests::record::{lost, reported};
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;

/// An empty cgroup has no other series.
const INFO: &str = "headroom_workload_info";
const EVENTS: &str = "headroom_cgroup_events_total";
const MIB: u64 = 1 << 20;

/// Workloads below a path that have series of this name.
fn shown(exposition: &Exposition, name: &str, below: &str) -> usize {
    let is_below = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get("workload").is_some_and(|workload| workload.starts_with(below))
    };
    exposition.samples.iter().filter(|sample| sample.0 == name && is_below(&sample.1)).count()
}

#[test]
fn every_cgroup_is_seen_or_counted_and_nothing_of_it_remains() {
    needs!(is_root(), "loading eBPF programs needs root");
    const WAVES: usize = 30;
    const WAVE: usize = 100;
    // One in so many has a process: of one that holds nothing no file is kept open where a pass over all cgroups says how much.
    const HELD: usize = 10;
    // The end of a measurement meanwhile would close a descriptor.
    let config = "tick = \"100ms\"\n[kernel]\nmeasure = \"0s\"\n[workload]\nmax = 4000\ngrace = \"500ms\"\n";
    // With an arena for each thread that renders, glibc takes longer than this test to reach its largest size.
    let mut agent = Agent::spawn(config, |command| {
        command.env("MALLOC_ARENA_MAX", "1");
    });
    agent.await_ready();
    let mut forest = Forest::new("churn");
    let wave_files = format!("{}/w", forest.path);
    let memory = forest.memory_hierarchy();
    let below = format!("{}/", forest.path);
    agent.scrape_until("the parent", |exposition| exposition.has(INFO, &[("workload", &forest.path)]));
    let nothing_left = |exposition: &Exposition| shown(exposition, INFO, &below) == 0;

    let (mut ids, mut open, mut most_open, mut sizes) = (HashSet::new(), Vec::new(), 0, Vec::new());
    for wave in 0..WAVES {
        // Every second wave stays until its files are open; the others are removed at once.
        let stays = wave % 2 == 0;
        let mut held = Vec::new();
        for number in 0..WAVE {
            ids.insert(forest.make(format!("w{wave}n{number}")));
            if !stays {
                forest.clear();
            } else if number % HELD == 0 {
                held.push(Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity"))));
            }
        }
        if stays {
            let all = |exposition: &Exposition| shown(exposition, INFO, &below) == WAVE;
            agent.scrape_until("a wave", all);
            // Their files are read.
            agent.settle();
            most_open = most_open.max(descriptors(agent.pid(), &wave_files).0);
            drop(held);
            forest.clear();
        }
        agent.scrape_until("the end of a wave", nothing_left);
        agent.settle();
        open.push(descriptors(agent.pid(), &wave_files));
        sizes.push(resident(agent.pid()));
    }
    eprintln!("descriptors {open:?}, at most {most_open}; resident {sizes:?}");
    assert!(most_open >= WAVE / HELD, "files are kept open: {most_open}");
    assert!(open.iter().all(|left| *left == (0, open[0].1)), "{open:?}");
    // Growth by as many cgroups again: less than a kilobyte each. A workload that stays takes more than five.
    let (early, late) = (sizes[WAVES / 2 - 1], sizes[WAVES - 1]);
    assert!(late <= early + (WAVES / 2 * WAVE * 1024) as u64, "{early}, {late} after as many cgroups again: {sizes:?}");

    let exposition = agent.settle();
    let shown_events = |event| exposition.sum(EVENTS, &[("event", event)]);
    let (shown_born, shown_died) = (shown_events("born"), shown_events("died"));
    drop(forest);
    let samples = agent.stop();
    let ticks = samples.iter().rposition(|sample| sample.reading == Reading::Tick).unwrap();
    let [born, died, foreign_born, foreign_died] = reported(&samples[..=ticks], &ids, memory);
    let lost = lost(&samples, Stage::RingCritical);
    let made = (WAVES * WAVE) as u64;
    eprintln!("{born} births, {died} deaths, {lost} lost; of others {foreign_born}, {foreign_died}");
    assert_eq!((ids.len() as u64, born + died + lost), (made, 2 * made));
    // The removal of the parent, after the scrape, is among those of others.
    assert!(shown_born <= (born + foreign_born) as f64 && shown_born >= born as f64, "{shown_born} shown");
    assert!(shown_died <= (died + foreign_died) as f64 && shown_died >= died as f64, "{shown_died} shown");
}

#[test]
fn a_cgroup_in_several_hierarchies_is_removed_once_in_each_that_is_reported() {
    needs!(is_root(), "loading eBPF programs needs root");
    const CGROUPS: usize = 20;
    let agent = Agent::start("tick = \"100ms\"\n[workload]\ngrace = \"500ms\"\n");
    let before = agent.settle();
    let events = |exposition: &Exposition, event| exposition.sum(EVENTS, &[("event", event)]);
    let cgroups: Vec<Cgroup> = (0..CGROUPS).map(|_| Cgroup::everywhere("many")).collect();
    let all = |exposition: &Exposition| cgroups.iter().all(|it| exposition.has(INFO, &[("workload", &it.path)]));
    agent.scrape_until("their statistics", all);
    drop(cgroups);
    let own = own("many");
    let gone = |exposition: &Exposition| !exposition.text.contains(&own);
    agent.scrape_until("their end", gone);
    let after = agent.settle();
    let reported = |event| events(&after, event) - events(&before, event);
    let samples = agent.stop();
    let lost = lost(&samples, Stage::RingCritical);
    eprintln!("{} births, {} deaths, {lost} lost", reported("born"), reported("died"));
    // Others on this machine may come and go meanwhile, but hardly by the dozen.
    assert!(
        reported("died") < reported("born") + CGROUPS as f64 / 2.0 + lost as f64,
        "{} and {}",
        reported("born"),
        reported("died")
    );
    assert!(reported("born") + lost as f64 >= CGROUPS as f64);
}

#[test]
fn a_short_lived_container_that_is_killed_has_its_name_in_the_log_and_in_the_series() {
    needs!(is_root(), "loading eBPF programs needs root");
    let books = scratch();
    let id = format!("{:016x}", std::process::id()).repeat(4);
    let book = books.join("containers").join(&id);
    fs::create_dir_all(&book).unwrap();
    fs::write(book.join("config.v2.json"), format!("{{\"ID\":\"{id}\",\"Name\":\"/doomed\",\"Config\":{{}}}}"))
        .unwrap();
    let config = format!("tick = \"100ms\"\n[workload]\ngrace = \"60s\"\ndocker = {books:?}\n");
    let agent = Agent::start(&config);

    let parent = Cgroup::new("docker");
    let container = parent.child(&id);
    container.limit(8 * MIB);
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    let mut hog = container.spawn(command.args(["hog", "anon=67108864"]).stdout(Stdio::null()));
    assert_eq!(hog.wait().unwrap().signal(), Some(libc::SIGKILL), "it survived");
    assert_eq!(container.kills(), 1);
    drop(container);

    let named = [("workload", "docker/doomed")];
    let kills = |exposition: &Exposition| exposition.sum("headroom_oom_kills_total", &named);
    let exposition = agent.scrape_until("the kill", |exposition| kills(exposition) > 0.0);
    assert_eq!(kills(&exposition), 1.0);
    assert!(!exposition.text.contains(&format!("docker/{}", &id[..12])), "it also has another name");
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("OOM kill of")).unwrap_or_else(|| panic!("no kill in {log}"));
    // The kill may be logged before the name was found, with the container's id.
    let reported = [" in docker/doomed:".to_owned(), format!(" in docker/{}:", &id[..12])];
    assert!(reported.iter().any(|name| line.contains(name)), "{line}");
}

#[test]
fn removed_workloads_stay_for_the_grace_period() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"100ms\"\n[workload]\ngrace = \"8s\"\n");
    let cgroup = Cgroup::new("late");
    let (path, dead) = (cgroup.path.clone(), cgroup.memory_id());
    let labels = [("workload", path.as_str())];
    agent.scrape_until("the cgroup", |exposition| exposition.has(INFO, &labels));
    drop(cgroup);
    let died = |sample: &Sample| matches!(&sample.reading, Reading::Cgroup(Change::Died { id }) if id.id == dead);
    let deadline = Instant::now() + PATIENCE;
    while !agent.samples().iter().any(died) {
        assert!(Instant::now() < deadline, "nobody died");
        sleep(Duration::from_millis(20));
    }
    assert!(agent.scrape().has(INFO, &labels), "gone before the grace period was over");
    agent.scrape_until("its end", |exposition| !exposition.has(INFO, &labels));
}

#[test]
fn over_the_limit_the_empty_give_way_to_the_one_with_a_process() {
    needs!(is_root(), "loading eBPF programs needs root");
    const MADE: usize = 100;
    let workloads = |exposition: &Exposition| exposition.sum("headroom_workloads", &[]) as usize;
    let unlimited = Agent::start("tick = \"100ms\"\n");
    // All of the host have a place, and some of those made here.
    let max = workloads(&unlimited.settle()) + MADE / 3;
    unlimited.stop();
    let agent = Agent::start(&format!("tick = \"100ms\"\n[workload]\nmax = {max}\ngrace = \"60s\"\n"));
    let before = agent.settle();
    let mut forest = Forest::new("cap");
    let below = format!("{}/", forest.path);
    for number in 0..MADE {
        forest.make(format!("n{number}"));
    }
    agent.scrape_until("their number", |exposition| workloads(exposition) == max);
    let exposition = agent.settle();
    assert_eq!(exposition.lost("workload"), before.lost("workload"), "nothing is lost with an empty cgroup");
    // A process in the last one: whoever has the places, and if it lives for less than a tick, its faults are its own.
    let last = format!("{below}n{}", MADE - 1);
    let faults =
        |exposition: &Exposition| exposition.sum("headroom_workload_page_faults_total", &[("workload", &last)]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    command.args(["hog", "anon=20480000"]).stdout(Stdio::null());
    assert!(forest.spawn_in_last(&mut command).wait().unwrap().success());
    agent.scrape_until("its faults", |exposition| faults(exposition) >= 5000.0);

    // Once there is room again, new ones are accepted.
    forest.clear();
    forest.make("late");
    let late = format!("{below}late");
    agent.scrape_until("a newcomer", |exposition| exposition.has(INFO, &[("workload", &late)]));
    drop(forest);
    agent.stop();
}

#[test]
fn cgroups_can_have_any_name_and_statistics_continue_after_a_rename() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start("tick = \"100ms\"\n[workload]\ngrace = \"500ms\"\nstat_interval = \"100ms\"\n");
    let mut forest = Forest::new("odd");
    let long = "x".repeat(255);
    let names: Vec<&[u8]> = vec![
        b"a b",
        b"  ",
        "ünï→✓".as_bytes(),
        b"back\\slash",
        b"quote\"d",
        b"{a=\"b\"} 1",
        b"%s",
        b"-rf",
        long.as_bytes(),
    ];
    let mut ids = HashMap::new();
    for name in names.iter().rev() {
        ids.insert(forest.make(OsStr::from_bytes(name)), String::from_utf8_lossy(name).into_owned());
    }
    // With a process in it, "a b" has series.
    let _sleeper = Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity")));
    // The kernel refuses a line break, with which /proc/PID/cgroup could not be parsed.
    let refused = fs::create_dir(forest.directory().join("new\nline")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{refused}");
    let exposition = agent
        .scrape_until("all of them", |exposition| shown(exposition, INFO, &format!("{}/", forest.path)) >= names.len());
    let measured = |agent: &Agent| -> HashSet<u64> {
        let statistics = |sample: &Sample| match &sample.reading {
            Reading::Statistics(statistics) if !statistics.values.is_empty() => Some(statistics.cgroup.id),
            _ => None,
        };
        agent.samples().iter().filter_map(statistics).collect()
    };
    agent.settle();
    let measured = measured(&agent);
    for (id, name) in &ids {
        assert!(measured.contains(id), "nothing is known of {name:?}:\n{}", exposition.text);
    }
    if !forest.is_v2() {
        let old = forest.directory().join("a b");
        let limit = 123 * MIB;
        fs::write(old.join("memory.limit_in_bytes"), limit.to_string()).unwrap();
        let above = forest.path.clone();
        let limits = |exposition: &Exposition, name: &str| {
            let workload = format!("{above}/{name}");
            exposition.values("headroom_workload_memory_limit_bytes", &[("workload", &workload)])
        };
        agent.scrape_until("the limit", |exposition| limits(exposition, "a b") == [limit as f64]);
        fs::rename(&old, forest.directory().join("c d")).unwrap();
        forest.renamed("a b", "c d");
        let exposition = agent.scrape_until("the new name", |exposition| limits(exposition, "c d") == [limit as f64]);
        assert_eq!(limits(&exposition, "a b"), Vec::<f64>::new());
        // It is read at its new path.
        let limit = 124 * MIB;
        fs::write(forest.directory().join("c d/memory.limit_in_bytes"), limit.to_string()).unwrap();
        agent.scrape_until("the new limit", |exposition| limits(exposition, "c d") == [limit as f64]);
        assert_eq!(limits(&agent.scrape(), "a b"), Vec::<f64>::new());
    }
}

//! Cost of the statistics of workloads: a tick over a thousand cgroups, compared with opening, reading and closing the same
//! files; ten times as many cgroups; and twenty thousand that come and go while the built agent runs.

use std::fs;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector::config::Config;
use collector::source::cgroup::{Hierarchies, own_directory, walk};
use collector::source::kernel::Kernel;
use collector::source::root::Root;
use collector::source::statistic::file::{FILES, Pace};
use collector::source::statistic::{Limits, Reader, handle};
use collector::source::{self, Source as _};
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample, Start};
use collector_core::signal::cgroup;
use collector_tests::agent::Agent;
use collector_tests::exposition::Exposition;
use collector_tests::forest::Forest;
use collector_tests::process::descriptors;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::machine::{self, Pinned, cpu_ns};
use crate::report::Report;
use crate::statistic::{Summary, alternate, ratio};

const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// Least factor by which a tick is cheaper than opening, reading and closing what is read by default; and if everything is due.
const CHEAPER: f64 = 40.0;
const CHEAPER_IN_FULL: f64 = 3.0;
/// Most milliseconds of a tick over the few.
const MOST_MS: f64 = 3.0;
/// Most growth of the cost for ten times as many cgroups.
const GROWTH: f64 = 10.5;
/// Ticks between the turns of a cgroup, by default.
const PERIOD: u64 = 10;
/// Ticks until nothing is new any more: after two turns in which nothing happened, the next ones read less.
const WARM: u64 = 3 * PERIOD;

const CHURN: usize = 20_000;
const WAVE: usize = 250;
/// Most bytes by which memory may grow during the second half of the cgroups.
const LEFT: u64 = 1 << 19;
/// Longer than removed cgroups are kept.
const GRACE: Duration = Duration::from_millis(2500);
/// How long the agent may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all three.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report =
        Report::new(&["cgroups", "what is read", "files open", "ms a tick, median (quartiles)", "min", "naive, ms"]);
    {
        let _pinned = Pinned::new()?;
        let budget = handle::raise();
        let mut forest = Forest::everywhere("bench");
        grow(&mut forest, FEW)?;
        cheaper(&mut report, &forest, rounds, budget)?;
        let free = unreclaimable()?;
        let mut few = host(&forest, FEW, budget, PERIOD)?;
        let (taken, open) = (unreclaimable()?.saturating_sub(free), few.reader.open_files());
        report.note(format!(
            "A file that is kept open costs the kernel {} bytes (SUnreclaim, over {open} files).",
            taken / open.max(1) as u64
        ));
        let mut times = few.ticks(rounds);
        drop(few);
        grow(&mut forest, MANY)?;
        let mut many = host(&forest, MANY, budget, PERIOD)?;
        let of_many = many.ticks(rounds);
        let enough = many.reader.open_files() >= MANY * files(|pace| !at_turn(pace))?.len();
        let what = if enough { "all kept open" } else { "too few descriptors, the rest opened in turn" };
        row(&mut report, &many, &format!("as by default, {what}"), &of_many, None);
        drop(many);
        // Before and after, since both at once may need too many descriptors.
        times.extend(host(&forest, FEW, budget, PERIOD)?.ticks(rounds));
        let growth = Summary::of(of_many).median / Summary::of(times).median;
        report.aim(
            format!("{MANY} cgroups cost at most {GROWTH} times what {FEW} do, {what}: {growth:.1}"),
            growth <= GROWTH,
        );
        drop(forest);
        if !enough {
            within(&mut report, rounds, budget)?;
        }
    }
    churn(&mut report)?;
    report.note("Cgroups that hold a page and no process, in every hierarchy; CPU time of the one thread, including the fold of what was read. The naive side does not parse, it only calls `std::fs::read` for each file.");
    report.note("`everything due`: as if each cgroup had its turn in each tick and a process had entered it, so that `memory.stat` and the limits are read, too. `something happened in each`: as if a process had entered it. `as by default`: nothing happens, and a tenth has its turn. `none has its turn`: only what is read every tick.");
    Ok(report)
}

/// Runs something while there are so many cgroups that hold a page.
pub fn beside<T>(cgroups: usize, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let mut forest = Forest::everywhere("bench");
    grow(&mut forest, cgroups)?;
    run()
}

/// Makes more cgroups. Each holds a page: of those that hold nothing, hardly anything is read. (On cgroup v2 a page without a
/// process counts as nothing, so that the figures are those of idle cgroups.)
fn grow(forest: &mut Forest, size: usize) -> Result<()> {
    const PAGE: usize = 4096;
    let (_, home) = own_directory().context("this process's memory cgroup is not visible")?;
    let pages = File::from(memfd_create("bench", MemfdFlags::CLOEXEC).context("make a file in memory")?);
    for number in forest.count()..size {
        let name = format!("n{number}");
        forest.make(&name);
        fs::write(forest.directory().join(name).join("cgroup.procs"), "0").context("enter a cgroup")?;
        pages.write_all_at(&[7; PAGE], (number * PAGE) as u64).context("write a page")?;
    }
    fs::write(home.join("cgroup.procs"), "0").context("leave the cgroups")?;
    // The pages stay for as long as the cgroups.
    std::mem::forget(pages);
    Ok(())
}

/// A reader that knows the first cgroups of a forest, and the engine that folds what it reads.
struct Host {
    reader: Reader,
    engine: Engine,
    /// Workloads' own cgroups.
    own: Vec<Id>,
}

fn host(forest: &Forest, size: usize, descriptors: usize, period: u64) -> Result<Host> {
    let hierarchies = Hierarchies::find(&Root::default())?;
    let limits = Limits { workloads: usize::MAX, descriptors, period };
    let mut config = Config::default();
    config.workload.max = MANY;
    let pass = Kernel::open(&config)?.take_pass();
    let reader = Reader::open(&Root::default(), &hierarchies, limits)?.with(pass);
    let mut host = Host { reader, engine: Engine::new(), own: Vec::new() };
    let mut own = Vec::new();
    let mut emit = |reading: Reading| {
        host.reader.follow(&reading);
        host.engine.apply(&Sample { time: 1, reading });
    };
    emit(Reading::Start(Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: hierarchies.memory.id,
        io_hierarchy: hierarchies.io.id,
        workload_max: usize::MAX >> 8,
        workload_grace: 0,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    }));
    let below = format!("{}/n", forest.path);
    let ours =
        |path: &str| path.strip_prefix(&below).is_some_and(|number| number.parse().is_ok_and(|it: usize| it < size));
    for hierarchy in hierarchies.distinct() {
        walk(hierarchy, &mut |id, path| {
            if ours(path) {
                own.extend((id.hierarchy == hierarchies.memory.id).then_some(id));
                emit(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
            }
        })?;
    }
    host.own = own;
    // The first tick opens the files that stay open.
    host.ticks(WARM as usize);
    Ok(host)
}

impl Host {
    /// Nanoseconds of CPU time of a tick.
    fn tick(&mut self) -> f64 {
        let Host { reader, engine, .. } = self;
        let begun = cpu_ns();
        source::read("cgroup", reader, &mut |sample| drop(engine.apply(&sample)));
        (cpu_ns() - begun) as f64
    }

    /// The same, of which each cgroup has been entered by a process: all that is due is read.
    fn busy_tick(&mut self) -> f64 {
        for id in &self.own {
            self.reader.follow(&Reading::Cgroup(cgroup::Reading::Attached { id: *id, pid: 1 }));
        }
        self.tick()
    }

    fn ticks(&mut self, rounds: usize) -> Vec<f64> {
        (0..rounds).map(|_| self.tick()).collect()
    }
}

fn row(report: &mut Report, host: &Host, what: &str, ns: &[f64], naive: Option<&[f64]>) {
    let milliseconds = |ns: &[f64]| Summary::of(ns.iter().map(|ns| ns / 1e6));
    let times = milliseconds(ns);
    report.row([
        host.reader.count().to_string(),
        what.to_owned(),
        host.reader.open_files().to_string(),
        times.spread(2),
        format!("{:.2}", times.min),
        naive.map_or(String::new(), |naive| milliseconds(naive).spread(2)),
    ]);
}

/// Files of a cgroup that are read at the wanted pace, each with the mount point of its hierarchy.
fn files(wanted: impl Fn(Pace) -> bool) -> Result<Vec<(PathBuf, String)>> {
    let hierarchies = Hierarchies::find(&Root::default())?;
    let ours = FILES.iter().filter(|file| wanted(file.pace)).filter_map(|file| {
        let hierarchy = hierarchies.of(file.controller)?;
        let name = file.name.to_str().ok()?.to_owned();
        (file.v2 == (hierarchy.id == 0)).then(|| (hierarchy.root.clone(), name))
    });
    Ok(ours.collect())
}

/// Full paths of the same files in each `every`th cgroup, without those that do not exist.
fn paths(forest: &Forest, every: u64, wanted: impl Fn(Pace) -> bool) -> Result<Vec<PathBuf>> {
    let files = files(wanted)?;
    let of = |number: usize| {
        let cgroup = format!("{}/n{number}", &forest.path[1..]);
        files.iter().map(move |(root, name)| root.join(&cgroup).join(name)).collect::<Vec<_>>()
    };
    Ok((0..forest.count()).step_by(every as usize).flat_map(of).filter(|path| fs::metadata(path).is_ok()).collect())
}

/// Kernel memory that cannot be reclaimed, in bytes.
fn unreclaimable() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("SUnreclaim:")).context("no SUnreclaim")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Nanoseconds of CPU time to open, read and close these files.
fn naive(paths: &[PathBuf]) -> f64 {
    let begun = cpu_ns();
    for path in paths {
        let _ = black_box(fs::read(path));
    }
    (cpu_ns() - begun) as f64
}

/// Ticks that are compared with reading files naively.
struct Case<'a> {
    what: &'static str,
    period: u64,
    busy: bool,
    paths: &'a [PathBuf],
    aim: Option<f64>,
}

fn cheaper(report: &mut Report, forest: &Forest, rounds: usize, budget: usize) -> Result<()> {
    let all = paths(forest, 1, |_| true)?;
    let often = paths(forest, 1, |pace| !at_turn(pace))?;
    let default = [often.clone(), paths(forest, PERIOD, at_turn)?].concat();
    let case = |what, period, busy, paths, aim| Case { what, period, busy, paths, aim };
    let cases = [
        case("everything due", 1, true, &all, Some(CHEAPER_IN_FULL)),
        case("something happened in each", u64::MAX, true, &often, None),
        case("as by default", PERIOD, false, &default, Some(CHEAPER)),
        case("none has its turn", u64::MAX, false, &often, None),
    ];
    for Case { what, period, busy, paths, aim } in cases {
        let mut host = host(forest, FEW, budget, period)?;
        let mut tick = || if busy { host.busy_tick() } else { host.tick() };
        let [ours, theirs] = alternate(rounds, |which| Ok(if which == 0 { tick() } else { naive(paths) }))?;
        let cheaper = ratio(&theirs, &ours);
        row(report, &host, what, &ours, Some(&theirs));
        let text = format!("{what}: {} times cheaper than open, read, close of the same files", cheaper.spread(1));
        match aim {
            Some(aim) => report.aim(format!("{text}, at least {aim}"), cheaper.median >= aim),
            None => report.note(format!("{text}.")),
        }
        if period == PERIOD {
            let ms = Summary::of(ours.iter().map(|ns| ns / 1e6)).median;
            report.aim(format!("{what}: at most {MOST_MS} ms a tick: {ms:.2}"), ms <= MOST_MS);
        }
    }
    Ok(())
}

/// Whether files of this pace are read at a cgroup's turn only.
fn at_turn(pace: Pace) -> bool {
    matches!(pace, Pace::Turn | Pace::Empty)
}

/// Growth where all files can be kept open: with as many cgroups as that allows, in one hierarchy.
fn within(report: &mut Report, rounds: usize, budget: usize) -> Result<()> {
    let hierarchies = Hierarchies::find(&Root::default())?;
    let memory = &hierarchies.memory.root;
    let each = files(|_| true)?.iter().filter(|(root, _)| root == memory).count();
    // Ten parts for the many, and one for the few.
    let few = (budget / each.max(1) / 11).min(FEW);
    let mut forest = Forest::new("bench");
    grow(&mut forest, 10 * few)?;
    let mut hosts = [host(&forest, few, each * few, PERIOD)?, host(&forest, 10 * few, 10 * each * few, PERIOD)?];
    let turns: [Vec<f64>; 2] = alternate(rounds, |which| Ok(hosts[which].tick()))?;
    for (host, times) in hosts.iter().zip(&turns) {
        row(report, host, "memory alone, as by default", times, None);
    }
    let growth = ratio(&turns[1], &turns[0]);
    report.aim(
        format!(
            "{} cgroups cost at most {GROWTH} times what {few} do, what is read every tick kept open: {}",
            10 * few,
            growth.spread(1)
        ),
        growth.median <= GROWTH,
    );
    Ok(())
}

/// Thousands of cgroups while the built agent runs.
fn churn(report: &mut Report) -> Result<()> {
    let config = "tick = \"100ms\"\n[kernel]\nmeasure = \"0s\"\n[workload]\ngrace = \"1s\"\n";
    let agent = Agent::start(config);
    let pid = agent.pid();
    let mut forest = Forest::new("churn");
    // Of cgroups only theirs: others of this host come, go and grow meanwhile, and the one above them holds memory only once others
    // were in it. The journal's first entry opens its file a second time.
    let many = format!("{}/n", forest.path);
    // The least of several looks: a tick has more open for a moment.
    let open = || {
        let look = || {
            sleep(Duration::from_millis(15));
            let (theirs, others) = descriptors(pid, &many);
            theirs + others
        };
        (0..10).map(|_| look()).min().unwrap_or(0)
    };
    let below = format!("\"{}/", forest.path);
    let own = format!("\"{}\"", forest.path);
    await_that(&agent, |exposition| exposition.text.contains(&own))?;
    let gone = |exposition: &Exposition| !exposition.text.contains(&below);
    let before = agent.settle();
    let open_before = open();
    let (mut most_open, mut sizes) = (0, Vec::new());
    let mut made = 0;
    while made < CHURN {
        for _ in 0..WAVE {
            forest.make(format!("n{made}"));
            made += 1;
        }
        // Every other wave lives for several ticks.
        if (made / WAVE).is_multiple_of(2) {
            sleep(Duration::from_millis(250));
            most_open = most_open.max(open());
        }
        forest.clear();
        if made % (CHURN / 10) == 0 {
            // A scrape of all of them would use more memory than they do.
            sleep(GRACE);
            await_that(&agent, gone)?;
            sizes.push(machine::resident(&pid.to_string())?.1);
        }
    }
    let after = agent.settle();
    let open_after = open();
    let growth = |name: &str, label: (&str, &str)| after.sum(name, &[label]) - before.sum(name, &[label]);
    let reported = |event| growth("headroom_cgroup_events_total", ("event", event));
    let lost = growth("headroom_lost_total", ("stage", "ring_critical"));
    let (born, died) = (reported("born"), reported("died"));
    let kib = |bytes: &u64| (bytes >> 10).to_string();
    report.note(format!(
        "{CHURN} cgroups with the built agent: {born} creations and {died} removals reported, {lost} records lost; descriptors {open_before} before, {most_open} at most, {open_after} after; anonymous memory after each tenth, in KiB: {}.",
        sizes.iter().map(kib).collect::<Vec<_>>().join(", ")
    ));
    report.aim(
        format!("creations and removals reported, and records lost, add up to {}: {}", 2 * CHURN, born + died + lost),
        born + died + lost == 2.0 * CHURN as f64,
    );
    report.aim(format!("no descriptor is left open: {open_before}, then {open_after}"), open_after <= open_before);
    let (half, end) = (sizes[sizes.len() / 2 - 1], sizes[sizes.len() - 1]);
    report.aim(
        format!("memory does not grow: {} KiB after half of them, {} KiB after all", kib(&half), kib(&end)),
        end <= half + LEFT,
    );
    Ok(())
}

fn await_that(agent: &Agent, done: impl Fn(&Exposition) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done(&agent.scrape()) {
        (Instant::now() < deadline).then_some(()).context("the agent does not catch up")?;
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

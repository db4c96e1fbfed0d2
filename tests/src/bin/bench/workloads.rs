//! What the statistics of workloads cost: a tick over a thousand cgroups beside what any program would do that opens,
//! reads and closes the same files; ten times as many; and twenty thousand that come and go under the built agent.

use std::hint::black_box;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context as _, Result};
use collector::engine::Engine;
use collector::sample::{Reading, Sample, Start};
use collector::signal::cgroup;
use collector::source::cgroup::{Hierarchies, walk};
use collector::source::root::Root;
use collector::source::statistic::file::{FILES, Pace};
use collector::source::statistic::{Limits, Reader, handle};
use collector_tests::agent::Agent;
use collector_tests::exposition::Exposition;
use collector_tests::forest::Forest;

use crate::machine::{self, Pinned, cpu_ns};
use crate::report::Report;
use crate::statistic::{Summary, alternate, ratio};

const FEW: usize = 1_000;
const MANY: usize = 10_000;
/// At least so many times cheaper than opening, reading and closing.
const CHEAPER: f64 = 3.0;
/// Ten times as many cost at most so many times as much.
const GROWTH: f64 = 11.0;
/// Ticks from one turn of a cgroup to the next, by default.
const PERIOD: u64 = 10;

const CHURN: usize = 20_000;
const WAVE: usize = 250;
/// What may be left of memory after half of the cgroups more.
const LEFT: u64 = 1 << 19;
/// Longer than the dead stay.
const GRACE: Duration = Duration::from_millis(2500);
/// How long the agent may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all three.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new(&[
        "cgroups",
        "what is read",
        "files",
        "of them open",
        "ms a tick, median (quartiles)",
        "min",
        "naive, ms",
    ]);
    {
        let _pinned = Pinned::new()?;
        let budget = handle::raise();
        let mut forest = Forest::everywhere("bench");
        grow(&mut forest, FEW);
        cheaper(&mut report, &forest, rounds, budget)?;
        let few = host(&forest, budget, PERIOD)?;
        let fits = Measured::of(few, rounds)?;
        grow(&mut forest, MANY);
        let many = Measured::of(host(&forest, budget, PERIOD)?, rounds)?;
        let enough = many.open >= many.often;
        let growth = many.times.median / fits.times.median;
        let what = if enough { "all kept open" } else { "as many kept open as this process may have" };
        row(&mut report, MANY, &format!("as by default, {what}"), &many, None);
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
    report.note("Cgroups without processes, in every hierarchy there is; CPU time of the one thread, the fold of what was read included. Parsing is not part of the naive side, only `std::fs::read` of each file.");
    report.note("`everything due`: as if each cgroup had its turn in each tick, `memory.stat` and the limits included. `as by default`: a tenth has. `none has its turn`: what is read each tick, and no more.");
    Ok(report)
}

fn grow(forest: &mut Forest, size: usize) {
    for number in forest.count()..size {
        forest.make(format!("n{number}"));
    }
}

/// A reader that knows all cgroups below a forest's, and what they fold into.
struct Host {
    reader: Reader,
    engine: Engine,
}

fn host(forest: &Forest, descriptors: usize, period: u64) -> Result<Host> {
    let hierarchies = Hierarchies::find(&Root::default())?;
    let limits = Limits { workloads: usize::MAX, descriptors, period };
    let reader = Reader::open(&Root::default(), &hierarchies, limits)?;
    let mut host = Host { reader, engine: Engine::new() };
    let mut tell = |reading: Reading| {
        host.reader.follow(&reading);
        host.engine.apply(&Sample { time: 1, reading });
    };
    tell(Reading::Start(Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: hierarchies.memory.id,
        io_hierarchy: hierarchies.io.id,
        workload_max: usize::MAX >> 8,
        workload_grace: 0,
        own: None,
    }));
    let below = format!("{}/", forest.path);
    for hierarchy in hierarchies.distinct() {
        walk(hierarchy, &mut |id, path| {
            if path.starts_with(&below) {
                tell(Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
            }
        })?;
    }
    // The first tick opens what stays open.
    host.tick();
    Ok(host)
}

impl Host {
    /// Nanoseconds of CPU that a tick takes.
    fn tick(&mut self) -> f64 {
        let Host { reader, engine } = self;
        let begun = cpu_ns();
        reader.read(&mut |sample| drop(engine.apply(&sample)));
        (cpu_ns() - begun) as f64
    }
}

/// What many ticks took, in milliseconds.
struct Measured {
    times: Summary,
    /// Files that are read each tick, and those that are kept open.
    often: usize,
    open: usize,
}

impl Measured {
    fn of(mut host: Host, rounds: usize) -> Result<Measured> {
        let cgroups = host.reader.count();
        let times = Summary::of((0..rounds).map(|_| host.tick() / 1e6));
        let files = files(|pace| pace == Pace::Tick)?.len();
        Ok(Measured { times, often: files * cgroups, open: host.reader.open_files() })
    }
}

fn row(report: &mut Report, cgroups: usize, what: &str, measured: &Measured, naive: Option<&Summary>) {
    report.row([
        cgroups.to_string(),
        what.to_owned(),
        measured.often.to_string(),
        measured.open.to_string(),
        measured.times.spread(2),
        format!("{:.2}", measured.times.min),
        naive.map_or(String::new(), |naive| naive.spread(2)),
    ]);
}

/// Which files a cgroup has of those that are read so often, each with its hierarchy's mount.
fn files(wanted: impl Fn(Pace) -> bool) -> Result<Vec<(PathBuf, String)>> {
    let hierarchies = Hierarchies::find(&Root::default())?;
    let ours = FILES.iter().filter(|file| wanted(file.pace)).filter_map(|file| {
        let hierarchy = hierarchies.of(file.controller)?;
        let name = file.name.to_str().ok()?.to_owned();
        (file.v2 == (hierarchy.id == 0)).then(|| (hierarchy.root.clone(), name))
    });
    Ok(ours.collect())
}

/// The same files by their whole paths; those that are not there are left out.
fn paths(forest: &Forest, wanted: impl Fn(Pace) -> bool) -> Result<Vec<PathBuf>> {
    let files = files(wanted)?;
    let of = |number: usize| {
        let cgroup = format!("{}/n{number}", &forest.path[1..]);
        files.iter().map(move |(root, name)| root.join(&cgroup).join(name)).collect::<Vec<_>>()
    };
    Ok((0..forest.count()).flat_map(of).filter(|path| fs::metadata(path).is_ok()).collect())
}

/// Nanoseconds of CPU that it takes to open, read and close them.
fn naive(paths: &[PathBuf]) -> f64 {
    let begun = cpu_ns();
    for path in paths {
        let _ = black_box(fs::read(path));
    }
    (cpu_ns() - begun) as f64
}

fn cheaper(report: &mut Report, forest: &Forest, rounds: usize, budget: usize) -> Result<()> {
    let all = paths(forest, |_| true)?;
    let often = paths(forest, |pace| pace == Pace::Tick)?;
    let cases: [(&str, u64, &[PathBuf], bool); 3] = [
        ("everything due", 1, &all, true),
        ("as by default", PERIOD, &often, false),
        ("none has its turn", u64::MAX, &often, false),
    ];
    for (what, period, paths, judged) in cases {
        let mut host = host(forest, budget, period)?;
        let turns: [Vec<f64>; 2] = alternate(rounds, |which| Ok(if which == 0 { host.tick() } else { naive(paths) }))?;
        let [ours, theirs] = &turns;
        let cheaper = ratio(theirs, ours);
        let times = Summary::of(ours.iter().map(|ns| ns / 1e6));
        let measured = Measured { times, often: paths.len(), open: host.reader.open_files() };
        row(report, forest.count(), what, &measured, Some(&Summary::of(theirs.iter().map(|ns| ns / 1e6))));
        let text = format!("{what}: {} times cheaper than open, read, close of the same files", cheaper.spread(1));
        if judged {
            report.aim(format!("{text}, at least {CHEAPER}"), cheaper.median >= CHEAPER);
        } else {
            report.note(format!("{text}."));
        }
    }
    Ok(())
}

/// The growth where all files can be kept open: as many cgroups as that allows, in one hierarchy alone.
fn within(report: &mut Report, rounds: usize, budget: usize) -> Result<()> {
    let hierarchies = Hierarchies::find(&Root::default())?;
    let memory = &hierarchies.memory.root;
    let each = files(|pace| pace == Pace::Tick)?.iter().filter(|(root, _)| root == memory).count();
    let many = (budget / each.max(1)).min(MANY) / 100 * 100;
    let mut forest = Forest::new("bench");
    grow(&mut forest, many / 10);
    let few = Measured::of(host(&forest, budget, PERIOD)?, rounds)?;
    grow(&mut forest, many);
    let all = Measured::of(host(&forest, budget, PERIOD)?, rounds)?;
    let growth = all.times.median / few.times.median;
    for (cgroups, measured) in [(many / 10, few), (many, all)] {
        row(report, cgroups, "memory alone, as by default", &Measured { often: each * cgroups, ..measured }, None);
    }
    report.aim(
        format!("{many} cgroups cost at most {GROWTH} times what {} do, all files open: {growth:.1}", many / 10),
        growth <= GROWTH,
    );
    Ok(())
}

/// Cgroups by the thousand under the built agent.
fn churn(report: &mut Report) -> Result<()> {
    let config = "tick = \"100ms\"\n[kernel]\nmeasure = \"0s\"\n[workload]\ngrace = \"1s\"\n";
    let agent = Agent::start(config);
    let pid = agent.pid();
    let open = || -> io::Result<usize> { Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count()) };
    let mut forest = Forest::new("churn");
    let below = format!("\"{}/", forest.path);
    let own = format!("\"{}\"", forest.path);
    await_that(&agent, |exposition| exposition.text.contains(&own))?;
    let gone = |exposition: &Exposition| !exposition.text.contains(&below);
    let before = agent.settle();
    let open_before = open()?;
    let (mut most_open, mut sizes) = (0, Vec::new());
    let mut made = 0;
    while made < CHURN {
        for _ in 0..WAVE {
            forest.make(format!("n{made}"));
            made += 1;
        }
        // Every other wave lives for some ticks.
        if (made / WAVE).is_multiple_of(2) {
            sleep(Duration::from_millis(250));
            most_open = most_open.max(open()?);
        }
        forest.clear();
        if made % (CHURN / 10) == 0 {
            // A scrape of all of them would cost more memory than they do.
            sleep(GRACE);
            await_that(&agent, gone)?;
            sizes.push(machine::resident(&pid.to_string())?.1);
        }
    }
    let after = agent.settle();
    let open_after = open()?;
    let growth = |name: &str, label: (&str, &str)| after.sum(name, &[label]) - before.sum(name, &[label]);
    let told = |event| growth("headroom_cgroup_events_total", ("event", event));
    let lost = growth("headroom_lost_total", ("stage", "ring_critical"));
    let (born, died) = (told("born"), told("died"));
    let kib = |bytes: &u64| (bytes >> 10).to_string();
    report.note(format!(
        "{CHURN} cgroups under the built agent: {born} births and {died} deaths told, {lost} records lost; descriptors {open_before} before, {most_open} at most, {open_after} after; anonymous memory after each tenth, in KiB: {}.",
        sizes.iter().map(kib).collect::<Vec<_>>().join(", ")
    ));
    report.aim(
        format!("births and deaths told, and records lost, are the {} that were: {}", 2 * CHURN, born + died + lost),
        born + died + lost == 2.0 * CHURN as f64,
    );
    report.aim(format!("no descriptor is left: {open_before}, then {open_after}"), open_after <= open_before);
    let (half, end) = (sizes[sizes.len() / 2 - 1], sizes[sizes.len() - 1]);
    report.aim(
        format!("memory stays: {} KiB after half of them, {} KiB after all", kib(&half), kib(&end)),
        end <= half + LEFT,
    );
    Ok(())
}

fn await_that(agent: &Agent, done: impl Fn(&Exposition) -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !done(&agent.scrape()) {
        (Instant::now() < deadline).then_some(()).context("the agent does not come after")?;
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

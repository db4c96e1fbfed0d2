//! Cost of reading GPUs: of the thread that reads them, and of the tick that takes in the results. The library is a stand-in
//! whose calls take as long as a real one's.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector::agent::round::Round;
use collector::clock;
use collector::config::Config;
use collector::source::kernel::Kernel;
use collector::source::model::wanted::{Settings, Wanted};
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample};
use collector_tests::cgroup::Cgroup;
use collector_tests::nvml::{self, Nvml};
use serde_json::{Value, json};

use crate::machine::{cpu_ns, run_ns};
use crate::report::Report;
use crate::statistic::{Summary, alternate, ratio};
use collector_tests::allocation;

const GPUS: usize = 16;
const PROCESSES: usize = 200;
/// Ticks before a measurement, so that everything has been seen once.
const WARM: usize = 10;
const TICKS: usize = 40;
const PAUSE: Duration = Duration::from_millis(25);
/// How long the thread is measured.
const WATCH: Duration = Duration::from_secs(8);
const AIM: f64 = 1.02;

/// A machine to simulate.
struct Case {
    name: &'static str,
    gpus: usize,
    processes: usize,
    /// How the GPU reports its PCIe traffic.
    link: Link,
}

enum Link {
    /// With counters of this many bits.
    Counters(u32),
    /// With averages, since its counters have 32 bits.
    Averages,
    /// With a measurement of 20 ms in each direction.
    Windows,
}

const CASES: [Case; 6] = [
    Case { name: "1 GPU, counters of 64 bits", gpus: 1, processes: 1, link: Link::Counters(64) },
    Case { name: "1 GPU, windows of 20 ms", gpus: 1, processes: 1, link: Link::Windows },
    Case { name: "16 GPUs, counters of 64 bits", gpus: GPUS, processes: PROCESSES, link: Link::Counters(64) },
    Case { name: "16 GPUs, averages", gpus: GPUS, processes: PROCESSES, link: Link::Averages },
    Case { name: "16 GPUs, counters of 32 bits", gpus: GPUS, processes: PROCESSES, link: Link::Counters(32) },
    Case { name: "16 GPUs, windows of 20 ms", gpus: GPUS, processes: PROCESSES, link: Link::Windows },
];
/// Index of the case beside which the other sources are measured.
const WORST: usize = 5;

/// Measures the thread on each machine, then other sources without and with it, alternately.
pub fn measure(rounds: usize) -> Result<Report> {
    let cgroup = Cgroup::new("bench-gpu");
    let processes: Vec<Child> =
        (0..PROCESSES).map(|_| cgroup.spawn(Command::new("sleep").arg("3600").stdout(Stdio::null()))).collect();
    let pids: Vec<u32> = processes.iter().map(Child::id).collect();

    let mut report = Report::new(&[
        "GPUs",
        "a round, ms",
        "of it waiting, ms a GPU",
        "CPU, µs a GPU",
        "allocations",
        "CPU of a tick that takes a round in, µs",
    ]);
    for case in &CASES {
        let nvml = machine(case, &pids);
        let Thread { round, cpu, allocations, fold } = thread(&nvml)?;
        let gpus = case.gpus as f64;
        report.row([
            format!("{}, {} on each", case.name, plural(case.processes)),
            format!("{:.0}", round / 1e6),
            format!("{:.1}", (round - cpu).max(0.0) / gpus / 1e6),
            format!("{:.0}", cpu / gpus / 1e3),
            format!("{allocations:.0}"),
            format!("{:.0}", fold / 1e3),
        ]);
    }

    let nvml = machine(&CASES[WORST], &pids);
    let (mut walls, mut ends): ([Vec<f64>; 2], [Vec<f64>; 2]) = Default::default();
    let cpus = alternate::<2>(rounds, |which| {
        let [cpu, wall, end] = others((which == 1).then_some(&nvml))?;
        walls[which].push(wall);
        ends[which].push(end);
        Ok(cpu)
    })?;
    let (cpu, wall) = (ratio(&cpus[1], &cpus[0]), ratio(&walls[1], &walls[0]));
    let micros = |all: &[f64]| format!("{} µs", Summary::of(all.iter().map(|ns| ns / 1e3)).spread(0));
    report.note(format!(
        "A tick of all other sources beside the last line's machine, the lower quartile of {TICKS}: CPU without {}, with {}, ratio {}; time without {}, \
         with {}, ratio {}.",
        micros(&cpus[0]),
        micros(&cpus[1]),
        cpu.spread(3),
        micros(&walls[0]),
        micros(&walls[1]),
        wall.spread(3)
    ));
    report.note(format!(
        "Not included: the end of a tick, which also assigns GPU memory to workloads for the history: CPU without {}, with {}.",
        micros(&ends[0]),
        micros(&ends[1])
    ));
    report.note(
        "The stand-in takes 3 ms to read a GPU's power and 20 ms for each window, as real drivers do; its other calls are \
         quick, and real ones are not. It has no events. What it computes itself runs on the agent's thread and counts as if it were the \
         agent's: CPU is an upper bound.",
    );
    report.note(
        "Allocations are per round, including the wrapper's: lists of processes, of their owners, and of field values. \
         The thread has to itself what it allocates; a tick of the agent only takes it in.",
    );
    report.aim(
        format!("the CPU time of other sources' ticks does not grow: ratio {}, at most {AIM}", cpu.spread(3)),
        cpu.median <= AIM,
    );
    report.aim(
        format!("the time of other sources' ticks does not grow: ratio {}, at most {AIM}", wall.spread(3)),
        wall.median <= AIM,
    );
    drop(cgroup);
    processes.into_iter().for_each(|mut process| drop(process.wait()));
    Ok(report)
}

fn plural(processes: usize) -> String {
    if processes == 1 { "1 process".to_owned() } else { format!("{processes} processes") }
}

fn machine(case: &Case, pids: &[u32]) -> Nvml {
    let gpu = |index: usize| {
        let mut gpu = nvml::gpu(&format!("GPU-{index:02}"));
        let pcie = &mut gpu["pcie"];
        match case.link {
            Link::Counters(bits) => pcie["bits"] = json!(bits),
            Link::Averages => {
                pcie["bits"] = json!(32);
                pcie["averaged"] = json!([{"rate": 1e9}, {"rate": 2e9}]);
            }
            Link::Windows => {
                pcie["counters"] = Value::Null;
                pcie["throughput"] = json!([1_000_000, 2_000_000]);
            }
        }
        let holders = pids.iter().take(case.processes).map(|pid| json!({"pid": pid, "bytes": 1 << 20}));
        gpu["processes"] = holders.collect();
        gpu["calls"] = json!({"nvmlDeviceGetPowerUsage": {"sleep_ms": 3}});
        gpu
    };
    // A real library sleeps while it waits for errors; the stand-in polls a file.
    let calls = json!({"nvmlEventSetCreate": {"error": 3}});
    Nvml::new(json!({"driver": "555.42", "calls": calls, "gpus": (0..case.gpus).map(gpu).collect::<Vec<_>>()}))
}

/// The agent's rounds in this process.
struct Agent {
    round: Round,
    engine: Engine,
}

/// Cost of one tick.
#[derive(Default)]
struct Tick {
    /// CPU time in nanoseconds: for GPUs, for the end of the tick, which concerns all sources, and for the rest.
    gpu: u64,
    end: u64,
    others: u64,
    /// Wall time of the rest in nanoseconds.
    wall: u64,
    /// Nanoseconds of the round of GPUs that this tick took in.
    round: Option<u64>,
}

impl Agent {
    fn open(nvml: Option<&Nvml>) -> Result<Agent> {
        let mut config = Config::default();
        config.kernel.measure = Duration::ZERO;
        config.gpu.enabled = if nvml.is_some() { "on" } else { "off" }.to_owned();
        config.gpu.library = nvml.map(Nvml::library);
        if let Some((name, value)) = nvml.map(Nvml::environment) {
            // SAFETY: the threads of the previous round, which may read the environment, have exited.
            unsafe { std::env::set_var(name, value) };
        }
        let models = std::sync::Arc::new(Wanted::new(Settings::of(&config)?));
        let round = Round::open(
            &config,
            Kernel::open(&config)?,
            clock::unix_ns(),
            Vec::new(),
            &Default::default(),
            (&Default::default(), &Default::default()),
            &models,
        )?;
        let mut agent = Agent { round, engine: Engine::new() };
        let engine = &mut agent.engine;
        agent.round.begin(&mut |sample| drop(engine.apply(&sample)));
        Ok(agent)
    }

    fn tick(&mut self) -> Tick {
        let mut tick = Tick::default();
        let (begun, clock) = (cpu_ns(), Instant::now());
        let (mut last, mut last_clock) = (begun, clock);
        let mut left_out = 0;
        let engine = &mut self.engine;
        self.round.read(&mut |sample: Sample| {
            // The time before a GPU's sample is spent on fetching it.
            let of_gpus = match &sample.reading {
                Reading::Gpu(_) => true,
                Reading::Source(source) if source.source == "gpu" => {
                    tick.round = Some(source.ns);
                    true
                }
                _ => false,
            };
            drop(engine.apply(&sample));
            let (now, now_clock) = (cpu_ns(), Instant::now());
            let is_end = sample.reading == Reading::Tick;
            if of_gpus {
                tick.gpu += now - last;
            } else if is_end {
                tick.end += now - last;
            }
            if of_gpus || is_end {
                left_out += (now_clock - last_clock).as_nanos() as u64;
            }
            (last, last_clock) = (now, now_clock);
        });
        tick.others = cpu_ns() - begun - tick.gpu - tick.end;
        tick.wall = (clock.elapsed().as_nanos() as u64).saturating_sub(left_out);
        tick
    }

    /// Waits until its threads have exited.
    fn end(self) {
        drop(self.round);
        let deadline = Instant::now() + Duration::from_secs(10);
        while gpu_thread().is_some() && Instant::now() < deadline {
            sleep(Duration::from_millis(5));
        }
    }
}

/// Nanoseconds per tick: CPU and wall time without GPUs and the end of the tick, and CPU time of the end. The lower quartile
/// of all ticks, since other load on the machine can only make a tick slower.
fn others(nvml: Option<&Nvml>) -> Result<[f64; 3]> {
    let mut agent = Agent::open(nvml)?;
    let mut ticks = Vec::new();
    for number in 0..WARM + TICKS {
        sleep(PAUSE);
        let tick = agent.tick();
        if number >= WARM {
            ticks.push(tick);
        }
    }
    agent.end();
    let low = |of: fn(&Tick) -> u64| Summary::of(ticks.iter().map(|tick| of(tick) as f64)).quartiles.0;
    Ok([low(|tick| tick.others), low(|tick| tick.wall), low(|tick| tick.end)])
}

/// Cost of a round, in nanoseconds except for the allocations.
struct Thread {
    round: f64,
    cpu: f64,
    allocations: f64,
    /// Of the tick that takes in the round.
    fold: f64,
}

fn thread(nvml: &Nvml) -> Result<Thread> {
    let mut agent = Agent::open(Some(nvml))?;
    let mut warm = 0;
    while warm < 2 {
        sleep(PAUSE);
        warm += usize::from(agent.tick().round.is_some());
    }
    let tasks = gpu_thread().context("the thread that reads NVML is missing")?;
    let (before, allocated, begun) = (run_ns(&tasks)?, allocation::others(), Instant::now());
    let (mut rounds, mut folds) = (Vec::new(), Vec::new());
    while begun.elapsed() < WATCH {
        sleep(PAUSE);
        let tick = agent.tick();
        if let Some(round) = tick.round {
            rounds.push(round as f64);
            folds.push(tick.gpu as f64);
        }
    }
    let count = rounds.len() as f64;
    let cpu = (run_ns(&tasks)? - before) as f64 / count;
    let allocations = (allocation::others() - allocated) as f64 / count;
    agent.end();
    Ok(Thread { round: Summary::of(rounds).median, cpu, allocations, fold: Summary::of(folds).median })
}

/// Folder in /proc of the thread that reads NVML.
fn gpu_thread() -> Option<PathBuf> {
    let tasks = fs::read_dir("/proc/self/task").ok()?.filter_map(|task| Some(task.ok()?.path()));
    tasks.into_iter().find(|task| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "headroom-gpu"))
}

//! Model servers: what asking 50 of them costs the agent, and what it costs a real llama.cpp server that works meanwhile.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use collector::config::Config;
use collector::source::Source as _;
use collector::source::cgroup::Hierarchies;
use collector::source::model::Models;
use collector::source::model::wanted::{Settings, Wanted};
use collector::source::root::Root;
use collector_core::sample::Reading;
use collector_core::statistic::model::{Kind, State};
use collector_tests::cgroup::Cgroup;
use collector_tests::llama::{Llama, python};
use collector_tests::scratch::{Scratch, scratch};
use collector_tests::serve::{Process, program};
use collector_tests::{allocation, gguf};

use crate::machine::run_ns;
use crate::report::Report;
use crate::statistic::{Summary, alternate};

const SERVERS: usize = 50;
/// How long it is watched, and how often it is read meanwhile.
const WATCH: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_secs(1);
/// How long a server may take to be found.
const PATIENCE: Duration = Duration::from_secs(120);
/// Tokens of one request to the real server. It is asked more often than by default, so that each request meets some questions.
const TOKENS: u32 = 150;
const OFTEN: Duration = Duration::from_millis(200);
/// Of Student's distribution: 95 % on both sides, by degrees of freedom 29, and more.
const T: f64 = 2.045;

/// The source, without the rest of an agent.
struct Source {
    models: Models,
    wanted: Arc<Wanted>,
    settings: Settings,
}

impl Source {
    /// Asks servers of these names alone.
    fn start(interval: Duration) -> Result<Source> {
        let root = Root::default();
        let mut config = Config::default();
        config.models.interval = interval;
        let settings = Settings::of(&config)?;
        let wanted = Arc::new(Wanted::new(settings.clone()));
        let models = Models::start(&root, &Hierarchies::find(&root)?, &wanted, &Arc::default())?;
        Ok(Source { models, wanted, settings })
    }

    /// Whether it asks.
    fn switch(&self, on: bool) {
        let exclude = if on { Vec::new() } else { vec!["*".to_owned()] };
        let mut config = Config::default();
        config.models = collector::config::Models { exclude, interval: self.settings.interval, ..config.models };
        if let Ok(settings) = Settings::of(&config) {
            self.wanted.set(settings);
        }
    }

    /// Reads it once: how many servers were up, and how many are gone.
    fn read(&mut self) -> (usize, usize) {
        let (mut up, mut gone) = (0, 0);
        self.models.read(&mut |sample| {
            if let Reading::Model(reading) = sample.reading {
                match reading.answer {
                    Some(answer) => up += usize::from(answer.state == State::Up),
                    None => gone += 1,
                }
            }
        });
        (up, gone)
    }

    fn await_up(&mut self, count: usize) -> Result<()> {
        let begun = Instant::now();
        let mut up = 0;
        while up < count {
            ensure!(begun.elapsed() < PATIENCE, "only {up} servers were found");
            sleep(Duration::from_millis(50));
            up = self.read().0.max(up);
        }
        Ok(())
    }
}

/// The time that the threads of the source have run, in nanoseconds.
fn threads_ns() -> Result<f64> {
    let mut sum = 0;
    for task in fs::read_dir("/proc/self/task").context("list the threads")? {
        let task = task?.path();
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.starts_with("headroom-model") {
            sum += run_ns(&task)?;
        }
    }
    Ok(sum as f64)
}

pub fn measure(rounds: usize) -> Result<Report> {
    let mut report =
        Report::new(&["model servers", "asked every", "CPU, µs a server and second", "allocations a tick"]);
    asking(&mut report)?;
    match python().is_file() {
        true => beside(rounds, &mut report)?,
        false => report.note("llama.cpp's server is not installed: cargo xtask test"),
    }
    Ok(report)
}

fn asking(report: &mut Report) -> Result<()> {
    let folder = scratch();
    let itself = std::env::current_exe().context("find this program")?;
    let itself = itself.to_str().context("its path is text")?;
    let servers: Vec<Process> = (0..SERVERS).map(|_| Process::start(itself, &folder, Kind::Vllm, &[], None)).collect();
    let interval = Config::default().models.interval;
    let mut source = Source::start(interval)?;
    source.await_up(1)?;
    sleep(2 * interval);
    for _ in 0..2 {
        source.read();
    }
    let (before, begun) = (threads_ns()?, Instant::now());
    let (mut allocations, mut ticks, mut up) = (0, 0, 0);
    while begun.elapsed() < WATCH {
        sleep(TICK);
        let counted = allocation::count();
        up += source.read().0;
        allocations += allocation::count() - counted;
        ticks += 1;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (threads_ns()? - before) / seconds / SERVERS as f64;
    let asked = up as f64 / seconds / SERVERS as f64 * interval.as_secs_f64();
    ensure!(asked > 0.7, "each was asked {asked:.2} times in an interval");
    report.row([
        format!("{SERVERS}, vLLM (stand-ins)"),
        format!("{interval:?}"),
        format!("{:.0}", cpu / 1e3),
        format!("{:.1}", allocations as f64 / f64::from(ticks)),
    ]);
    drop(servers);
    // Without servers.
    let begun = Instant::now();
    let mut gone = 0;
    while gone < SERVERS && begun.elapsed() < PATIENCE {
        gone += source.read().1;
        sleep(Duration::from_millis(50));
    }
    let (before, begun, mut allocations, mut ticks) = (threads_ns()?, Instant::now(), 0, 0u32);
    while begun.elapsed() < WATCH {
        sleep(TICK);
        let counted = allocation::count();
        source.read();
        allocations += allocation::count() - counted;
        ticks += 1;
    }
    let idle = (threads_ns()? - before) / begun.elapsed().as_secs_f64();
    report.row([
        "none".to_owned(),
        format!("{interval:?}"),
        format!("{:.0} in all", idle / 1e3),
        format!("{:.1}", allocations as f64 / f64::from(ticks)),
    ]);
    Ok(())
}

/// Requests to a real server, while it is asked and while it is not, alternately.
fn beside(pairs: usize, report: &mut Report) -> Result<()> {
    let folder: Scratch = scratch();
    let model = folder.join("made-up.gguf");
    gguf::llama(Path::new(&model), 1);
    let cgroup = Cgroup::new("bench-model");
    let flags = ["-c", "1024", "-np", "2", "-t", "1", "--cache-ram", "0", "--metrics"];
    let server = Llama::start(&cgroup, &model, &flags);
    let mut source = Source::start(OFTEN)?;
    source.await_up(1)?;
    server.complete("abc", TOKENS);
    let [without, with] = alternate::<2>(pairs, |which| {
        source.switch(which == 1);
        sleep(2 * OFTEN);
        source.read();
        let begun = Instant::now();
        server.complete("abc", TOKENS);
        Ok(begun.elapsed().as_secs_f64() / f64::from(TOKENS) * 1e6)
    })?;
    let differences: Vec<f64> =
        with.iter().zip(&without).map(|(with, without)| (with / without - 1.0) * 100.0).collect();
    let count = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / count;
    let variance = differences.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (count - 1.0).max(1.0);
    let half = T * (variance / count).sqrt();
    report.note(format!(
        "A real llama.cpp server that makes {TOKENS} tokens, {pairs} pairs, asked every {OFTEN:?} or not: {} µs a token without, {} with; \
         with is {mean:+.2} % of it more (95 % interval {:+.2} to {:+.2}).",
        Summary::of(without).spread(0),
        Summary::of(with).spread(0),
        mean - half,
        mean + half
    ));
    // A wide interval holds zero whatever asking costs.
    report.aim(
        "asking makes no request slower, within a 95 % interval of at most 2 % to each side",
        mean - half <= 0.0 && half <= 2.0,
    );
    Ok(())
}

/// Whether this program runs as a stand-in.
pub fn is_stand_in(name: &str) -> bool {
    let name = Path::new(name).file_name().and_then(|name| name.to_str());
    Kind::ALL.into_iter().any(|kind| Some(program(kind, "", 1).0) == name)
}

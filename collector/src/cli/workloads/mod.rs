//! `headroom workloads`: who is here, what each holds of its limit, and what it has to wait for.

mod agent;
mod direct;
mod table;

use std::io::{IsTerminal, stdout};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use serde::Serialize;

use super::settings::Settings;
use crate::api::workloads::{Line, Summary};
use crate::config::Config;
use crate::exit::Failure;

/// List who is here: memory against its limit, pressure, stalls and kills
///
/// Asks the agent that runs here; without one it reads the cgroups itself, needs no privileges for it, and cannot tell
/// reclaim stalls. It reads twice: CPU and pressure are of the time between.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Columns:
  MEMORY    charged to the workload and what is below it, the page cache included
  LIMIT     its own hard limit; USED is MEMORY's share of it
  CPU       CPUs in use
  PRESSURE  share of the time in which some task waited for memory (PSI; cgroup v2)
  STALLS    how often a task had to free memory before it got any (only an agent sees that)
  KILLS     processes that were killed for memory

Examples:
  The ten that are nearest to their limits:
    headroom workloads --sort used --top 10
  Whom the kernel killed, for a script:
    headroom workloads --json | jq '.workloads[] | select(.oom_kills > 0) | .workload'
")]
pub struct WorkloadsArgs {
    /// Print one JSON object instead of a table; with every workload, and figures in seconds, bytes and counts
    #[arg(long)]
    pub json: bool,
    /// What comes first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = Sort::Memory)]
    pub sort: Sort,
    /// Print only so many
    #[arg(long, value_name = "NUMBER")]
    pub top: Option<usize>,
    /// Print slices and pods too, which are sums of others, and those that hold nothing
    #[arg(long)]
    pub all: bool,
    /// Time between the two readings; at 0s there is only one, and CPU and pressure are not known
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// The columns to sort by; the highest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The name, in its order
    Name,
    /// Memory
    Memory,
    /// The share of the limit
    Used,
    /// CPUs in use
    Cpu,
    /// Time waited for memory
    Pressure,
    /// Reclaim stalls
    Stalls,
    /// Kills
    Kills,
}

/// What is printed: the later reading, and what became of it since the earlier.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When, in nanoseconds since the Unix epoch.
    time: u64,
    /// Where the figures are from.
    source: &'static str,
    workloads: Vec<Row>,
}

/// A workload, and what it did between the readings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    #[serde(flatten)]
    line: Line,
    /// Memory by its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit_used_ratio: Option<f64>,
    /// CPUs in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_cores: Option<f64>,
    /// Share of the time in which some task waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_waiting_ratio: Option<f64>,
}

/// Reads twice and prints.
pub fn run(args: &WorkloadsArgs, config: &Config) -> Result<(), Failure> {
    let mut source = match agent::Agent::find(config) {
        Ok(agent) => Source::Agent(agent),
        Err(why) => {
            tracing::info!("{why:#}: the cgroups are read instead, which tell of no reclaim stalls");
            Source::Direct(Box::new(direct::Direct::open(config)?))
        }
    };
    let first = source.read()?;
    let report = if args.interval.is_zero() {
        Report::new(&Summary::default(), first, source.name())
    } else {
        sleep(args.interval);
        Report::new(&first, source.read()?, source.name())
    };
    let out = stdout();
    let text = if args.json {
        serde_json::to_string_pretty(&report.sorted(args.sort, args.top)).context("write JSON")? + "\n"
    } else {
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let report = if args.all { report } else { report.without_sums() };
        table::table(&report.sorted(args.sort, args.top).workloads, colour)
    };
    super::print(&text)
}

enum Source {
    Agent(agent::Agent),
    Direct(Box<direct::Direct>),
}

impl Source {
    fn read(&mut self) -> anyhow::Result<Summary> {
        match self {
            Source::Agent(agent) => agent.read(),
            Source::Direct(direct) => direct.read(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Source::Agent(_) => "agent",
            Source::Direct(_) => "cgroups",
        }
    }
}

impl Report {
    fn new(before: &Summary, now: Summary, source: &'static str) -> Report {
        let seconds = now.time.saturating_sub(before.time) as f64 / 1e9;
        // Both are in the order of their names.
        let earlier = |line: &Line| {
            let found = before.workloads.binary_search_by(|other| order(other).cmp(&order(line)));
            found.ok().map(|index| &before.workloads[index])
        };
        let row = |line: Line| {
            let before = earlier(&line);
            let rate = |of: fn(&Line) -> Option<f64>| {
                let growth = of(&line)? - of(before?)?;
                (seconds > 0.0 && growth >= 0.0).then_some(growth / seconds)
            };
            let (cpu_cores, waiting) = (rate(|line| line.cpu_seconds), rate(|line| line.memory_waiting_seconds));
            let limit = line.memory_limit_bytes.filter(|limit| *limit > 0);
            Row {
                memory_limit_used_ratio: line
                    .memory_bytes
                    .zip(limit)
                    .map(|(memory, limit)| memory as f64 / limit as f64),
                cpu_cores,
                // The kernel adds to PSI's time in steps: a little more than the time between may show.
                memory_waiting_ratio: waiting.map(|ratio| ratio.min(1.0)),
                line,
            }
        };
        Report { time: now.time, source, workloads: now.workloads.into_iter().map(row).collect() }
    }

    /// Without what is the sum of others, and without what holds nothing and did nothing.
    fn without_sums(mut self) -> Report {
        self.workloads.retain(|Row { line, .. }| {
            let sum = matches!(line.kind.as_str(), "slice" | "pod" | "root");
            let anything =
                [line.memory_bytes, line.reclaim_stalls, line.oom_kills].iter().flatten().any(|number| *number > 0);
            !sum && anything
        });
        self
    }

    fn sorted(mut self, by: Sort, top: Option<usize>) -> Report {
        let key = |row: &Row| match by {
            Sort::Name => None,
            Sort::Memory => row.line.memory_bytes.map(|bytes| bytes as f64),
            Sort::Used => row.memory_limit_used_ratio,
            Sort::Cpu => row.cpu_cores,
            Sort::Pressure => row.memory_waiting_ratio,
            Sort::Stalls => row.line.reclaim_stalls.map(|stalls| stalls as f64),
            Sort::Kills => row.line.oom_kills.map(|kills| kills as f64),
        };
        // What is not known comes last. Stable: among equals the order is that of the names.
        self.workloads.sort_by(|a, b| key(b).unwrap_or(-1.0).total_cmp(&key(a).unwrap_or(-1.0)));
        self.workloads.truncate(top.unwrap_or(usize::MAX));
        self
    }
}

/// The order of a summary: `other`, then the rest by name.
fn order(line: &Line) -> (bool, &str) {
    (line.kind != "other", &line.workload)
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = humantime::parse_duration(text)?;
    if interval > LONGEST {
        bail!("it is at most {}", humantime::format_duration(LONGEST));
    }
    Ok(interval)
}

const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    fn line(workload: &str, memory: u64, cpu: f64) -> Line {
        Line {
            workload: workload.into(),
            kind: if workload == "other" { "other" } else { "service" }.into(),
            memory_bytes: Some(memory),
            memory_limit_bytes: Some(100),
            cpu_seconds: Some(cpu),
            oom_kills: Some(0),
            ..Line::default()
        }
    }

    fn report() -> Report {
        let before = Summary {
            time: 1_000_000_000,
            workloads: vec![line("other", 0, 0.0), line("a", 1, 1.0), line("z", 9, 5.0)],
        };
        let mut now = Summary { time: 3_000_000_000, workloads: vec![line("other", 0, 0.0), line("a", 10, 2.0)] };
        now.workloads.extend([line("new", 50, 1.0), line("z", 20, 4.0)]);
        Report::new(&before, now, "agent")
    }

    fn names(report: &Report) -> Vec<&str> {
        report.workloads.iter().map(|row| &*row.line.workload).collect()
    }

    #[test]
    fn rates_are_of_the_time_between_and_of_what_was_there_before() {
        let rows = report().workloads;
        let cpu: Vec<_> = rows.iter().map(|row| row.cpu_cores).collect();
        // The last one was made anew in between.
        assert_eq!(cpu, [Some(0.0), Some(0.5), None, None]);
        assert_eq!(rows[1].memory_limit_used_ratio, Some(0.1));
        assert_eq!(rows[1].memory_waiting_ratio, None);
    }

    #[test]
    fn the_highest_comes_first_and_the_unknown_last() {
        assert_eq!(names(&report().sorted(Sort::Memory, None)), ["new", "z", "a", "other"]);
        assert_eq!(names(&report().sorted(Sort::Cpu, Some(2))), ["a", "other"]);
        assert_eq!(names(&report().sorted(Sort::Name, None)), ["other", "a", "new", "z"]);
    }

    #[test]
    fn sums_and_what_holds_nothing_are_left_out() {
        let mut report = report();
        report.workloads[1].line.kind = "slice".into();
        assert_eq!(names(&report.without_sums()), ["new", "z"]);
    }

    #[test]
    fn intervals_are_bounded() {
        assert_eq!(interval("0s").unwrap(), Duration::ZERO);
        assert!(interval("2h").unwrap_err().to_string().contains("1h"));
        assert!(interval("soon").is_err());
    }
}

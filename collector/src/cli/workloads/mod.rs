//! `headroom workloads`: a table of workloads with memory against limit, pressure, stalls and OOM kills.

mod table;

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use collector_core::api::workloads::{Line, Summary};
use collector_core::text::shown_json;
use serde::Serialize;

use super::direct::Direct;
use super::rate::{Before, used};
use super::settings::Settings;
use super::terminal::colour;
use crate::client::{Client, is_forbidden};
use crate::config::load::Effective;
use crate::exit::Failure;
use crate::http::WORKLOADS;

/// List workloads: memory against limit, pressure, stalls, OOM kills
///
/// Asks the running agent. Without an agent it reads the cgroup files itself, which needs no privileges but shows no
/// reclaim stalls. It takes two readings; CPU and PRESSURE are averages over the interval between them.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Columns:
  WORKLOAD  name; * marks the agent itself, (gone) a removed cgroup, which stays in the list for
            workload.grace
  KIND      service, scope, container, slice, ...; slices and pods are sums (--all)
  MEMORY    memory charged to the workload and its children, page cache included
  LIMIT     the workload's own hard limit
  USED      MEMORY as a share of LIMIT
  SWAP      swap charged to the workload and its children
  CPU       CPUs in use (1.00 is one full CPU)
  PRESSURE  share of time in which at least one task waited for memory (PSI; cgroup v2)
  STALLS    reclaim stalls: a task had to free memory before it got any (agent only)
  KILLS     OOM kills while the agent ran; without an agent, the kernel's count since the cgroup
            was created

Examples:
  Show the ten workloads nearest to their limits:
    headroom workloads --sort used --top 10
  List workloads with OOM kills, for a script:
    headroom workloads --json | jq '.workloads[] | select(.oom_kills > 0) | .workload'
")]
pub struct WorkloadsArgs {
    /// Print JSON instead of a table: every workload, with values in bytes, seconds and counts
    #[arg(long)]
    pub json: bool,
    /// Sort by this column, the highest value first
    #[arg(long, value_enum, value_name = "COLUMN", default_value_t = Sort::Memory)]
    pub sort: Sort,
    /// Print only the first NUMBER workloads
    #[arg(long, value_name = "NUMBER")]
    pub top: Option<usize>,
    /// Print slices and pods (sums of other workloads) and idle workloads, too
    #[arg(long)]
    pub all: bool,
    /// Time between the two readings; 0s takes one reading only, without PRESSURE, and without an agent without CPU
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Name, in alphabetical order
    Name,
    /// MEMORY
    Memory,
    /// USED: share of the limit
    Used,
    /// CPU: CPUs in use
    Cpu,
    /// PRESSURE: share of time waited for memory
    Pressure,
    /// STALLS: reclaim stalls
    Stalls,
    /// KILLS: OOM kills
    Kills,
}

/// The second reading, with rates since the first.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Nanoseconds since the Unix epoch.
    time: u64,
    /// `agent` or `cgroups`.
    source: &'static str,
    workloads: Vec<Row>,
}

/// A workload, with its rates between the readings.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    #[serde(flatten)]
    line: Line,
    /// Memory divided by its limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_limit_used_ratio: Option<f64>,
    /// Share of time in which some task waited for memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_waiting_ratio: Option<f64>,
}

pub fn run(args: &WorkloadsArgs, effective: &Effective) -> Result<(), Failure> {
    let mut source = match agent(effective) {
        Ok(client) => Source::Agent(client),
        Err(why) if is_forbidden(&why) => return Err(why.into()),
        Err(why) => {
            tracing::info!("{why:#}: reading cgroup files instead, without reclaim stalls");
            Source::Direct(Box::new(Direct::open(&effective.config)?))
        }
    };
    let first = source.read()?;
    let report = if args.interval.is_zero() {
        Report::new(&Summary::default(), first, source.name())
    } else {
        sleep(args.interval);
        Report::new(&first, source.read()?, source.name())
    };
    let text = if args.json {
        let json = serde_json::to_string_pretty(&report.sorted(args.sort, args.top)).context("write JSON")?;
        shown_json(&json).into_owned() + "\n"
    } else {
        let report = if args.all { report } else { report.without_sums() };
        table::table(&report.sorted(args.sort, args.top).workloads, colour())
    };
    super::print(&text)
}

/// The running agent; fails if none answers.
fn agent(effective: &Effective) -> anyhow::Result<Client> {
    let client = Client::of(effective)?;
    ask(&client)?;
    Ok(client)
}

fn ask(client: &Client) -> anyhow::Result<Summary> {
    let page = client.page(WORKLOADS)?;
    serde_json::from_slice(&page).context("the answer is not from an agent of this version")
}

enum Source {
    Agent(Client),
    Direct(Box<Direct>),
}

impl Source {
    fn read(&mut self) -> anyhow::Result<Summary> {
        match self {
            Source::Agent(client) => ask(client),
            Source::Direct(direct) => Ok(Summary::of(direct.read())),
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
        let before = Before::of(Some(before), &now);
        let row = |line: Line| {
            let rates = before.rates(&line);
            Row {
                memory_limit_used_ratio: used(&line),
                memory_waiting_ratio: rates.memory_waiting,
                // Over the interval; where there is none, the agent's own.
                line: Line { cpu_cores: rates.cpu.or(line.cpu_cores), ..line },
            }
        };
        Report { time: now.time, source, workloads: now.workloads.into_iter().map(row).collect() }
    }

    /// Removes slices, pods and the root, which are sums of others, and idle workloads.
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
            Sort::Cpu => row.line.cpu_cores,
            Sort::Pressure => row.memory_waiting_ratio,
            Sort::Stalls => row.line.reclaim_stalls.map(|stalls| stalls as f64),
            Sort::Kills => row.line.oom_kills.map(|kills| kills as f64),
        };
        // Unknown values come last. The sort is stable, so equal ones stay sorted by name.
        self.workloads.sort_by(|a, b| key(b).unwrap_or(-1.0).total_cmp(&key(a).unwrap_or(-1.0)));
        self.workloads.truncate(top.unwrap_or(usize::MAX));
        self
    }
}

fn interval(text: &str) -> anyhow::Result<Duration> {
    let interval = humantime::parse_duration(text)?;
    if interval > MAX_INTERVAL {
        bail!("the interval is at most {}", humantime::format_duration(MAX_INTERVAL));
    }
    Ok(interval)
}

const MAX_INTERVAL: Duration = Duration::from_secs(3600);

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
        let summary = |time, workloads| Summary { time, measured: Some(time), workloads };
        let before = summary(1_000_000_000, vec![line("other", 0, 0.0), line("a", 1, 1.0), line("z", 9, 5.0)]);
        let mut now = summary(3_000_000_000, vec![line("other", 0, 0.0), line("a", 10, 2.0)]);
        now.workloads.extend([line("new", 50, 1.0), line("z", 20, 4.0)]);
        Report::new(&before, now, "agent")
    }

    fn names(report: &Report) -> Vec<&str> {
        report.workloads.iter().map(|row| &*row.line.workload).collect()
    }

    #[test]
    fn rates_cover_the_interval_and_only_workloads_in_both_readings() {
        let rows = report().workloads;
        let cpu: Vec<_> = rows.iter().map(|row| row.line.cpu_cores).collect();
        // The last one was created again in between, so its CPU time went back.
        assert_eq!(cpu, [Some(0.0), Some(0.5), None, None]);
        assert_eq!(rows[1].memory_limit_used_ratio, Some(0.1));
        assert_eq!(rows[1].memory_waiting_ratio, None);
    }

    #[test]
    fn the_highest_values_come_first_and_unknown_ones_last() {
        assert_eq!(names(&report().sorted(Sort::Memory, None)), ["new", "z", "a", "other"]);
        assert_eq!(names(&report().sorted(Sort::Cpu, Some(2))), ["a", "other"]);
        assert_eq!(names(&report().sorted(Sort::Name, None)), ["other", "a", "new", "z"]);
    }

    #[test]
    fn sums_and_idle_workloads_are_left_out() {
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

//! Stages pairs while one agent records, several side by side, and judges each by the recording.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use collector::clock;

use super::judge::{Recorded, Side, judge, suppose};
use super::pair::Pair;
use super::request;
use super::row::Row;
use crate::agent::Agent;
use crate::stage::play::play;
use crate::stage::scenario::Scenario;
use crate::stage::script::Scale;
use crate::stage::{attempt, interrupt};

/// Ticks that show what grows within seconds.
const CONFIG: &str = "tick = \"200ms\"\n[workload]\nstat_interval = \"1s\"\n";
const AT_ONCE: usize = 4;

/// Stages what there is, and prints each result. `program` is `provoke`.
pub fn run(program: &str, pairs: &[Pair], requests: bool, seed: u64) -> Vec<Row> {
    let _caught = interrupt::catch();
    println!("seed {seed}");
    let agent = Agent::start(CONFIG);
    let waiting = Mutex::new(pairs.iter());
    let staged = Mutex::new(Vec::new());
    let work = || {
        while let Some(pair) = { waiting.lock().unwrap_or_else(PoisonError::into_inner).next() } {
            if interrupt::noted() {
                return;
            }
            let sides = attempt::staged(|attempt| {
                let scale = Scale::of(seed, attempt, pair.name);
                let side = |scenario: &Scenario| side(program, scenario, &scale);
                let sides = [side(&pair.was)?, side(&pair.would)?];
                Ok((scale, sides))
            });
            staged.lock().unwrap_or_else(PoisonError::into_inner).push((pair, sides));
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let asked = if requests { request::stage(program, &agent) } else { Vec::new() };
    agent.await_rounds();
    let recorded = Recorded::of(agent.stop());
    let mut rows = Vec::new();
    for (pair, sides) in staged.into_inner().unwrap_or_else(PoisonError::into_inner) {
        rows.push(match sides {
            Ok((scale, [was, would])) => {
                let report = suppose(pair.change.change(&was.root, &scale), &recorded.samples);
                judge(pair, &was, &would, &report, &recorded)
            }
            Err(why) => Row { failed: Some(why), ..pair.row() },
        });
    }
    rows.extend(asked.into_iter().map(|asked| asked.judge(&recorded.samples)));
    rows.sort_by(|one, two| one.name.cmp(&two.name));
    for row in &rows {
        println!("{}", line(row));
    }
    rows
}

fn side(program: &str, scenario: &Scenario, scale: &Scale) -> Result<Side, String> {
    let mut ended = 0;
    // What happened last is read at the next tick.
    let played = play(program, scenario, scale, |_| ended = clock::unix_ns())?;
    let root = played.paths.get("").cloned().ok_or("it has no cgroup of its own")?;
    Ok(Side { root, begun: played.begun, ended, kills: played.kills })
}

fn mark(right: bool) -> &'static str {
    if right { "yes" } else { "no" }
}

fn line(row: &Row) -> String {
    let size = row.size.map_or("–", mark);
    match &row.failed {
        Some(why) => format!("| {} | not staged: {why} | | | | |", row.what),
        None => {
            format!("| {} | {} | {} | {} | {} | {size} |", row.what, row.was, row.would, row.said, mark(row.direction))
        }
    }
}

/// The page of documentation.
pub fn document(rows: &[Row], kernel: &str) -> String {
    let staged: Vec<&Row> = rows.iter().filter(|row| row.failed.is_none()).collect();
    let share = |count: usize, of: usize| format!("{count} of {of} ({:.0} %)", 100.0 * count as f64 / of.max(1) as f64);
    let right = staged.iter().filter(|row| row.direction).count();
    let sized: Vec<bool> = staged.iter().filter_map(|row| row.size).collect();
    let mut page = HEAD.to_owned();
    // Writing to a String cannot fail.
    let _ = writeln!(
        page,
        "Staged on Linux {kernel}: right direction in {}, size within a factor of two in {}.\n",
        share(right, staged.len()),
        share(sized.iter().filter(|near| **near).count(), sized.len())
    );
    page += "| change | without it | with it | said from the recording without it | direction | size |\n|---|---|---|---|---|---|\n";
    for row in staged {
        let _ = writeln!(page, "{}", line(row));
    }
    page
}

const HEAD: &str = "<!-- Written by the staged pairs: see ARCHITECTURE.md, Tests. Do not edit. -->

# How often `replay --what-if` is right

`headroom replay FILE --what-if CHANGE` says from a recording what would have happened with a change. Here it was tried: real processes in
real cgroups did the same work without the change and with it, and what was said from the recording of the first is compared with what
happened in the second. The direction is right if a kill was predicted where there was one, and none where there was none (of waits: less where
there was less; of requests: the same answer). The size is the time until the first kill, the most memory if there was no kill, or the
time waited less. Where a limit is raised for what was killed at it, the recording does not show how much was wanted in the end: what grew
until then is taken to grow on, and that is wrong for what would soon have had enough.

";

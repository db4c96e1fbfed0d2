//! What it costs to ask before a start: the time that `headroom guard`, `wait`, `admit` and `reserve` take, beside that of an empty process.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use collector_tests::agent::{Agent, headroom};

use crate::report::Report;
use crate::statistic::{Summary, alternate};

/// The most milliseconds that one may add to a start.
const AIM_MS: f64 = 50.0;
/// An empty process.
const EMPTY: &str = "/bin/true";
const NOWHERE: &str = "/nowhere/headroom.sock";

/// Name, verb and arguments; those with no agent ask at a socket that is not there.
const VERBS: [(&str, &str, &[&str], bool); 6] = [
    ("headroom guard --memory 1M -- /bin/true", "guard", &["--memory", "1M", "--quiet", "--", EMPTY], true),
    ("headroom wait --memory 1M", "wait", &["--memory", "1M"], true),
    ("headroom admit --memory 1M", "admit", &["--memory", "1M"], true),
    ("headroom reserve --memory 1M", "reserve", &["--memory", "1M", "--for", "1s"], true),
    ("guard without an agent", "guard", &["--memory", "1M", "--quiet", "--", EMPTY], false),
    ("wait without an agent", "wait", &["--memory", "1M", "--no-agent", "allow"], false),
];
const ALL: usize = VERBS.len() + 1;

pub fn measure(rounds: usize) -> Result<Report> {
    // As a service has it, except for its address and folders.
    // More starts a minute than a unit may have by default.
    let agent = Agent::start_unrecorded("[guard]\nstarts = 1000000\n");
    let socket = agent.directory().join("headroom.sock").display().to_string();
    let times: [Vec<f64>; ALL] = alternate(rounds.max(3), |which| match which.checked_sub(1) {
        None => took(Command::new(EMPTY).stdin(Stdio::null())),
        Some(verb) => {
            let (_, verb, arguments, asks) = VERBS[verb];
            let mut command = headroom(verb);
            command.args(["--socket", if asks { &socket } else { NOWHERE }]).args(arguments);
            took(&mut command)
        }
    })?;
    let summaries = times.map(Summary::of);
    let empty = summaries[0];
    let mut report = Report::new(&["ms", "median (quartiles)", "min", "more than an empty process"]);
    report.row([EMPTY.to_owned(), empty.spread(2), format!("{:.2}", empty.min), String::new()]);
    for ((name, ..), summary) in VERBS.iter().zip(&summaries[1..]) {
        let more = summary.median - empty.median;
        report.row([(*name).to_owned(), summary.spread(2), format!("{:.2}", summary.min), format!("{more:.2}")]);
    }
    report.note(format!(
        "{rounds} runs of each, alternately, from the start of the process to its end, as a Slurm prolog or `ExecStartPre=` waits for it; no configuration file. A guard asks, makes its command the owner, reports its end and releases: four requests.",
    ));
    for ((name, _, _, asks), summary) in VERBS.iter().zip(&summaries[1..]) {
        let more = summary.median - empty.median;
        if *asks {
            report.aim(format!("{name} adds at most {AIM_MS} ms to a start: {more:.1}"), more <= AIM_MS);
        }
    }
    Ok(report)
}

/// Milliseconds until it has ended well.
fn took(command: &mut Command) -> Result<f64> {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.status().context("run it")?;
    let time = begun.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    Ok(time.as_secs_f64() * 1e3)
}

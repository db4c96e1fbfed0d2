//! Training jobs whose GPU idles, for a reason of the host's or of their own: the contention is real, the GPU is played.

mod job;
mod scenario;
mod table;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use collector::clock;
use collector_core::incident::Kind;

use super::attempt::staged;
use super::interrupt::{self, pause, until};
use super::row::{MARK, Row};
use super::run::Options;
use super::told::{Listener, Said, Told};
use crate::agent::Agent;
use crate::cuda;
use crate::nvml::host;
use crate::receiver::{Answer, Receiver};
use crate::require::own_machine;
use crate::scratch::scratch;
use job::{Card, Job, change};
use scenario::{Scenario, Stage};
pub use table::{QUICK, all};

const UUID: &str = "GPU-starved";
/// How long a job may take to work as usual, and the agent to know what that is.
const USUAL: Duration = Duration::from_secs(60);
/// How long the agent may take to tell of a fall.
const TOLD: Duration = Duration::from_secs(60);
/// How long the trouble goes on after that, for a correction.
const GOES_ON: Duration = Duration::from_secs(5);
/// For how long nothing must be told of a job that idles by itself, once the agent has seen that it does.
const SILENCE: Duration = Duration::from_secs(6);
/// A job works as usual if its GPU is busy for this share of the time …
const BUSY: f64 = 0.6;
/// … and does not if it is for less than this share of that.
const FELL: f64 = 0.65;
/// Quarters of a second over which that is measured.
const QUARTERS: usize = 8;

/// These settings shorten what else takes ten minutes to learn.
const CONFIG: &str = "tick = \"500ms\"\n[starved]\nwindow = \"3s\"\nbaseline = \"9s\"\n[transfer]\nenabled = true\n\
                      scan = \"100ms\"\n[workload]\nclose_interval = \"500ms\"\n";
/// Stages them one after the other against one agent, and prints each result.
pub fn run(program: &str, scenarios: Vec<Scenario>, options: &Options) -> Vec<Row> {
    let chosen: Vec<Scenario> = scenarios.into_iter().filter(|it| options.asks(it.name) && it.applies()).collect();
    // A machine for tests has neither cargo nor the stand-in.
    if chosen.is_empty() || own_machine() {
        return Vec::new();
    }
    let _caught = interrupt::catch();
    let nvml = host(&[UUID]);
    let (variable, answers) = nvml.environment();
    let receiver = Receiver::start(Answer::Accept);
    let gpu = format!("[gpu]\nlibrary = {:?}\ninterval = \"250ms\"\n", nvml.library());
    let config = format!("{CONFIG}{gpu}[[sink.webhook]]\nurl = {:?}\n", receiver.url());
    let mut agent = Agent::spawn_unrecorded(&config, |command| {
        command.env(variable, answers);
    });
    agent.await_ready();
    let listener = Listener::new(agent.directory(), receiver);
    let card: Card = Arc::new(Mutex::new(nvml));
    change(&card, |gpu| gpu["utilization"] = serde_json::json!([0, 0]));
    let mut rows = Vec::new();
    for scenario in &chosen {
        let row = staged(|_| once(program, scenario, &agent, &listener, &card));
        let row = row.unwrap_or_else(|why| Row { failed: Some(why), ..scenario.row() });
        println!("{MARK}{}", row.json());
        rows.push(row);
        assert!(!interrupt::noted(), "interrupted");
    }
    agent.stop();
    rows
}

fn once(program: &str, scenario: &Scenario, agent: &Agent, listener: &Listener, card: &Card) -> Result<Row, String> {
    let folder = scratch();
    let cuda = scenario.cuda.then(|| cuda::install(&folder));
    let mut stage = Stage::new(program, scenario, &folder)?;
    stage.make_data(scenario.data)?;
    change(card, |gpu| gpu["pcie"] = crate::nvml::gpu(UUID)["pcie"].clone());
    let job = Job::start(program, &stage.job, &folder, cuda.as_deref(), &scenario.numbers(), card);
    stage.start(job, card.clone());
    let usual = until("as much work as usual", USUAL, || {
        let busy = stage.running().busy(QUARTERS)?;
        (busy >= BUSY && state(agent, "usual")).then_some(busy)
    })?;
    // What is usual for the host is known as long.
    pause(Duration::from_secs(3))?;
    let begun = clock::unix_ns();
    (scenario.act)(&mut stage)?;
    let ours = |listener: &Listener| -> Vec<Told> {
        let path = &stage.job.path;
        let all = listener.incidents(begun).into_iter();
        all.filter(|it| it.incident.kind == Kind::GpuStarved && it.incident.labels.get("workload") == Some(path))
            .collect()
    };
    let fell = || stage.running().busy(QUARTERS).filter(|busy| *busy <= FELL * usual);
    until("the fall", TOLD, fell)?;
    match scenario.causes {
        [] => {
            until("the agent sees the fall", TOLD, || (state(agent, "low") || state(agent, "phase")).then_some(()))?;
            pause(SILENCE)?;
        }
        _ => {
            let _ = until("the report", TOLD, || (!ours(listener).is_empty()).then_some(()));
            pause(GOES_ON)?;
        }
    }
    // Nothing holds the GPU any more: the incident is over.
    let path = stage.job.path.clone();
    stage.end();
    let root = stage.root.path.clone();
    let told = || {
        let told: Vec<Told> = listener
            .incidents(begun)
            .into_iter()
            .filter(|it| it.incident.labels.get("workload") == Some(&path))
            .collect();
        let told: Vec<Told> = told.into_iter().filter(|it| it.incident.kind == Kind::GpuStarved).collect();
        told.iter().all(|it| it.incident.complete).then_some(told)
    };
    let told = until("the end", TOLD, told)?;
    Ok(judge(scenario, &told, &root))
}

/// Whether this is what the agent says of the job on the GPU.
fn state(agent: &Agent, state: &str) -> bool {
    agent.scrape().values("headroom_gpu_job_state", &[("uuid", UUID), ("state", state)]) == [1.0]
}

fn judge(scenario: &Scenario, told: &[Told], root: &str) -> Row {
    let mut row = scenario.row();
    let text = |said: &Said| format!("{}: {}", said.cause, said.sentence).replace(root, "/…");
    let is_right = |said: &Said| scenario.causes.contains(&&*said.cause);
    let Some(one) = told.iter().find(|it| !is_right(&it.last)).or(told.first()) else {
        (row.first, row.last) = ("nothing was reported".to_owned(), "nothing was reported".to_owned());
        (row.first_right, row.cause_right) = (scenario.causes.is_empty(), scenario.causes.is_empty());
        return row;
    };
    (row.first, row.last) = (text(&one.first), text(&one.last));
    (row.first_right, row.cause_right) = (is_right(&one.first), is_right(&one.last));
    for words in scenario.says {
        if row.cause_right && !one.last.sentence.contains(words) {
            row.faults.push(format!("the sentence does not say {words}"));
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use collector_core::incident::Incident;

    use super::*;

    #[test]
    fn what_is_told_is_compared_with_the_truth() {
        let told = |cause: &str| {
            let said = Said { cause: cause.to_owned(), sentence: "the noise took the CPU".to_owned() };
            let incident = Incident::new(Kind::GpuStarved, "1".to_owned(), 7);
            Told { first: said.clone(), last: said, delivered: None, incident }
        };
        let scenarios = all();
        let find = |name: &str| scenarios.iter().find(|it| it.name == name).unwrap();
        let (quota, idle) = (find("starved_quota"), find("starved_not_evaluation"));
        let right = quota.causes[0];
        assert!(judge(quota, &[told(right)], "/x").cause_right);
        assert!(!judge(quota, &[told(right), told("else")], "/x").cause_right);
        assert!(!judge(quota, &[], "/x").right());
        assert!(judge(idle, &[], "/x").right());
        assert!(!judge(idle, &[told(right)], "/x").right());
    }
}

//! Stages scenarios against one agent, several side by side, and judges each.

use std::env;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use collector::clock;

use super::attempt::staged;
use super::interrupt::{self, until};
use super::judge::{Case, row_of};
use super::play::play;
use super::row::{MARK, Row};
use super::scenario::{OOM, Scenario};
use super::script::Scale;
use super::told::Listener;
use crate::agent::Agent;
use crate::receiver::{Answer, Receiver};
use crate::require::own_machine;

/// How long the agent may take to tell anything.
const FIRST: Duration = Duration::from_secs(15);
/// How long it may take to tell the end of an incident: a storm ends after calm, or after a minute.
const TOLD: Duration = Duration::from_secs(80);
/// How long after the last report corrections are waited for.
const LATER: Duration = Duration::from_millis(1500);
/// How long nothing must be told where nothing happened.
const SILENCE: Duration = Duration::from_secs(5);
/// Scenarios that are staged at the same time.
const AT_ONCE: usize = 8;
/// Set by `cargo xtask test incidents`: the seed of the numbers.
const SEED: &str = "HEADROOM_STAGE_SEED";

/// The defaults, and a trigger for waiting for IO, which has none by default.
const CONFIG: &str = "[pressure]\nio_waiting = \"600ms\"\n";

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// Parts of names; all scenarios if empty.
    pub names: Vec<String>,
}

impl Options {
    pub(super) fn asks(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part.as_str()))
    }
}

/// The seed that is asked for, else another one each second.
pub fn seed() -> u64 {
    let seed = env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    seed.unwrap_or_else(|| clock::unix_ns() / 1_000_000_000)
}

/// Stages what applies to this host; prints each result. `program` is `provoke`.
pub fn run(program: &str, scenarios: Vec<Scenario>, options: &Options) -> Vec<Row> {
    let _caught = interrupt::catch();
    println!("seed {}", options.seed);
    let chosen = scenarios.into_iter().filter(|it| options.asks(it.name) && it.host.applies());
    let (alone, together): (Vec<Scenario>, Vec<Scenario>) = chosen.partition(|scenario| scenario.alone);
    if own_machine() {
        // A process may ask for more than there is, and where the kernel can, it gives up before it reads all programs' pages
        // from the disk over and over.
        let _ = std::fs::write("/proc/sys/vm/overcommit_memory", "1");
        let _ = std::fs::write("/sys/kernel/mm/lru_gen/min_ttl_ms", "1000");
    }
    let receiver = Receiver::start(Answer::Accept);
    let agent = Agent::start_unrecorded(&format!("{CONFIG}[[sink.webhook]]\nurl = {:?}\n", receiver.url()));
    let listener = Listener::new(agent.directory(), receiver);
    // What the agent's own start does to the host is over.
    let _ = interrupt::pause(Duration::from_secs(3));
    let rows = Mutex::new(Vec::new());
    for (scenarios, at_once) in [(together, AT_ONCE), (alone, 1)] {
        let waiting = Mutex::new(scenarios.iter());
        let work = || {
            while let Some(scenario) = { waiting.lock().unwrap_or_else(PoisonError::into_inner).next() } {
                if interrupt::noted() {
                    return;
                }
                let row = stage(program, scenario, options.seed, &listener);
                println!("{MARK}{}", row.json());
                rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
            }
        };
        std::thread::scope(|scope| (0..at_once).for_each(|_| drop(scope.spawn(work))));
    }
    assert!(!interrupt::noted(), "interrupted");
    agent.stop();
    rows.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn stage(program: &str, scenario: &Scenario, seed: u64, listener: &Listener) -> Row {
    if scenario.alone {
        // A storm that goes on would be told as one with this.
        let calm = || listener.incidents(0).iter().all(|it| it.incident.complete).then_some(());
        let _ = until("calm", TOLD, calm);
    }
    let row = staged(|attempt| once(program, scenario, &Scale::of(seed, attempt, scenario.name), listener));
    row.unwrap_or_else(|why| Row { failed: Some(why), ..row_of(scenario) })
}

fn once(program: &str, scenario: &Scenario, scale: &Scale, listener: &Listener) -> Result<Row, String> {
    let truth = &scenario.truth;
    let mut judged = None;
    let played = play(program, scenario, scale, |played| {
        let case = Case { scenario, scale, played };
        let over = Instant::now();
        let complete = || {
            let told = listener.incidents(played.begun);
            let alerted = || truth.alert && case.alerted(&listener.alerts(played.begun), &mut row_of(scenario));
            let silent = || over.elapsed() > FIRST && !told.iter().any(|it| case.is_wanted(&it.incident));
            (case.is_complete(&told) || alerted() || silent()).then_some(())
        };
        let _ = match truth.kind {
            // A correction may come later.
            Some(_) => until("the report", TOLD, complete).and_then(|()| interrupt::pause(LATER)),
            None => interrupt::pause(SILENCE),
        };
        judged = Some(case.judge(&listener.incidents(played.begun), &listener.alerts(played.begun)));
    });
    let kills = |wanted: u64, count: u64| format!("the kernel killed {count} processes instead of {wanted}");
    match (played, judged) {
        (Err(why), _) => Err(why),
        (Ok(played), _) if truth.killed.is_some_and(|wanted| wanted != played.kills) => {
            Err(kills(truth.killed.unwrap_or_default(), played.kills))
        }
        (Ok(played), _) if truth.kind == Some(OOM) && played.kills == 0 => Err(kills(1, 0)),
        (Ok(played), _) if truth.timed && played.grew.is_empty() => Err("it did not say when it grew".to_owned()),
        (Ok(_), row) => row.ok_or_else(|| "it was not judged".to_owned()),
    }
}

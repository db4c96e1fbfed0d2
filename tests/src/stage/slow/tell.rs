//! [`Watch`]: what the agent tells of a server whose slowness is staged, and whether that is true.

use std::time::Duration;

use super::super::interrupt::{self, until};
use super::super::row::Row;
use super::super::told::{Listener, Told};
use crate::agent::{Agent, get};
use crate::require::own_machine;

const KIND: &str = "latency";
const TICK: &str = "tick = \"500ms\"\n[models]\ninterval = \"500ms\"\n[workload]\nclose_interval = \"1s\"\n";
/// Everything takes so many times as long on a machine that is emulated: what is usual there is a matter of cause, not of time.
const EMULATED: u32 = 10;
/// Reading an answer takes so much CPU time there that the agent asks every quarter of a minute only: windows in seconds.
const EMULATED_WINDOW: u64 = 20;

/// How long it may take until the agent knows what is usual.
const USUAL: Duration = Duration::from_secs(90);
/// … and how long that is then left to become surer.
const SURER: Duration = Duration::from_secs(5);
/// How long the agent may take to tell of it.
const TOLD: Duration = Duration::from_secs(40);
/// For how long nothing must be told where nothing happened.
const SILENCE: Duration = Duration::from_secs(16);
/// How long evidence gathers after the first report, before the end.
const LONGER: Duration = Duration::from_secs(5);
/// A server is slower if requests take so many times as long.
const SLOWER: f64 = 1.3;
/// How long it may take until it is as usual again.
const END: Duration = Duration::from_secs(20);

/// So many seconds, or more where everything takes longer.
fn patiently(time: Duration) -> Duration {
    if own_machine() { time * EMULATED } else { time }
}

/// Windows of a second where nothing is emulated, and a baseline of five of them.
pub fn config() -> String {
    let window = if own_machine() { EMULATED_WINDOW } else { 1 };
    format!("{TICK}[latency]\nwindow = \"{window}s\"\nlearn = 5\nrequests = 1\n")
}

/// What is true of a scenario.
#[derive(Clone, Copy)]
pub struct Truth {
    pub name: &'static str,
    pub what: &'static str,
    /// Names of causes that are right; none if nothing must be told.
    pub causes: &'static [&'static str],
    /// Each must be in the sentence.
    pub says: &'static [&'static str],
}

impl Truth {
    pub fn row(&self) -> Row {
        Row::of(self.name, self.what, self.causes)
    }

    pub fn failed(&self, why: String) -> Row {
        Row { failed: Some(why), ..self.row() }
    }
}

/// How many requests of a server ended so far, and how many seconds all of them took: the witness for whether it is slower.
pub type Took = (u64, f64);

/// How many times as long requests take from the second moment to the third as from the first to the second: 1 if it is
/// not known how long they took before.
pub fn slower([first, before, now]: [Took; 3]) -> f64 {
    let mean = |from: Took, until: Took| {
        let ended = until.0.saturating_sub(from.0);
        (ended > 0).then(|| (until.1 - from.1) / ended as f64)
    };
    match (mean(first, before).filter(|usual| *usual > 0.0), mean(before, now)) {
        (None, _) => 1.0,
        // None ended since.
        (Some(_), None) => f64::INFINITY,
        (Some(usual), Some(since)) => since / usual,
    }
}

/// The agent, and the server on this port, whose cgroup is `path`. Sentences are shown without `root`, which is long.
pub struct Watch<'a> {
    pub agent: &'a Agent,
    pub listener: &'a Listener,
    pub port: &'a str,
    pub path: &'a str,
    pub root: &'a str,
}

impl Watch<'_> {
    /// Waits until the agent knows what is usual, and for a while that nothing is unusual.
    ///
    /// # Errors
    /// What was told instead, perhaps: something else made it slow, on a host that is not calm.
    pub fn usual(&self, since: u64) -> Result<(), String> {
        let mut calm = 0;
        let usual = until("that it is known what is usual", patiently(USUAL), || {
            std::thread::sleep(Duration::from_millis(500));
            calm = if self.is_usual() { calm + 500 } else { 0 };
            (calm >= patiently(SURER).as_millis()).then_some(())
        });
        usual.map_err(|why| {
            let told = self.ours(since);
            let told = told.first().map(|told| format!(": {}: {}", told.last.cause, told.last.sentence));
            why + &told.unwrap_or_else(|| format!(": {}", self.states()))
        })
    }

    /// What the agent says of the server now.
    fn states(&self) -> String {
        let page = get(&self.agent.address, "/metrics", "");
        let names = ["state{", "latency_state{", "requests_running{", "requests_total{", "answer_age_seconds{"]
            .map(|name| format!("headroom_model_{name}"));
        let is_told = |line: &&str| {
            let is_one = names.iter().any(|name| line.starts_with(&**name)) && !line.ends_with(" 0");
            is_one && line.contains(self.port)
        };
        page.lines().filter(is_told).collect::<Vec<_>>().join(", ")
    }

    /// Whether what is usual is known, and it is not slower now.
    fn is_usual(&self) -> bool {
        // Without an answer it is not known: a host may be busy.
        let page = get(&self.agent.address, "/metrics", "");
        let mut lines = page.lines().filter(|line| line.starts_with("headroom_model_latency_state{"));
        lines.any(|line| line.contains(self.port) && line.contains("state=\"ok\"") && line.ends_with(" 1"))
    }

    fn ours(&self, since: u64) -> Vec<Told> {
        let is_ours = |it: &Told| {
            it.incident.kind.name() == KIND && it.incident.labels.get("workload").is_some_and(|name| name == self.path)
        };
        self.listener.incidents(since).into_iter().filter(is_ours).collect()
    }

    /// Compares what is told, of what began then, with the truth. `slower` is how many times as long requests take since then, by a witness
    /// of the test's own; `calm` ends what made it slow.
    ///
    /// # Errors
    /// If it did not become slower, or did where it should not: then that shows nothing about the agent.
    pub fn judge(
        &self,
        truth: &Truth,
        begun: u64,
        slower: impl FnOnce() -> f64,
        calm: impl FnOnce(),
    ) -> Result<Row, String> {
        let mut row = truth.row();
        if truth.causes.is_empty() {
            let _ = interrupt::pause(patiently(SILENCE));
            let (told, slower) = (self.ours(begun), slower());
            if slower > SLOWER && !told.is_empty() {
                let cause = &told[0].last.cause;
                return Err(format!("it became slower ({cause}): requests take {slower:.2} times as long"));
            }
            (row.first, row.last) =
                told.first().map_or(("nothing".to_owned(), "nothing".to_owned()), |it| self.texts(it));
            (row.first_right, row.cause_right) = (told.is_empty(), told.is_empty());
            told.iter().for_each(|told| show(truth, told));
            return Ok(row);
        }
        if until("the report", patiently(TOLD), || (!self.ours(begun).is_empty()).then_some(())).is_err() {
            let slower = slower();
            if slower < SLOWER {
                return Err(format!("it did not become slower: requests take {slower:.2} times as long"));
            }
            println!("{}: {}", truth.name, self.states());
            row.last = format!("nothing was reported, although requests take {slower:.2} times as long");
            return Ok(row);
        }
        let _ = interrupt::pause(patiently(LONGER));
        calm();
        let done = || self.ours(begun).first().filter(|told| told.incident.complete).cloned();
        let told = until("the end", patiently(END), done).ok().or_else(|| self.ours(begun).first().cloned());
        let told = told.ok_or("the incident is gone")?;
        (row.first, row.last) = self.texts(&told);
        row.first_right = truth.causes.contains(&&*told.first.cause);
        row.cause_right = truth.causes.contains(&&*told.last.cause);
        let missing = truth.says.iter().filter(|words| !told.last.sentence.contains(*words));
        row.faults = missing.map(|words| format!("the sentence does not say {words}")).collect();
        if !row.right() {
            show(truth, &told);
        }
        Ok(row)
    }

    /// What was said first and last.
    fn texts(&self, told: &Told) -> (String, String) {
        let text = |cause: &str, sentence: &str| format!("{cause}: {sentence}").replace(self.root, "/…");
        (text(&told.first.cause, &told.first.sentence), text(&told.last.cause, &told.last.sentence))
    }
}

/// For whoever looks for the rule that is wrong.
fn show(truth: &Truth, told: &Told) {
    let evidence = &told.incident.evidence;
    println!("{}: {}", truth.name, serde_json::json!([evidence.slow, evidence.latency]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_no_request_any_more_is_slower_and_without_a_before_it_is_not() {
        let (first, before) = ((10, 5.0), (20, 10.0));
        assert_eq!(slower([first, before, (30, 20.0)]), 2.0);
        assert_eq!(slower([first, before, before]), f64::INFINITY);
        for now in [before, (30, 20.0)] {
            assert_eq!(slower([before, before, now]), 1.0, "{now:?}");
        }
        assert_eq!(slower([first, (20, 5.0), (30, 5.0)]), 1.0, "requests that take no time");
    }
}

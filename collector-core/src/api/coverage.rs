//! What this host can and cannot measure, and why: the answer of `/api/v1/coverage`.
//! Who answers adds what the host lacks.

use collector_common::SIGNALS;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::audit::Audited;
use crate::sample::ProbeState;
use crate::stage::Stage;
use crate::view::View;
use crate::view::number::{Known, Number};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Release of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The eBPF programs, in the order in which they are attached.
    pub probes: Vec<Probe>,
    /// What is read besides, and what is written, by name.
    pub sources: Vec<Source>,
    /// Numbers of workloads that no probe gives now. Of some the kernel's files have a count of their own, which stands in.
    pub missing: Vec<Missing>,
    /// What was dropped since the agent started.
    pub losses: Vec<Loss>,
    /// What `headroom doctor` says of the host: what the kernel cannot do here, what is off, and what that costs. Empty in a recording.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Whether what isolates workloads acts: limits, weights and protections. Judged once a minute; empty before the first time.
    #[serde(default)]
    pub isolation: Vec<Audited>,
}

/// What was found of a part of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The part, as in `headroom doctor --json`.
    pub part: String,
    /// Whether nothing is missing.
    pub ok: bool,
    /// What was found, or what is missing and why.
    pub is: String,
    /// What is not known without what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<String>,
}

/// An eBPF program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Probe {
    /// Its name, as in `kernel.disable`.
    pub program: String,
    /// The signal that it is part of; absent for a program of another version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What it reports, and so is missing without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gives: Option<String>,
    pub state: ProbeState,
    /// Why it is not attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Source {
    pub source: String,
    /// Whether everything could be read, or written.
    pub up: bool,
    /// How long that took the last time.
    pub seconds: f64,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A number that is not known for want of probes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Missing {
    pub number: String,
    /// The programs that all have to be attached; the programs of one of these lists are enough.
    pub needs: Vec<Vec<String>>,
}

/// What was dropped at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Loss {
    /// The place, as in `headroom_lost_total`.
    pub stage: String,
    pub count: u64,
    /// What was dropped.
    pub dropped: String,
    /// What to do.
    pub action: String,
}

impl Coverage {
    pub fn of(view: &View) -> Coverage {
        let sources = view.coverage.sources.iter().map(|(source, health)| Source {
            source: source.to_string(),
            up: health.up,
            seconds: health.ns as f64 / 1e9,
            error: health.error.clone(),
        });
        let losses = Stage::ALL.into_iter().map(|stage| (stage, view.coverage.lost(stage)));
        Coverage {
            time: view.time,
            version: view.build.as_ref().map(|build| build.version.clone()),
            kernel: view.build.as_ref().map(|build| build.kernel.clone()),
            probes: probes(view),
            sources: sources.collect(),
            missing: missing(view),
            losses: losses.filter(|(_, count)| *count > 0).map(|(stage, count)| loss(stage, count)).collect(),
            findings: Vec::new(),
            isolation: view.audit.checks.to_vec(),
        }
    }
}

fn loss(stage: Stage, count: u64) -> Loss {
    let (dropped, action) = stage.texts();
    Loss { stage: stage.label().to_owned(), count, dropped: dropped.to_owned(), action: action.to_owned() }
}

fn probes(view: &View) -> Vec<Probe> {
    let rows = || SIGNALS.iter().flat_map(|signal| signal.probes.iter().map(move |probe| (signal.name, probe)));
    let row = |program: &str| rows().enumerate().find(|(_, (_, probe))| probe.program == program);
    let mut probes: Vec<_> = view
        .coverage
        .probes
        .iter()
        .map(|(program, (state, reason))| {
            let row = row(program);
            let probe = Probe {
                program: program.clone(),
                signal: row.map(|(_, (signal, _))| signal.to_owned()),
                gives: row.map(|(_, (_, probe))| probe.gives.to_owned()),
                state: *state,
                reason: reason.clone(),
            };
            (row.map_or(usize::MAX, |(place, _)| place), probe)
        })
        .collect();
    probes.sort_by_key(|(place, _)| *place);
    probes.into_iter().map(|(_, probe)| probe).collect()
}

fn missing(view: &View) -> Vec<Missing> {
    let known = Known::of(&view.coverage);
    let lacking = Number::ALL.iter().copied().filter(|number| !number.needs().is_empty() && !known.has(*number));
    let named = |programs: &&[&str]| programs.iter().map(|program| (*program).to_owned()).collect();
    let needs = |number: Number| number.needs().iter().flat_map(|need| need.iter()).map(named).collect();
    lacking.map(|number| Missing { number: number.name().to_owned(), needs: needs(number) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::engine;
    use crate::sample::{Lost, Reading, Sample};

    fn apply(engine: &mut Engine, reading: Reading) {
        engine.apply(&Sample { time: 20, reading });
    }

    fn probe(engine: &mut Engine, program: &str, state: ProbeState, reason: Option<&str>) {
        let (program, reason) = (program.to_owned(), reason.map(str::to_owned));
        apply(engine, Reading::Probe(crate::sample::Probe { program, state, reason }));
    }

    #[test]
    fn a_number_is_missing_until_one_list_of_programs_is_attached() {
        let mut engine = engine();
        let needs = |engine: &Engine| {
            let Coverage { missing, .. } = Coverage::of(engine.view());
            missing.into_iter().find(|missing| missing.number == "dirty_waits").map(|missing| missing.needs)
        };
        assert_eq!(needs(&engine), Some(vec![vec!["dirty_wait".to_owned()]]));
        probe(&mut engine, "dirty_wait", ProbeState::Failed, Some("no"));
        assert!(needs(&engine).is_some());
        probe(&mut engine, "dirty_wait", ProbeState::Attached, None);
        assert_eq!(needs(&engine), None);
    }

    #[test]
    fn probes_say_what_they_give_and_why_they_do_not() {
        let mut engine = engine();
        probe(&mut engine, "of_tomorrow", ProbeState::Attached, None);
        probe(&mut engine, "oom_mark_victim", ProbeState::Unsupported, Some("no tracepoint"));
        probe(&mut engine, "kill_signal", ProbeState::Attached, None);
        let Coverage { probes, .. } = Coverage::of(engine.view());
        let told: Vec<_> = probes.iter().map(|it| (&*it.program, it.signal.as_deref(), it.reason.as_deref())).collect();
        let expected = [
            ("kill_signal", Some("kill"), None),
            ("oom_mark_victim", Some("oom"), Some("no tracepoint")),
            ("of_tomorrow", None, None),
        ];
        assert_eq!(told, expected, "in the order in which they are attached");
        assert!(probes[1].gives.as_deref().is_some_and(|gives| gives.contains("OOM")), "{probes:?}");
    }

    #[test]
    fn what_was_dropped_is_told_with_what_to_do() {
        let mut engine = engine();
        assert_eq!(Coverage::of(engine.view()).losses, []);
        apply(&mut engine, Reading::Lost(Lost { stage: Stage::Walk, count: 3 }));
        let [loss] = &Coverage::of(engine.view()).losses[..] else { panic!("one") };
        assert_eq!((&*loss.stage, loss.count), ("walk", 3));
        assert!(loss.action.contains("CAP_DAC_READ_SEARCH"), "{loss:?}");
    }
}

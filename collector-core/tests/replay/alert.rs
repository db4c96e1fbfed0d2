//! Samples in, alerts out: each `tests/fixtures/replay/NAME.jsonl` gives `NAME.alerts` with the default rules. `BLESS=1` rewrites
//! these files.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use collector_core::engine::Engine;
use collector_core::outcome::Outcome;
use collector_core::rule::Rules;

use crate::fixture::{golden, recordings, samples};

/// A line for each alert of a recording: time, state and summary.
#[test]
fn every_recording_gives_its_alerts() {
    let rules = Arc::new(Rules::new(&[]).unwrap());
    let mut fired = BTreeSet::new();
    for path in recordings("replay") {
        let mut engine = Engine::with(rules.clone());
        let mut text = String::new();
        for sample in samples(&path) {
            for outcome in engine.apply(&sample) {
                if let Outcome::Alert(alert) = outcome {
                    fired.insert(alert.alert.clone());
                    let labels: Vec<String> =
                        alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let (state, severity) = (format!("{:?}", alert.state).to_lowercase(), alert.severity.label());
                    let seconds = (sample.time / 1_000_000_000) % 1_000_000;
                    let (name, labels, summary) = (&alert.alert, labels.join(","), &alert.summary);
                    writeln!(text, "{seconds} {state} {severity} {name}{{{labels}}} {summary}").unwrap();
                }
            }
        }
        let alerts = path.with_extension("alerts");
        if !text.is_empty() || alerts.exists() {
            golden(&alerts, &text);
        }
    }
    for name in ["HostMemoryCritical", "WorkloadMemoryNearLimit", "WorkloadMemoryPressure", "SourceStale", "GpuXid"] {
        assert!(fired.contains(name), "{name} never fired");
    }
}

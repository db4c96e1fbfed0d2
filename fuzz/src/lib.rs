//! What several targets do with what comes out: an engine that has begun, a sample written and read again, and all that
//! is made of the view. Knows nothing of what was fed.

use collector::engine::Engine;
use collector::outcome::Outcome;
use collector::incident::page;
use collector::exposition::{self, Format};
use collector::sample::Sample;
use collector::api::workloads::Summary;

/// Series in one exposition, at the most.
const SERIES: usize = 10_000;

/// A sample that is recorded comes back as it was.
pub fn check_record(sample: &Sample) {
    let line = serde_json::to_string(sample).expect("a sample can be written");
    assert!(!line.contains('\n'), "a sample is one line: {line}");
    let again: Sample = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
    assert_eq!(&again, sample, "{line}");
}

/// What is told of can be sent, and shown without harm to a terminal.
pub fn check_outcome(outcome: &Outcome) {
    serde_json::to_string(outcome).expect("an outcome can be written");
    if let Outcome::Incident(incident) = outcome {
        let page = page::page(incident, 100, false);
        assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "{page:?}");
    }
}

/// Whatever the names in it, an exposition has nothing but its own lines, and the summary is JSON.
pub fn check_view(engine: &Engine) {
    for format in [Format::OpenMetrics, Format::Text] {
        let text = exposition::render(engine.view(), format, SERIES).text;
        for line in text.split_terminator('\n') {
            let known = ["headroom_", "process_", "# HELP ", "# TYPE ", "# UNIT ", "# EOF"];
            assert!(known.iter().any(|start| line.starts_with(start)), "{line:?}");
        }
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
    }
    let summary = Summary::of(engine.view());
    let json = serde_json::to_vec(&summary).expect("a summary can be written");
    assert_eq!(serde_json::from_slice::<Summary>(&json).expect("a summary can be read"), summary);
}

//! A recording → its metrics pages, in both formats: no name in it can add a line to the page.

#![no_main]

use std::sync::{Arc, LazyLock};

use collector::exposition::{self, Cap, Format};
use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;
use libfuzzer_sys::fuzz_target;

/// More series than that are left out.
const CAP: Cap = Cap { series: 10_000, ..Cap::NONE };

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules::new(&[]).expect("the agent's own rules")));

fuzz_target!(|recording: &[u8]| {
    let mut engine = Engine::with(RULES.clone());
    for sample in samples(recording).flatten() {
        engine.apply(&sample);
    }
    for format in [Format::OpenMetrics, Format::Text] {
        let text = exposition::render(engine.view(), format, CAP).text;
        for line in text.split_terminator('\n') {
            let known = ["headroom_", "process_", "# HELP ", "# TYPE ", "# UNIT ", "# EOF"];
            assert!(known.iter().any(|start| line.starts_with(start)), "{line:?}");
        }
        assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics);
    }
});

//! A recording → samples → the engine with its rules → everything that reads the view.

#![no_main]

use std::sync::{Arc, LazyLock};

use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;
use headroom_fuzz_core::{check_outcome, check_record, check_view};
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Arc<Rules>> = LazyLock::new(|| Arc::new(Rules::new(&[]).expect("the agent's own rules")));

fuzz_target!(|recording: &[u8]| {
    let mut engine = Engine::with(RULES.clone());
    for sample in samples(recording) {
        match sample {
            Ok(sample) => {
                check_record(&sample);
                engine.apply(&sample).iter().for_each(check_outcome);
            }
            Err(error) => assert!(error.line > 0 && error.to_string().starts_with("line ")),
        }
    }
    engine.finish().iter().for_each(check_outcome);
    check_view(&engine);
});

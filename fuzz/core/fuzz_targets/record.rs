//! Records of the eBPF programs → decoding → the engine. An input is the content of a ring: records in a row, each preceded by
//! its length in two bytes.

#![no_main]

use collector_core::decode;
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::Context;
use headroom_fuzz_core::{check_outcome, check_record, check_view};
use libfuzzer_sys::fuzz_target;

const CONTEXT: Context = Context { page_size: 4096, clock_offset_ns: 1_795_248_009_000_000_000, jiffy_ns: 4_000_000 };
const START: &str = r#"{"time":1795248009000000000,"reading":{"start":{"version":"0","kernel":"6.18.0",
    "memory_hierarchy":0,"io_hierarchy":0,"workload_max":100,"workload_grace":60000000000}}}"#;

fuzz_target!(|ring: &[u8]| {
    let mut engine = Engine::new();
    engine.apply(&serde_json::from_str(START).expect("the start is a sample"));
    let mut rest = ring;
    let mut last = 0;
    while let Some((length, tail)) = rest.split_first_chunk() {
        let (record, tail) = tail.split_at(usize::from(u16::from_le_bytes(*length)).min(tail.len()));
        match decode::record(record, &CONTEXT) {
            Ok(sample) => {
                check_record(&sample);
                engine.apply(&sample).iter().for_each(check_outcome);
                last = sample.time;
            }
            Err(malformed) => assert!(!malformed.why.is_empty()),
        }
        rest = tail;
    }
    engine.apply(&Sample { time: last, reading: Reading::Tick }).iter().for_each(check_outcome);
    engine.finish().iter().for_each(check_outcome);
    check_view(&engine);
});

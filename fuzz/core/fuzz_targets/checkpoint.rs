//! The header of a safetensors file, after it config.json, and after a NUL flags, one a line → what three servers plan to take. No
//! header costs much memory, and no number makes the sums overflow.

#![no_main]

use std::collections::BTreeMap;

use collector_core::need::Need;
use collector_core::need::checkpoint::Checkpoint;
use collector_core::need::checkpoint::config::Config;
use collector_core::need::safetensors::Header;
use collector_core::need::server::{sglang, sglang_flag, tgi, vllm, vllm_flag};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::read(bytes) else { return };
    let weights = header.weights;
    assert!(weights.float_bytes <= weights.bytes && weights.embeddings <= weights.floats);
    assert!(header.data >= 8 && header.end - header.data == weights.bytes);
    let rest = usize::try_from(header.data).ok().and_then(|data| bytes.get(data..)).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let Ok(config) = Config::read(&rest[..end]) else { return };
    assert!(config.layers.len() <= 1024 && config.kind.chars().count() <= 64);
    let flags = String::from_utf8_lossy(&rest[end..]);
    let flags: Vec<&str> = flags.trim_start_matches('\0').lines().collect();
    let model = Checkpoint { config, weights, by_length: false };
    for sizes in [BTreeMap::new(), BTreeMap::from([(0, 80 << 30), (1, 1)]), BTreeMap::from([(0, u64::MAX)])] {
        if let Ok(settings) = vllm_flag::Settings::of(&flags) {
            let draft = settings.draft.is_some().then_some(&model);
            check(vllm::plan(&model, draft, &settings, (2, true), &sizes), &sizes);
        }
        if let Ok(settings) = sglang_flag::Settings::of(&flags) {
            check(sglang::plan(&model, &settings, (0, false), &sizes), &sizes);
        }
        if let Ok(settings) = tgi::Settings::of(&flags) {
            check(tgi::plan(&model, &settings, (1, true)), &sizes);
        }
    }
});

fn check(mut need: Need, sizes: &BTreeMap<u32, u64>) {
    need.resolve(sizes);
    let total = need.total();
    assert!(total.host_load_peak >= total.host_hard && total.vram.len() <= 1024);
    assert!(need.missing().len() >= need.shares.len());
    let json = serde_json::to_string(&need).expect("a need can be written");
    assert_eq!(serde_json::from_str::<Need>(&json).expect("and read"), need);
}

//! The header of a model, and flags after it, one a line → what it needs. No header costs much memory, and none makes the sums
//! overflow.

#![no_main]

use collector_core::need::gguf::Header;
use collector_core::need::llama::estimate::{Files, estimate};
use collector_core::need::llama::setting::Settings;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = Header::read(bytes) else { return };
    assert!(header.weights.layers.len() <= 512 && header.data >= 24);
    let _ = header.split();
    let rest = usize::try_from(header.data).ok().and_then(|data| bytes.get(data..)).unwrap_or_default();
    let flags = String::from_utf8_lossy(rest);
    let Ok(settings) = Settings::of(&flags.lines().collect::<Vec<_>>()) else { return };
    let files = Files { model: header.clone(), projector: Some(header.clone()), draft: Some(header), adapters: vec![1] };
    for gpus in 0..3 {
        let Ok(need) = estimate(&files, &settings, gpus) else { return };
        let total = need.total();
        assert!(total.host_load_peak >= total.host_hard && total.vram.len() <= 2);
    }
});

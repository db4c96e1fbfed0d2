//! Files that name other files: the index of a model in pieces, and what Ollama writes. And the names of models, which become paths.
//! None leaves its folder. The names of model files, too.

#![no_main]

use collector_core::model_file::{blobs, digest, is_model, label, model, revision};
use collector_core::need::checkpoint::index;
use collector_core::need::ollama::{Choice, Manifest, Name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(files) = index::files(bytes) {
        assert!(files.len() <= 1000 && files.iter().all(|name| is_plain(name)));
    }
    if let Ok(manifest) = Manifest::read(bytes) {
        let blobs = [Some(manifest.model), manifest.projector, manifest.parameters].into_iter().flatten();
        assert!(blobs.chain(manifest.adapters).all(|name| name.starts_with("sha256-") && is_plain(&name)));
    }
    let _ = Choice::read(bytes);
    // A manifest of one model names its files, in both readings.
    if let Ok(blobs) = blobs(bytes) {
        assert!(blobs.len() <= 1024);
    }
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'/').collect();
    let names = model(&parts).into_iter().chain(revision(bytes)).chain([label(bytes)]);
    assert!(names.into_iter().all(|name| name.len() <= 64 && name.chars().all(collector_core::text::is_shown)));
    assert!(digest(bytes).is_none() || is_model(bytes, u64::MAX));
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(Name::of) {
        let path = name.manifest();
        assert!(path.starts_with("manifests/") && path.split('/').count() == 5 && path.split('/').all(is_plain), "{path}");
    }
});

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0', '\n'])
}

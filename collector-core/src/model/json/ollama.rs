//! `/api/ps` of Ollama: models that are loaded, and the memory that each takes (docs/api.md).

use serde::Deserialize;

use super::lenient::{Few, Number, Text};
use super::read;
use crate::model::gather::whole;
use crate::model::name;
use crate::statistic::model::Statistic::{GpuBytes, HostBytes};
use crate::statistic::model::{MODELS, Model, Values};

#[derive(Deserialize)]
struct Raw {
    models: Few<Loaded, 1024>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Loaded {
    name: Text,
    model: Text,
    size: Number,
    size_vram: Number,
}

/// The models that are loaded, and how many those are; `None` if Ollama does not answer so.
pub fn loaded(body: &[u8]) -> Option<(Vec<Model>, usize)> {
    let raw: Raw = read(body)?;
    let told = raw.models.0.iter().map(|loaded| {
        let [size, gpu] = [loaded.size.0, loaded.size_vram.0].map(|size| size.and_then(whole));
        let mut values = Values::new();
        values.put(GpuBytes, gpu);
        // What it does not say of GPU memory is left out when it is nothing.
        values.put(HostBytes, size.map(|size| size.saturating_sub(gpu.unwrap_or(0))));
        let name = loaded.name.0.as_deref().or(loaded.model.0.as_deref()).unwrap_or_default();
        Model { name: name::base(name), values, latency: Vec::new() }
    });
    let mut told: Vec<Model> = told.collect();
    let count = told.len();
    told.truncate(MODELS);
    Some((told, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaded_models_have_memory_on_both_sides() {
        let text = r#"{"models":[{"name":"llama3.2:latest","model":"llama3.2:latest","size":3100000000,"digest":"a80c",
            "details":{"format":"gguf","families":["llama"]},"expires_at":"2026-11-26T06:00:00Z","size_vram":3000000000,
            "context_length":4096},{"name":"x/y:1","size":5}]}"#;
        let (models, count) = loaded(text.as_bytes()).unwrap();
        let told: Vec<_> = models
            .iter()
            .map(|model| (&*model.name, model.values.get(GpuBytes), model.values.get(HostBytes)))
            .collect();
        let expected = [("llama3.2:latest", Some(3_000_000_000), Some(100_000_000)), ("y:1", None, Some(5))];
        assert_eq!((&told[..], count), (&expected[..], 2));
        assert_eq!(loaded(b"{\"models\":[]}"), Some((Vec::new(), 0)));
        assert_eq!(loaded(b"{\"models\":null}"), Some((Vec::new(), 0)), "an older one without models");
        assert_eq!((loaded(b"{}"), loaded(b"Ollama is running")), (None, None));
    }
}

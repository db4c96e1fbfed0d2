//! Models that are holes behind a header, for readers that look no further.

use std::fs::{self, File};
use std::path::Path;

use serde_json::json;

/// A folder with Llama-3-8B's dimensions and this many bytes of weights of 16 bits.
pub fn checkpoint(folder: &Path, bytes: u64) {
    fs::create_dir_all(folder).unwrap();
    let config = json!({
        "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
        "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "torch_dtype": "bfloat16",
        "max_position_embeddings": 8192,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let tensors = json!({"w": {"dtype": "BF16", "shape": [bytes / 2], "data_offsets": [0, bytes]}}).to_string();
    let length = u64::try_from(tensors.len()).unwrap();
    let header = [&length.to_le_bytes()[..], tensors.as_bytes()].concat();
    hole(&folder.join("model.safetensors"), &header, 8 + length + bytes);
}

/// A file that begins so, and is this long.
pub fn hole(path: &Path, begin: &[u8], length: u64) {
    fs::write(path, begin).unwrap();
    File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// A folder of Ollama with a model of this name and parameters, whose file begins so and is this long.
pub fn ollama(folder: &Path, name: &str, parameters: &str, begin: &[u8], length: u64) {
    let [model, tag] = name.split(':').collect::<Vec<_>>()[..] else { panic!("{name}") };
    let manifest = folder.join("manifests/registry.ollama.ai/library").join(model);
    let blobs = folder.join("blobs");
    fs::create_dir_all(&manifest).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    let digits = ["0a", "0b"].map(|digits| digits.repeat(32));
    hole(&blobs.join(format!("sha256-{}", digits[0])), begin, length);
    fs::write(blobs.join(format!("sha256-{}", digits[1])), parameters).unwrap();
    let layer = |kind: &str, digits: &str| json!({"mediaType": format!("application/vnd.ollama.image.{kind}"), "digest": format!("sha256:{digits}"), "size": 1});
    let layers = json!({"schemaVersion": 2, "layers": [layer("model", &digits[0]), layer("params", &digits[1])]});
    fs::write(manifest.join(tag), layers.to_string()).unwrap();
}

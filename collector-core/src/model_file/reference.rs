//! What names the files of a store: manifests of Ollama, and links of Hugging Face's snapshots. The layout of both is theirs
//! (server/manifest.go of Ollama; huggingface_hub's guide to its cache).

use std::sync::Arc;

use serde::Deserialize;

use crate::text::escape;

/// Limit on the bytes of a manifest.
pub const LONGEST: u64 = 1 << 20;
/// Limit on the blobs of a manifest.
const BLOBS: usize = 1024;
/// Limit on the bytes of a model's name.
const NAME: usize = 64;

/// The digests that a manifest of Ollama names.
///
/// # Errors
/// It is no manifest.
pub fn blobs(json: &[u8]) -> Result<Vec<[u8; 32]>, String> {
    #[derive(Deserialize)]
    struct Layer {
        digest: String,
    }
    #[derive(Deserialize)]
    struct File {
        #[serde(default)]
        config: Option<Layer>,
        #[serde(default)]
        layers: Vec<Layer>,
    }
    let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let digest = |layer: Layer| super::digest(layer.digest.strip_prefix("sha256:")?.as_bytes());
    Ok(file.layers.into_iter().chain(file.config).take(BLOBS).filter_map(digest).collect())
}

/// The name of the model whose manifest has this path below `manifests`, as `ollama list` has it.
pub fn model(parts: &[&[u8]]) -> Option<Arc<str>> {
    let [host, namespace, model, tag] = parts else { return None };
    let mut name = Vec::new();
    if *host != b"registry.ollama.ai" {
        name.extend_from_slice(host);
        name.push(b'/');
    }
    if *host != b"registry.ollama.ai" || *namespace != b"library" {
        name.extend_from_slice(namespace);
        name.push(b'/');
    }
    name.extend_from_slice(model);
    name.push(b':');
    name.extend_from_slice(tag);
    Some(short(&name))
}

/// The name of the model whose folder in Hugging Face's cache has this name: `models--ORGANISATION--NAME`.
pub fn revision(folder: &[u8]) -> Option<Arc<str>> {
    let rest = [&b"models--"[..], b"datasets--", b"spaces--"].into_iter().find_map(|kind| folder.strip_prefix(kind))?;
    let text = String::from_utf8_lossy(rest).replacen("--", "/", 1);
    (!rest.is_empty()).then(|| short(text.as_bytes()))
}

fn short(name: &[u8]) -> Arc<str> {
    let shown = escape(name);
    match shown.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= NAME).last() {
        Some(end) => shown[..end].into(),
        None => "".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_layers_and_its_configuration() {
        let [one, other] = ["0a", "0b"].map(|digits| digits.repeat(32));
        let json = format!(
            r#"{{"schemaVersion":2,"config":{{"digest":"sha256:{other}","size":9}},
                "layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"sha256:{one}","size":5}},
                          {{"digest":"sha512:00"}}]}}"#
        );
        assert_eq!(blobs(json.as_bytes()).unwrap(), [[10; 32], [11; 32]]);
        assert_eq!(blobs(b"{}").unwrap(), [[0; 32]; 0]);
        for broken in [&b""[..], b"7", b"{\"layers\":[{}]}", b"\xff"] {
            assert!(blobs(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn models_have_the_names_that_people_know() {
        let name = |parts: [&str; 4]| model(&parts.map(str::as_bytes)).unwrap().to_string();
        assert_eq!(name(["registry.ollama.ai", "library", "llama3", "8b"]), "llama3:8b");
        assert_eq!(name(["registry.ollama.ai", "me", "mine", "latest"]), "me/mine:latest");
        assert_eq!(name(["hf.co", "a", "b", "Q4"]), "hf.co/a/b:Q4");
        assert!(name(["h", &"n".repeat(99), "m", "t"]).len() <= NAME);
        assert_eq!(model(&[b"a", b"b"]), None);
        assert_eq!(revision(b"models--org--a--b").as_deref(), Some("org/a--b"));
        assert_eq!(revision(b"models--gpt2").as_deref(), Some("gpt2"));
        assert_eq!((revision(b"models--"), revision(b".locks"), revision(b"version.txt")), (None, None, None));
    }
}

//! Models of Ollama: names → paths of manifests → names of blobs, and the flags of the llama-server that Ollama starts for one.
//! Names of types/model/name.go, flags of llm/llama_server.go, defaults of envconfig/config.go and server/sched.go (0.33). Opens nothing.

use serde::Deserialize;

use super::llama::setting::{Load, Settings};
use super::quantisation::Type;

/// A manifest has some hundred bytes a layer.
pub const LONGEST: u64 = 1 << 20;

/// `[HOST/][NAMESPACE/]MODEL[:TAG]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

impl Name {
    /// `None` if it cannot be the name of a model.
    pub fn of(text: &str) -> Option<Name> {
        let (path, tag) = match text.rsplit_once(':') {
            // A port of the host is no tag.
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            _ => (text, "latest"),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (host, namespace, model) = match parts[..] {
            [model] => ("registry.ollama.ai", "library", model),
            [namespace, model] => ("registry.ollama.ai", namespace, model),
            [host, namespace, model] => (host, namespace, model),
            _ => return None,
        };
        let valid = |part: &str, colon: bool| {
            let byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) || colon && byte == b':';
            !part.is_empty()
                && part.len() <= 128
                && !part.starts_with('.')
                && !part.contains("..")
                && part.bytes().all(byte)
        };
        let all = valid(host, true) && valid(namespace, false) && valid(model, false) && valid(tag, false);
        let owned = str::to_owned;
        all.then(|| Name { host: owned(host), namespace: owned(namespace), model: owned(model), tag: owned(tag) })
    }

    /// Where its manifest is, below the folder of models.
    pub fn manifest(&self) -> String {
        format!("manifests/{}/{}/{}/{}", self.host, self.namespace, self.model, self.tag)
    }
}

/// The files of a model, as names below `blobs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub model: String,
    pub projector: Option<String>,
    pub adapters: Vec<String>,
    /// Parameters as JSON.
    pub parameters: Option<String>,
}

impl Manifest {
    pub fn read(json: &[u8]) -> Result<Manifest, String> {
        #[derive(Deserialize)]
        struct Layer {
            #[serde(rename = "mediaType")]
            kind: String,
            digest: String,
        }
        #[derive(Deserialize)]
        struct File {
            layers: Vec<Layer>,
        }
        let file: File = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let (mut manifest, mut models) = (Manifest::default(), 0);
        for layer in file.layers {
            let Some(kind) = layer.kind.strip_prefix("application/vnd.ollama.image.") else { continue };
            let blob = || blob(&layer.digest).ok_or_else(|| "a digest that is none".to_owned());
            match kind {
                "model" => {
                    models += 1;
                    manifest.model = blob()?;
                }
                "projector" => manifest.projector = Some(blob()?),
                "adapter" => manifest.adapters.push(blob()?),
                "params" => manifest.parameters = Some(blob()?),
                _ => {}
            }
        }
        match models {
            1 => Ok(manifest),
            0 => Err("it names no GGUF model".to_owned()),
            _ => Err("it names more than one model".to_owned()),
        }
    }
}

/// `sha256:0123…` → the name of its file.
fn blob(digest: &str) -> Option<String> {
    let hex = digest.strip_prefix("sha256:")?;
    (hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| format!("sha256-{hex}"))
}

/// What the model's parameters and the environment of the server say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    pub context: Option<u64>,
    pub parallel: Option<u64>,
    pub batch: Option<u64>,
    pub gpu_layers: Option<u64>,
    /// Weights are mapped, or read.
    pub mapped: Option<bool>,
    pub cache: Option<Type>,
}

impl Choice {
    /// Of the parameters in the model's own layer.
    pub fn read(json: &[u8]) -> Result<Choice, String> {
        #[derive(Deserialize)]
        struct Parameters {
            num_ctx: Option<u32>,
            num_batch: Option<u32>,
            num_gpu: Option<i32>,
            use_mmap: Option<bool>,
        }
        let read: Parameters = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        let positive = |number: Option<u32>| number.filter(|number| *number > 0).map(u64::from);
        Ok(Choice {
            context: positive(read.num_ctx),
            batch: positive(read.num_batch),
            gpu_layers: read.num_gpu.and_then(|layers| u64::try_from(layers).ok()),
            mapped: read.use_mmap,
            ..Choice::default()
        })
    }

    /// What the variables say, where the model does not: its parameters go first.
    pub fn or_environment(mut self, get: impl Fn(&str) -> Option<String>) -> Choice {
        let number = |name: &str| get(name)?.parse::<u32>().ok().filter(|number| *number > 0).map(u64::from);
        self.context = self.context.or_else(|| number("OLLAMA_CONTEXT_LENGTH"));
        self.parallel = number("OLLAMA_NUM_PARALLEL");
        self.cache = get("OLLAMA_KV_CACHE_TYPE").and_then(|name| Type::cache(&name));
        self
    }
}

/// A context as Ollama chooses it by the memory of all GPUs; `None`: that is not known.
pub fn context(gpus: u32, bytes: Option<u64>) -> Option<u64> {
    const GIB: u64 = 1 << 30;
    match (gpus, bytes) {
        (0, _) => Some(4096),
        (_, None) => None,
        (_, Some(bytes)) if bytes >= 47 * GIB => Some(262_144),
        (_, Some(bytes)) if bytes >= 23 * GIB => Some(32_768),
        _ => Some(4096),
    }
}

/// The settings of the llama-server that Ollama starts. `context`: tokens of one request, `trained`: what the model was made for.
pub fn settings(choice: &Choice, context: u64, trained: u64, gpus: u32) -> Settings {
    let parallel = choice.parallel.unwrap_or(1);
    let defaults = Settings::default();
    let batch = choice.batch.unwrap_or(512);
    let on_cpu = gpus == 0 || choice.gpu_layers == Some(0);
    Settings {
        context: Some(context.min(trained).saturating_mul(parallel)),
        parallel: Some(parallel),
        batch,
        micro_batch: batch,
        gpu_layers: choice.gpu_layers,
        key: choice.cache.unwrap_or(defaults.key),
        value: choice.cache.unwrap_or(defaults.value),
        // Without layers on a GPU weights are read, not mapped, unless the model says so (`applyLlamaServerMmapDefaults`).
        load: if choice.mapped.unwrap_or(!on_cpu) { Load::Mapped } else { Load::Read },
        projector_on_host: on_cpu,
        ..defaults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_below_the_folder() {
        let path = |text: &str| Name::of(text).map(|name| name.manifest());
        let library = |rest: &str| Some(format!("manifests/registry.ollama.ai/library/{rest}"));
        assert_eq!(path("llama3.2"), library("llama3.2/latest"));
        assert_eq!(path("llama3.2:3b-q4_K_M"), library("llama3.2/3b-q4_K_M"));
        assert_eq!(path("me/mine:1").as_deref(), Some("manifests/registry.ollama.ai/me/mine/1"));
        assert_eq!(path("hf.co/bartowski/Llama:Q4").as_deref(), Some("manifests/hf.co/bartowski/Llama/Q4"));
        assert_eq!(path("host:5000/a/b").as_deref(), Some("manifests/host:5000/a/b/latest"));
    }

    #[test]
    fn no_name_leaves_the_folder() {
        let long = "x".repeat(129);
        for name in [
            "",
            "..",
            "../x",
            "a/..",
            "a/../b",
            "/etc/passwd",
            "x:",
            "x:..",
            "a/b/c/d",
            "x y",
            "x\0",
            "~",
            "é",
            ".hidden",
            &long,
            "a..b",
        ] {
            assert_eq!(Name::of(name), None, "{name}");
        }
    }

    #[test]
    fn a_manifest_names_blobs() {
        let digest = "0123456789abcdef".repeat(4);
        let layer = |kind: &str, digest: &str| {
            format!(r#"{{"mediaType":"application/vnd.ollama.image.{kind}","digest":"{digest}","size":1}}"#)
        };
        let file = |layers: &[String]| format!(r#"{{"schemaVersion":2,"layers":[{}]}}"#, layers.join(","));
        let sha = format!("sha256:{digest}");
        let all = ["model", "projector", "adapter", "params", "template", "license"].map(|kind| layer(kind, &sha));
        let blob = format!("sha256-{digest}");
        let expected = Manifest {
            model: blob.clone(),
            projector: Some(blob.clone()),
            adapters: vec![blob.clone()],
            parameters: Some(blob),
        };
        assert_eq!(Manifest::read(file(&all).as_bytes()), Ok(expected));
        for (layers, why) in [
            (vec![], "no GGUF model"),
            (vec![layer("model", &sha), layer("model", &sha)], "more than one"),
            (vec![layer("model", "sha256:../../etc/passwd")], "a digest that is none"),
            (vec![layer("model", &format!("sha256:{}/", &digest[1..]))], "a digest that is none"),
        ] {
            assert!(Manifest::read(file(&layers).as_bytes()).unwrap_err().contains(why), "{why}");
        }
        let deep = format!(r#"{{"layers":{}"#, "[".repeat(1 << 19));
        for json in ["", "[]", "{}", r#"{"layers":[7]}"#, &deep] {
            assert!(Manifest::read(json.as_bytes()).is_err());
        }
    }

    #[test]
    fn parameters_go_before_the_environment() {
        let choice = Choice::read(br#"{"num_ctx":8192,"num_gpu":-1,"temperature":0.5,"stop":["a"]}"#).unwrap();
        let all =
            choice.or_environment(|name| Some(if name == "OLLAMA_KV_CACHE_TYPE" { "q8_0" } else { "2" }.to_owned()));
        let expected = Choice {
            context: Some(8192),
            parallel: Some(2),
            batch: None,
            gpu_layers: None,
            mapped: None,
            cache: Type::cache("q8_0"),
        };
        assert_eq!(all, expected);
        assert!(
            Choice::read(br#"{"num_ctx":-1}"#).is_err()
                && Choice::read(br#"{"num_ctx":18446744073709551616}"#).is_err()
        );
        let settings = settings(&all, 8192, 4096, 0);
        assert_eq!(
            (settings.context, settings.parallel, settings.load),
            (Some(8192), Some(2), Load::Read),
            "4096 for each of two"
        );
    }

    #[test]
    fn weights_are_read_where_no_layer_is_on_a_gpu_unless_the_model_says_otherwise() {
        let load = |json: &str, gpus| {
            let settings = settings(&Choice::read(json.as_bytes()).unwrap(), 512, 512, gpus);
            (settings.load, settings.projector_on_host)
        };
        assert_eq!([load("{}", 1), load("{}", 0)], [(Load::Mapped, false), (Load::Read, true)]);
        assert_eq!(load(r#"{"num_gpu":0}"#, 1), (Load::Read, true));
        assert_eq!(load(r#"{"num_gpu":0,"use_mmap":true}"#, 1), (Load::Mapped, true));
        assert_eq!(load(r#"{"use_mmap":false}"#, 1), (Load::Read, false));
    }

    #[test]
    fn the_context_depends_on_all_gpus() {
        let of = |gib: u64| context(1, Some(gib << 30));
        assert_eq!([of(8), of(24), of(80)], [4096, 32_768, 262_144].map(Some));
        assert_eq!((context(0, None), context(2, None)), (Some(4096), None));
    }
}

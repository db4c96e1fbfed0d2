//! `config.json` of a model as transformers writes it: the dimensions that its need depends on. Text models within multimodal ones are
//! found. Knows no engine.

use serde_json::Value;

use super::attention::{Row, row, state};
use super::entry::{Entries, Error};
use super::layer::{Layer, layers};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The family, such as `llama`.
    pub kind: String,
    pub layers: Vec<Layer>,
    /// What a token adds to each layer with attention.
    pub row: Row,
    /// Elements of a sequence's state in each recurrent layer.
    pub state: Option<u64>,
    pub hidden: u64,
    pub vocabulary: u64,
    /// Width of the feed-forward layers that a token goes through.
    pub inner: u64,
    /// Tokens that it was made for.
    pub context: Option<u64>,
    /// How its weights are quantised, as the file says.
    pub quantised: Option<String>,
    /// It has an encoder of images or sound.
    pub multimodal: bool,
    /// That of images, as far as the file describes it.
    pub vision: Option<Vision>,
    /// Why its cache is an upper bound, if it is one.
    pub bound: Option<String>,
    /// What is needed besides and cannot be counted.
    pub missing: Vec<String>,
}

/// An encoder of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vision {
    pub layers: u64,
    pub hidden: u64,
}

impl Vision {
    /// Defaults are those that SGLang assumes.
    fn of(entries: Entries<'_>) -> Result<Vision, Error> {
        let layers = entries.number("num_hidden_layers")?.unwrap_or(24);
        Ok(Vision { layers, hidden: entries.number("hidden_size")?.unwrap_or(1024) })
    }
}

/// Where multimodal models keep the dimensions of their text model.
const TEXT: [&str; 3] = ["text_config", "llm_config", "language_config"];

/// Families whose caches follow these rules. Of others it is not known.
const KNOWN: &[&str] = &[
    "apertus",
    "arcee",
    "baichuan",
    "bamba",
    "bloom",
    "chatglm",
    "cohere",
    "cohere2",
    "dbrx",
    "deepseek",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "ernie4_5",
    "ernie4_5_moe",
    "exaone",
    "exaone4",
    "falcon",
    "falcon_h1",
    "falcon_mamba",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma3n_text",
    "glm",
    "glm4",
    "glm4_moe",
    "glm4_moe_lite",
    "glm_moe_dsa",
    "gpt2",
    "gpt_bigcode",
    "gpt_neox",
    "gpt_oss",
    "gptj",
    "granite",
    "granitemoe",
    "granitemoehybrid",
    "hunyuan_v1_dense",
    "hunyuan_v1_moe",
    "internlm2",
    "jamba",
    "kimi_k2",
    "lfm2",
    "lfm2_moe",
    "llama",
    "llama4_text",
    "longcat_flash",
    "mamba",
    "mamba2",
    "minimax_m2",
    "ministral",
    "mistral",
    "mistral3",
    "mixtral",
    "mpt",
    "nemotron",
    "nemotron_h",
    "olmo",
    "olmo2",
    "olmo3",
    "olmoe",
    "opt",
    "pangu_ultra_moe",
    "persimmon",
    "phi",
    "phi3",
    "phimoe",
    "qwen2",
    "qwen2_5_vl",
    "qwen2_5_vl_text",
    "qwen2_moe",
    "qwen2_vl",
    "qwen2_vl_text",
    "qwen3",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_vl_moe_text",
    "qwen3_vl_text",
    "seed_oss",
    "smollm3",
    "stablelm",
    "starcoder2",
];

/// Models that read a text at once and keep nothing.
const ENCODERS: &[&str] =
    &["bert", "deberta", "deberta-v2", "distilbert", "modernbert", "nomic_bert", "roberta", "xlm-roberta"];

impl Config {
    /// Of a model that is not here: nothing of it is known, and this sentence says so.
    pub fn absent(sentence: String) -> Config {
        Config { missing: vec![sentence], ..Config::default() }
    }

    /// # Errors
    /// If it is no JSON, or a dimension is missing or cannot be.
    pub fn read(json: &[u8]) -> Result<Config, Error> {
        let value: Value = serde_json::from_slice(json).map_err(|error| Error::NotJson(error.to_string()))?;
        let whole = Entries(&value);
        let inner = whole.object("thinker_config").unwrap_or(whole);
        let text = TEXT.iter().find_map(|key| inner.object(key)).unwrap_or(inner);
        let kind = text.text("model_type").or(whole.text("model_type")).ok_or(Error::Key("model_type"))?;
        let kind: String = kind.chars().take(64).collect();
        let hidden = text.first(&["hidden_size", "n_embd", "d_model"])?.ok_or(Error::Key("hidden_size"))?;
        let heads = text.first(&["num_attention_heads", "n_head", "n_heads"])?.unwrap_or(0);
        let (mut layers, strange) = layers(text, &kind)?;
        let encoder = ENCODERS.contains(&&*kind);
        if encoder {
            layers.fill(Layer::Nothing);
        }
        let recurrent = layers.iter().any(|layer| matches!(layer, Layer::Recurrent | Layer::Both));
        let state = if recurrent { state(text, hidden)? } else { None };
        let bound = if encoder {
            None
        } else if !KNOWN.contains(&&*kind) {
            Some(format!(
                "the cache of {kind} is not known: this is an upper bound, with keys and values of its layers"
            ))
        } else if strange {
            Some(format!("{kind} has layers that are not known: each is counted with keys and values of all tokens"))
        } else {
            None
        };
        let row = row(text, &kind, hidden, heads)?;
        let keeps = layers.iter().any(|layer| !matches!(layer, Layer::Nothing | Layer::Recurrent));
        let missing = [
            (recurrent && state.is_none(), "the states of its recurrent layers: they are not in config.json"),
            (whole.is("is_encoder_decoder") == Some(true), "the cache of its encoder"),
            (
                keeps && row.heads.saturating_mul(row.size) == 0,
                "its cache: config.json does not say how many heads it has",
            ),
        ];
        let missing = missing.into_iter().filter(|(is, _)| *is).map(|(_, what)| what.to_owned()).collect();
        let nested = [text, inner, whole];
        let method = |entries: &Entries<'_>| {
            let quantised = entries.object("quantization_config")?;
            Some(quantised.text("quant_method").unwrap_or("a method that it does not name").chars().take(64).collect())
        };
        Ok(Config {
            row,
            state,
            hidden,
            vocabulary: text.first(&["vocab_size", "padded_vocab_size"])?.unwrap_or(0),
            inner: width(text, hidden)?,
            context: context(text, &kind)?,
            // What it says of its encoder matters little: a model is not refused for it.
            vision: inner.object("vision_config").and_then(|vision| Vision::of(vision).ok()),
            quantised: nested.iter().find_map(method),
            multimodal: ["vision_config", "audio_config", "vision_tower", "visual"]
                .iter()
                .any(|key| inner.get(key).is_some()),
            bound,
            missing,
            layers,
            kind,
        })
    }
}

/// What a token goes through between attentions: of experts only those that are used, and those that are shared.
fn width(text: Entries<'_>, hidden: u64) -> Result<u64, Error> {
    let dense = text.first(&["intermediate_size", "ffn_hidden_size", "n_inner"])?.unwrap_or(hidden.saturating_mul(4));
    let Some(expert) = text.number("moe_intermediate_size")? else { return Ok(dense) };
    let used = text.first(&["num_experts_per_tok", "moe_topk"])?.unwrap_or(1);
    let shared = text.number("n_shared_experts")?.unwrap_or(0);
    Ok(dense.max(expert.saturating_mul(used.saturating_add(shared))))
}

/// Tokens that a model was made for, as vLLM derives them (`_get_and_verify_max_len` in vllm/config/model.py).
fn context(text: Entries<'_>, kind: &str) -> Result<Option<u64>, Error> {
    const LENGTH: [&str; 6] = [
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "seq_length",
        "model_max_length",
        "max_sequence_length",
    ];
    let Some(length) = text.first(&LENGTH)?.filter(|length| *length > 0) else { return Ok(None) };
    let Some(scaling) = text.object("rope_scaling").or(text.object("rope_parameters")) else { return Ok(Some(length)) };
    let rope = scaling.text("rope_type").or(scaling.text("type")).unwrap_or("default");
    // Gemma 3 says the scaled length already.
    if ["su", "longrope", "llama3", "default", "mrope"].contains(&rope) || kind.contains("gemma3") {
        return Ok(Some(length));
    }
    let factor = scaling.factor("factor").unwrap_or(1.0);
    let first = scaling.number("original_max_position_embeddings")?.filter(|_| rope == "yarn").unwrap_or(length);
    // Both are bounded, so that their product is exact enough.
    Ok(Some((first as f64 * factor) as u64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::need::checkpoint::test::llama_8b;

    fn read(value: Value) -> Result<Config, Error> {
        Config::read(value.to_string().as_bytes())
    }

    #[test]
    fn a_dense_model_is_read() {
        let config = read(json!({
            "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "torch_dtype": "bfloat16",
            "max_position_embeddings": 131072, "rope_scaling": {"rope_type": "llama3", "factor": 8.0},
        }))
        .unwrap();
        assert_eq!(config, llama_8b().config);
    }

    #[test]
    fn the_text_model_of_a_multimodal_one_counts() {
        let config = read(json!({
            "model_type": "gemma3", "torch_dtype": "bfloat16", "vision_config": {"hidden_size": 1152},
            "text_config": {"model_type": "gemma3_text", "hidden_size": 5376, "num_hidden_layers": 62, "num_attention_heads": 32,
                "num_key_value_heads": 16, "head_dim": 128, "sliding_window": 1024, "intermediate_size": 21504},
        }))
        .unwrap();
        assert!(config.multimodal && config.bound.is_none() && config.context.is_none());
        assert_eq!(config.layers.iter().filter(|layer| **layer == Layer::Full).count(), 10);
        assert_eq!(config.row.heads * config.row.size * 2 * 10, 81920);
        assert_eq!(config.vision, Some(Vision { layers: 24, hidden: 1152 }), "the layers are the default");
    }

    #[test]
    fn what_is_not_known_is_a_bound_that_says_so() {
        let base =
            json!({"model_type": "brandnew", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4});
        assert!(read(base).unwrap().bound.unwrap().starts_with("the cache of brandnew is not known"));
        let bert = json!({"model_type": "bert", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4});
        let bert = read(bert).unwrap();
        assert_eq!((bert.bound, bert.layers), (None, vec![Layer::Nothing; 2]));
        let stateless = json!({"model_type": "mamba2", "hidden_size": 64, "num_hidden_layers": 2});
        let stateless = read(stateless).unwrap();
        assert!(stateless.bound.is_none() && stateless.missing[0].contains("not in config.json"), "{stateless:?}");
        // A text model's dimensions may be left to the library's defaults.
        let headless = json!({"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34});
        assert!(read(headless).unwrap().missing[0].starts_with("its cache: config.json does not say"));
    }

    #[test]
    fn the_context_is_scaled_as_engines_do() {
        let family = |kind: &str, scaling: Value| {
            let config = json!({"max_position_embeddings": 32768, "rope_scaling": scaling});
            context(Entries(&config), kind).unwrap().unwrap()
        };
        let of = |scaling: Value| family("llama", scaling);
        assert_eq!(family("gemma3_text", json!({"rope_type": "linear", "factor": 8.0})), 32768, "it is scaled already");
        assert_eq!(of(json!({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16384})), 65536);
        assert_eq!(of(json!({"type": "linear", "factor": 2})), 65536);
        assert_eq!(
            [of(json!({"rope_type": "llama3", "factor": 8})), of(json!(null)), of(json!({"factor": 8}))],
            [32768; 3]
        );
    }

    #[test]
    fn hostile_files_are_refused() {
        let deep = |text: &str| text.repeat(100_000);
        for json in [
            deep("["),
            deep("{\"a\":"),
            format!("{{\"model_type\":{}", deep("[")),
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
        ] {
            assert!(Config::read(json.as_bytes()).is_err(), "{json:.40}");
        }
        for (key, value) in [
            ("hidden_size", json!(-1)),
            ("hidden_size", json!("64")),
            ("num_hidden_layers", json!(1u64 << 40)),
            ("num_attention_heads", json!(1.5)),
            ("head_dim", json!(u64::MAX)),
            ("intermediate_size", json!(1e300)),
        ] {
            let mut config =
                json!({"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4});
            config[key] = value.clone();
            assert!(read(config).is_err(), "{key}: {value}");
        }
        let name = "x".repeat(1 << 20);
        let long =
            read(json!({"model_type": name, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}));
        assert_eq!(long.unwrap().kind.len(), 64);
    }
}

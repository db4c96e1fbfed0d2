//! What each layer of a model keeps of the past: all of it, a window, a state, or nothing. Names of transformers' configurations;
//! defaults of its `configuration_*.py`.

use super::entry::{Entries, Error};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    Full,
    /// So many tokens.
    Window(u64),
    /// A state per sequence.
    Recurrent,
    /// Full attention, and a state beside it.
    Both,
    Nothing,
}

/// Most layers that are believed.
pub const MOST: u64 = 1024;

/// The layers, and whether some kind of them is not known and counted as full attention.
pub fn layers(text: Entries<'_>, kind: &str) -> Result<(Vec<Layer>, bool), Error> {
    const COUNT: [&str; 4] = ["num_hidden_layers", "n_layer", "num_layers", "n_layers"];
    // Nemotron-H says each block by a letter.
    if let Some(pattern) = text.text("hybrid_override_pattern") {
        return letters(pattern);
    }
    let count =
        text.first(&COUNT)?.filter(|count| (1..=MOST).contains(count)).ok_or(Error::Key("num_hidden_layers"))?;
    let window = text.number("sliding_window")?.filter(|window| *window > 0);
    let window = window.filter(|_| text.is("use_sliding_window") != Some(false));
    let mut unknown = false;
    let of = |index: u64| match (period(text, kind), window) {
        (Some(Pattern::Every(period)), Some(window)) if period > 0 => {
            if (index + 1).is_multiple_of(period) {
                Layer::Full
            } else {
                Layer::Window(window)
            }
        }
        (Some(Pattern::All), Some(window)) => Layer::Window(window),
        (Some(Pattern::From(first)), Some(window)) if index >= first => Layer::Window(window),
        _ => Layer::Full,
    };
    let mut layers: Vec<Layer> = (0..count).map(of).collect();
    if let Some(list) = text.texts("layer_types")?.or(text.texts("layers_block_type")?) {
        for (layer, name) in layers.iter_mut().zip(&list) {
            *layer = match (*name, window) {
                // vLLM keeps all tokens of chunked attention (`VLLM_ALLOW_CHUNKED_LOCAL_ATTN_WITH_HYBRID_KV_CACHE`).
                ("full_attention" | "attention" | "global_attention" | "chunked_attention" | "hybrid", _) => {
                    Layer::Full
                }
                ("sliding_attention" | "local_attention", Some(window)) => Layer::Window(window),
                ("linear_attention" | "mamba" | "mamba2" | "conv" | "recurrent", _) => Layer::Recurrent,
                ("mlp" | "moe", _) => Layer::Nothing,
                _ => {
                    unknown = true;
                    Layer::Full
                }
            };
        }
    } else {
        by_rule(text, kind, &mut layers)?;
    }
    // The last layers use the cache of earlier ones (Gemma 3n).
    let shared = usize::try_from(text.number("num_kv_shared_layers")?.unwrap_or(0)).unwrap_or(0);
    for layer in layers.iter_mut().rev().take(shared) {
        *layer = Layer::Nothing;
    }
    Ok((layers, unknown))
}

enum Pattern {
    /// Every so-manyth is full.
    Every(u64),
    All,
    /// From this layer on.
    From(u64),
}

/// Which layers have a window, where no list says so.
fn period(text: Entries<'_>, kind: &str) -> Option<Pattern> {
    if let Ok(Some(period)) = text.number("sliding_window_pattern") {
        return Some(Pattern::Every(period));
    }
    match kind {
        "mistral" | "starcoder2" | "ministral" => Some(Pattern::All),
        "gemma2" | "gpt_oss" => Some(Pattern::Every(2)),
        "gemma3_text" | "gemma3" => Some(Pattern::Every(6)),
        "cohere2" => Some(Pattern::Every(4)),
        "qwen2" | "qwen2_moe" | "qwen3" | "qwen3_moe" if text.is("use_sliding_window") == Some(true) => {
            text.number("max_window_layers").ok().flatten().map(Pattern::From)
        }
        _ => None,
    }
}

/// Hybrids whose configuration has a rule in place of a list.
fn by_rule(text: Entries<'_>, kind: &str, layers: &mut [Layer]) -> Result<(), Error> {
    let attention: Option<Box<dyn Fn(u64) -> bool>> = match kind {
        "mamba" | "mamba2" | "falcon_mamba" => Some(Box::new(|_| false)),
        "jamba" => {
            let period = text.number("attn_layer_period")?.unwrap_or(8).max(1);
            let offset = text.number("attn_layer_offset")?.unwrap_or(4);
            Some(Box::new(move |index| index % period == offset))
        }
        "bamba" => {
            let list = text.numbers("attn_layer_indices")?.unwrap_or_default();
            Some(Box::new(move |index| list.contains(&index)))
        }
        "qwen3_next" | "qwen3_5" | "qwen3_5_text" | "qwen3_5_moe" | "qwen3_5_moe_text" => {
            let interval = text.number("full_attention_interval")?.unwrap_or(4).max(1);
            Some(Box::new(move |index| (index + 1).is_multiple_of(interval)))
        }
        "lfm2" | "lfm2_moe" => text
            .numbers("full_attn_idxs")?
            .map(|list| -> Box<dyn Fn(u64) -> bool> { Box::new(move |index| list.contains(&index)) }),
        "falcon_h1" => {
            layers.fill(Layer::Both);
            None
        }
        _ => None,
    };
    if let Some(attention) = attention {
        for (layer, index) in layers.iter_mut().zip(0..) {
            *layer = if attention(index) { Layer::Full } else { Layer::Recurrent };
        }
    }
    Ok(())
}

/// `M` a state, `*` attention, `-` and `E` neither.
fn letters(pattern: &str) -> Result<(Vec<Layer>, bool), Error> {
    const KEY: Error = Error::Key("hybrid_override_pattern");
    let blocks: Vec<char> = pattern.chars().filter(|letter| *letter != '|').take(MOST as usize + 1).collect();
    if blocks.is_empty() || blocks.len() > MOST as usize {
        return Err(KEY);
    }
    let layer = |letter: &char| match letter {
        'M' => Ok(Layer::Recurrent),
        '*' => Ok(Layer::Full),
        '-' | 'E' => Ok(Layer::Nothing),
        _ => Err(KEY),
    };
    Ok((blocks.iter().map(layer).collect::<Result<_, _>>()?, false))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Counts of full layers, windows, states and both.
    fn of(kind: &str, config: Value) -> (usize, usize, usize, usize) {
        let (layers, _) = layers(Entries(&config), kind).unwrap();
        let count = |is: fn(&Layer) -> bool| layers.iter().filter(|layer| is(layer)).count();
        (
            count(|layer| *layer == Layer::Full),
            count(|layer| matches!(layer, Layer::Window(_))),
            count(|layer| *layer == Layer::Recurrent),
            count(|layer| *layer == Layer::Both),
        )
    }

    #[test]
    fn windows_are_where_the_configuration_says() {
        let window = |more: Value| {
            let mut config = json!({"num_hidden_layers": 12, "sliding_window": 4096});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            config
        };
        assert_eq!(of("mistral", window(json!({}))), (0, 12, 0, 0));
        assert_eq!(of("gemma3_text", window(json!({}))), (2, 10, 0, 0));
        assert_eq!(of("gemma3_text", window(json!({"sliding_window_pattern": 3}))), (4, 8, 0, 0));
        assert_eq!(of("qwen2", window(json!({"use_sliding_window": false, "max_window_layers": 4}))), (12, 0, 0, 0));
        assert_eq!(of("qwen2", window(json!({"use_sliding_window": true, "max_window_layers": 4}))), (4, 8, 0, 0));
        assert_eq!(of("mistral", json!({"n_layer": 3, "sliding_window": null})), (3, 0, 0, 0));
        let list = json!(["sliding_attention", "full_attention", "chunked_attention"]);
        let config = json!({"num_hidden_layers": 3, "sliding_window": 128, "layer_types": list});
        assert_eq!(of("gpt_oss", config), (2, 1, 0, 0));
        assert_eq!(of("gemma3n_text", window(json!({"num_kv_shared_layers": 5}))), (7, 0, 0, 0));
    }

    #[test]
    fn hybrids_keep_states() {
        assert_eq!(of("qwen3_next", json!({"num_hidden_layers": 48})), (12, 0, 36, 0));
        assert_eq!(
            of("jamba", json!({"num_hidden_layers": 32, "attn_layer_period": 8, "attn_layer_offset": 4})),
            (4, 0, 28, 0)
        );
        assert_eq!(of("bamba", json!({"num_hidden_layers": 32, "attn_layer_indices": [9, 18, 27]})), (3, 0, 29, 0));
        assert_eq!(of("falcon_h1", json!({"num_hidden_layers": 4})), (0, 0, 0, 4));
        assert_eq!(of("mamba2", json!({"num_hidden_layers": 4})), (0, 0, 4, 0));
        assert_eq!(of("nemotron_h", json!({"hybrid_override_pattern": "M-M*-E"})), (1, 0, 2, 0));
        assert_eq!(
            of("lfm2", json!({"num_hidden_layers": 3, "layer_types": ["conv", "conv", "full_attention"]})),
            (1, 0, 2, 0)
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for config in [
            json!({}),
            json!({"num_hidden_layers": 0}),
            json!({"num_hidden_layers": 1025}),
            json!({"num_hidden_layers": -1}),
        ] {
            assert!(layers(Entries(&config), "llama").is_err(), "{config}");
        }
        for pattern in [String::new(), "M?".to_owned(), "M".repeat(1025)] {
            assert!(layers(Entries(&json!({"hybrid_override_pattern": pattern})), "nemotron_h").is_err());
        }
        let strange = json!({"num_hidden_layers": 2, "layer_types": ["warp_attention"]});
        assert_eq!(layers(Entries(&strange), "x").unwrap(), (vec![Layer::Full; 2], true));
    }
}

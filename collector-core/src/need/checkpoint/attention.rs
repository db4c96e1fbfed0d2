//! What a token, or a sequence, adds to the caches of one layer: rows of keys and values, and states. Keys as vLLM reads them
//! (vllm/transformers_utils/model_arch_config_convertor.py); states as its `MambaStateShapeCalculator`
//! (vllm/model_executor/layers/mamba/mamba_utils.py).

use super::entry::{Entries, Error};

/// The row of a token in one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Heads of keys and values.
    pub heads: u64,
    /// Elements of a head: keys and values together.
    pub size: u64,
    /// One latent vector in place of heads, which each GPU keeps whole.
    pub latent: bool,
    /// Bytes beside it, whatever the type of the cache: the indexer of sparse attention.
    pub index: u64,
}

/// Families whose attention vLLM and SGLang cache as one latent vector a token (`is_deepseek_mla`).
const LATENT: [&str; 17] = [
    "AXK1",
    "deepseek_mtp",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "glm4_moe_lite",
    "glm4_moe_lite_mtp",
    "glm_moe_dsa",
    "hy_v4",
    "kimi_k2",
    "kimi_k25",
    "kimi_linear",
    "longcat_flash",
    "longcat_flash_mtp",
    "mistral4",
    "pangu_ultra_moe",
    "pangu_ultra_moe_mtp",
];

/// Most heads and elements of a head that are believed.
const MOST: u64 = 1 << 20;

pub fn row(text: Entries<'_>, kind: &str, hidden: u64, heads: u64) -> Result<Row, Error> {
    let lora = text.number("kv_lora_rank")?.filter(|rank| *rank > 0);
    if let (Some(rank), Some(rope), true) = (lora, text.number("qk_rope_head_dim")?, LATENT.contains(&kind)) {
        // Keys of the indexer: 8 bits an element, and a scale of 32 bits for each 128 (`DeepseekV32IndexerCache`).
        let index = text.number("index_head_dim")?.map_or(0, |size| size + size.div_ceil(128) * 4);
        return Ok(Row { heads: 1, size: rank + rope, latent: true, index });
    }
    let size = match text.number("head_dim")?.filter(|size| *size > 0) {
        Some(size) => size,
        None => match text.number("hidden_size_per_head")? {
            Some(size) => size,
            None => hidden.checked_div(heads).unwrap_or(0),
        },
    };
    // DeepSeek's attention without a latent cache has keys and values of different sizes.
    let key = match (text.number("qk_nope_head_dim")?, text.number("qk_rope_head_dim")?) {
        (Some(nope), Some(rope)) => nope + rope,
        _ => size,
    };
    let value = text.number("v_head_dim")?.unwrap_or(size);
    let row = Row { heads: key_heads(text, kind, heads)?, size: key + value, latent: false, index: 0 };
    if row.heads > MOST || row.size > MOST {
        return Err(Error::Key("head_dim"));
    }
    Ok(row)
}

fn key_heads(text: Entries<'_>, kind: &str, heads: u64) -> Result<u64, Error> {
    const HEADS: [&str; 5] =
        ["n_head_kv", "num_kv_heads", "num_key_value_heads", "multi_query_group_num", "num_attention_groups"];
    let one = text.is("multi_query") == Some(true) && text.is("new_decoder_architecture") != Some(true);
    if one && ["falcon", "RefinedWeb", "RefinedWebModel", "gpt_bigcode"].contains(&kind) {
        return Ok(1);
    }
    if let Some(inner) = text.object("attn_config") {
        return Ok(inner.number("kv_n_heads")?.unwrap_or(heads));
    }
    Ok(text.first(&HEADS)?.filter(|heads| *heads > 0).unwrap_or(heads))
}

/// Elements of a sequence's state in one recurrent layer, with those of its convolution; `None` if the configuration does not tell.
pub fn state(text: Entries<'_>, hidden: u64) -> Result<Option<u64>, Error> {
    // Gated delta net.
    let linear = [
        "linear_num_key_heads",
        "linear_key_head_dim",
        "linear_num_value_heads",
        "linear_value_head_dim",
        "linear_conv_kernel_dim",
    ];
    if let [Some(key_heads), Some(key), Some(value_heads), Some(value), Some(kernel)] = each(text, linear)? {
        let width = times(&[2, key_heads, key])?.saturating_add(times(&[value_heads, value])?);
        return Ok(Some(times(&[kernel.saturating_sub(1), width])?.saturating_add(times(&[value_heads, value, key])?)));
    }
    // Convolutions without a state (LFM2).
    if let Some(kernel) = text.number("conv_L_cache")? {
        return times(&[kernel.saturating_sub(1), hidden]).map(Some);
    }
    let kernel = text.first(&["mamba_d_conv", "conv_kernel"])?;
    let size = text.first(&["mamba_d_state", "ssm_state_size", "state_size"])?;
    let (Some(kernel), Some(size)) = (kernel, size) else { return Ok(None) };
    let groups = text.first(&["mamba_n_groups", "n_groups"])?;
    let heads = each(text, ["mamba_n_heads", "mamba_d_head"])?;
    let other = each(text, ["mamba_num_heads", "mamba_head_dim"])?;
    let pure = each(text, ["num_heads", "head_dim"])?;
    let inner = match (heads, other, text.number("mamba_d_ssm")?, text.number("mamba_expand")?) {
        ([Some(heads), Some(size)], ..) | (_, [Some(heads), Some(size)], ..) => times(&[heads, size])?,
        (_, _, Some(inner), _) => inner,
        (_, _, _, Some(expand)) => times(&[expand, hidden])?,
        _ => match (text.number("expand")?, text.number("intermediate_size")?, pure) {
            (Some(expand), ..) => times(&[expand, hidden])?,
            (_, Some(inner), _) => inner,
            (_, _, [Some(heads), Some(size)]) => times(&[heads, size])?,
            _ => return Ok(None),
        },
    };
    let width = inner.saturating_add(times(&[2, groups.unwrap_or(0), size])?);
    Ok(Some(times(&[kernel.saturating_sub(1), width])?.saturating_add(times(&[inner, size])?)))
}

fn each<const N: usize>(text: Entries<'_>, keys: [&'static str; N]) -> Result<[Option<u64>; N], Error> {
    let mut values = [None; N];
    for (value, key) in values.iter_mut().zip(keys) {
        *value = text.number(key)?.filter(|number| *number <= MOST);
    }
    Ok(values)
}

/// A product that no honest configuration makes overflow.
fn times(factors: &[u64]) -> Result<u64, Error> {
    let product = factors.iter().try_fold(1u64, |product, factor| product.checked_mul(*factor));
    product.filter(|product| *product <= 1 << 40).ok_or(Error::Key("state of sensible size"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(kind: &str, hidden: u64, heads: u64, config: Value) -> (u64, u64) {
        let row = row(Entries(&config), kind, hidden, heads).unwrap();
        (row.heads, row.size)
    }

    #[test]
    fn rows_are_those_of_each_family() {
        assert_eq!(of("llama", 4096, 32, json!({"num_key_value_heads": 8})), (8, 256));
        assert_eq!(of("llama", 4096, 32, json!({})), (32, 256), "without groups each head has its own");
        assert_eq!(of("qwen3", 2048, 16, json!({"num_key_value_heads": 8, "head_dim": 128})), (8, 256));
        assert_eq!(of("falcon", 4544, 71, json!({"multi_query": true, "num_kv_heads": 71})), (1, 128));
        assert_eq!(
            of("falcon", 8192, 128, json!({"new_decoder_architecture": true, "multi_query": true, "num_kv_heads": 8})),
            (8, 128)
        );
        assert_eq!(of("dbrx", 6144, 48, json!({"attn_config": {"kv_n_heads": 8}})), (8, 256));
        assert_eq!(of("chatglm", 4096, 32, json!({"multi_query_group_num": 2})), (2, 256));
    }

    #[test]
    fn latent_attention_keeps_one_vector() {
        let config = json!({"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
            "num_key_value_heads": 128, "index_head_dim": 128});
        let latent = row(Entries(&config), "deepseek_v32", 7168, 128).unwrap();
        assert_eq!(latent, Row { heads: 1, size: 576, latent: true, index: 132 });
        // A family that is not known to be cached so.
        assert_eq!(of("deepseek_v9", 7168, 128, config), (128, 320));
    }

    #[test]
    fn states_are_those_of_each_family() {
        let next = json!({"linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_num_value_heads": 32,
            "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4});
        assert_eq!(state(Entries(&next), 2048).unwrap(), Some(3 * 8192 + 32 * 128 * 128));
        let bamba = json!({"mamba_d_conv": 4, "mamba_d_state": 128, "mamba_n_groups": 1, "mamba_n_heads": 128, "mamba_d_head": 64});
        assert_eq!(state(Entries(&bamba), 4096).unwrap(), Some(3 * (8192 + 256) + 8192 * 128));
        let jamba = json!({"mamba_d_conv": 4, "mamba_d_state": 16, "mamba_expand": 2});
        assert_eq!(state(Entries(&jamba), 4096).unwrap(), Some(3 * 8192 + 8192 * 16));
        let mamba = json!({"conv_kernel": 4, "state_size": 16, "expand": 2, "intermediate_size": 5120});
        assert_eq!(state(Entries(&mamba), 2560).unwrap(), Some(3 * 5120 + 5120 * 16));
        assert_eq!(state(Entries(&json!({"conv_L_cache": 3})), 2048).unwrap(), Some(2 * 2048));
        assert_eq!(state(Entries(&json!({})), 2048).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let huge =
            json!({"head_dim": 4_000_000_000u64, "mamba_d_conv": 4, "mamba_d_state": 1 << 30, "mamba_expand": 1 << 20});
        assert!(row(Entries(&huge), "llama", 1, 1).is_err());
        assert!(state(Entries(&huge), 1 << 30).is_err());
        assert_eq!(of("llama", 7, 0, json!({})), (0, 0));
    }
}

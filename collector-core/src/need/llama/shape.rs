//! A model's dimensions, layer by layer, out of its header. From `llama_model_base::load_hparams` in llama.cpp's src/llama-model.cpp
//! and src/llama-hparams.cpp (b11434).

use super::architecture::{Architecture, Cache, Pattern, Recurrent, Shared, Window};
use crate::need::gguf::weight::MOST_LAYERS;
use crate::need::gguf::{Error, Header};

/// What one layer keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// Elements of keys and of values for each token; 0: none.
    pub key: u64,
    pub value: u64,
    /// It attends to the last tokens only.
    pub window: bool,
    /// Elements of state for each sequence, always of four bytes.
    pub state: u64,
    /// Elements of the keys of a sparse attention's indexer for each token.
    pub indexer: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    pub architecture: Architecture,
    pub layers: Vec<Layer>,
    /// Layers at the end for predicting further tokens, which are not loaded.
    pub predicting: usize,
    /// Tokens that a window has; 0: there is none.
    pub window: u64,
    pub context: u64,
    pub vocabulary: u64,
    pub embedding: u64,
    /// The widest feed-forward part.
    pub feed_forward: u64,
    pub heads: u64,
    /// Experts that a token uses, times the width of one and of what it puts out.
    pub routed: u64,
    /// Elements of queries, keys and values of one token where keys are compressed.
    pub compressed: u64,
    /// Inner width of state-space layers.
    pub inner: u64,
    /// Elements that all indexers' heads have for one token.
    pub indexer: u64,
    /// Elements of the inputs that each layer gets besides.
    pub per_layer: u64,
    pub tokens: u64,
}

/// The header's keys of its architecture.
struct Keys<'a> {
    header: &'a Header,
    architecture: &'a str,
    layers: usize,
}

/// No dimension of a model is larger, so that products of two always fit.
const MOST: u64 = 1 << 24;

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture)
    }

    fn get(&self, key: &str) -> Result<Option<u64>, Error> {
        self.header.number(&self.name(key)).and_then(|number| self.checked(key, number.unwrap_or(0)).map(|_| number))
    }

    fn checked(&self, key: &str, number: u64) -> Result<u64, Error> {
        if number <= MOST { Ok(number) } else { Err(Error::Key(self.name(key))) }
    }

    /// 0 if it is absent.
    fn or_zero(&self, key: &str) -> Result<u64, Error> {
        Ok(self.get(key)?.unwrap_or(0))
    }

    fn must(&self, key: &str) -> Result<u64, Error> {
        self.get(key)?.ok_or_else(|| Error::Key(self.name(key)))
    }

    fn each(&self, key: &str) -> Result<Option<Vec<u64>>, Error> {
        let numbers = self.header.numbers(&self.name(key), self.layers)?;
        self.checked(key, numbers.iter().flatten().copied().max().unwrap_or(0))?;
        Ok(numbers)
    }

    /// The greatest of a number or an array.
    fn most(&self, key: &str) -> Result<u64, Error> {
        Ok(self.each(key)?.and_then(|each| each.into_iter().max()).unwrap_or(0))
    }
}

impl Shape {
    pub fn of(header: &Header) -> Result<Shape, Error> {
        let name = header.architecture()?;
        let architecture = Architecture::of(name);
        let count = header.number(&format!("{name}.block_count"))?.and_then(|count| usize::try_from(count).ok());
        let count = count.filter(|count| (1..=MOST_LAYERS).contains(count));
        let layers = count.ok_or_else(|| Error::Key(format!("{name}.block_count")))?;
        let keys = Keys { header, architecture: name, layers };
        let predicting = usize::try_from(keys.or_zero("nextn_predict_layers")?).unwrap_or(layers).min(layers - 1);
        // Whether an architecture that is not modelled loads them is not known.
        let predicting = if architecture.bound { 0 } else { predicting };
        let heads = keys.each("attention.head_count")?.unwrap_or_else(|| vec![0; layers]);
        let embedding = keys.must("embedding_length")?;
        let length = |key| header.length(key).unwrap_or(0);
        let vocabulary = keys.get("vocab_size")?.unwrap_or_else(|| length("tokenizer.ggml.tokens"));
        let heads_most = heads.iter().copied().max().unwrap_or(0);
        let window = window_length(&keys, architecture.window)?;
        let used = keys.most("expert_used_count")?;
        let expert = match keys.most("expert_feed_forward_length")? {
            0 => keys.most("feed_forward_length")?,
            width => width,
        };
        let mut shape = Shape {
            architecture,
            layers: Vec::new(),
            predicting,
            window,
            context: header
                .number(&keys.name("context_length"))?
                .ok_or_else(|| Error::Key(keys.name("context_length")))?,
            vocabulary: vocabulary.max(header.weights.rows),
            embedding,
            feed_forward: if used > 0 { 0 } else { keys.most("feed_forward_length")? },
            heads: heads_most,
            routed: used * (expert + embedding),
            compressed: compressed(&keys, heads_most)?,
            inner: keys.or_zero("ssm.inner_size")?,
            indexer: keys.or_zero("attention.indexer.head_count")? * keys.or_zero("attention.indexer.key_length")?,
            per_layer: keys.or_zero("embedding_length_per_layer_input")? * u64::try_from(layers).unwrap_or(0),
            tokens: length("tokenizer.ggml.tokens"),
        };
        shape.layers = shape.keep(&keys, &heads)?;
        Ok(shape)
    }

    fn keep(&self, keys: &Keys, heads: &[u64]) -> Result<Vec<Layer>, Error> {
        let first = heads.first().copied().unwrap_or(0);
        let head = self.embedding.checked_div(first).unwrap_or(0);
        let key_value = keys.each("attention.head_count_kv")?.unwrap_or_else(|| heads.to_vec());
        let key = if first > 0 { keys.get("attention.key_length")?.unwrap_or(head) } else { 0 };
        let value = if first > 0 { keys.get("attention.value_length")?.unwrap_or(head) } else { 0 };
        let key_window = keys.get("attention.key_length_swa")?.unwrap_or(key);
        let value_window = keys.get("attention.value_length_swa")?.unwrap_or(value);
        let windows = self.windows(keys, heads.len())?;
        let recurrent = self.recurrent(keys, &key_value)?;
        let state = self.state(keys, first, key)?;
        let values = !is_compressed(keys)? || self.architecture.bound;
        let own = match self.architecture.shared {
            Shared::None => heads.len(),
            Shared::From(layer) => layer,
            Shared::Key => {
                let shared = keys.or_zero("attention.shared_kv_layers")?;
                heads.len().saturating_sub(usize::try_from(shared).unwrap_or(heads.len()))
            }
        };
        let attends = |layer: usize| match self.architecture.cache {
            Cache::Attention => true,
            Cache::Nothing | Cache::Recurrent => false,
            Cache::Hybrid(Recurrent::AllAndAttention) => true,
            Cache::Hybrid(_) => !recurrent[layer],
        };
        let trunk = heads.len() - self.predicting;
        let indexer = keys.or_zero("attention.indexer.key_length")?;
        let layer = |layer: usize| {
            let mut kept = Layer { window: windows[layer], ..Layer::default() };
            if attends(layer) && layer < own && layer < trunk {
                let (key, value) = if kept.window { (key_window, value_window) } else { (key, value) };
                kept.key = key * key_value[layer];
                kept.value = if values { value * key_value[layer] } else { 0 };
                kept.indexer = indexer;
            }
            if recurrent[layer] && layer < trunk {
                kept.state = state;
            }
            kept
        };
        Ok((0..heads.len()).map(layer).collect())
    }

    fn windows(&self, keys: &Keys, layers: usize) -> Result<Vec<bool>, Error> {
        let Some(window) = self.architecture.window.filter(|_| self.window > 0) else { return Ok(vec![false; layers]) };
        let name = "attention.sliding_window_pattern";
        let full = if keys.header.is_list(&keys.name(name)) {
            return Ok(keys.each(name)?.unwrap_or_default().iter().map(|flag| *flag != 0).collect());
        } else {
            keys.get(name)?
        };
        let trunk = layers - self.predicting;
        let at = |layer: u64| match window.pattern {
            Pattern::LastFull(period) => {
                let period = full.unwrap_or(period);
                period == 0 || layer % period < period - 1
            }
            Pattern::FirstFull(period) => {
                let period = full.unwrap_or(period);
                period == 0 || !layer.is_multiple_of(period)
            }
            Pattern::All => true,
            // Without the list, a layer keeps everything: that is the upper bound.
            Pattern::Listed => false,
        };
        Ok((0..).take(layers).enumerate().map(|(index, layer)| index < trunk && at(layer)).collect())
    }

    fn recurrent(&self, keys: &Keys, key_value: &[u64]) -> Result<Vec<bool>, Error> {
        let none = |layer: &u64| *layer == 0;
        Ok(match self.architecture.cache {
            Cache::Attention | Cache::Nothing => vec![false; key_value.len()],
            Cache::Recurrent | Cache::Hybrid(Recurrent::AllAndAttention) => vec![true; key_value.len()],
            Cache::Hybrid(Recurrent::NoHeads) => key_value.iter().map(none).collect(),
            Cache::Hybrid(Recurrent::NoHeadsNoFeedForward) => {
                let feed_forward = keys.each("feed_forward_length")?.unwrap_or_else(|| vec![0; key_value.len()]);
                key_value.iter().zip(&feed_forward).map(|(heads, width)| *heads == 0 && *width == 0).collect()
            }
            Cache::Hybrid(Recurrent::AllBut(interval)) => {
                let listed = keys.each("attention.recurrent_layers")?;
                let interval =
                    keys.get("full_attention_interval")?.filter(|interval| *interval > 0).unwrap_or(interval);
                let by_interval =
                    || (1..).take(key_value.len()).map(|layer: u64| !layer.is_multiple_of(interval)).collect();
                listed.map_or_else(by_interval, |listed| listed.iter().map(|flag| *flag != 0).collect())
            }
        })
    }

    /// `llama_hparams::n_embd_r` and `n_embd_s`.
    fn state(&self, keys: &Keys, heads: u64, key: u64) -> Result<u64, Error> {
        if matches!(self.architecture.cache, Cache::Attention | Cache::Nothing) {
            return Ok(0);
        }
        let convolution = keys.or_zero("ssm.conv_kernel")?;
        let wkv = keys.or_zero("wkv.head_size")?;
        if wkv > 0 {
            return Ok(self.embedding * (keys.get("token_shift_count")?.unwrap_or(2) + wkv));
        }
        let short = keys.or_zero("shortconv.l_cache")?;
        if short > 0 {
            return Ok(self.embedding * (short - 1));
        }
        let delta = keys.or_zero("kda.head_dim")?;
        if delta > 0 {
            let before = if convolution > 0 { convolution - 1 } else { 3 };
            return Ok((3 * before + delta).saturating_mul(delta * heads));
        }
        let convolved = convolution.saturating_sub(1);
        let (inner, state) = (self.inner, keys.or_zero("ssm.state_size")?);
        if self.architecture.name == "minimax-01" {
            return Ok((key * key).saturating_mul(heads).saturating_add(convolved * inner));
        }
        let groups = 2 * keys.or_zero("ssm.group_count")? * state;
        Ok((inner + groups).saturating_mul(convolved).saturating_add(state * inner))
    }
}

fn window_length(keys: &Keys, window: Option<Window>) -> Result<u64, Error> {
    let Some(window) = window.filter(|window| window.layers.is_none_or(|layers| layers == keys.layers)) else {
        return Ok(0);
    };
    Ok(match keys.header.number(&keys.name("attention.sliding_window"))? {
        None => window.default,
        Some(0) => 0,
        Some(length) => window.fixed.unwrap_or(length),
    })
}

/// Keys and values are kept compressed, as one vector.
fn is_compressed(keys: &Keys) -> Result<bool, Error> {
    Ok(keys.or_zero("attention.key_length_mla")? > 0 && keys.or_zero("attention.value_length_mla")? > 0)
}

fn compressed(keys: &Keys, heads: u64) -> Result<u64, Error> {
    if !is_compressed(keys)? {
        return Ok(0);
    }
    let names = ["key_length", "value_length", "key_length_mla", "value_length_mla"];
    let lengths = names.map(|name| keys.or_zero(&format!("attention.{name}")));
    lengths.into_iter().try_fold(0, |sum, length| Ok(sum + length?)).map(|sum: u64| sum * heads)
}

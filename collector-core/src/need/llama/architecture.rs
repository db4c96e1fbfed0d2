//! How architectures differ in what they keep for each token, as data. From `load_arch_hparams` in llama.cpp's src/models/*.cpp and
//! `llama_model::create_memory` in src/llama-model.cpp (b11434).

/// A row says only what differs from a model whose layers all attend to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    pub name: &'static str,
    pub cache: Cache,
    pub window: Option<Window>,
    pub shared: Shared,
    /// Without an output of its own, the embedding is held twice also where both are on the CPU.
    pub twice: bool,
    /// The estimate is an upper bound: its cache has a form that is not modelled.
    pub bound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    Attention,
    /// Encoders and diffusion models keep nothing.
    Nothing,
    Recurrent,
    /// Some layers attend, the others are recurrent.
    Hybrid(Recurrent),
}

/// Which layers are recurrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recurrent {
    /// Those without heads for keys.
    NoHeads,
    /// Those with neither heads nor a feed-forward part. Others without heads keep nothing.
    NoHeadsNoFeedForward,
    /// All, and they attend as well.
    AllAndAttention,
    /// All but each N-th.
    AllBut(u64),
}

/// Layers that attend to the last tokens only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Tokens if the file does not say; 0: without the key there is no window.
    pub default: u64,
    /// Tokens if the file says anything but 0, where its number is not used.
    pub fixed: Option<u64>,
    pub pattern: Pattern,
    /// Only models with this many layers have one.
    pub layers: Option<usize>,
}

/// Which layers have the window, if the file has no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// All but the last of each N.
    LastFull(u64),
    /// All but the first of each N.
    FirstFull(u64),
    /// All that attend.
    All,
    /// The file must say.
    Listed,
}

/// Layers at the end that use the cache of earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    None,
    /// All from this layer on.
    From(usize),
    /// As many as the key `attention.shared_kv_layers` says.
    Key,
}

const fn plain(name: &'static str) -> Architecture {
    Architecture { name, cache: Cache::Attention, window: None, shared: Shared::None, twice: false, bound: false }
}

const fn keeps(name: &'static str, cache: Cache) -> Architecture {
    Architecture { cache, ..plain(name) }
}

const fn hybrid(name: &'static str, recurrent: Recurrent) -> Architecture {
    keeps(name, Cache::Hybrid(recurrent))
}

const fn window(name: &'static str, default: u64, pattern: Pattern) -> Architecture {
    let window = Window { default, fixed: None, pattern, layers: None };
    Architecture { window: Some(window), ..plain(name) }
}

const fn fixed(name: &'static str, default: u64, fixed: u64, pattern: Pattern) -> Architecture {
    let window = Window { default, fixed: Some(fixed), pattern, layers: None };
    Architecture { window: Some(window), ..plain(name) }
}

const fn bound(name: &'static str) -> Architecture {
    Architecture { bound: true, ..plain(name) }
}

use Cache::{Nothing, Recurrent as State};
use Pattern::{All, FirstFull, LastFull, Listed};
use Recurrent::{AllAndAttention, AllBut, NoHeads, NoHeadsNoFeedForward};

const DIFFERENT: &[Architecture] = &[
    window("gemma2", 4096, LastFull(2)),
    window("gemma3", 0, LastFull(6)),
    Architecture { shared: Shared::From(20), twice: true, ..window("gemma3n", 0, LastFull(5)) },
    Architecture { shared: Shared::Key, twice: true, ..window("gemma4", 0, Listed) },
    window("gpt-oss", 0, LastFull(2)),
    window("cohere2", 0, LastFull(4)),
    window("cohere2moe", 0, FirstFull(4)),
    Architecture {
        window: Some(Window { default: 4096, fixed: None, pattern: LastFull(4), layers: Some(64) }),
        ..plain("exaone4")
    },
    window("exaone-moe", 128, LastFull(4)),
    fixed("llama4", 8192, 8192, LastFull(4)),
    window("olmo2", 0, LastFull(4)),
    window("afmoe", 0, LastFull(4)),
    window("plamo3", 0, LastFull(8)),
    window("mellum", 0, LastFull(4)),
    window("muse-glimmer", 0, LastFull(4)),
    window("laguna", 0, FirstFull(4)),
    fixed("smallthinker", 0, 4096, FirstFull(4)),
    window("granite_swa", 0, Listed),
    window("maple", 0, Listed),
    window("mimo2", 0, Listed),
    window("spark2_5", 0, Listed),
    window("step35", 0, Listed),
    keeps("bert", Nothing),
    keeps("modern-bert", Nothing),
    keeps("nomic-bert", Nothing),
    keeps("nomic-bert-moe", Nothing),
    keeps("neo-bert", Nothing),
    keeps("jina-bert-v2", Nothing),
    keeps("jina-bert-v3", Nothing),
    keeps("eurobert", Nothing),
    keeps("gemma-embedding", Nothing),
    keeps("dream", Nothing),
    keeps("llada", Nothing),
    keeps("llada-moe", Nothing),
    keeps("rnd1", Nothing),
    keeps("mamba", State),
    keeps("mamba2", State),
    keeps("rwkv6", State),
    keeps("rwkv6qwen2", State),
    keeps("rwkv7", State),
    keeps("arwkv7", State),
    hybrid("jamba", NoHeads),
    hybrid("falcon-h1", AllAndAttention),
    hybrid("plamo2", NoHeads),
    hybrid("granitehybrid", NoHeads),
    Architecture { window: window("", 0, All).window, ..hybrid("lfm2", NoHeads) },
    hybrid("lfm2moe", NoHeads),
    hybrid("nemotron_h", NoHeadsNoFeedForward),
    hybrid("nemotron_h_moe", NoHeadsNoFeedForward),
    hybrid("qwen3next", AllBut(4)),
    hybrid("qwen35", AllBut(4)),
    hybrid("qwen35moe", AllBut(4)),
    hybrid("minimax-01", AllBut(8)),
    hybrid("kimi-linear", NoHeads),
    hybrid("bailingmoe3", NoHeads),
    Architecture { bound: true, ..hybrid("kimi-k3", NoHeads) },
    bound("deepseek4"),
    bound("dots3note"),
    bound("glm5-next"),
    bound("glm-dsa"),
    bound("hy_v4"),
    bound("minimax-m3"),
    bound("qwen4exp"),
    bound("t5"),
];

/// Architectures whose layers all attend to everything, also those with compressed keys (their keys say so) and an indexer.
const PLAIN: &[&str] = &[
    "llama",
    "deci",
    "falcon",
    "grok",
    "gpt2",
    "gptj",
    "gptneox",
    "mpt",
    "baichuan",
    "starcoder",
    "refact",
    "bloom",
    "stablelm",
    "qwen",
    "qwen2",
    "qwen2moe",
    "qwen2vl",
    "qwen3",
    "qwen3moe",
    "qwen3vl",
    "qwen3vlmoe",
    "phi2",
    "phi3",
    "phimoe",
    "plamo",
    "codeshell",
    "orion",
    "internlm2",
    "minicpm",
    "minicpm3",
    "gemma",
    "starcoder2",
    "xverse",
    "command-r",
    "dbrx",
    "olmo",
    "olmoe",
    "openelm",
    "arctic",
    "deepseek",
    "deepseek2",
    "deepseek2-ocr",
    "deepseek32",
    "chatglm",
    "glm4",
    "glm4moe",
    "bitnet",
    "jais",
    "jais2",
    "nemotron",
    "exaone",
    "granite",
    "granitemoe",
    "chameleon",
    "plm",
    "bailingmoe",
    "bailingmoe2",
    "dots1",
    "arcee",
    "ernie4_5",
    "ernie4_5-moe",
    "hunyuan-moe",
    "hunyuan-dense",
    "hunyuan_vl",
    "hy_v3",
    "smollm3",
    "seed_oss",
    "grovemoe",
    "apertus",
    "minimax-m2",
    "cogvlm",
    "pangu-embedded",
    "mistral3",
    "mistral4",
    "paddleocr",
    "maincoder",
];

impl Architecture {
    /// One that is not known gets a bound: all layers keep everything.
    pub fn of(name: &str) -> Architecture {
        let different = DIFFERENT.iter().find(|known| known.name == name).copied();
        let plain = || PLAIN.iter().find(|known| **known == name).map(|name| plain(name));
        different.or_else(plain).unwrap_or_else(|| bound("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_unknown_ones_are_bounds() {
        let mut names: Vec<_> = DIFFERENT.iter().map(|row| row.name).chain(PLAIN.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(Architecture::of("llama-of-tomorrow").bound);
        assert!(!Architecture::of("llama").bound);
        assert_eq!(Architecture::of("phi3").window, None);
    }
}

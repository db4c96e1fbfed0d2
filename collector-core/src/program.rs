//! Programs that serve models and are started with flags or variables that can be advised: Ollama, llama.cpp, vLLM, SGLang. Knows the names
//! of these, and not which values are wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Flags that a command line gives, by their long names; without a value for one that has none.
pub type Flags = BTreeMap<Arc<str>, Arc<str>>;

/// A program whose flags are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Variables of `ollama serve`. What begins with `LLAMA_ARG_` it hands on to the servers that it starts.
    Ollama,
    LlamaCpp,
    Vllm,
    Sglang,
}

/// Names that exist, so that none is made up: llama.cpp b11434 (of older versions `--mlock` and `--no-mmap`, in place of `--load-mode`), vLLM
/// 0.33, SGLang 0.5.23, Ollama 0.33.
const OLLAMA: &[&str] = &[
    "OLLAMA_CONTEXT_LENGTH",
    "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_GPU_OVERHEAD",
    "OLLAMA_KEEP_ALIVE",
    "OLLAMA_KV_CACHE_TYPE",
    "OLLAMA_MAX_LOADED_MODELS",
    "OLLAMA_MAX_QUEUE",
    "OLLAMA_NUM_PARALLEL",
    "LLAMA_ARG_CACHE_RAM",
];
const LLAMA_CPP: &[&str] = &[
    "--batch-size",
    "--cache-ram",
    "--cache-type-k",
    "--cache-type-v",
    "--ctx-checkpoints",
    "--ctx-size",
    "--fit-target",
    "--gpu-layers",
    "--load-mode",
    "--mlock",
    "--models-max",
    "--n-cpu-moe",
    "--no-mmap",
    "--numa",
    "--parallel",
    "--sleep-idle-seconds",
    "--threads",
    "--threads-batch",
    "--ubatch-size",
];
const VLLM: &[&str] = &[
    "--cpu-offload-gb",
    "--enable-prefix-caching",
    "--enable-sleep-mode",
    "--gpu-memory-utilization",
    "--kv-cache-dtype",
    "--kv-cache-memory-bytes",
    "--kv-offloading-backend",
    "--kv-offloading-size",
    "--max-model-len",
    "--max-num-batched-tokens",
    "--max-num-seqs",
];
const SGLANG: &[&str] = &[
    "--chunked-prefill-size",
    "--context-length",
    "--cpu-offload-gb",
    "--enable-hierarchical-cache",
    "--hicache-ratio",
    "--hicache-size",
    "--kv-cache-dtype",
    "--max-running-requests",
    "--mem-fraction-static",
];

/// Flags without a value.
const SWITCHES: &[&str] =
    &["--enable-hierarchical-cache", "--enable-prefix-caching", "--enable-sleep-mode", "--mlock", "--no-mmap"];
/// Other spellings of flags of llama.cpp.
const ALIASES: &[(&str, &str)] = &[
    ("--batch-size", "-b"),
    ("--cache-ram", "-cram"),
    ("--cache-type-k", "-ctk"),
    ("--cache-type-v", "-ctv"),
    ("--ctx-checkpoints", "--swa-checkpoints"),
    ("--ctx-checkpoints", "-ctxcp"),
    ("--ctx-size", "-c"),
    ("--fit-target", "-fitt"),
    ("--gpu-layers", "--n-gpu-layers"),
    ("--gpu-layers", "-ngl"),
    ("--load-mode", "-lm"),
    ("--n-cpu-moe", "-ncmoe"),
    ("--parallel", "-np"),
    ("--threads", "-t"),
    ("--threads-batch", "-tb"),
    ("--ubatch-size", "-ub"),
];

impl Program {
    pub const ALL: [Program; 4] = [Program::Ollama, Program::LlamaCpp, Program::Vllm, Program::Sglang];

    /// The names of its settings that can be advised.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Program::Ollama => OLLAMA,
            Program::LlamaCpp => LLAMA_CPP,
            Program::Vllm => VLLM,
            Program::Sglang => SGLANG,
        }
    }

    /// All spellings of one of these names.
    pub fn spellings(self, name: &'static str) -> impl Iterator<Item = &'static str> {
        let aliases = ALIASES.iter().filter(move |(of, _)| self == Program::LlamaCpp && *of == name);
        std::iter::once(name).chain(aliases.map(|(_, alias)| *alias))
    }
}

/// Whether a flag has no value.
pub fn is_switch(name: &str) -> bool {
    SWITCHES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_is_one_word() {
        for program in Program::ALL {
            let names = program.names();
            let valid = |name: &&str| match program {
                Program::Ollama => name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                _ => name.starts_with("--") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            };
            assert!(names.iter().all(valid), "{program:?}");
        }
    }

    #[test]
    fn what_has_another_spelling_or_no_value_is_a_name() {
        let of = |program: Program, name: &str| program.names().contains(&name);
        assert!(ALIASES.iter().all(|(name, _)| of(Program::LlamaCpp, name)));
        assert!(SWITCHES.iter().all(|name| Program::ALL.into_iter().any(|program| of(program, name))));
        let spellings = |program: Program| program.spellings("--ctx-size").collect::<Vec<_>>();
        assert_eq!(
            (spellings(Program::LlamaCpp), spellings(Program::Vllm)),
            (vec!["--ctx-size", "-c"], vec!["--ctx-size"])
        );
    }
}

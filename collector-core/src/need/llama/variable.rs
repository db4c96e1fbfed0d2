//! What llama-server reads from its environment: flags, which those of the command line replace. Names of `set_env` in llama.cpp's
//! common/arg.cpp (b11434). Reads no environment itself.

const PREFIX: &str = "LLAMA_ARG_";

/// Variables that stand for a flag with a value.
const VALUES: &[(&str, &str)] = &[
    ("MODEL", "--model"),
    ("CTX_SIZE", "--ctx-size"),
    ("N_PARALLEL", "--parallel"),
    ("BATCH", "--batch-size"),
    ("UBATCH", "--ubatch-size"),
    ("N_GPU_LAYERS", "--gpu-layers"),
    ("CACHE_TYPE_K", "--cache-type-k"),
    ("CACHE_TYPE_V", "--cache-type-v"),
    ("FLASH_ATTN", "--flash-attn"),
    ("CACHE_RAM", "--cache-ram"),
    ("N_CPU_MOE", "--n-cpu-moe"),
    ("TENSOR_SPLIT", "--tensor-split"),
    ("SPLIT_MODE", "--split-mode"),
    ("MAIN_GPU", "--main-gpu"),
    ("MMPROJ", "--mmproj"),
    ("LOAD_MODE", "--load-mode"),
    ("SPEC_DRAFT_MODEL", "--model-draft"),
    ("N_GPU_LAYERS_DRAFT", "--gpu-layers-draft"),
];

/// Variables that stand for a flag without one: where they are true, and where they are false. MMAP, MLOCK and DIO are those of versions
/// before LOAD_MODE.
const SWITCHES: &[(&str, Option<&str>, Option<&str>)] = &[
    ("MMAP", Some("--mmap"), Some("--no-mmap")),
    ("MLOCK", Some("--mlock"), None),
    ("REPACK", Some("--repack"), Some("--no-repack")),
    ("KV_UNIFIED", Some("--kv-unified"), Some("--no-kv-unified")),
    ("KV_OFFLOAD", Some("--kv-offload"), Some("--no-kv-offload")),
    ("SWA_FULL", Some("--swa-full"), None),
    ("CPU_MOE", Some("--cpu-moe"), None),
    ("MMPROJ_OFFLOAD", None, Some("--no-mmproj-offload")),
    ("DIO", Some("--direct-io"), None),
];

/// Variables that change nothing about memory.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "API_KEY_FILE", "TAGS", "REUSE_PORT", "LOG_JSONL", "TEMPERATURE", "TOP_K", "TOP_P", "MIN_P", "FREQUENCY_PENALTY", "PRESENCE_PENALTY",
    "REPEAT_PENALTY", "CORS_ORIGINS", "CORS_METHODS", "CORS_HEADERS", "CORS_CREDENTIALS", "HOST", "PORT", "ALIAS", "THREADS", "THREADS_HTTP", "TIMEOUT", "API_PREFIX", "STATIC_PATH", "N_PREDICT", "JINJA",
    "CHAT_TEMPLATE", "CHAT_TEMPLATE_FILE", "WEBUI", "UI", "ENDPOINT_METRICS", "ENDPOINT_PROPS", "ENDPOINT_SLOTS", "NO_ENDPOINT_SLOTS",
    "CONT_BATCHING", "NO_CONT_BATCHING", "WARMUP", "OFFLINE", "LOG_FILE", "LOG_COLORS", "LOG_VERBOSITY", "LOG_PREFIX",
    "LOG_TIMESTAMPS", "SSL_KEY_FILE", "SSL_CERT_FILE", "REASONING", "THINK", "THINK_BUDGET", "DEFRAG_THOLD", "PRIO",
];

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// To put before the flags of the command line.
    pub flags: Vec<String>,
    /// `LLAMA_ARG_CTX_SIZE=4096`: those that set a flag.
    pub used: Vec<String>,
    /// Those that could matter, and are not taken into account.
    pub not_considered: Vec<String>,
}

/// Of all variables; others than llama-server's are left alone.
pub fn read<'a>(variables: impl Iterator<Item = (&'a str, &'a str)>) -> Read {
    let mut read = Read::default();
    for (name, value) in variables {
        let Some(short) = name.strip_prefix(PREFIX) else { continue };
        let (plain, denied) = match short.strip_prefix("NO_") {
            // Whatever its value is (`parse_bool_arg`).
            Some(plain) if SWITCHES.iter().any(|(known, ..)| *known == plain) => (plain, true),
            _ => (short, false),
        };
        let value_of = VALUES.iter().find(|(known, _)| *known == plain);
        let switch = SWITCHES.iter().find(|(known, ..)| *known == plain);
        let written = || format!("{name}={value}");
        match (value_of, switch) {
            (Some((_, flag)), _) => {
                read.flags.extend([(*flag).to_owned(), value.to_owned()]);
                read.used.push(written());
            }
            (None, Some((_, on, off))) => {
                let flag = match (denied, truth(value)) {
                    (true, _) | (false, Some(false)) => off,
                    (false, Some(true)) => on,
                    (false, None) => {
                        read.not_considered.push(written());
                        continue;
                    }
                };
                read.flags.extend(flag.map(str::to_owned));
                read.used.push(written());
            }
            (None, None) if HARMLESS.contains(&short) => {}
            (None, None) => read.not_considered.push(written()),
        }
    }
    read
}

/// `is_truthy` and `is_falsey`.
fn truth(value: &str) -> Option<bool> {
    match value {
        "on" | "enabled" | "true" | "1" => Some(true),
        "off" | "disabled" | "false" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::llama::setting::{Load, Settings};

    fn of(variables: &[(&str, &str)]) -> Read {
        read(variables.iter().copied())
    }

    #[test]
    fn variables_are_flags_that_the_command_line_replaces() {
        let said = of(&[
            ("LLAMA_ARG_CTX_SIZE", "8192"),
            ("LLAMA_ARG_CACHE_RAM", "0"),
            ("LLAMA_ARG_NO_MMAP", "anything"),
            ("LLAMA_ARG_KV_OFFLOAD", "off"),
            ("LLAMA_ARG_PORT", "8080"),
            ("CTX_SIZE", "1"),
            ("HOME", "/root"),
        ]);
        let line: Vec<String> = said.flags.iter().cloned().chain(["-c".to_owned(), "4096".to_owned()]).collect();
        let settings = Settings::of(&line).unwrap();
        assert_eq!((settings.context, settings.prompt_cache), (Some(4096), Some(0)));
        assert_eq!((settings.load, settings.cache_on_host), (Load::Read, true));
        assert!(settings.not_considered.is_empty() && said.not_considered.is_empty(), "{said:?}");
        assert_eq!(said.used.len(), 4, "{said:?}");
    }

    #[test]
    fn what_is_not_known_is_named() {
        let said = of(&[("LLAMA_ARG_BRAND_NEW", "7"), ("LLAMA_ARG_MLOCK", "perhaps"), ("LLAMA_ARG_MLOCK", "0")]);
        assert_eq!(said.not_considered, ["LLAMA_ARG_BRAND_NEW=7", "LLAMA_ARG_MLOCK=perhaps"]);
        assert!(said.flags.is_empty(), "{said:?}");
    }

    #[test]
    fn every_variable_stands_for_a_flag_that_is_known() {
        let flags = VALUES.iter().map(|(_, flag)| *flag);
        let switches = SWITCHES.iter().flat_map(|(_, on, off)| [*on, *off]).flatten();
        for flag in flags.chain(switches) {
            let value = if flag.ends_with("-mode") { "none" } else { "1" };
            // A value that does not fit is an error of this flag, not an unknown one.
            if let Ok(settings) = Settings::of(&[flag, value]) {
                let rest: Vec<_> = settings.not_considered.iter().filter(|rest| rest.starts_with(flag)).collect();
                assert!(rest.is_empty(), "{flag}: {rest:?}");
            }
        }
    }
}

//! What SGLang's command line says about memory. Names of sglang/srt/arg_groups/fields (0.5.23, commit 00ac7105).

use super::cache::Kind;
use super::spread::Spread;
use crate::need::flag::{Error, Flags, Set, Switch, element, gibibytes, number, parallel, positive, tokens};
use crate::need::share;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub model: Option<String>,
    pub spread: Spread,
    /// Millionths of each GPU for weights and cache; `None`: from the size of the GPU.
    pub fraction: Option<u32>,
    pub context: Option<u64>,
    /// Tokens of prompts that are computed at a time; 0: prompts are not cut.
    pub chunk: Option<u64>,
    /// The same where prompts are not cut.
    pub prompt: u64,
    /// Groups of GPUs within one copy that each have their own requests: attention is not divided among them.
    pub attention: u64,
    /// The largest batch that has a CUDA graph.
    pub graphs: Option<u64>,
    pub without_graphs: bool,
    pub without_prompt_graphs: bool,
    pub cache: Kind,
    /// A second level of the cache in host memory.
    pub host_cache: bool,
    /// Thousandths of the cache on the GPU.
    pub host_ratio: u64,
    /// Bytes for each GPU, in place of the ratio.
    pub host_bytes: Option<u64>,
    pub not_considered: Vec<String>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: None,
            spread: Spread::default(),
            fraction: None,
            context: None,
            chunk: None,
            prompt: 16384,
            attention: 1,
            graphs: None,
            without_graphs: false,
            without_prompt_graphs: false,
            cache: Kind::Model,
            host_cache: false,
            host_ratio: 2000,
            host_bytes: None,
            not_considered: Vec::new(),
        }
    }
}

#[rustfmt::skip]
const VALUES: &[(&[&str], Set<Settings>)] = &[
    (&["--model-path", "--model"], |settings, value| { settings.model = Some(value.to_owned()); Ok(()) }),
    (&["--tensor-parallel-size", "--tp-size", "--tp"], |settings, value| { settings.spread.tensor = parallel(value)?; Ok(()) }),
    (&["--pipeline-parallel-size", "--pp-size", "--pp"], |settings, value| { settings.spread.pipeline = parallel(value)?; Ok(()) }),
    (&["--data-parallel-size", "--dp-size", "--dp"], |settings, value| { settings.spread.data = parallel(value)?; Ok(()) }),
    (&["--mem-fraction-static"], |settings, value| { settings.fraction = Some(share::parse(value)?); Ok(()) }),
    (&["--context-length"], |settings, value| { settings.context = Some(tokens(value)?); Ok(()) }),
    (&["--nnodes"], |settings, value| { settings.spread.hosts = parallel(value)?; Ok(()) }),
    (&["--chunked-prefill-size"], |settings, value| { settings.chunk = Some(number(value)?.unwrap_or(0)); Ok(()) }),
    (&["--max-prefill-tokens"], |settings, value| { settings.prompt = positive(value)?; Ok(()) }),
    (&["--cuda-graph-max-bs", "--cuda-graph-max-bs-decode"], |settings, value| { settings.graphs = Some(positive(value)?); Ok(()) }),
    (&["--kv-cache-dtype"], |settings, value| { settings.cache = Kind::of(value).ok_or("auto, bfloat16, fp8_e4m3, fp8_e5m2 or fp4_e2m1")?; Ok(()) }),
    (&["--dtype"], |settings, value| { settings.spread.element = element(value)?; Ok(()) }),
    (&["--quantization"], |settings, value| { settings.spread.quantise = Some(value.to_owned()); Ok(()) }),
    (&["--cpu-offload-gb"], |settings, value| { settings.spread.offload = gibibytes(value)?; Ok(()) }),
    (&["--hicache-ratio"], |settings, value| { settings.host_ratio = crate::amount::parse_thousandths(value).ok().filter(|ratio| *ratio <= 1_000_000).ok_or("a number, such as 2.0")?; Ok(()) }),
    // Of 1e9 bytes; 0 leaves it to the ratio.
    (&["--hicache-size"], |settings, value| { settings.host_bytes = Some(positive(value).or(if value == "0" { Ok(0) } else { Err("a number of GB") })?.saturating_mul(1_000_000_000)).filter(|bytes| *bytes > 0); Ok(()) }),
];

#[rustfmt::skip]
const SWITCHES: &[(&[&str], Switch<Settings>)] = &[
    (&["--disable-cuda-graph"], |settings| { settings.without_graphs = true; settings.without_prompt_graphs = true; }),
    (&["--disable-decode-cuda-graph"], |settings| settings.without_graphs = true),
    (&["--disable-prefill-cuda-graph"], |settings| settings.without_prompt_graphs = true),
    // How many groups there are is said by --dp.
    (&["--enable-dp-attention"], |settings| settings.attention = 0),
    (&["--enable-hierarchical-cache"], |settings| settings.host_cache = true),
];

#[rustfmt::skip]
const HARMLESS: &[(&str, bool)] = &[
    ("--host", true), ("--port", true), ("--api-key", true), ("--served-model-name", true), ("--tokenizer-path", true), ("--trust-remote-code", false),
    ("--random-seed", true), ("--chat-template", true), ("--log-level", true), ("--enable-metrics", false), ("--tool-call-parser", true),
    ("--reasoning-parser", true), ("--revision", true), ("--download-dir", true), ("--disable-radix-cache", false), ("--skip-server-warmup", false),
    ("--node-rank", true), ("--dist-init-addr", true), ("--nccl-init-addr", true), ("--nccl-port", true), ("--dist-timeout", true),
    ("--attention-backend", true), ("--sampling-backend", true), ("--schedule-policy", true), ("--log-requests", false), ("--watchdog-timeout", true),
];

const FLAGS: Flags<Settings> =
    Flags { values: VALUES, switches: SWITCHES, harmless: HARMLESS, positional: |_, _| false, underscores: false };

impl Settings {
    /// Of the arguments after the module's name, or after `sglang serve`.
    pub fn of<T: AsRef<str>>(arguments: &[T]) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        settings.not_considered = FLAGS.read(arguments, &mut settings)?;
        if settings.attention == 0 {
            settings.attention = std::mem::replace(&mut settings.spread.data, 1).min(settings.spread.tensor);
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_read() {
        let of = |line: &str| Settings::of(&line.split_whitespace().collect::<Vec<_>>());
        let settings =
            of("--model-path m --mem-fraction-static 0.8 --tp 4 --enable-hierarchical-cache --hicache-size 64 \
            --hicache-ratio 1.5 --enable-metrics --speculative-algorithm EAGLE")
            .unwrap();
        let expected = Settings {
            model: Some("m".to_owned()),
            spread: Spread { tensor: 4, ..Spread::default() },
            fraction: Some(800_000),
            host_cache: true,
            host_ratio: 1500,
            host_bytes: Some(64_000_000_000),
            not_considered: vec!["--speculative-algorithm EAGLE".to_owned()],
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        let whole = of("--hicache-size 0 --chunked-prefill-size -1").unwrap();
        assert_eq!((whole.host_bytes, whole.chunk), (None, Some(0)));
        let groups = of("--tp 8 --enable-dp-attention --dp 4 --nnodes 2 --node-rank 1").unwrap();
        assert_eq!(
            (groups.attention, groups.spread.gpus(), groups.spread.here()),
            (4, 8, 4),
            "within the eight, not beside"
        );
        assert_eq!(of("--tp 2 --dp 4").unwrap().spread.gpus(), 8);
        assert!(of("--hicache-size -3").is_err() && of("--hicache-ratio x").is_err());
    }
}

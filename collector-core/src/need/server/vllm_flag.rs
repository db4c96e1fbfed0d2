//! What vLLM's command line says about memory. Names and defaults of vllm/engine/arg_utils.py and vllm/config (0.33).

use super::cache::Kind;
use super::part::GIB;
use super::spread::Spread;
use crate::need::flag::{
    Error, Flags, NUMBER, Set, Switch, bytes, element, gibibytes, number, parallel, positive, tokens,
};
use crate::need::share;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub model: Option<String>,
    pub spread: Spread,
    /// Millionths of each GPU.
    pub utilisation: u32,
    /// Tokens; `None`: what the model was made for.
    pub context: Option<u64>,
    /// The context is as long as there is room for.
    pub fit_context: bool,
    /// Tokens that are computed at a time.
    pub batch: Option<u64>,
    pub sequences: Option<u64>,
    pub cache: Kind,
    /// Bytes of the cache on each GPU, in place of a share.
    pub cache_bytes: Option<u64>,
    /// Layers with a window keep all tokens.
    pub whole_window: bool,
    /// Without CUDA graphs.
    pub eager: bool,
    /// Bytes of the cache in host memory, on all GPUs together.
    pub offload_cache: u64,
    /// Bytes of processed images and sound that each process keeps.
    pub media_cache: u64,
    pub front_ends: u64,
    /// It can be told to sleep.
    pub sleeps: bool,
    /// Each file is read into anonymous memory.
    pub read_eagerly: bool,
    /// Tokens are guessed by a smaller model.
    pub draft: Option<Draft>,
    /// Arguments that could matter, and are not taken into account.
    pub not_considered: Vec<String>,
}

/// A model that guesses tokens (`SpeculativeConfig` in vllm/config/speculative.py).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub model: String,
    /// GPUs that share it; `None`: as many as share the model.
    pub tensor: Option<u64>,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: None,
            spread: Spread::default(),
            utilisation: 920_000,
            context: None,
            fit_context: false,
            batch: None,
            sequences: None,
            cache: Kind::Model,
            cache_bytes: None,
            whole_window: false,
            eager: false,
            offload_cache: 0,
            media_cache: 4 * GIB,
            front_ends: 1,
            sleeps: false,
            read_eagerly: false,
            draft: None,
            not_considered: Vec::new(),
        }
    }
}

#[rustfmt::skip]
const VALUES: &[(&[&str], Set<Settings>)] = &[
    (&["--model"], |settings, value| { settings.model = Some(value.to_owned()); Ok(()) }),
    (&["--tensor-parallel-size", "-tp"], |settings, value| { settings.spread.tensor = parallel(value)?; Ok(()) }),
    (&["--pipeline-parallel-size", "-pp"], |settings, value| { settings.spread.pipeline = parallel(value)?; Ok(()) }),
    (&["--data-parallel-size", "-dp"], |settings, value| { settings.spread.data = parallel(value)?; Ok(()) }),
    (&["--data-parallel-size-local", "-dpl"], |settings, value| { settings.spread.local = Some(number(value)?.ok_or(NUMBER)?); Ok(()) }),
    // Each copy is started apart.
    (&["--data-parallel-rank", "-dpn"], |settings, value| { number(value)?.ok_or(NUMBER)?; settings.spread.local = Some(1); Ok(()) }),
    (&["--nnodes"], |settings, value| { settings.spread.hosts = parallel(value)?; Ok(()) }),
    (&["--distributed-executor-backend", "--data-parallel-backend"], |settings, value| { settings.spread.anywhere |= value == "ray"; Ok(()) }),
    (&["--gpu-memory-utilization"], |settings, value| { settings.utilisation = share::parse(value)?; Ok(()) }),
    (&["--max-model-len"], |settings, value| {
        settings.fit_context = value == "auto" || value == "-1";
        settings.context = if settings.fit_context { None } else { Some(tokens(value)?) };
        Ok(())
    }),
    (&["--max-num-batched-tokens"], |settings, value| { settings.batch = Some(tokens(value)?); Ok(()) }),
    (&["--max-num-seqs"], |settings, value| { settings.sequences = Some(positive(value)?); Ok(()) }),
    (&["--kv-cache-dtype"], |settings, value| { settings.cache = Kind::of(value).ok_or("auto, bfloat16, fp8, fp8_e4m3, fp8_e5m2, int8_per_token_head, nvfp4 or fp8_ds_mla")?; Ok(()) }),
    (&["--kv-cache-memory-bytes", "--kv-cache-memory"], |settings, value| { settings.cache_bytes = Some(bytes(value)?); Ok(()) }),
    (&["--dtype"], |settings, value| { settings.spread.element = element(value)?; Ok(()) }),
    (&["--quantization", "-q"], |settings, value| { settings.spread.quantise = Some(value.to_owned()); Ok(()) }),
    (&["--cpu-offload-gb"], |settings, value| { settings.spread.offload = gibibytes(value)?; Ok(()) }),
    (&["--kv-offloading-size"], |settings, value| { settings.offload_cache = gibibytes(value)?; Ok(()) }),
    (&["--mm-processor-cache-gb"], |settings, value| { settings.media_cache = gibibytes(value)?; Ok(()) }),
    (&["--api-server-count", "-asc"], |settings, value| { settings.front_ends = number(value)?.ok_or(NUMBER)?; Ok(()) }),
    (&["--speculative-config", "-sc"], |settings, value| {
        let config: Speculative = serde_json::from_str(value).map_err(|_| r#"JSON, such as {"model": "org/draft", "num_speculative_tokens": 3}"#)?;
        settings.draft = config.draft()?;
        Ok(())
    }),
    (&["--safetensors-load-strategy"], |settings, value| { settings.read_eagerly = value == "eager"; Ok(()) }),
];

/// What of `--speculative-config` says which weights there are.
#[derive(serde::Deserialize)]
struct Speculative {
    model: Option<String>,
    method: Option<String>,
    draft_tensor_parallel_size: Option<u64>,
}

impl Speculative {
    fn draft(self) -> Result<Option<Draft>, &'static str> {
        // These look tokens up, and layers of the model itself are in its files.
        let weightless = ["ngram", "ngram_gpu", "[ngram]", "suffix", "mtp"];
        let Some(model) = self.model.filter(|_| !self.method.is_some_and(|method| weightless.contains(&&*method)))
        else {
            return Ok(None);
        };
        let tensor = self.draft_tensor_parallel_size;
        if tensor.is_some_and(|tensor| !(1..=1024).contains(&tensor)) {
            return Err("draft_tensor_parallel_size from 1 to 1024");
        }
        Ok(Some(Draft { model, tensor }))
    }
}

#[rustfmt::skip]
const SWITCHES: &[(&[&str], Switch<Settings>)] = &[
    (&["--enforce-eager"], |settings| settings.eager = true),
    (&["--no-enforce-eager"], |settings| settings.eager = false),
    (&["--disable-hybrid-kv-cache-manager"], |settings| settings.whole_window = true),
    (&["--enable-sleep-mode"], |settings| settings.sleeps = true),
];

#[rustfmt::skip]
const HARMLESS: &[(&str, bool)] = &[
    ("--host", true), ("--port", true), ("--api-key", true), ("--served-model-name", true), ("--tokenizer", true), ("--tokenizer-mode", true),
    ("--trust-remote-code", false), ("--no-trust-remote-code", false), ("--seed", true), ("--chat-template", true), ("--uvicorn-log-level", true),
    ("--enable-auto-tool-choice", false), ("--tool-call-parser", true), ("--reasoning-parser", true), ("--generation-config", true),
    ("--disable-log-stats", false), ("--disable-log-requests", false), ("--enable-log-requests", false), ("--no-enable-log-requests", false),
    ("--enable-prefix-caching", false), ("--no-enable-prefix-caching", false), ("--enable-chunked-prefill", false), ("--revision", true),
    ("--download-dir", true), ("--root-path", true), ("--ssl-keyfile", true), ("--ssl-certfile", true),
    ("--disable-custom-all-reduce", false), ("--response-role", true),
    ("--node-rank", true), ("--master-addr", true), ("--master-port", true), ("--headless", false), ("--data-parallel-address", true), ("-dpa", true),
    ("--data-parallel-rpc-port", true), ("-dpp", true), ("--data-parallel-start-rank", true), ("-dpr", true), ("--data-parallel-hybrid-lb", false),
    ("--enable-server-load-tracking", false), ("--kv-offloading-backend", true),
];

const FLAGS: Flags<Settings> = Flags {
    values: VALUES,
    switches: SWITCHES,
    harmless: HARMLESS,
    positional: |settings, value| settings.model.is_none() && settings.model.replace(value.to_owned()).is_none(),
    underscores: true,
};

impl Settings {
    /// Of the arguments after `vllm serve`, or after the module's name.
    pub fn of<T: AsRef<str>>(arguments: &[T]) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        settings.not_considered = FLAGS.read(arguments, &mut settings)?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Settings, Error> {
        Settings::of(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn a_command_line_is_read() {
        let settings = of("/models/llama --gpu_memory_utilization=0.9 -tp 2 --max-model-len 32K --kv-cache-dtype fp8 \
            --enforce-eager --port 8000 --cpu-offload-gb 1.5 --quantization fp8 --dtype float32 --kv-cache-memory-bytes 8g")
        .unwrap();
        let expected = Settings {
            model: Some("/models/llama".to_owned()),
            spread: Spread {
                tensor: 2,
                element: Some(4),
                quantise: Some("fp8".to_owned()),
                offload: 3 << 29,
                ..Spread::default()
            },
            utilisation: 900_000,
            context: Some(32768),
            cache: Kind::Bytes(1),
            cache_bytes: Some(8_000_000_000),
            eager: true,
            ..Settings::default()
        };
        assert_eq!(settings, expected);
        assert_eq!(of("m --max-model-len auto").unwrap().context, None);
    }

    #[test]
    fn what_is_unknown_is_named() {
        let settings = of("m --speculative-config {} --enable-lora --host h more").unwrap();
        assert_eq!(
            (settings.draft, &settings.not_considered[..]),
            (None, &["--enable-lora".to_owned(), "more".to_owned()][..])
        );
    }

    #[test]
    fn a_model_that_guesses_is_read() {
        let draft = |json: &str| Settings::of(&["m", "-sc", json]).map(|settings| settings.draft);
        let own = |tensor| Some(Draft { model: "org/draft".to_owned(), tensor });
        assert_eq!(draft(r#"{"model":"org/draft","num_speculative_tokens":3}"#), Ok(own(None)));
        assert_eq!(draft(r#"{"model":"org/draft","draft_tensor_parallel_size":1}"#), Ok(own(Some(1))));
        assert_eq!(draft(r#"{"method":"ngram","model":"x"}"#), Ok(None));
        let deep = "[".repeat(100_000);
        for json in ["", "[", "7", r#"{"model":1}"#, r#"{"model":"m","draft_tensor_parallel_size":0}"#, &deep] {
            assert!(draft(json).is_err(), "{json:.40}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let error = |line| of(line).unwrap_err().to_string();
        assert!(error("m --gpu-memory-utilization 1.5").contains("a share above 0 and at most 1"));
        assert!(error("m -tp 0").contains("from 1 to 1024"));
        assert!(error("m --kv-cache-dtype q4").contains("expected auto,"));
        assert!(error("m --cpu-offload-gb -1").contains("a number of GiB"));
        assert_eq!(error("m --max-model-len"), "--max-model-len needs a value");
    }
}

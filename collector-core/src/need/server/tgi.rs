//! What text-generation-inference takes: a share of each GPU, all of it once it has warmed up. Names of launcher/src/main.rs.

use super::cache::{Cache, Kind};
use super::part::Plan;
use super::spread::Spread;
use crate::need::Need;
use crate::need::checkpoint::Checkpoint;
use crate::need::flag::{Error, Flags, Set, element, parallel, tokens};
use crate::need::share::{self, Share};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub model: Option<String>,
    pub spread: Spread,
    /// Millionths of each GPU.
    pub fraction: u32,
    /// Tokens of a request, with those that it makes.
    pub context: Option<u64>,
    /// Tokens of prompts that are computed at a time.
    pub batch: u64,
    pub cache: Kind,
    pub not_considered: Vec<String>,
}

#[rustfmt::skip]
const VALUES: &[(&[&str], Set<Settings>)] = &[
    (&["--model-id"], |settings, value| { settings.model = Some(value.to_owned()); Ok(()) }),
    (&["--num-shard"], |settings, value| { settings.spread.tensor = parallel(value)?; Ok(()) }),
    (&["--cuda-memory-fraction"], |settings, value| { settings.fraction = share::parse(value)?; Ok(()) }),
    (&["--max-total-tokens"], |settings, value| { settings.context = Some(tokens(value)?); Ok(()) }),
    (&["--max-batch-prefill-tokens"], |settings, value| { settings.batch = tokens(value)?; Ok(()) }),
    (&["--kv-cache-dtype"], |settings, value| { settings.cache = Kind::of(value).ok_or("fp8_e4m3fn or fp8_e5m2")?; Ok(()) }),
    (&["--dtype"], |settings, value| { settings.spread.element = element(value)?; Ok(()) }),
    (&["--quantize"], |settings, value| { settings.spread.quantise = Some(if value == "bitsandbytes" { INT8 } else { value }.to_owned()); Ok(()) }),
];

/// TGI's `bitsandbytes` has 8 bits; four are `bitsandbytes-nf4` and `-fp4` (launcher/src/main.rs, `Quantization`).
const INT8: &str = "bitsandbytes-int8";

#[rustfmt::skip]
const HARMLESS: &[(&str, bool)] = &[
    ("--port", true), ("-p", true), ("--hostname", true), ("--revision", true), ("--json-output", false), ("--trust-remote-code", false),
    ("--max-concurrent-requests", true), ("--max-input-tokens", true), ("--max-input-length", true), ("--validation-workers", true),
    ("--max-best-of", true), ("--max-stop-sequences", true), ("--max-top-n-tokens", true), ("--otlp-endpoint", true), ("--prometheus-port", true),
    ("--waiting-served-ratio", true), ("--max-waiting-tokens", true), ("--shard-uds-path", true), ("--master-addr", true), ("--master-port", true),
    ("--huggingface-hub-cache", true), ("--weights-cache-override", true), ("--api-key", true), ("--payload-limit", true), ("--tokenizer-config-path", true),
];

const FLAGS: Flags<Settings> =
    Flags { values: VALUES, switches: &[], harmless: HARMLESS, positional: |_, _| false, underscores: false };

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            model: None,
            spread: Spread::default(),
            fraction: 1_000_000,
            context: None,
            batch: 4096,
            cache: Kind::Model,
            not_considered: Vec::new(),
        }
    }
}

impl Settings {
    /// Of the arguments after `text-generation-launcher`.
    pub fn of<T: AsRef<str>>(arguments: &[T]) -> Result<Settings, Error> {
        let mut settings = Settings::default();
        settings.not_considered = FLAGS.read(arguments, &mut settings)?;
        Ok(settings)
    }
}

/// Sequences that its warm-up decodes at a time: our estimate.
const SEQUENCES: u64 = 128;

/// `gpus`: how many there are, and whether there are no more.
pub fn plan(model: &Checkpoint, settings: &Settings, gpus: (u32, bool)) -> Need {
    let spread = &settings.spread;
    let mut plan = Plan::new(model, spread, &settings.not_considered, gpus);
    plan.weights();
    plan.activations(settings.batch, SEQUENCES);
    plan.processes();
    let cache = Cache {
        kind: settings.cache,
        element: spread.computed(),
        tensor: spread.tensor,
        pipeline: 1,
        block: 1,
        batch: settings.batch,
        whole_window: true,
    };
    match settings.context {
        Some(tokens) => {
            plan.each(&format!("KV cache, one request of {tokens} tokens"), (cache.request(&model.config, tokens), 0));
        }
        None => plan.need.assume("--max-total-tokens is not set: TGI makes requests as long as there is room for"),
    }
    for gpu in plan.gpus() {
        let what = "KV cache, the rest of TGI's share".to_owned();
        plan.need.shares.push(Share { what, gpu, millionths: settings.fraction, beside: 0, beside_error: 0 });
    }
    plan.need.assume(
        "TGI takes its whole share of each GPU once it has warmed up (--cuda-memory-fraction); of it a tenth is left free for batches unless TGI_WIGGLE_ROOM says otherwise",
    );
    if spread.tensor == 1 {
        plan.need.assume("--num-shard is not set: one GPU, unless CUDA_VISIBLE_DEVICES names more");
    }
    plan.need
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::need::checkpoint::test::llama_8b;
    use crate::need::server::part::GIB;
    use crate::need::server::test::sum;

    fn of(line: &str) -> Settings {
        Settings::of(&line.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn it_takes_its_share() {
        let settings = of(
            "--model-id m --num-shard 2 --cuda-memory-fraction 0.75 --max-total-tokens 8192 --port 80 --lora-adapters x",
        );
        assert_eq!(
            (settings.model.as_deref(), &settings.not_considered[..]),
            (Some("m"), &["--lora-adapters x".to_owned()][..])
        );
        let mut need = plan(&llama_8b(), &settings, (2, true));
        need.resolve(&BTreeMap::from([(0, 80 * GIB), (1, 80 * GIB)]));
        assert_eq!(need.total().vram, BTreeMap::from([(0, 60 * GIB), (1, 60 * GIB)]));
        let mut small = plan(&llama_8b(), &of("--model-id m"), (1, true));
        small.resolve(&BTreeMap::from([(0, 8 * GIB)]));
        assert_eq!(small.refused.len(), 1);
    }

    #[test]
    fn bitsandbytes_has_eight_bits_unless_it_says_four() {
        let weights = |line: &str| sum(&plan(&llama_8b(), &of(line), (1, true)), "weights");
        let (whole, eight) = (weights("--model-id m"), weights("--model-id m --quantize bitsandbytes"));
        let four = weights("--model-id m --quantize bitsandbytes-nf4");
        let kept = llama_8b().weights.embeddings * 2;
        assert_eq!((whole - kept) / 2, eight - kept, "a half, but for the embeddings");
        assert!(four < eight * 3 / 4, "{four} {eight}");
    }
}

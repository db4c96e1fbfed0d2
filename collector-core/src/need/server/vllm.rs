//! What vLLM plans: a share of each GPU, whatever the model needs, and within it weights, activations, graphs, and at least the cache
//! of one request. Order and checks of `determine_available_memory` in vllm/v1/worker/gpu_worker.py and of
//! vllm/v1/core/kv_cache_utils.py (0.33).

use std::collections::BTreeMap;

use super::cache::Cache;
use super::part::{GIB, Plan, shown};
use super::vllm_flag::Settings;
use crate::need::checkpoint::Checkpoint;
use crate::need::share::Share;
use crate::need::{Memory, Need};

/// CUDA graphs: 0.5 to 2.5 GiB (vLLM issue 7553).
const GRAPHS: (u64, u64) = (GIB * 3 / 2, GIB);
const REST: &str = "KV cache, the rest of vLLM's share";

/// `gpus`: how many there are, and whether there are no more; `sizes`: bytes of each, as far as they are known.
pub fn plan(model: &Checkpoint, settings: &Settings, (gpus, certain): (u32, bool), sizes: &BTreeMap<u32, u64>) -> Need {
    let spread = &settings.spread;
    let mut plan = Plan::new(model, spread, &settings.not_considered);
    plan.compare(gpus, certain);
    plan.weights();
    let (batch, sequences) = batch(&mut plan, settings, sizes);
    let tokens = if settings.fit_context { 1 } else { plan.context(settings.context, "--max-model-len") };
    if settings.fit_context {
        plan.need.assume("--max-model-len auto: the context is as long as there is room for");
    }
    let cache = Cache {
        kind: settings.cache,
        element: spread.computed(),
        tensor: spread.tensor,
        pipeline: spread.pipeline,
        block: 16,
        batch,
        whole_window: settings.whole_window,
    };
    plan.activations(batch, sequences);
    plan.processes();
    if !settings.eager {
        plan.each("CUDA graphs", GRAPHS);
    }
    let least = cache.request(&model.config, tokens);
    match settings.cache_bytes {
        Some(bytes) => {
            plan.each("KV cache (--kv-cache-memory-bytes)", (bytes, 0));
            if bytes < least {
                let (bytes, least) = (shown(bytes), shown(least));
                let why = format!(
                    "a request of {tokens} tokens needs {least} of cache, and --kv-cache-memory-bytes gives {bytes}"
                );
                plan.need.refused.push(why);
            }
        }
        None => {
            // Layers of several kinds are padded to the same groups.
            let padded = model.config.layers.windows(2).any(|two| two[0] != two[1]);
            let error = if padded { least / 4 } else { 0 };
            plan.each(&format!("KV cache, one request of {tokens} tokens"), (least, error));
            for gpu in plan.gpus() {
                plan.need.shares.push(share(gpu, settings));
            }
            let percent = share(0, settings).percent();
            plan.need.assume(format!(
                "vLLM takes {percent} of each GPU whatever the model needs, and as much must be free when it starts (--gpu-memory-utilization)"
            ));
        }
    }
    host(&mut plan, settings);
    let mut need = plan.need;
    need.resolve(sizes);
    need
}

fn share(gpu: u32, settings: &Settings) -> Share {
    Share { what: REST.to_owned(), gpu, millionths: settings.utilisation, beside: 0 }
}

/// Tokens and sequences of a batch. Defaults of `get_batch_defaults` in vllm/engine/arg_utils.py: they depend on the GPU.
fn batch(plan: &mut Plan<'_>, settings: &Settings, sizes: &BTreeMap<u32, u64>) -> (u64, u64) {
    let size = sizes.get(&0).copied();
    let (tokens, sequences) = match size {
        Some(size) if size >= 160 * GIB => (16384, 1024),
        Some(size) if size < 70 * GIB => (2048, 256),
        _ => (8192, 1024),
    };
    if settings.batch.is_none() {
        let why = if size.is_none() { "a large GPU" } else { "this GPU" };
        plan.need.assume(format!("--max-num-batched-tokens is not set: {tokens}, as the API server has it on {why}"));
    }
    (settings.batch.unwrap_or(tokens), settings.sequences.unwrap_or(sequences))
}

/// Host memory beside the processes.
fn host(plan: &mut Plan<'_>, settings: &Settings) {
    if settings.read_eagerly {
        let largest = plan.model.weights.largest_file;
        plan.host("a file of weights, while read", Memory::Anonymous, (largest, 0), true);
    }
    if settings.offload_cache > 0 {
        // One region in /dev/shm, populated at start and registered with CUDA: exact.
        plan.host("KV cache in host memory", Memory::Pinned, (settings.offload_cache, 0), false);
    }
    if plan.model.config.multimodal && settings.media_cache > 0 {
        let copies = settings.front_ends.saturating_add(plan.spread.data);
        let bytes = settings.media_cache.saturating_mul(copies);
        plan.host("cache of processed media, when full", Memory::Anonymous, (bytes, bytes), false);
    }
    if settings.sleeps {
        let weights = shown(plan.model.weights.bytes.saturating_mul(plan.spread.data));
        plan.need.assume(format!(
            "--enable-sleep-mode: asleep at level 1 it holds its weights, {weights}, in pinned host memory"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::Resource;
    use crate::need::server::test::{llama_8b, sum};

    fn of(line: &str, gpus: u32, size: Option<u64>) -> Need {
        let settings = Settings::of(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let sizes = size.map(|size| (0..gpus).map(|gpu| (gpu, size)).collect()).unwrap_or_default();
        plan(&llama_8b(), &settings, (gpus, true), &sizes)
    }

    const H100: u64 = 85_060_000_000;

    /// vLLM's own log of Llama-3-8B on an H100 with 79.22 GiB at 0.9 (pull request 10511): weights 14.96, beside torch 1.79,
    /// activations 1.26 and for the cache 53.29 GiB.
    #[test]
    fn it_agrees_with_a_published_log() {
        let need =
            of("m --gpu-memory-utilization 0.9 --enforce-eager --max-model-len 8192 --max-num-seqs 256", 1, Some(H100));
        let gib = |bytes: u64| bytes as f64 / GIB as f64;
        assert!((gib(sum(&need, "weights")) - 14.96).abs() < 0.005, "{}", gib(sum(&need, "weights")));
        let within = |what: &str, real: f64| {
            let part = need.parts.iter().find(|part| part.what == what).unwrap();
            assert!((gib(part.amount) - real).abs() <= gib(part.error), "{what}: {part:?} against {real}");
        };
        within("CUDA context", 1.79);
        within("activations", 1.26);
        let cache = gib(sum(&need, REST) + sum(&need, "KV cache, one request of 8192 tokens"));
        assert!((cache - 53.29).abs() < 1.5, "{cache}");
        assert!((gib(need.total().vram[&0]) - 71.29).abs() < 0.01, "{:?}", need.total());
        assert!(need.refused.is_empty() && need.missing().is_empty());
    }

    #[test]
    fn without_a_size_the_share_is_not_known() {
        let need = of("m --gpu-memory-utilization 0.5 -tp 2", 2, None);
        assert_eq!((need.shares.len(), need.missing().len()), (2, 2));
        assert!(need.missing()[1].starts_with("how much 50 % of GPU 1 is"), "{:?}", need.missing());
        assert_eq!(sum(&need, "weights") / 2, llama_8b().weights.bytes / 2, "each GPU has a half");
    }

    #[test]
    fn what_cannot_start_says_which_limit_fails() {
        let small = of("m", 1, Some(16 * GIB));
        assert!(
            small.refused[0].starts_with("92 % of GPU 0 (16.0 GiB) are 14.7 GiB, but it needs at least"),
            "{small:?}"
        );
        let few = of("m -tp 4", 2, Some(H100));
        assert_eq!(few.refused, ["it needs 4 GPUs, and there are 2"]);
        let cache = of("m --kv-cache-memory-bytes 1G --max-model-len 131072", 1, Some(H100));
        assert!(
            cache.refused[0].contains("needs 16.0 GiB of cache, and --kv-cache-memory-bytes gives 1.00 GiB"),
            "{cache:?}"
        );
        assert!(cache.shares.is_empty() && cache.missing().is_empty());
    }

    #[test]
    fn host_memory_has_what_is_pinned() {
        let need = of("m --cpu-offload-gb 4 --kv-offloading-size 32 -tp 2 --enable-sleep-mode", 2, Some(H100));
        let pinned = |what: &str| {
            let part = need.parts.iter().find(|part| part.what == what).unwrap();
            assert_eq!(part.resource, Resource::Host { memory: Memory::Pinned });
            (part.amount, part.error)
        };
        assert_eq!(pinned("KV cache in host memory"), (32 * GIB, 0));
        let (amount, error) = pinned("weights left in host memory");
        assert!(amount - error == 8 * GIB && amount > 15 * GIB, "{amount} {error}");
        assert!(need.assumptions.iter().any(|sentence| sentence.contains("in pinned host memory")));
    }
}

//! What vLLM plans: a share of each GPU, whatever the model needs, and within it weights, activations, graphs, and at least the cache
//! of one request. Order and checks of `determine_available_memory` in vllm/v1/worker/gpu_worker.py and of
//! vllm/v1/core/kv_cache_utils.py (0.33).

use std::collections::BTreeMap;

use super::cache::Cache;
use super::part::{GIB, Plan, shown};
use super::vllm_flag::Settings;
use crate::need::checkpoint::Checkpoint;
use crate::need::remark::Remark;
use crate::need::share::Share;
use crate::need::{Memory, Need};

/// CUDA graphs: 0.5 to 2.5 GiB (vLLM issue 7553).
const GRAPHS: (u64, u64) = (GIB * 3 / 2, GIB);
const REST: &str = "KV cache, the rest of vLLM's share";

/// `gpus`: how many there are, and whether there are no more; `sizes`: bytes of each, as far as they are known.
/// `draft`: the model that guesses tokens, if the settings name one.
pub fn plan(
    model: &Checkpoint,
    draft: Option<&Checkpoint>,
    settings: &Settings,
    gpus: (u32, bool),
    sizes: &BTreeMap<u32, u64>,
) -> Need {
    let spread = &settings.spread;
    let mut plan = Plan::new(model, spread, &settings.not_considered, gpus);
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
    let mut least = cache.request(&model.config, tokens);
    if let (Some(draft), Some(named)) = (draft, &settings.draft) {
        let tensor = named.tensor.unwrap_or(spread.tensor);
        plan.draft(draft, tensor);
        // It keeps the same tokens, in its own layers.
        least = least.saturating_add(Cache { tensor, pipeline: 1, ..cache }.request(&draft.config, tokens));
    }
    match settings.cache_bytes {
        Some(bytes) => {
            plan.each("KV cache (--kv-cache-memory-bytes)", (bytes, 0));
            if bytes < least {
                let (bytes, least) = (shown(bytes), shown(least));
                let why = format!(
                    "a request of {tokens} tokens needs {least} of cache, and --kv-cache-memory-bytes gives {bytes}"
                );
                plan.need.refused.push(Remark::vram(why));
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
    plan.need
}

fn share(gpu: u32, settings: &Settings) -> Share {
    Share { what: REST.to_owned(), gpu, millionths: settings.utilisation, beside: 0, beside_error: 0 }
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
        // A region in /dev/shm for each copy of the model, populated at start and registered with CUDA: exact.
        let parts = u128::from(plan.spread.of_copy().max(1));
        let bytes = u128::from(settings.offload_cache) * plan.gpus().len() as u128 / parts;
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        plan.host("KV cache in host memory", Memory::Pinned, (bytes, 0), false);
    }
    if plan.model.config.multimodal && settings.media_cache > 0 {
        let copies = settings.front_ends.saturating_add(plan.copies());
        let bytes = settings.media_cache.saturating_mul(copies);
        plan.host("cache of processed media, when full", Memory::Anonymous, (bytes, bytes), false);
    }
    if settings.sleeps {
        let weights = shown(plan.model.weights.bytes.saturating_mul(plan.copies()));
        plan.need.assume(format!(
            "--enable-sleep-mode: asleep at level 1 it holds its weights, {weights}, in pinned host memory"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::Resource;
    use crate::need::checkpoint::test::llama_8b;
    use crate::need::server::test::sum;

    fn of(line: &str, gpus: u32, size: Option<u64>) -> Need {
        let settings = Settings::of(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let sizes = size.map(|size| (0..gpus).map(|gpu| (gpu, size)).collect()).unwrap_or_default();
        let draft = settings.draft.as_ref().map(|_| llama_8b());
        let mut need = plan(&llama_8b(), draft.as_ref(), &settings, (gpus, true), &sizes);
        need.resolve(&sizes);
        need
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
            small.refused[0].sentence.starts_with("92 % of GPU 0 (16.0 GiB) are 14.7 GiB, but it needs at least"),
            "{small:?}"
        );
        let few = of("m -tp 4", 2, Some(H100));
        assert_eq!(few.refused, [Remark::whatever("it needs 4 GPUs, and there are 2")]);
        let cache = of("m --kv-cache-memory-bytes 1G --max-model-len 131072", 1, Some(H100));
        assert!(
            cache.refused[0].sentence.contains("needs 16.0 GiB of cache, and --kv-cache-memory-bytes gives 1.00 GiB"),
            "{cache:?}"
        );
        assert!(cache.shares.is_empty() && cache.missing().is_empty());
    }

    #[test]
    fn a_host_has_its_part_of_what_is_spread_over_several() {
        let two = of("m -tp 8 -pp 2 --nnodes 2 --node-rank 1 --master-addr 10.0.0.1", 8, Some(H100));
        assert!(two.refused.is_empty() && two.not_considered.is_empty() && two.total().vram.len() == 8, "{two:?}");
        let copies = of("m -dp 4 -dpl 2 --data-parallel-address 10.0.0.1 --kv-offloading-size 8", 2, Some(H100));
        assert!(copies.refused.is_empty() && copies.not_considered.is_empty(), "{copies:?}");
        assert_eq!(sum(&copies, "KV cache in host memory"), 16 * GIB, "each copy has a region");
        let cluster = of("m -tp 16 --distributed-executor-backend ray", 8, Some(H100));
        assert!(cluster.refused.is_empty() && cluster.total().vram.len() == 8, "{cluster:?}");
        assert!(cluster.missing()[0].starts_with("how many of its 16 GPUs are on this host"), "{cluster:?}");
    }

    #[test]
    fn a_model_that_guesses_has_weights_and_a_cache_of_its_own() {
        let line = "m --max-model-len 8192 -tp 2";
        let (alone, with) = (of(line, 2, Some(H100)), of(&format!(r#"{line} -sc {{"model":"d"}}"#), 2, Some(H100)));
        let cache = |need: &Need| sum(need, "KV cache, one request of 8192 tokens");
        assert_eq!(cache(&with), 2 * cache(&alone));
        assert_eq!(sum(&with, "weights of the draft model"), sum(&with, "weights"));
        assert_eq!(with.total().vram, alone.total().vram, "it is within the share");
        let whole = of(&format!(r#"{line} -sc {{"model":"d","draft_tensor_parallel_size":1}}"#), 2, Some(H100));
        assert_eq!(sum(&whole, "weights of the draft model"), 2 * sum(&with, "weights"), "each GPU has all of it");
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

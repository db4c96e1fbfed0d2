//! What SGLang plans: a share of each GPU for weights and cache, and beside it what batches and CUDA graphs need; the cache in host
//! memory. Rules of sglang/srt/arg_groups/memory_hook.py and sglang/srt/mem_cache (0.5).

use std::collections::BTreeMap;

use super::cache::Cache;
use super::part::{GIB, MIB, Plan, shown};
use super::sglang_flag::Settings;
use crate::need::checkpoint::Checkpoint;
use crate::need::share::Share;
use crate::need::{Memory, Need};

const MILLION: u128 = 1_000_000;

/// `gpus`: how many there are, and whether there are no more; `sizes`: bytes of each, as far as they are known.
pub fn plan(model: &Checkpoint, settings: &Settings, (gpus, certain): (u32, bool), sizes: &BTreeMap<u32, u64>) -> Need {
    let spread = &settings.spread;
    let mut plan = Plan::new(model, spread, &settings.not_considered);
    plan.compare(gpus, certain);
    let weights = plan.weights();
    let tokens = plan.context(settings.context, "--context-length");
    let cache = Cache {
        kind: settings.cache,
        element: spread.computed(),
        tensor: spread.tensor,
        pipeline: spread.pipeline,
        block: 1,
        batch: settings.chunk.unwrap_or(8192),
        whole_window: true,
    };
    let least = cache.request(&model.config, tokens);
    plan.processes();
    let Some(size) = sizes.values().copied().min() else {
        let known = settings.fraction.map(|millionths| share(0, millionths, 0).percent());
        let share = known
            .map_or("a share that depends on the GPU's size".to_owned(), |percent| format!("{percent} of each GPU"));
        plan.need.not_known.push(format!(
            "what SGLang takes: {share}, and what batches need beside it: the GPU's size is not known (--gpu-memory SIZE, or a running agent)"
        ));
        host_cache(&mut plan, settings, None);
        return plan.need;
    };
    let reserved = reserved(settings, size);
    let chosen = u128::from(size.saturating_sub(reserved)) * MILLION / u128::from(size.max(1));
    let millionths = settings.fraction.unwrap_or_else(|| u32::try_from(chosen).unwrap_or(0).max(1));
    let fixed = share(0, millionths, 0).bytes(size);
    // Context and libraries are parts of their own, and come out of what is reserved.
    let context = context(&plan.need);
    let rest = reserved.min(size.saturating_sub(fixed));
    let batches = rest.saturating_sub(context);
    plan.each("batches, CUDA graphs", (batches, batches / 2));
    for gpu in plan.gpus() {
        plan.need.shares.push(share(gpu, millionths, batches.saturating_add(context)));
    }
    let percent = share(0, millionths, 0).percent();
    plan.need.assume(format!(
        "SGLang takes {percent} of what is free when it starts for weights and cache: counted of the whole GPU (--mem-fraction-static)"
    ));
    if model.config.multimodal && settings.fraction.is_none() {
        plan.need.assume("SGLang lowers its share for models with images: it is counted as for one of text");
    }
    let pool = fixed.saturating_sub(weights);
    if pool < least {
        plan.need.assume(format!(
            "a request of {tokens} tokens does not fit in the cache: SGLang starts, and refuses longer ones"
        ));
    }
    host_cache(&mut plan, settings, Some(pool));
    let mut need = plan.need;
    let sizes = need.shares.iter().map(|share| (share.gpu, size)).collect();
    need.resolve(&sizes);
    need
}

fn share(gpu: u32, millionths: u32, beside: u64) -> Share {
    Share { what: "KV cache, the rest of SGLang's share".to_owned(), gpu, millionths, beside }
}

/// What the parts of each GPU that are neither weights nor cache have.
fn context(need: &Need) -> u64 {
    let gpu = crate::need::Resource::Vram { gpu: 0 };
    let parts =
        need.parts.iter().filter(|part| part.resource == gpu && ["CUDA context", "NCCL"].contains(&&*part.what));
    parts.map(|part| part.amount).sum()
}

/// Bytes that SGLang keeps free beside its share where it chooses it.
fn reserved(settings: &Settings, size: u64) -> u64 {
    let many = settings.spread.tensor >= 4;
    let (chunk, batch) = match size / GIB {
        0..20 => (2048, 8),
        20..35 => (4096, if many { 160 } else { 48 }),
        35..60 => (4096, if many { 160 } else { 32 }),
        _ => (8192, if many { 512 } else { 256 }),
    };
    let chunk = settings.chunk.unwrap_or(chunk).max(2048);
    let graphs = if settings.without_graphs { 0 } else { settings.graphs.unwrap_or(batch).saturating_mul(2) };
    let ranks = settings.spread.tensor.saturating_mul(settings.spread.pipeline).saturating_mul(1024) / 8;
    let bytes =
        [512, chunk.saturating_mul(3) / 2, ranks, graphs].into_iter().fold(0, u64::saturating_add).saturating_mul(MIB);
    // Large GPUs leave at least this.
    if size > 60 * GIB { bytes.max(10 * GIB) } else { bytes }
}

/// `pool`: bytes of the cache on each GPU.
fn host_cache(plan: &mut Plan<'_>, settings: &Settings, pool: Option<u64>) {
    if !settings.host_cache {
        return;
    }
    let by_ratio = || pool.map(|pool| u128::from(pool) * u128::from(settings.host_ratio) / 1000);
    let each = settings.host_bytes.or_else(|| by_ratio().and_then(|bytes| u64::try_from(bytes).ok()));
    let Some(each) = each else {
        let why = "the cache in host memory: it depends on the GPU's size (--gpu-memory SIZE, or --hicache-size)";
        plan.need.not_known.push(why.to_owned());
        return;
    };
    let bytes = each.saturating_mul(settings.spread.gpus());
    plan.host("KV cache in host memory", Memory::Pinned, (bytes, 0), false);
    plan.need.assume(format!(
        "SGLang pins {} for its hierarchical cache, and less where that is more than 80 % of what is free but for 10 GiB",
        shown(bytes)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::server::test::{llama_8b, sum};

    fn of(line: &str, gpus: u32, size: Option<u64>) -> Need {
        let settings = Settings::of(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let sizes = size.map(|size| (0..gpus).map(|gpu| (gpu, size)).collect()).unwrap_or_default();
        plan(&llama_8b(), &settings, (gpus, true), &sizes)
    }

    #[test]
    fn by_itself_it_takes_the_whole_gpu() {
        let need = of("--model-path m --context-length 8192", 1, Some(80 * GIB));
        assert!(need.refused.is_empty() && need.missing().is_empty(), "{need:?}");
        let vram = need.total().vram[&0];
        assert!(vram.abs_diff(80 * GIB) < GIB / 100, "{vram}");
        // 512 + 1.5 × 8192 + 1024 / 8 + 2 × 256 MiB are kept free.
        assert_eq!(reserved(&Settings::default(), 80 * GIB), 13_440 * MIB);
        assert!(need.assumptions.iter().any(|sentence| sentence.starts_with("SGLang takes 84 %")), "{need:?}");
    }

    #[test]
    fn a_fraction_is_of_weights_and_cache() {
        let need = of("--model-path m --context-length 8192 --mem-fraction-static 0.5", 1, Some(80 * GIB));
        let cache =
            sum(&need, "KV cache, the rest of SGLang's share") + sum(&need, "KV cache, one request of 8192 tokens");
        assert_eq!(cache + sum(&need, "weights"), 40 * GIB);
        let small = of("--model-path m --context-length 8192 --mem-fraction-static 0.1", 1, Some(80 * GIB));
        assert!(small.refused[0].starts_with("10 % of GPU 0 (80.0 GiB) are 8.00 GiB"), "{small:?}");
    }

    #[test]
    fn the_cache_in_host_memory_is_pinned() {
        let line = "--model-path m --context-length 8192 --mem-fraction-static 0.5 --enable-hierarchical-cache";
        let need = of(line, 1, Some(80 * GIB));
        let pool = 40 * GIB - sum(&need, "weights");
        assert_eq!(sum(&need, "KV cache in host memory"), 2 * pool);
        let unknown = of(line, 1, None);
        assert_eq!(unknown.missing().len(), 2, "{:?}", unknown.missing());
        let said = of(&format!("{line} --hicache-size 100 --tp 2"), 2, None);
        assert_eq!(sum(&said, "KV cache in host memory"), 200_000_000_000);
    }
}

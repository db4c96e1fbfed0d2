//! What SGLang plans: a share of each GPU for weights and cache, and beside it what batches and CUDA graphs need; the cache in host
//! memory. Rules of sglang/srt/arg_groups/memory_hook.py and cuda_graph_hook.py, and of sglang/srt/mem_cache (0.5.23, commit 031ed82d).

use std::collections::BTreeMap;

use super::cache::Cache;
use super::part::{GIB, MIB, Plan, shown};
use super::sglang_flag::Settings;
use crate::need::checkpoint::Checkpoint;
use crate::need::checkpoint::config::Config;
use crate::need::remark::Remark;
use crate::need::share::Share;
use crate::need::{Memory, Need};

/// `gpus`: how many there are, and whether there are no more; `sizes`: bytes of each, as far as they are known.
pub fn plan(model: &Checkpoint, settings: &Settings, gpus: (u32, bool), sizes: &BTreeMap<u32, u64>) -> Need {
    let spread = &settings.spread;
    let mut plan = Plan::new(model, spread, &settings.not_considered, gpus);
    let weights = plan.weights();
    if settings.attention > 1 {
        let kept = "weights of attention: with --enable-dp-attention each group of GPUs has all of them";
        plan.need.not_considered.push(kept.to_owned());
    }
    let tokens = plan.context(settings.context, "--context-length");
    let cache = Cache {
        kind: settings.cache,
        element: spread.computed(),
        tensor: (spread.tensor / settings.attention.max(1)).max(1),
        pipeline: spread.pipeline,
        block: 1,
        batch: match settings.chunk {
            Some(0) => settings.prompt,
            chunk => chunk.unwrap_or(8192),
        },
        whole_window: true,
    };
    let least = cache.request(&model.config, tokens);
    plan.processes();
    let Some(size) = sizes.values().copied().min() else {
        let known = settings.fraction.map(|millionths| share(0, millionths, (0, 0)).percent());
        let share = known
            .map_or("a share that depends on the GPU's size".to_owned(), |percent| format!("{percent} of each GPU"));
        plan.need.not_known.push(Remark::vram(format!(
            "what SGLang takes: {share}, and what batches need beside it: the GPU's size is not known (--gpu-memory SIZE, or a running agent)"
        )));
        host_cache(&mut plan, settings, None);
        return plan.need;
    };
    let reserved = reserved(settings, &model.config, size);
    let millionths = settings.fraction.unwrap_or_else(|| chosen(&model.config, reserved, size));
    let fixed = share(0, millionths, (0, 0)).bytes(size);
    // Context and libraries are parts of their own, and come out of what is reserved.
    let (context, error) = context(&plan.need);
    let rest = reserved.min(size.saturating_sub(fixed));
    let batches = rest.saturating_sub(context);
    plan.each("batches, CUDA graphs", (batches, batches / 2));
    for gpu in plan.gpus() {
        let beside = (batches.saturating_add(context), (batches / 2).saturating_add(error));
        plan.need.shares.push(share(gpu, millionths, beside));
    }
    let percent = share(0, millionths, (0, 0)).percent();
    plan.need.assume(format!(
        "SGLang takes {percent} of what is free when it starts for weights and cache: counted of the whole GPU (--mem-fraction-static)"
    ));
    if model.config.multimodal && model.config.vision.is_none() && settings.fraction.is_none() {
        plan.need.assume("config.json does not describe the encoder: the share is counted as for a model of text");
    }
    let pool = fixed.saturating_sub(weights);
    if pool < least {
        plan.need.assume(format!(
            "a request of {tokens} tokens does not fit in the cache: SGLang starts, and refuses longer ones"
        ));
    }
    host_cache(&mut plan, settings, Some(pool));
    plan.need
}

/// Millionths of the GPU for weights and cache where no flag says it: what is reserved is left, and of models with images less is
/// taken, by the size of their encoder (`adjust_mem_fraction_for_vlm`).
fn chosen(config: &Config, reserved: u64, size: u64) -> u32 {
    let whole = u128::from(size.max(1));
    // It is rounded to thousandths.
    let thousandths = (u128::from(size.saturating_sub(reserved)) * 1000 + whole / 2) / whole;
    let millionths = u32::try_from(thousandths * 1000).unwrap_or(0);
    let factor = config.vision.map_or(1.0, |vision| {
        let score = |layers: f64, hidden: f64| layers * hidden * hidden;
        let ratio = score(vision.layers as f64, vision.hidden as f64) / score(24.0, 1024.0);
        0.95 * (1.0 - 0.1 * (ratio - 1.0)).clamp(0.8, 1.05)
    });
    ((f64::from(millionths) * factor).round() as u32).max(1)
}

fn share(gpu: u32, millionths: u32, (beside, beside_error): (u64, u64)) -> Share {
    Share { what: "KV cache, the rest of SGLang's share".to_owned(), gpu, millionths, beside, beside_error }
}

/// What the parts of each GPU that are neither weights nor cache have, and their error.
fn context(need: &Need) -> (u64, u64) {
    let gpu = crate::need::Resource::Vram { gpu: 0 };
    let parts =
        need.parts.iter().filter(|part| part.resource == gpu && ["CUDA context", "NCCL"].contains(&&*part.what));
    parts.fold((0, 0), |(amount, error), part| (amount + part.amount, error + part.error))
}

/// Bytes that SGLang keeps free beside its share where it chooses it.
fn reserved(settings: &Settings, config: &Config, size: u64) -> u64 {
    let many = settings.spread.tensor >= 4;
    let (chunk, batch) = match size / GIB {
        0..20 => (2048, 8),
        20..35 => (4096, if many { 160 } else { 48 }),
        35..60 => (4096, if many { 160 } else { 32 }),
        60..160 => (8192, if many { 512 } else { 256 }),
        _ => (16384, 512),
    };
    let chunk = settings.chunk.unwrap_or(chunk);
    let tokens = if chunk > 0 { chunk } else { settings.prompt }.max(2048);
    let ranks = settings.spread.of_copy().saturating_mul(1024) / 8;
    let parts: [u64; 5] =
        [512, tokens.saturating_mul(3) / 2, ranks, graphs(settings, batch), prompt_graphs(settings, config, chunk)];
    let bytes = parts.into_iter().fold(0, u64::saturating_add).saturating_mul(MIB);
    // Large GPUs leave at least this.
    if size > 60 * GIB { bytes.max(10 * GIB) } else { bytes }
}

/// MiB for graphs of batches, of at most so many sequences where no flag says it.
fn graphs(settings: &Settings, batch: u64) -> u64 {
    let batch = settings.graphs.unwrap_or(batch);
    let own = if settings.without_graphs { 0 } else { batch.saturating_mul(2) };
    if settings.attention == 1 {
        return own;
    }
    // In halves: three for each group, and half as much again for large batches.
    let halves = if batch > 300 { 9 } else { 6 };
    own.saturating_add(batch.saturating_mul(settings.attention).saturating_mul(halves) / 2)
}

/// MiB for graphs of prompts: 8 for each size, of which there are more and more widely spaced ones up to a chunk.
fn prompt_graphs(settings: &Settings, config: &Config, chunk: u64) -> u64 {
    if settings.without_prompt_graphs || settings.spread.pipeline > 1 || config.multimodal {
        return 0;
    }
    if config.row.latent {
        return 1536;
    }
    const STEPS: [(u64, u64, u64); 5] = [(4, 32, 4), (48, 256, 16), (288, 512, 32), (576, 1024, 64), (1280, 4096, 256)];
    let sizes = |(first, last, step): (u64, u64, u64)| (last.min(chunk) + step).saturating_sub(first) / step;
    let beyond = chunk.saturating_sub(4096) / 512;
    8 * (STEPS.into_iter().map(sizes).sum::<u64>() + beyond)
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
        plan.need.not_known.push(Remark::host(why));
        return;
    };
    let bytes = each.saturating_mul(u64::try_from(plan.gpus().len()).unwrap_or(u64::MAX));
    plan.host("KV cache in host memory", Memory::Pinned, (bytes, 0), false);
    plan.need.assume(format!(
        "SGLang pins {} for its hierarchical cache, and less where that is more than 80 % of what is free but for 10 GiB",
        shown(bytes)
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::checkpoint::attention::Row;
    use crate::need::checkpoint::config::Vision;
    use crate::need::checkpoint::test::llama_8b;
    use crate::need::server::test::sum;

    fn of(line: &str, gpus: u32, size: Option<u64>) -> Need {
        let settings = Settings::of(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let sizes = size.map(|size| (0..gpus).map(|gpu| (gpu, size)).collect()).unwrap_or_default();
        let mut need = plan(&llama_8b(), &settings, (gpus, true), &sizes);
        need.resolve(&sizes);
        need
    }

    #[test]
    fn by_itself_it_takes_the_whole_gpu() {
        let need = of("--model-path m --context-length 8192", 1, Some(80 * GIB));
        assert!(need.refused.is_empty() && need.missing().is_empty(), "{need:?}");
        let vram = need.total().vram[&0];
        // The share is rounded to thousandths.
        assert!(vram.abs_diff(80 * GIB) < GIB / 20, "{vram}");
        // 512 + 1.5 × 8192 + 1024 / 8 + 2 × 256 + 8 × 58 MiB are kept free.
        assert_eq!(reserved(&Settings::default(), &llama_8b().config, 80 * GIB), 13_904 * MIB);
        assert!(need.assumptions.iter().any(|sentence| sentence.starts_with("SGLang takes 83 %")), "{need:?}");
    }

    #[test]
    fn what_is_left_free_depends_on_the_gpu_the_model_and_the_flags() {
        let of = |line: &str, config: &Config, gib: u64| {
            let settings = Settings::of(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
            reserved(&settings, config, gib * GIB) / MIB
        };
        let text = llama_8b().config;
        // Sizes of prompts up to 2048, 4096, 8192 and 16384 tokens: 42, 50, 58 and 74.
        assert_eq!(of("", &text, 16), 512 + 3072 + 128 + 16 + 8 * 42);
        assert_eq!(of("--tp 4", &text, 24), 512 + 6144 + 512 + 320 + 8 * 50);
        assert_eq!(of("", &text, 192), 512 + 24_576 + 128 + 1024 + 8 * 74);
        assert_eq!(of("--disable-cuda-graph --chunked-prefill-size 2048", &text, 80), 10 * 1024, "at least");
        assert_eq!(of("--chunked-prefill-size -1", &text, 80), 512 + 24_576 + 128 + 512);
        let groups = of("--tp 8 --enable-dp-attention --dp 8", &text, 80);
        assert_eq!(groups, 512 + 12_288 + 1024 + 1024 + 512 * 8 * 9 / 2 + 464);
        let latent = Config { row: Row { latent: true, ..text.row }, ..text.clone() };
        assert_eq!(of("", &latent, 80), 13_440 + 1536);
        assert_eq!(chosen(&text, 13_904 * MIB, 80 * GIB), 830_000);
        let vision = Some(Vision { layers: 24, hidden: 1024 });
        assert_eq!(chosen(&Config { vision, ..text.clone() }, 13_904 * MIB, 80 * GIB), 788_500);
        let vision = Some(Vision { layers: 1000, hidden: 10_000 });
        assert_eq!(chosen(&Config { vision, ..text }, 13_904 * MIB, 80 * GIB), 630_800, "a fifth less, at most");
    }

    #[test]
    fn a_host_has_its_part() {
        let need = of("--model-path m --context-length 8192 --tp 8 --nnodes 2 --node-rank 0", 4, Some(80 * GIB));
        assert!(need.refused.is_empty() && need.total().vram.len() == 4, "{need:?}");
        assert!(need.assumptions.iter().any(|sentence| sentence.starts_with("of its 8 GPUs 4 are on this host")));
        let few = of("--model-path m --context-length 8192 --tp 8", 4, Some(80 * GIB));
        assert_eq!(few.refused, [Remark::whatever("it needs 8 GPUs, and there are 4")]);
    }

    #[test]
    fn a_fraction_is_of_weights_and_cache() {
        let need = of("--model-path m --context-length 8192 --mem-fraction-static 0.5", 1, Some(80 * GIB));
        let cache =
            sum(&need, "KV cache, the rest of SGLang's share") + sum(&need, "KV cache, one request of 8192 tokens");
        assert_eq!(cache + sum(&need, "weights"), 40 * GIB);
        let small = of("--model-path m --context-length 8192 --mem-fraction-static 0.1", 1, Some(80 * GIB));
        assert!(small.refused[0].sentence.starts_with("10 % of GPU 0 (80.0 GiB) are 8.00 GiB"), "{small:?}");
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

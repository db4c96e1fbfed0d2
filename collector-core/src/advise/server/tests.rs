//! Each rule where it is given, where it just is not, and where something is missing.

use crate::action::Kind::ByHand;
use crate::action::Risk;
use crate::advice::{Advice, Confidence};
use crate::advise::world::{GIB, OTHER, OWN, World, holder};
use crate::past::Day;
use crate::statistic::model::Statistic::*;
use crate::statistic::model::{Kind, Memory};
use crate::statistic::workload::Statistic::{MemoryCurrent, MemoryLimit, MemoryWithoutCache};

/// The first command of an advice, and how sure it is.
fn typed(advice: &Advice) -> (String, Confidence) {
    let command = advice.actions[0].commands.last().map(|command| command.text.clone());
    (command.unwrap_or_default(), advice.confidence)
}

/// llama-server with the default prompt cache, of which so much is filled, in a workload with a limit.
fn llama(filled: u64, limit: u64) -> World {
    let mut world = World::new(Kind::LlamaCpp).set(&[(PromptCacheBytes, 8 * GIB)]);
    world.workload = vec![(MemoryCurrent, 6 * GIB), (MemoryLimit, limit), (MemoryWithoutCache, 4 * GIB)];
    world.memory = Some(Memory { anon: 3 * GIB, ..Memory::default() });
    let mut world = world.hours(0.1);
    world.memory = Some(Memory { anon: 3 * GIB + filled, ..Memory::default() });
    world
}

#[test]
fn a_prompt_cache_that_may_outgrow_what_is_left() {
    // 8 GiB less 4 that cannot be reclaimed: 4 are left, and the cache may grow by 7.
    let advice = llama(GIB, 8 * GIB).hours(0.1).advice("prompt_cache_lower").unwrap();
    assert_eq!(typed(&advice), ("--cache-ram 3072".to_owned(), Confidence::Medium));
    assert_eq!(advice.saves.unwrap().bytes, Some(5.0 * GIB as f64));
    assert_eq!(llama(GIB, 12 * GIB).hours(0.1).advice("prompt_cache_lower"), None, "8 are left for 7");
    let mut unknown = llama(GIB, 8 * GIB);
    unknown.memory = None;
    let unknown = unknown.hours(0.1);
    assert_eq!(unknown.advice("prompt_cache_lower"), None);
    assert_eq!(unknown.lacks("prompt_cache_lower"), ["the anonymous memory of its processes"]);
}

#[test]
fn a_prompt_cache_in_which_nothing_is_found() {
    let with =
        |hits: u64, hours| llama(2 * GIB, 64 * GIB).grow(&[(PrefixLookups, 1000), (PrefixHits, hits)]).hours(hours);
    let advice = with(10, 22.0).advice("prompt_cache_lower").unwrap();
    assert_eq!(typed(&advice), ("--cache-ram 0".to_owned(), Confidence::Medium));
    assert_eq!(with(30, 22.0).advice("prompt_cache_lower"), None, "3 % are found");
    assert_eq!(with(10, 3.0).advice("prompt_cache_lower").map(|it| it.confidence), Some(Confidence::Low));
}

fn offload(size: u64, stored: u64, loaded: u64) -> World {
    let mib = 1 << 20;
    World::new(Kind::Vllm)
        .card(2 * GIB, 60)
        .set(&[(OffloadBytes, size)])
        .grow(&[(OffloadStored, stored * mib), (OffloadLoaded, loaded * mib)])
}

#[test]
fn kv_cache_in_host_memory_that_nobody_asks_for() {
    let advice = offload(16 * GIB, 100, 4).hours(21.0).advice("kv_offload_lower").unwrap();
    assert_eq!(advice.confidence, Confidence::High);
    assert_eq!(advice.saves.unwrap().bytes, Some(16.0 * GIB as f64));
    assert_eq!(offload(16 * GIB, 100, 6).hours(21.0).advice("kv_offload_lower"), None, "6 % come back");
    let early = offload(16 * GIB, 100, 0).hours(0.5);
    assert_eq!((early.advice("kv_offload_lower"), early.lacks("kv_offload_lower").len()), (None, 1));
}

#[test]
fn kv_cache_in_host_memory_on_a_full_host_and_on_one_with_room() {
    let full = |size: u64, used: f64| {
        let mut world = offload(size, 100, 50);
        world.past.host.days = (0..3)
            .map(|day| Day {
                time: day,
                seconds: 86_400,
                memory: Some([0.0, used, 100.0]),
                limit: Some(100.0),
                ..Day::default()
            })
            .collect();
        world.set(&[(KvUsed, 950_000), (RequestsWaiting, 3)]).hours(21.0)
    };
    let advice = full(16 * GIB, 90.0).advice("kv_offload_lower").unwrap();
    assert_eq!(typed(&advice), ("--kv-offloading-size 12".to_owned(), Confidence::Medium));
    assert_eq!(full(16 * GIB, 80.0).advice("kv_offload_lower"), None);
    assert_eq!(full(8 * GIB, 90.0).advice("kv_offload_lower"), None, "no lower than 8 GiB");
    let advice = full(16 * GIB, 40.0).advice("kv_offload_raise").unwrap();
    assert_eq!(typed(&advice), ("--kv-offloading-size 20".to_owned(), Confidence::Medium));
    assert_eq!(full(16 * GIB, 66.0).advice("kv_offload_raise"), None);
    assert_eq!(full(22 * GIB, 40.0).advice("kv_offload_raise"), None, "no higher than 24 GiB");
}

#[test]
fn more_is_pinned_than_configured() {
    let held = |shmem: u64| {
        let mut world = offload(10 * GIB, 0, 0);
        world.memory = Some(Memory { shmem, pinned: shmem, ..Memory::default() });
        world
    };
    let advice = held(16 * GIB).hours(0.1).advice("kv_offload_over").unwrap();
    assert_eq!(typed(&advice), ("--kv-offloading-size 6".to_owned(), Confidence::Medium));
    assert_eq!(held(12 * GIB).hours(0.1).advice("kv_offload_over"), None);
    let weights = held(24 * GIB).set(&[(OffloadBytes, 0), (WeightOffloadBytes, 10 * GIB)]);
    let advice = weights.hours(0.1).advice("weight_offload_over").unwrap();
    assert_eq!(typed(&advice).0, "--cpu-offload-gb 4");
    let weights = held(12 * GIB).set(&[(OffloadBytes, 0), (WeightOffloadBytes, 10 * GIB)]).hours(0.1);
    assert_eq!((weights.advice("weight_offload_over"), weights.advice("kv_offload_over")), (None, None));
}

#[test]
fn swap_space_that_does_nothing() {
    let with = |bytes| World::new(Kind::Vllm).set(&[(UnusedSwapBytes, bytes)]).hours(0.1).advice("vllm_swap_space");
    assert_eq!(with(16 * GIB).unwrap().confidence, Confidence::High);
    assert_eq!(with(4 * GIB), None, "nobody asked for it");
    assert_eq!(with(0), None);
}

/// vLLM whose KV cache is full while requests wait.
fn short(free: u64, hours: f64) -> World {
    let told = [(KvUsed, 970_000), (RequestsWaiting, 4), (GpuShare, 800_000), (Slots, 64), (RequestsRunning, 30)];
    World::new(Kind::Vllm).card(free, 95).set(&told).hours(hours)
}

#[test]
fn a_kv_cache_that_could_be_larger() {
    let advice = short(12 * GIB, 21.0).advice("kv_cache_raise").unwrap();
    // 12 GiB less 2.4 of 80 are 12 %.
    assert_eq!(typed(&advice), ("--gpu-memory-utilization 0.92".to_owned(), Confidence::High));
    assert!(advice.saves.unwrap().stall_seconds.unwrap() > 20.0 * 3600.0);
    assert_eq!(short(4 * GIB, 21.0).advice("kv_cache_raise"), None, "nothing is left");
    let early = short(12 * GIB, 0.5);
    assert_eq!((early.advice("kv_cache_raise"), early.lacks("kv_cache_raise").len()), (None, 1));
    let calm = World::new(Kind::Vllm).card(12 * GIB, 95).set(&[(KvUsed, 970_000), (GpuShare, 800_000)]).hours(21.0);
    assert_eq!(calm.advice("kv_cache_raise"), None, "it is full, and nobody waits");
    let mut shared = short(12 * GIB, 0.0);
    shared.holders.push(holder(OTHER, GIB));
    assert_eq!(shared.hours(21.0).advice("kv_cache_raise").unwrap().confidence, Confidence::Low);
    let mut silent = short(12 * GIB, 0.0);
    silent.model.retain(|(it, _)| *it != GpuShare);
    let silent = silent.hours(21.0);
    assert_eq!((silent.advice("kv_cache_raise"), silent.lacks("kv_cache_raise").len()), (None, 1));
}

#[test]
fn a_kv_cache_that_others_could_use() {
    let with = |most: u64, shared: bool| {
        let told = [(KvUsed, most), (KvBytes, 40 * GIB), (GpuShare, 900_000)];
        let mut world = World::new(Kind::Sglang).card(4 * GIB, 50).set(&told);
        if shared {
            world.holders = vec![holder(OWN, 70 * GIB), holder(OTHER, 6 * GIB)];
        }
        world.hours(23.0).advice("kv_cache_lower")
    };
    let advice = with(200_000, true).unwrap();
    // 30 % of 40 GiB stay: 28 of 80 are 35 %.
    assert_eq!(typed(&advice), ("--mem-fraction-static 0.55".to_owned(), Confidence::Low));
    assert_eq!(with(310_000, true), None);
    assert_eq!(with(200_000, false), None, "nobody else wants it");
}

#[test]
fn fewer_at_once_where_requests_are_thrown_out() {
    let with = |preempted: u64, waiting: u64, free: u64| {
        let told = [(RequestsRunning, 40), (RequestsWaiting, waiting), (KvUsed, 990_000)];
        let world = World::new(Kind::Vllm).card(free, 95).set(&told).grow(&[(Preemptions, preempted)]);
        world.hours(21.0).advice("concurrency_lower")
    };
    let advice = with(1, 0, 2 * GIB).unwrap();
    assert_eq!(typed(&advice), ("--max-num-seqs 32".to_owned(), Confidence::Medium));
    assert_eq!(with(0, 0, 2 * GIB), None);
    assert_eq!(with(1, 5, 2 * GIB), None, "others wait: there is too much to do");
    assert_eq!(with(1, 0, 12 * GIB), None, "the KV cache can be larger");
}

#[test]
fn more_at_once_where_the_gpu_waits_and_requests_do() {
    let with = |utilization: u64, kv: u64, running: u64, hours: f64| {
        let told = [(Slots, 4), (RequestsRunning, running), (RequestsWaiting, 2), (KvUsed, kv)];
        World::new(Kind::LlamaCpp).card(20 * GIB, utilization).set(&told).hours(hours)
    };
    let advice = with(50, 300_000, 4, 21.0).advice("slots_raise").unwrap();
    assert_eq!(typed(&advice), ("--parallel 7".to_owned(), Confidence::Medium));
    assert_eq!(with(86, 300_000, 4, 21.0).advice("slots_raise"), None, "the GPU is busy");
    assert_eq!(with(50, 810_000, 4, 21.0).advice("slots_raise"), None, "the KV cache is full");
    assert_eq!(with(50, 300_000, 3, 21.0).advice("slots_raise"), None, "a place is free");
    assert_eq!(with(50, 300_000, 4, 0.5).lacks("slots_raise").len(), 1);
    let mut without = with(50, 300_000, 4, 0.0);
    without.gpu.clear();
    let without = without.hours(3.0);
    assert_eq!(without.lacks("slots_raise"), ["how busy its GPUs are while requests wait"]);
}

#[test]
fn sglang_has_a_size_for_each_rank_and_computes_beside_its_share() {
    let full = |card: bool| {
        let mut world = World::new(Kind::Sglang).set(&[(OffloadBytes, 16 * GIB)]);
        world.host = [256 * GIB, 20 * GIB];
        if card { world.card(2 * GIB, 60) } else { world }.hours(2.0).advice("kv_offload_lower").unwrap()
    };
    assert_eq!(typed(&full(true)).0, "--hicache-size 13");
    let unknown = full(false);
    assert_eq!((typed(&unknown).0, unknown.actions.len()), (String::new(), 1), "how many ranks it has is not known");
    let raise = |free: u64| {
        let told = [(KvUsed, 970_000), (RequestsWaiting, 4), (GpuShare, 800_000), (RequestsRunning, 30)];
        World::new(Kind::Sglang).card(free, 95).set(&told).hours(21.0).advice("kv_cache_raise")
    };
    // 12 GiB less 8 of 80 are 5 %, and a tenth stays free in any case.
    assert_eq!(typed(&raise(12 * GIB).unwrap()), ("--mem-fraction-static 0.85".to_owned(), Confidence::Medium));
    assert_eq!(typed(&raise(40 * GIB).unwrap()).0, "--mem-fraction-static 0.90");
    assert_eq!(raise(10 * GIB), None);
}

#[test]
fn twice_the_context_in_as_much_memory() {
    let with = |told: &[(crate::statistic::model::Statistic, u64)]| {
        let full = [(KvUsed, 970_000), (RequestsWaiting, 4)];
        World::new(Kind::LlamaCpp).card(12 * GIB, 95).set(&full).set(told).hours(21.0).advice("kv_cache_raise").unwrap()
    };
    let known = with(&[(KvTokens, 8192)]);
    let text = "--ctx-size 16384 --cache-type-k q8_0 --cache-type-v q8_0";
    assert_eq!(typed(&known), (text.to_owned(), Confidence::Medium));
    assert!(known.actions[0].commands[0].note.as_ref().unwrap().contains("flash attention"), "{known:?}");
    let unknown = with(&[]);
    assert!(unknown.title.starts_with("Keep the KV cache") && !typed(&unknown).0.contains("ctx-size"), "{unknown:?}");
}

#[test]
fn weights_of_a_gibibyte_are_not_lowered_to_nothing() {
    let mut world = World::new(Kind::Vllm).card(2 * GIB, 60).set(&[(WeightOffloadBytes, GIB)]);
    world.memory = Some(Memory { shmem: 4 * GIB, pinned: 4 * GIB, ..Memory::default() });
    let advice = world.hours(0.1).advice("weight_offload_over").unwrap();
    let [change] = &advice.actions[..] else { panic!("{advice:?}") };
    assert_eq!((change.kind, change.risk, advice.risk), (ByHand, Risk::High, Risk::High), "the change is a restart");
}

//! Hosts whose model servers have wrong sizes: KV cache, places, prompt cache, and what they keep in host memory.

use collector_core::past::Day;
use collector_core::statistic::gpu::Statistic as OfGpu;
use collector_core::statistic::model::{Kind, Memory, Statistic as OfModel};
use collector_core::statistic::workload::Statistic;

use super::Row;
use super::gpu::{HOST, after};
use crate::advice::{busy, day, host_days};
use crate::made::{GIB, Host, MIB};

/// A server on a GPU with so much free, that is in use for so many percent of the time; of a host that is read for so many hours. The host,
/// the server's workload and the GPU.
pub(super) fn serving(
    kind: Kind,
    hours: u64,
    (free, utilization): (u64, u64),
    numbers: &[(OfModel, u64)],
) -> (Host, u64, usize) {
    let mut host = Host::over(HOST, hours * 3600);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    let own = host.workload(&format!("/system.slice/{}.service", kind.label()), 10 * GIB, 9 * GIB);
    let usual = [(OfModel::RequestsRunning, 2), (OfModel::RequestsWaiting, 0)];
    let numbers: Vec<_> = usual.iter().chain(numbers).copied().collect();
    host.serves(own, kind, &numbers);
    let card = host.card(free, utilization);
    host.holds(card, own, 80 * GIB - free);
    (host, own, card)
}

/// vLLM with KV cache of 16 GiB in host memory, to which it moves 100 MiB a minute and so many back.
pub(super) fn offload(back: u64, numbers: &[(OfModel, u64)]) -> Host {
    let (mut host, ..) = serving(Kind::Vllm, 7, (2 * GIB, 60), numbers);
    host.counts(&[(OfModel::OffloadStored, 100 * MIB), (OfModel::OffloadLoaded, back * MIB)]);
    host
}

/// The KV cache is full, and requests wait.
pub(super) const SHORT: [(OfModel, u64); 5] = [
    (OfModel::KvUsed, 970_000),
    (OfModel::RequestsWaiting, 4),
    (OfModel::RequestsRunning, 30),
    (OfModel::Slots, 64),
    (OfModel::GpuShare, 800_000),
];

/// vLLM whose KV cache is full while requests wait, for so many hours. Another workload holds so many GiB of its GPU,
/// and so many are free.
pub(super) fn crowded(hours: u64, held: u64, free: u64) -> Host {
    let (mut host, _, card) = serving(Kind::Vllm, hours, ((held + free) * GIB, 95), &SHORT);
    let other = host.workload("/system.slice/embed.service", 4 * GIB, 3 * GIB);
    host.holds(card, other, held * GIB);
    host.measures(card, &[(OfGpu::MemoryFree, free * GIB), (OfGpu::MemoryUsed, (80 - free) * GIB)]);
    after(host, hours)
}

/// vLLM that preempts a request each minute of seven hours while so many wait, and whose GPU has no memory left.
pub(super) fn preempts(waiting: u64) -> Host {
    let numbers = [(OfModel::KvUsed, 990_000), (OfModel::RequestsRunning, 40), (OfModel::RequestsWaiting, waiting)];
    let (mut host, ..) = serving(Kind::Vllm, 7, (2 * GIB, 95), &numbers);
    host.counts(&[(OfModel::Preemptions, 1)]);
    after(host, 7)
}

/// llama-server that works on four requests, as many as it can, while two wait; its GPU is in use for so many percent
/// of the time. What is returned is as of [`serving`], for seven hours.
pub(super) fn taken(utilization: u64) -> (Host, u64, usize) {
    let numbers =
        [(OfModel::Slots, 4), (OfModel::RequestsRunning, 4), (OfModel::RequestsWaiting, 2), (OfModel::KvUsed, 300_000)];
    serving(Kind::LlamaCpp, 7, (20 * GIB, utilization), &numbers)
}

/// SGLang that never used more than a fifth of its KV cache, beside another on its GPU.
fn spacious() -> (Host, u64) {
    let numbers = [
        (OfModel::KvUsed, 200_000),
        (OfModel::KvBytes, 40 * GIB),
        (OfModel::GpuShare, 900_000),
        (OfModel::RequestsRunning, 2),
    ];
    let (mut host, _, card) = serving(Kind::Sglang, 21, (10 * GIB, 50), &numbers);
    let other = host.workload("/system.slice/embed.service", 4 * GIB, 3 * GIB);
    host.holds(card, other, 6 * GIB);
    host.run(21 * 3600, 60);
    (host, other)
}

/// llama-server with a prompt cache of 8 GiB below this limit, of which 1 GiB is filled.
pub(super) fn prompts(limit: u64, hits: u64) -> Host {
    let (mut host, own, _) = serving(Kind::LlamaCpp, 8, (20 * GIB, 80), &[(OfModel::PromptCacheBytes, 8 * GIB)]);
    host.has(own, Statistic::MemoryLimit, limit);
    host.has(own, Statistic::MemoryCurrent, 6 * GIB).has(own, Statistic::MemoryWithoutCache, 4 * GIB);
    host.keeps(Memory { anon: 3 * GIB, ..Memory::default() }).run(600, 60);
    host.keeps(Memory { anon: 4 * GIB, ..Memory::default() });
    host.counts(&[(OfModel::PrefixLookups, 1000), (OfModel::PrefixHits, hits)]);
    after(host, 7)
}

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "KV cache short",
        what: "The KV cache of vLLM is full while requests wait, and 12 GiB of its GPU are free.",
        make: || after(serving(Kind::Vllm, 7, (12 * GIB, 95), &SHORT).0, 7),
        sure: &["kv_cache_raise:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "two on a GPU",
        what: "The KV cache of vLLM is full while requests wait, its GPU has nothing left, and another workload holds 10 GiB of it.",
        make: || crowded(2, 10, 1),
        sure: &["gpu_shared:gpu0"],
        unsure: &[],
    },
    Row {
        name: "KV cache too large",
        what: "SGLang never used more than a fifth of its KV cache in a day, and another workload waits for memory of its GPU.",
        make: || {
            let (mut host, other) = spacious();
            host.claims(other, 20 * GIB);
            host.run(60, 30);
            host
        },
        sure: &["kv_cache_lower:sglang:8000"],
        unsure: &[],
    },
    Row {
        name: "KV cache too large, and nobody waits",
        what: "The same, and the other workload has what it needs.",
        make: || spacious().0,
        sure: &[],
        unsure: &["kv_cache_lower:sglang:8000"],
    },
    Row {
        name: "too many at once",
        what: "vLLM preempts a request each minute while none wait, and its GPU has no memory left.",
        make: || preempts(0),
        sure: &["concurrency_lower:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "too few slots",
        what: "Requests wait while llama-server works on four, its GPU is in use for half of the time, and its KV cache for 30 %.",
        make: || after(taken(50).0, 7),
        sure: &["slots_raise:llama_cpp:8000"],
        unsure: &[],
    },
    Row {
        name: "prompt cache beyond the limit",
        what: "The prompt cache of llama-server may grow by 7 GiB, and 4 are left below its limit.",
        make: || prompts(8 * GIB, 500),
        sure: &["prompt_cache_lower:llama_cpp:8000"],
        unsure: &[],
    },
    Row {
        name: "prompt cache of no use",
        what: "Of the tokens of all prompts 1 % was found again in seven hours.",
        make: || prompts(64 * GIB, 10),
        sure: &["prompt_cache_lower:llama_cpp:8000"],
        unsure: &[],
    },
    Row {
        name: "KV offload of no use",
        what: "Of the KV cache that vLLM moves to host memory 4 % comes back.",
        make: || after(offload(4, &[(OfModel::OffloadBytes, 16 * GIB)]), 7),
        sure: &["kv_offload_lower:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "KV offload on a full host",
        what: "Half of what vLLM moves to host memory comes back, and 88 % of the host's memory is in use on average.",
        make: || {
            let mut host = offload(50, &[(OfModel::OffloadBytes, 16 * GIB)]);
            host.days(None, 8, |_| Day {
                memory: Some([0.8, 0.88, 0.89].map(|share| share * HOST as f64)),
                limit: Some(HOST as f64),
                ..Day::default()
            });
            after(host, 7)
        },
        sure: &["kv_offload_lower:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "KV offload that helps",
        what: "Half of what vLLM moves to host memory comes back, its own KV cache is full while requests wait, and the host has room.",
        make: || {
            let numbers: Vec<_> = SHORT.into_iter().chain([(OfModel::OffloadBytes, 16 * GIB)]).collect();
            after(offload(50, &numbers), 7)
        },
        sure: &["kv_offload_raise:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "more pinned than configured",
        what: "vLLM was given 10 GiB of host memory for KV cache and holds 16 GiB.",
        make: || {
            let (mut host, own, _) = serving(Kind::Vllm, 1, (2 * GIB, 60), &[(OfModel::OffloadBytes, 10 * GIB)]);
            for statistic in [Statistic::MemoryCurrent, Statistic::MemoryWithoutCache] {
                host.has(own, statistic, 20 * GIB);
            }
            host.has(own, Statistic::MemoryAnon, 4 * GIB).has(own, Statistic::MemoryShmem, 16 * GIB).keeps(Memory {
                shmem: 16 * GIB,
                pinned: 16 * GIB,
                ..Memory::default()
            });
            after(host, 1)
        },
        sure: &["kv_offload_over:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "swap space of vLLM",
        what: "vLLM is started with a swap space of 16 GiB, which its engine does not use.",
        make: || after(serving(Kind::Vllm, 1, (2 * GIB, 60), &[(OfModel::UnusedSwapBytes, 16 * GIB)]).0, 1),
        sure: &["vllm_swap_space:vllm:8000"],
        unsure: &[],
    },
    Row {
        name: "too many requests",
        what: "A model works on nine requests of ten that it has places for.",
        make: || {
            let numbers = [(OfModel::Slots, 10), (OfModel::RequestsRunning, 9), (OfModel::RequestsWaiting, 0)];
            after(serving(Kind::Vllm, 1, (2 * GIB, 90), &numbers).0, 1)
        },
        sure: &[],
        unsure: &["model_scale:llama"],
    },
    Row {
        name: "CPU quota",
        what: "Its CPU quota throttles a server in 30 % of its periods, and the host has CPUs to spare.",
        make: || busy::server(Kind::Vllm, 3, 8.0),
        sure: &["cpu_quota_raise:vllm.service"],
        unsure: &[],
    },
    Row {
        name: "threads beyond the quota",
        what: "Its CPU quota throttles llama-server in 30 % of its periods, and the host has no CPU to spare.",
        make: || busy::server(Kind::LlamaCpp, 3, 16.0),
        sure: &["cpu_threads_lower:llama_cpp.service"],
        unsure: &[],
    },
    Row {
        name: "model of the office",
        what: "A model of Ollama is used from eight to six on five days of the week, for four weeks.",
        make: || {
            let office = |hour: usize| hour / 24 < 5 && (8..18).contains(&(hour % 24));
            used(Kind::Ollama, 0, office)
        },
        sure: &["model_warm_up:llama"],
        unsure: &[],
    },
    Row {
        name: "model that nobody asks for",
        what: "A model is loaded, and was used only on Sundays, for the last time five days ago.",
        make: || used(Kind::Vllm, 5, |hour| hour / 24 == 6),
        sure: &["model_unload:llama"],
        unsure: &[],
    },
];

/// A server whose model was used in these hours of four weeks, and so many days ago for the last time.
pub(super) fn used(kind: Kind, days_ago: u64, hours: impl Fn(usize) -> bool) -> Host {
    let (mut host, ..) = serving(kind, 1, (20 * GIB, 0), &[(OfModel::GeneratedTokens, 5)]);
    host.days(None, 28, |_| day(HOST / 2, HOST / 4, Some(HOST))).used("llama", days_ago, hours);
    after(host, 1)
}

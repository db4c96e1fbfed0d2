//! Hosts with wrong limits, with swap that is missing or too large, and with models that do not stay in memory.

use collector_core::statistic::model_file::{Layout, Tier};
use collector_core::statistic::workload::Statistic;

use super::Row;
use crate::advice::{day, limit, model, protect, swap};
use crate::made::{GIB, MIB, SECOND};

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "over-provisioned",
        what: "A service needs 6 GiB on each of eight days, and its limit is 32 GiB.",
        make: || limit::web(32 * GIB, 6 * GIB, 8, |_, day| day).0,
        sure: &["memory_limit_lower:web.service"],
        unsure: &[],
    },
    Row {
        name: "limit too low",
        what: "Three processes of a service were killed at its limit of 2 GiB yesterday.",
        make: || limit::web(2 * GIB, 2 * GIB - 20 * MIB, 8, limit::killed).0,
        sure: &["memory_limit_raise:web.service"],
        unsure: &[],
    },
    Row {
        name: "limit hardly enough",
        what: "A service needs all but 64 MiB of its limit of 4 GiB each day.",
        make: || limit::web(4 * GIB, 4 * GIB - 64 * MIB, 8, |_, day| day).0,
        sure: &["memory_limit_raise:web.service"],
        unsure: &[],
    },
    Row {
        name: "page cache at the limit",
        what: "A service is at its limit with page cache, and nobody waits: how much of that it needs is not known.",
        make: || {
            let (mut host, web) = limit::web(4 * GIB, GIB, 8, |_, _| day(4 * GIB, GIB, Some(4 * GIB)));
            host.has(web, Statistic::MemoryCurrent, 4 * GIB).has(web, Statistic::MemoryFile, 3 * GIB).run(5, 1);
            host
        },
        sure: &[],
        unsure: &["memory_limit_lower:web.service"],
    },
    Row {
        name: "no limit",
        what: "A job without a limit takes half of a host that was full, waited for memory and killed.",
        make: || limit::hog((900.0, 2), 0.97),
        sure: &["memory_limit_missing:train.service"],
        unsure: &[],
    },
    Row {
        name: "no limit, and room",
        what: "The same job on a host that always had enough.",
        make: || limit::hog((0.0, 0), 0.6),
        sure: &[],
        unsure: &["memory_limit_missing:train.service"],
    },
    Row {
        name: "promised too much",
        what: "Three services have limits of 84 GiB together on a host of 64 GiB, which was full and killed.",
        make: || limit::promised(0.97, (0.0, 3)),
        sure: &["memory_host_reserve:host"],
        unsure: &[],
    },
    Row {
        name: "server reclaimed from",
        what: "A backup reclaims the memory of a model server that has no protection and waited for memory each day.",
        make: || {
            let (mut host, _, batch) = protect::beside(400.0, None, true);
            protect::reclaims(&mut host, batch, 40 * GIB);
            host.run(5, 1);
            host
        },
        sure: &["memory_low:vllm.service"],
        unsure: &[],
    },
    Row {
        name: "memory.high trap",
        what: "A job without page cache is throttled at its memory.high, and there is no swap.",
        make: || protect::at_high(10 * MIB, 0, true),
        sure: &["memory_high_trap:job.service"],
        unsure: &[],
    },
    Row {
        name: "page cache of a backup",
        what: "A backup fills half of the host with page cache, and processes of others were killed.",
        make: || protect::fills(30 * GIB, 1, false),
        sure: &["memory_high_set:backup.service"],
        unsure: &[],
    },
    Row {
        name: "thrashing",
        what: "All tasks wait for a quarter of the time while pages come back from swap.",
        make: || swap::thrashes(SECOND / 4, 30 * MIB),
        sure: &["swap_thrashing:host"],
        unsure: &[],
    },
    Row {
        name: "no swap",
        what: "A host without swap was full and killed, though half of its memory could be swapped out.",
        make: || swap::host(0.98, (0.0, 2), swap::without_swap),
        sure: &["swap_missing:host"],
        unsure: &[],
    },
    Row {
        name: "zram as large as the memory",
        what: "zram may take all of the memory of the host.",
        make: || swap::host(0.5, (0.0, 0), swap::zram(16 * GIB, GIB)),
        sure: &["zram_too_large:host"],
        unsure: &[],
    },
    Row {
        name: "kswapd too late",
        what: "Tasks spend 100 s an hour in direct reclaim though half of the memory can be had.",
        make: || swap::late(24_000, 10, 8 * GIB),
        sure: &["watermark_scale_factor:host"],
        unsure: &[],
    },
    Row {
        name: "huge pages for everybody",
        what: "Tasks spend 100 s an hour in compaction for huge pages that nobody asked for.",
        make: || swap::waits(24_000, 2, 4),
        sure: &["huge_pages_defrag:host"],
        unsure: &[],
    },
    Row {
        name: "model larger than its limit",
        what: "A server at its limit of 14 GiB maps a model of 20 GiB and reads it again and again.",
        make: || model::llama(50 * MIB, Tier::Ssd, model::at_limit),
        sure: &["memory_limit_raise:llama.service"],
        unsure: &[],
    },
    Row {
        name: "model pressed out",
        what: "Others press a mapped model out of the page cache, and it is read again and again.",
        make: || model::llama(50 * MIB, Tier::Ssd, model::pressed),
        sure: &["model_file_again:llama.service", "memory_low:llama.service"],
        unsure: &[],
    },
    Row {
        name: "model on a network filesystem",
        what: "A mapped model on NFS is read again and again.",
        make: || model::llama(50 * MIB, Tier::Network, |_, _| ()),
        sure: &["model_file_disk:llama.gguf"],
        unsure: &[],
    },
    Row {
        name: "models that nobody uses",
        what: "A store on a disk that is 90 % full has 40 GiB of models that nobody was seen to use.",
        make: || model::store(Layout::Ollama, Some(40 * GIB), 0.9),
        sure: &["model_files_unused:/var/lib/ollama/models"],
        unsure: &[],
    },
];

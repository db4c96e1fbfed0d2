//! Hosts that are well, though some of their numbers look as if they were not: nothing is advised.

use collector_core::statistic::gpu::Statistic as OfGpu;
use collector_core::statistic::model::{Kind, Statistic as OfModel};
use collector_core::statistic::model_file::Tier;

use super::Row;
use super::gpu::{after, job};
use super::server::serving;
use super::shared::{flooded, var};
use crate::advice::{limit, model, protect, swap};
use crate::made::{GIB, MIB};

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "all is well",
        what: "A service needs 6 GiB of its limit of 8 GiB, and the host has room.",
        make: || limit::web(8 * GIB, 6 * GIB, 8, |_, day| day).0,
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "half a day of history",
        what: "A service that is over-provisioned, as far as half a day shows.",
        make: || limit::web(32 * GIB, 6 * GIB, 1, |_, day| day).0,
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "leaking",
        what: "A service that was killed at its limit takes 12 % of it more each hour: a higher limit would only postpone the next kill.",
        make: limit::leaks,
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "full, and nobody minds",
        what: "98 % of a host without swap is in use, and nobody waits or is killed.",
        make: || swap::host(0.98, (0.0, 0), swap::without_swap),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "zram of half the memory",
        what: "zram may take half of the memory of the host.",
        make: || swap::host(0.5, (0.0, 0), swap::zram(8 * GIB, 2 * GIB)),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "memory.high with page cache",
        what: "A job is throttled at its memory.high and has a GiB of page cache to give.",
        make: || protect::at_high(GIB, 0, true),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "model on a GPU",
        what: "A server at its limit maps a model whose layers are on a GPU: nothing of the file is read again.",
        make: || model::llama(0, Tier::Ssd, model::at_limit),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "model server by design",
        what: "vLLM takes 92 % of its GPU; its KV cache is half full, and nobody waits.",
        make: || {
            let numbers = [
                (OfModel::KvUsed, 500_000),
                (OfModel::GpuShare, 920_000),
                (OfModel::Slots, 256),
                (OfModel::RequestsRunning, 128),
                (OfModel::RequestsWaiting, 0),
            ];
            after(serving(Kind::Vllm, 7, (6 * GIB, 80), &numbers).0, 7)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "training at its aim",
        what: "A job keeps its GPU busy for 92 % of the time.",
        make: || after(job(7, 40 * GIB, 92).0, 7),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "notebook",
        what: "A notebook holds a GPU and runs something in two minutes of ten: no larger batch would change that.",
        make: || {
            let (mut host, _, card) = job(21, 70 * GIB, 60);
            host.works(card, 2, 10);
            after(host, 21)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "GPU that saves power",
        what: "An idle GPU has lowered its PCIe link to generation 1.",
        make: || {
            let (mut host, _, card) = job(2, 40 * GIB, 0);
            host.measures(card, &[(OfGpu::PcieGeneration, 1)]);
            after(host, 2)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "memory near its GPU",
        what: "Most of a job's memory, and its CPUs, are in the memory node of its GPU.",
        make: || {
            let (mut host, train, card) = job(1, 8 * GIB, 92);
            host.measures(card, &[(OfGpu::NumaNode, 1)]).is_on(train, &[(GIB, false), (3 * GIB, true)]);
            host.copies(train, 400_000_000, 64 * MIB);
            after(host, 1)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "disk that somebody cleans",
        what: "A filesystem fills by 10 % a day, and each third day its logs are rotated.",
        make: || var(&[60.0, 70.0, 80.0, 62.0, 72.0, 82.0, 64.0, 74.0, 84.0]),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "one burst of a neighbour",
        what: "A server waited once in a week for the IO of a backup.",
        make: || flooded(1, true),
        sure: &[],
        unsure: &[],
    },
];

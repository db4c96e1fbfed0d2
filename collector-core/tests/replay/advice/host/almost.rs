//! Hosts with GPUs and model servers that come near to what a rule advises: too short, too little, too seldom, or somebody has reason for it.

use collector_core::statistic::gpu::Statistic as OfGpu;
use collector_core::statistic::model::{Kind, Statistic as OfModel};

use super::Row;
use super::gpu::{LINK, after, job};
use super::server::{SHORT, crowded, preempts, serving, taken, used};
use crate::made::{GIB, Host, MIB};

/// A busy job on a GPU that has these numbers for so many minutes, and then others for seven hours.
fn at_first(minutes: u64, numbers: &[(OfGpu, u64)], then: &[(OfGpu, u64)]) -> Host {
    let (mut host, _, card) = job(8, 8 * GIB, 92);
    host.measures(card, numbers).run(minutes * 60, 60);
    host.measures(card, then);
    after(host, 7)
}

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "hot for half an hour",
        what: "Heat reduced the clocks of a busy GPU for 30 minutes of seven hours.",
        make: || at_first(30, &[(OfGpu::Throttle, 0x40)], &[(OfGpu::Throttle, 0)]),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "full link while it loaded",
        what: "The link of a GPU was full for 15 minutes of seven hours, while a checkpoint was loaded.",
        make: || {
            let full = [(OfGpu::PcieLink, LINK), (OfGpu::HostToDeviceRate, LINK / 100 * 90)];
            at_first(15, &full, &[(OfGpu::HostToDeviceRate, LINK / 100)])
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "slot below the card, and little to carry",
        what: "A card with 16 lanes sits in a slot with 8, and uses 1 % of what these carry.",
        make: || {
            let slot = [(OfGpu::PcieWidth, 8), (OfGpu::PcieWidthMax, 8), (OfGpu::PcieLink, LINK / 2)];
            let (mut host, _, card) = job(1, 8 * GIB, 92);
            host.measures(card, &slot).measures(card, &[(OfGpu::HostToDeviceRate, LINK / 200)]);
            after(host, 1)
        },
        sure: &[],
        unsure: &["pcie_slot:gpu0"],
    },
    Row {
        name: "far memory, and few copies",
        what: "Three quarters of the memory of a job are in the other memory node, and it hardly copies.",
        make: || {
            let (mut host, train, card) = job(1, 8 * GIB, 92);
            host.measures(card, &[(OfGpu::NumaNode, 1)]).is_on(train, &[(6 * GIB, true), (2 * GIB, true)]);
            host.copies(train, 1_000_000, 64 * MIB);
            after(host, 1)
        },
        sure: &[],
        unsure: &["gpu_numa:train.service"],
    },
    Row {
        name: "small neighbour on the GPU",
        what: "The KV cache of vLLM is full while requests wait, and another workload holds 2 GiB of its GPU: too little to matter.",
        make: || crowded(2, 2, 1),
        sure: &[],
        unsure: &["model_scale:llama"],
    },
    Row {
        name: "KV cache short beside another",
        what: "The KV cache of vLLM is full while requests wait; 12 GiB are free, which another workload on its GPU may need.",
        make: || crowded(7, 8, 12),
        sure: &[],
        unsure: &["kv_cache_raise:vllm:8000"],
    },
    Row {
        name: "full KV cache, and nobody waits",
        what: "97 % of the KV cache of vLLM is in use, and no request waits.",
        make: || {
            let calm: Vec<_> = SHORT.into_iter().chain([(OfModel::RequestsWaiting, 0)]).collect();
            after(serving(Kind::Vllm, 7, (12 * GIB, 95), &calm).0, 7)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "preempted while others wait",
        what: "vLLM preempts requests while five wait, and its GPU has no memory left: there is too much to do.",
        make: || preempts(5),
        sure: &[],
        unsure: &["model_scale:llama"],
    },
    Row {
        name: "slots taken, and the GPU is busy",
        what: "Requests wait while llama-server works on four, and its GPU is in use for 92 % of the time.",
        make: || after(taken(92).0, 7),
        sure: &[],
        unsure: &["model_scale:llama"],
    },
    Row {
        name: "model of each day",
        what: "A model is loaded, and was used in each hour of four weeks.",
        make: || used(Kind::Vllm, 0, |_| true),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "XID of a program",
        what: "A program made an error on a GPU (XID 31).",
        make: || {
            let (mut host, ..) = job(1, 8 * GIB, 92);
            host.run(600, 60);
            let uuid = "GPU-0".into();
            let xid = collector_core::statistic::gpu::Reading::Xid { uuid, code: 31 };
            host.apply(collector_core::sample::Reading::Gpu(xid));
            host.run(60, 60);
            host
        },
        sure: &[],
        unsure: &[],
    },
];

//! Hosts close to what a rule advises: they do not need it, or the rule is not sure.

use collector_core::past::Day;
use collector_core::statistic::model::{Kind, Statistic as OfModel};
use collector_core::statistic::workload::Statistic;

use super::Row;
use super::gpu::{HOST, after, job};
use super::server::{SHORT, offload, prompts, serving, taken};
use super::shared::var;
use crate::advice::{busy, day, host_days, limit, protect, swap};
use crate::made::{GIB, Host, MIB};

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "job of each month",
        what: "A service needs 6 GiB, and needed 28 of its limit of 32 GiB two weeks ago.",
        make: || {
            let of_day = |back, other| if back == 15 { day(28 * GIB, 28 * GIB, Some(32 * GIB)) } else { other };
            limit::web(32 * GIB, 6 * GIB, 20, of_day).0
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "limit that was raised",
        what: "A service was killed at its limit yesterday, which has been raised since then.",
        make: || {
            let older = |back, other: Day| {
                if back == 1 { limit::killed(1, day(2 * GIB, 2 * GIB, Some(2 * GIB))) } else { other }
            };
            limit::web(3 * GIB, 2 * GIB, 8, older).0
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "killed by others",
        what: "A process of a service was killed far below its limit: something above it had run out of memory.",
        make: || {
            let elsewhere = |back, other: Day| Day { kills: Some(u32::from(back == 1)), ..other };
            limit::web(8 * GIB, 6 * GIB, 8, elsewhere).0
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "data that is read once",
        what: "A job without a limit reads its data through 190 GiB of page cache, and the host has room.",
        make: || {
            let mut host = Host::new(HOST);
            host_days(&mut host, HOST, 0.5, (0.0, 0));
            host.workload("/system.slice/train.service", 200 * GIB, 10 * GIB);
            host.days(Some("train.service"), 8, |_| day(200 * GIB, 10 * GIB, None)).run(60, 1);
            host
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "server that waits for itself",
        what: "A model server reclaims its own memory and waits for that; others have nothing to do with it.",
        make: || {
            let (mut host, vllm, _) = protect::beside(400.0, None, true);
            protect::reclaims(&mut host, vllm, 40 * GIB);
            host.run(5, 1);
            host
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "cold pages in swap",
        what: "Most of swap is in use, nothing comes back from it, and nobody waits.",
        make: || swap::thrashes(0, 0),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "quota that is enough",
        what: "A server has a CPU quota and is not throttled.",
        make: || busy::server(Kind::Vllm, 0, 8.0),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "quota on a busy host",
        what: "Its CPU quota throttles vLLM, and the host has no CPU to spare.",
        make: || busy::server(Kind::Vllm, 3, 16.0),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "overloaded, and all is used",
        what: "The KV cache of vLLM is full while requests wait, and all of its GPU is its own: only another instance helps.",
        make: || after(serving(Kind::Vllm, 7, (2 * GIB, 95), &SHORT).0, 7),
        sure: &[],
        unsure: &["model_scale:llama"],
    },
    Row {
        name: "KV offload that is asked now and then",
        what: "A tenth of what vLLM moves to host memory comes back, and the host has room.",
        make: || after(offload(10, &[(OfModel::OffloadBytes, 16 * GIB)]), 7),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "prompt cache that helps",
        what: "Half of the tokens of prompts are found again, and there is room for more.",
        make: || prompts(64 * GIB, 500),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "disk that hardly grows",
        what: "/var is 60 % full and grew by 100 MiB on each of eight days.",
        make: || var(&[60.0, 60.1, 60.2, 60.3, 60.4, 60.5, 60.6, 60.7]),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "memory.high with swap",
        what: "A job without page cache is throttled at its memory.high, and there is swap for what it seldom uses.",
        make: || protect::at_high(10 * MIB, 8 * GIB, true),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "page cache of a server",
        what: "A model server fills half of a host with page cache that was full and killed: it is not the one to give way.",
        make: || protect::fills(30 * GIB, 1, true),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "seldom direct reclaim",
        what: "Tasks spend 1 s an hour in direct reclaim.",
        make: || swap::late(240, 10, 8 * GIB),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "direct reclaim of a full host",
        what: "Tasks spend 100 s an hour in direct reclaim, and 1 of 16 GiB can be had: earlier reclaim frees no more.",
        make: || swap::late(24_000, 10, GIB),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "one large download",
        what: "/var was half full for a week, and 30 % more since today.",
        make: || var(&[50.0, 50.0, 50.0, 50.0, 50.0, 50.0, 50.0, 80.0]),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "one large download, on a new host",
        what: "/var was half full for three days, and 30 % more since today.",
        make: || var(&[50.0, 50.0, 50.0, 80.0]),
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "steady service beside a job that grows",
        what: "Neither has a limit; the host was full and killed; the job grows each day, and the service always holds as much.",
        make: || {
            let mut host = limit::hog((900.0, 2), 0.97);
            host.workload("/system.slice/api.service", 20 * GIB, 20 * GIB);
            let held = [20.0 * GIB as f64; 3];
            let steady = |_| Day { memory: Some(held), anon: Some(held), ..day(0, 0, None) };
            host.days(Some("api.service"), 8, steady).run(60, 1);
            host
        },
        sure: &["memory_limit_missing:train.service"],
        unsure: &["memory_limit_missing:api.service"],
    },
    Row {
        name: "slots are not what is missing",
        what: "Requests wait while llama-server works on four and its GPU is in use for half of the time, because its CPU quota throttles it.",
        make: || {
            let (mut host, own, _) = taken(50);
            busy::of_cpus(&mut host, 8.0);
            busy::throttle(&mut host, own, 3);
            host.run(7 * 3600, 60).quota(own, 2000);
            host
        },
        sure: &["cpu_quota_raise:llama_cpp.service"],
        unsure: &[],
    },
    Row {
        name: "four GPUs",
        what: "A job takes 20 of 80 GiB on each of four GPUs, in use for 60 % of 21 hours.",
        make: || {
            let (mut host, train, _) = job(21, 60 * GIB, 60);
            for _ in 0..3 {
                let card = host.card(60 * GIB, 60);
                host.holds(card, train, 20 * GIB);
            }
            after(host, 21)
        },
        sure: &["batch_size:train.service"],
        unsure: &[],
    },
    Row {
        name: "one full GPU of two",
        what: "The same job on two GPUs, one of which is full: what is the batch of one is that of the other.",
        make: || {
            let (mut host, train, _) = job(21, 60 * GIB, 60);
            let card = host.card(4 * GIB, 60);
            host.holds(card, train, 76 * GIB);
            after(host, 21)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "memory taken at the start",
        what: "A job holds three quarters of its GPU from its start on, as JAX does: whether it needs them is not known.",
        make: || after(job(21, 20 * GIB, 60).0, 21),
        sure: &[],
        unsure: &["batch_size:train.service"],
    },
    Row {
        name: "job that waits for its disk",
        what: "The tasks of a job that leaves half of its GPU unused wait for IO in half of the time.",
        make: || {
            let (mut host, train, _) = job(2, 60 * GIB, 60);
            host.gains(train, Statistic::IoPressureSome, 500_000_000);
            after(host, 2)
        },
        sure: &[],
        unsure: &[],
    },
    Row {
        name: "two small jobs",
        what: "Two jobs share a GPU, and neither knows what the other will take.",
        make: || {
            let (mut host, _, card) = job(2, 50 * GIB, 60);
            let other = host.workload("/system.slice/notebook.service", GIB, 900 * MIB);
            host.holds(card, other, 10 * GIB);
            after(host, 2)
        },
        sure: &[],
        unsure: &[],
    },
];

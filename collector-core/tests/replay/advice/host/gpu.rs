//! Hosts whose GPUs are held back, sit in a wrong slot, wait for copies, are far from their memory, or could do more.

use collector_core::sample::Reading;
use collector_core::statistic::gpu;
use collector_core::statistic::gpu::Statistic as OfGpu;

use super::Row;
use crate::advice::busy::{of_cpus, throttle};
use crate::advice::host_days;
use crate::made::{GIB, Host, MIB};

pub(super) const HOST: u64 = 256 * GIB;
/// What 16 lanes of generation 5 carry in each direction, in bytes per second.
pub(super) const LINK: u64 = 63_000_000_000;

/// A job that has a GPU for itself, with so much of it free, that runs something for so many percent of the time; of a host that is read for
/// so many hours. The host, the job and the GPU.
pub(super) fn job(hours: u64, free: u64, utilization: u64) -> (Host, u64, usize) {
    let mut host = Host::over(HOST, hours * 3600);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    let train = host.workload("/system.slice/train.service", 8 * GIB, 7 * GIB);
    let card = host.card(free, utilization);
    host.holds(card, train, 80 * GIB - free);
    (host, train, card)
}

/// So many hours later, read by the minute.
pub(super) fn after(mut host: Host, hours: u64) -> Host {
    host.run(hours * 3600, 60);
    host
}

/// A busy job on a GPU with these numbers.
fn measured(hours: u64, numbers: &[(OfGpu, u64)]) -> Host {
    let (mut host, _, card) = job(hours, 8 * GIB, 92);
    host.measures(card, numbers);
    after(host, hours)
}

pub(super) const HOSTS: &[Row] = &[
    Row {
        name: "half of a GPU",
        what: "For 21 hours a job kept its GPU running, in use for 60 % of the time, and took 20 of 80 GiB.",
        make: || after(job(21, 60 * GIB, 60).0, 21),
        sure: &["batch_size:train.service"],
        unsure: &[],
    },
    Row {
        name: "half of a GPU, since this morning",
        what: "The same, known for three hours.",
        make: || after(job(3, 60 * GIB, 60).0, 3),
        sure: &[],
        unsure: &["batch_size:train.service"],
    },
    Row {
        name: "throttled job",
        what: "The CPU quota of such a job throttles it in 30 % of its periods, and the host has CPUs to spare: its batch is not what holds it back.",
        make: || {
            let (mut host, train, _) = job(2, 60 * GIB, 60);
            of_cpus(&mut host, 8.0);
            throttle(&mut host, train, 3);
            host.run(2 * 3600, 60).quota(train, 2000);
            host
        },
        sure: &["cpu_quota_raise:train.service"],
        unsure: &[],
    },
    Row {
        name: "hot GPU",
        what: "Heat reduced the clocks of a busy GPU for seven hours.",
        make: || measured(7, &[(OfGpu::Throttle, 0x40), (OfGpu::Temperature, 92)]),
        sure: &["gpu_throttled:gpu0"],
        unsure: &[],
    },
    Row {
        name: "power limit",
        what: "Its power limit reduced the clocks of a busy GPU for seven hours, which may be as intended.",
        make: || measured(7, &[(OfGpu::Throttle, 0x4)]),
        sure: &[],
        unsure: &["gpu_power_capped:gpu0"],
    },
    Row {
        name: "lanes missing",
        what: "The link of a busy GPU has 8 of 16 lanes.",
        make: || measured(2, &[(OfGpu::PcieWidth, 8)]),
        sure: &["pcie_link_degraded:gpu0"],
        unsure: &[],
    },
    Row {
        name: "wrong slot",
        what: "A card with 16 lanes sits in a slot with 8, and uses 40 % of what these carry.",
        make: || {
            let slot = [(OfGpu::PcieWidth, 8), (OfGpu::PcieWidthMax, 8), (OfGpu::PcieLink, LINK / 2)];
            let numbers: Vec<_> = slot.into_iter().chain([(OfGpu::HostToDeviceRate, LINK / 5)]).collect();
            measured(2, &numbers)
        },
        sure: &["pcie_slot:gpu0"],
        unsure: &[],
    },
    Row {
        name: "full link",
        what: "For seven hours 85 % of the link of a GPU was in use.",
        make: || measured(7, &[(OfGpu::PcieLink, LINK), (OfGpu::HostToDeviceRate, LINK / 100 * 85)]),
        sure: &["pcie_link_full:gpu0"],
        unsure: &[],
    },
    Row {
        name: "pageable copies",
        what: "A job copies 400 MB a second to its GPU from memory that is not pinned.",
        make: || {
            let (mut host, train, _) = job(1, 8 * GIB, 92);
            host.copies(train, 400_000_000, 0);
            after(host, 1)
        },
        sure: &[],
        unsure: &["pageable_copies:train.service"],
    },
    Row {
        name: "memory far from its GPU",
        what: "Three quarters of the memory of a job that copies a lot are in the other memory node.",
        make: || {
            let (mut host, train, card) = job(1, 8 * GIB, 92);
            host.measures(card, &[(OfGpu::NumaNode, 1)]).is_on(train, &[(6 * GIB, true), (2 * GIB, true)]);
            host.copies(train, 400_000_000, 64 * MIB);
            after(host, 1)
        },
        sure: &["gpu_numa:train.service"],
        unsure: &[],
    },
    Row {
        name: "VRAM of nobody",
        what: "For an hour 10 GiB of an idle GPU are in use that no process holds.",
        make: || {
            let mut host = Host::over(HOST, 3600);
            host_days(&mut host, HOST, 0.5, (0.0, 0));
            host.card(70 * GIB, 0);
            after(host, 1)
        },
        sure: &[],
        unsure: &["gpu_memory_left:gpu0"],
    },
    Row {
        name: "orphan",
        what: "The owner of a reservation is gone, and a process of its cgroup still holds 20 GiB of the GPU.",
        make: || {
            let mut host = Host::new(HOST);
            host_days(&mut host, HOST, 0.5, (0.0, 0));
            let train = host.workload("/system.slice/train.service", 8 * GIB, 7 * GIB);
            let card = host.card(80 * GIB, 0);
            host.run(10, 1);
            let id = host.claims(train, 20 * GIB);
            host.holds(card, train, 20 * GIB);
            host.measures(card, &[(OfGpu::MemoryFree, 60 * GIB), (OfGpu::MemoryUsed, 20 * GIB)]).run(10, 1);
            host.ends(id, train).run(60, 1);
            host
        },
        sure: &["gpu_memory_left:gpu0"],
        unsure: &[],
    },
    Row {
        name: "GPU off the bus",
        what: "A GPU reported XID 79.",
        make: || {
            let mut host = measured(1, &[]);
            host.apply(Reading::Gpu(gpu::Reading::Xid { uuid: "GPU-0".into(), code: 79 }));
            host.run(5, 1);
            host
        },
        sure: &["gpu_errors:gpu0"],
        unsure: &[],
    },
];

//! Work that is far from its GPU: memory and CPUs in another memory node (NUMA).

use super::{Rule, names};
use crate::action::{Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::advise::draft::{draft, lately};
use crate::amount::{bytes, percent};
use crate::target;
use crate::view::slow::{Fact, holds, own_nodes};

/// It is far if so much of its memory is, and that is so many bytes at least.
const FAR: f64 = 0.5;
const MUCH: f64 = 1_073_741_824.0;
/// Who copies so many bytes a second feels it.
const COPIES: f64 = 100e6;

pub(super) const REMOTE: Rule = Rule {
    name: "gpu_numa",
    when: "On a host with several memory nodes, all GPUs of a workload are in one, and half of its memory, a GiB at least, is in others, or its tasks may run on no CPU there.",
    needs: "memory.numa_stat, /proc/PID/status, and the node of the GPU (/sys/bus/pci)",
    judge: |given, judged| {
        let view = given.view;
        for name in names(given) {
            let nodes = view.slow.nodes(name);
            let Some(workload) = view.workloads.find(name).filter(|_| nodes.len() > 1) else { continue };
            let object = Object::Workload(name.to_owned());
            let own =
                own_nodes(view.gpus.iter().filter(|gpu| gpu.device.parent.is_none() && holds(view, gpu, workload)));
            let [own] = own[..] else {
                if own.is_empty() {
                    judged.lacks("gpu_numa", object, "the memory node of its GPU: the firmware does not say");
                }
                continue;
            };
            let Some(near) = nodes.iter().find(|node| node.node == own).filter(|node| !node.cpus.is_empty()) else {
                continue;
            };
            let trail = view.slow.workload(name);
            let of = |fact| lately(view, trail?, fact);
            let (memory, cpus) = (of(Fact::RemoteMemory), of(Fact::RemoteCpus));
            let all: f64 = nodes.iter().filter_map(|node| node.bytes).map(|bytes| bytes as f64).sum();
            let far = memory.filter(|share| *share >= FAR && share * all >= MUCH);
            let away = cpus.is_some_and(|share| share >= 0.99);
            if far.is_none() && !away {
                continue;
            }
            let rate = of(Fact::ToGpu).into_iter().chain(of(Fact::FromGpu)).reduce(f64::max);
            let title =
                format!("Run {name} on the CPUs of node {own}, where its GPU is: new allocations then go there.");
            let mut said = Vec::new();
            said.extend(far.map(|share| {
                format!("{} of its memory ({}) are in other nodes", percent(share), bytes((share * all) as u64))
            }));
            if away {
                said.push(format!("its tasks may not run on CPUs of node {own} ({})", near.cpus));
            }
            let why = format!(
                "Its GPU is on node {own}, but {}: each copy crosses the link between the sockets.",
                said.join(", and ")
            );
            let mut evidence = vec![Evidence::measured("memory node of its GPU", f64::from(own), Unit::Count)];
            evidence.extend(
                memory.map(|share| Evidence::measured("share of its memory in other nodes", share, Unit::Ratio)),
            );
            evidence.extend(rate.map(|rate| {
                Evidence::measured("copied in a second, in the busier direction", rate, Unit::BytesPerSecond)
            }));
            let copies = rate.is_some_and(|rate| rate >= COPIES);
            let (confidence, because) = match copies {
                true => (
                    Confidence::Medium,
                    "It copies a lot. Memory that is already allocated stays on its node: restart it to move that, too.".to_owned(),
                ),
                false => {
                    (Confidence::Low, "It copies little, or how much is not known, so little may be gained.".to_owned())
                }
            };
            let target = target::of(view, name);
            // No memory nodes: bound to one of them, it would be killed when that is full.
            let cpus = target.and_then(|target| target.cpuset(&near.cpus, None));
            let what = format!("start it with numactl --preferred={own}, which takes other memory once that is full");
            let actions = cpus.into_iter().chain([by_hand(object.clone(), what, Risk::High)]).collect();
            let advice = draft("gpu_numa", object, actions, title, why);
            judged.advice.push(Advice { evidence, confidence, because, ..advice });
        }
    },
};

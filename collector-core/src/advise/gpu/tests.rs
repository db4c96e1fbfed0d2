//! Each rule where it is given, where it just is not, and where something is missing.

use std::sync::Arc;

use crate::action::Risk;
use crate::advice::{Advice, Confidence, Origin};
use crate::advise::world::{GIB, OTHER, OWN, World, holder};
use crate::past::{Day, Span};
use crate::sample::Reading;
use crate::statistic::contention::Node;
use crate::statistic::gpu::Statistic::*;
use crate::statistic::gpu::{self, Statistic};
use crate::statistic::model;
use crate::statistic::model::Kind;
use crate::statistic::workload::Statistic::IoPressureSome;

fn world(numbers: &[(Statistic, u64)]) -> World {
    World::new(Kind::Vllm).card(10 * GIB, 90).put(numbers)
}

fn sure(advice: Option<Advice>) -> Option<Confidence> {
    advice.map(|advice| advice.confidence)
}

#[test]
fn a_link_that_is_full() {
    let with =
        |rate: u64, hours| world(&[(PcieLink, 100), (HostToDeviceRate, rate), (DeviceToHostRate, 1)]).hours(hours);
    assert_eq!(sure(with(85, 21.0).advice("pcie_link_full")), Some(Confidence::High));
    assert_eq!(with(79, 21.0).advice("pcie_link_full"), None);
    assert_eq!(with(85, 0.5).lacks("pcie_link_full").len(), 1);
    assert_eq!(world(&[]).hours(2.0).advice("pcie_link_full"), None, "nothing is known of it");
}

#[test]
fn a_link_that_is_lower_than_it_could_be() {
    let link = |width: u64, generation: u64, utilization: u64| {
        let link = [(PcieWidth, width), (PcieWidthMax, 16), (PcieGeneration, generation), (PcieGenerationMax, 5)];
        sure(world(&link).put(&[(Utilization, utilization)]).hours(1.0).advice("pcie_link_degraded"))
    };
    assert_eq!(link(8, 5, 90), Some(Confidence::High));
    assert_eq!(link(16, 4, 90), Some(Confidence::Medium));
    assert_eq!(link(16, 4, 20), Some(Confidence::Low), "it may save power");
    assert_eq!(link(16, 5, 90), None);
    assert_eq!(link(8, 5, 2), None, "an idle GPU");
}

#[test]
fn a_slot_that_is_less_than_the_card() {
    let slot = |here: u64, card: u64, rate: u64| {
        let values = [(PcieWidthMax, here), (PcieWidthCard, card), (PcieLink, 100), (HostToDeviceRate, rate)];
        sure(world(&values).hours(0.5).advice("pcie_slot"))
    };
    assert_eq!(slot(8, 16, 40), Some(Confidence::Medium));
    assert_eq!(slot(8, 16, 1), Some(Confidence::Low));
    assert_eq!(slot(16, 16, 40), None);
    assert_eq!(world(&[(PcieWidthMax, 8)]).hours(0.5).advice("pcie_slot"), None, "the card is not known");
}

#[test]
fn clocks_that_are_held_back() {
    let of = |bits: u64, hours, rule| sure(world(&[(Throttle, bits), (PowerLimit, 700_000)]).hours(hours).advice(rule));
    assert_eq!(of(0x40, 21.0, "gpu_throttled"), Some(Confidence::High));
    assert_eq!(of(0x40, 2.0, "gpu_throttled"), Some(Confidence::Low));
    assert_eq!(of(0x4, 21.0, "gpu_throttled"), None, "its power limit is no fault");
    assert_eq!(of(0x4, 2.0, "gpu_power_capped"), Some(Confidence::Low));
    assert_eq!(of(0x4, 0.5, "gpu_power_capped"), None);
    assert_eq!(world(&[(Throttle, 0x40)]).hours(0.5).lacks("gpu_throttled").len(), 1);
}

#[test]
fn errors_of_the_hardware() {
    let with = |code: Option<u64>, rows: &[(Statistic, u64)]| {
        let mut world = world(rows).hours(0.1);
        if let Some(code) = code {
            world.apply(Reading::Gpu(gpu::Reading::Xid { uuid: "GPU-a".into(), code }));
        }
        world.advice("gpu_errors")
    };
    let advice = with(Some(79), &[]).unwrap();
    assert!(advice.title.contains("fallen off the bus"), "{}", advice.title);
    assert_eq!(with(Some(31), &[]), None, "a program did that");
    assert!(with(None, &[(RemapPending, 1)]).unwrap().title.starts_with("Reset GPU 0"));
    assert!(with(None, &[(RemapFailed, 1), (RemapPending, 1)]).unwrap().title.starts_with("Have GPU 0"));
    assert_eq!(with(None, &[(RemapPending, 0), (RemapFailed, 0)]), None);
}

#[test]
fn somebody_else_holds_what_a_server_needs() {
    let with = |other: u64, free: u64| {
        let told = [(model::Statistic::KvUsed, 970_000), (model::Statistic::RequestsWaiting, 4)];
        let mut world = World::new(Kind::Vllm).card(free, 95).set(&told);
        world.holders = vec![holder(OWN, 60 * GIB), holder(OTHER, other)];
        world.hours(2.0).advice("gpu_shared")
    };
    let advice = with(10 * GIB, GIB).unwrap();
    assert!(advice.title.starts_with("Move /b off GPU 0 (H100)"), "{}", advice.title);
    assert_eq!(with(3 * GIB, GIB), None, "less than 5 %");
    assert_eq!(with(10 * GIB, 10 * GIB), None, "there is room for both");
}

#[test]
fn memory_that_no_process_holds() {
    let with = |used: u64, utilization: u64, hours: f64| {
        let mut world = world(&[(MemoryUsed, used), (Utilization, utilization)]);
        world.holders = vec![holder(OWN, 10 * GIB)];
        sure(world.hours(hours).advice("gpu_memory_left"))
    };
    assert_eq!(with(14 * GIB, 0, 1.0), Some(Confidence::Low));
    assert_eq!(with(10 * GIB + GIB / 2, 0, 1.0), None);
    assert_eq!(with(14 * GIB, 3, 1.0), None, "it runs something");
    assert_eq!(with(14 * GIB, 0, 0.1), None, "not for long");
}

#[test]
fn work_that_is_far_from_its_gpu() {
    let node = |node, bytes, runs| Node {
        node,
        bytes: Some(bytes),
        runs: Some(runs),
        cpus: format!("{}-{}", 8 * node, 8 * node + 7).into(),
    };
    let with = |near: u64, far: u64, runs: bool, own: Option<u64>| {
        let mut world = world(&[]);
        world.gpu.extend(own.map(|own| (NumaNode, own)));
        world.nodes = [node(0, far, true), node(1, near, runs)].into_iter().collect::<Arc<[Node]>>();
        world.hours(0.1)
    };
    let advice = with(GIB, 3 * GIB, true, Some(1)).advice("gpu_numa").unwrap();
    assert_eq!(advice.confidence, Confidence::Low, "it is not known to copy");
    assert!(advice.why.contains("75 % of its memory"), "{}", advice.why);
    let commands: Vec<_> = advice.actions.iter().flat_map(|action| &action.commands).collect();
    assert!(commands.iter().all(|command| !command.text.contains("mems") && !command.text.contains("MemoryNodes")));
    assert_eq!(with(3 * GIB, GIB, true, Some(1)).advice("gpu_numa"), None);
    let advice = with(3 * GIB, GIB, false, Some(1)).advice("gpu_numa").unwrap();
    assert!(advice.why.contains("may not run on CPUs of node 1 (8-15)"), "{}", advice.why);
    let unknown = with(GIB, 3 * GIB, true, None);
    assert_eq!((unknown.advice("gpu_numa"), unknown.lacks("gpu_numa").len()), (None, 1));
    assert_eq!(world(&[(NumaNode, 0)]).hours(0.1).advice("gpu_numa"), None, "one node");
}

/// A job that has a GPU with so much free for itself, in use for so much of each minute.
fn job(free: u64, utilization: u64) -> World {
    let mut world = World::new(Kind::Vllm).card(free, utilization);
    world.serves = false;
    world
}

#[test]
fn a_batch_that_could_be_larger() {
    // 20 of 80 GiB, and 48 of the 60 that are free: 3.4 times as much.
    let advice = job(60 * GIB, 60).hours(21.0).advice("batch_size").unwrap();
    assert_eq!(advice.title, "Raise the batch size of /a, to at most 3.4 times what it is now.");
    assert_eq!((advice.confidence, advice.risk), (Confidence::Medium, Risk::Medium));
    let linear = advice.evidence.iter().filter(|it| it.origin == Origin::Assumed).count();
    assert!(linear == 2 && advice.because.contains("linear in the batch"), "{advice:#?}");
    assert_eq!(sure(job(60 * GIB, 60).hours(3.0).advice("batch_size")), Some(Confidence::Low), "less than a day");
    // 61 of 80 and 15.2 more are 1.249 times as much; 60 and 16 are 1.27, of which a framework may have reserved most.
    assert_eq!(job(19 * GIB, 60).hours(21.0).advice("batch_size"), None);
    assert_eq!(sure(job(20 * GIB, 60).hours(21.0).advice("batch_size")), Some(Confidence::Low));
    assert_eq!(job(60 * GIB, 86).hours(2.0).advice("batch_size"), None, "its aim is reached");
    assert_eq!(World::new(Kind::Tei).card(60 * GIB, 60).hours(2.0).advice("batch_size"), None, "a model server");
}

#[test]
fn nobody_who_shares_a_gpu_or_waits_between_has_a_batch() {
    let mut shared = job(60 * GIB, 60);
    shared.holders = vec![holder(OWN, 10 * GIB), holder(OTHER, 10 * GIB)];
    let part = job(60 * GIB, 60).put(&[(Mig, 1)]);
    for world in [shared, part] {
        let world = world.hours(2.0);
        assert_eq!((world.advice("batch_size"), world.lacks("batch_size").len()), (None, 0));
    }
    // It runs something in five minutes of six.
    let mut waits = job(60 * GIB, 60);
    for minute in 0..180 {
        let used = if minute % 6 == 0 { 0 } else { 60 };
        waits = waits.put(&[(Utilization, used)]).hours(0.017);
    }
    assert_eq!(waits.advice("batch_size"), None);
}

#[test]
fn what_a_batch_would_need_was_taken_on_a_day_before() {
    let mut world = job(60 * GIB, 60);
    let day = Day { time: 1, seconds: 86_400, vram: Some([0.0, 1.0, 70.0 * GIB as f64]), ..Day::default() };
    world.past.workloads.insert("/a".into(), Span { days: vec![day], ..Span::default() });
    assert_eq!(world.hours(2.0).advice("batch_size"), None, "70 of 80 GiB, and 8 more");
}

#[test]
fn what_is_missing_for_a_larger_batch_is_said() {
    let lacks = job(60 * GIB, 60).hours(0.5).lacks("batch_size");
    assert!(lacks.len() == 1 && lacks[0].starts_with("an hour of its numbers: there are"), "{lacks:?}");
    let mut blind = job(60 * GIB, 60);
    blind.gpu.retain(|(statistic, _)| *statistic != MemoryFree);
    assert_eq!(blind.hours(2.0).lacks("batch_size").len(), 1);
    // Its tasks wait for the disk in half of the time.
    let mut world = job(60 * GIB, 60);
    for minute in 0..120 {
        world.workload = vec![(IoPressureSome, minute * 30_000_000_000)];
        world = world.hours(0.017);
    }
    let lacks = world.lacks("batch_size");
    assert!(world.advice("batch_size").is_none() && lacks[0].contains("wait for IO in 50 %"), "{lacks:?}");
}

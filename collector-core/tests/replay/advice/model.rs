//! Models that do not stay in memory, that lie on slow disks, and that nobody uses.

use std::sync::Arc;

use collector_core::advice::Confidence;
use collector_core::sample::Reading;
use collector_core::statistic::contention::Statistic as Close;
use collector_core::statistic::host::Statistic as OfHost;
use collector_core::statistic::model;
use collector_core::statistic::model_file::{self, Amount, Layout, Store, Stored, Tier};
use collector_core::statistic::workload::Statistic;

use super::{day, host_days};
use crate::made::{DAY, GIB, Host, MIB, advice};

const HOST: u64 = 64 * GIB;
const LLAMA: &str = "/system.slice/llama.service";

/// A server with a mapped model of 20 GiB, of which 12 GiB are in memory, and so much is read again each second.
pub(super) fn llama(again: u64, tier: Tier, set: impl Fn(&mut Host, u64)) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.6, (0.0, 0));
    let llama = host.workload(LLAMA, 14 * GIB, 2 * GIB);
    host.serves(llama, model::Kind::LlamaCpp, &[]);
    host.maps(llama, ("llama.gguf", 20 * GIB, tier), 12 * GIB, again);
    host.closely(llama, Close::RefaultFile, again);
    set(&mut host, llama);
    host.run(300, 1);
    host
}

pub(super) fn at_limit(host: &mut Host, llama: u64) {
    host.has(llama, Statistic::MemoryLimit, 14 * GIB);
}

pub(super) fn pressed(host: &mut Host, _: u64) {
    host.grows(OfHost::ReclaimedKswapd, 100 * MIB).is(OfHost::MemoryAvailable, 30 * GIB);
}

#[test]
fn a_model_that_does_not_fit_into_its_limit_gets_more_room() {
    let judged = llama(50 * MIB, Tier::Ssd, at_limit).expect(&["memory_limit_raise:llama.service"]);
    let raise = advice(&judged, "memory_limit_raise:llama.service");
    let to: u64 = raise.actions[0].after.as_deref().unwrap().parse().unwrap();
    assert!((22 * GIB..=24 * GIB).contains(&to), "2 GiB and 15 %, and 20 GiB: {to}");
    assert!(raise.why.contains("20.0 GiB"), "{}", raise.why);
    llama(10 * 1024, Tier::Ssd, at_limit).expect(&[]);
    // Its layers are on a GPU, and nothing of the file is read again.
    llama(0, Tier::Ssd, at_limit).expect(&[]);
}

#[test]
fn a_model_at_its_memory_high_gets_more_room_there() {
    let at_high = |host: &mut Host, llama| {
        host.has(llama, Statistic::MemoryHigh, 14 * GIB);
    };
    let judged = llama(50 * MIB, Tier::Ssd, at_high).expect(&["model_file_again:llama.service"]);
    let raise = advice(&judged, "model_file_again:llama.service");
    assert_eq!(raise.actions[0].key.as_deref(), Some("memory.high"));
}

#[test]
fn a_model_that_others_press_out_is_locked_and_protected() {
    let judged =
        llama(50 * MIB, Tier::Ssd, pressed).expect(&["model_file_again:llama.service", "memory_low:llama.service"]);
    let lock = advice(&judged, "model_file_again:llama.service");
    let typed: Vec<&str> = lock.actions.iter().flat_map(|action| &action.commands).map(|it| &*it.text).collect();
    assert!(typed.contains(&"--load-mode mmap+mlock") && typed.contains(&"--mlock"), "{typed:?}");
    // What others hold leaves no room for it.
    let full = |host: &mut Host, _| {
        host.grows(OfHost::ReclaimedKswapd, 100 * MIB).is(OfHost::MemoryAvailable, 13 * GIB);
    };
    let judged = llama(50 * MIB, Tier::Ssd, full).judged();
    assert!(advice(&judged, "model_file_again:llama.service").title.contains("7.00 GiB of room"), "{judged:#?}");
    // Nothing that is known presses it out.
    let judged = llama(50 * MIB, Tier::Ssd, |_, _| ()).expect(&[]);
    assert!(judged.lacking.iter().any(|lacking| lacking.rule == "model_file_again"), "{judged:#?}");
}

#[test]
fn a_slow_disk_is_told_only_while_the_model_is_read_again() {
    let network = |again| llama(again, Tier::Network, |_, _| ()).judged();
    let judged = network(50 * MIB);
    assert_eq!(advice(&judged, "model_file_disk:llama.gguf").confidence, Confidence::Medium);
    assert!(network(0).advice.is_empty());
    let judged = llama(50 * MIB, Tier::Hdd, |_, _| ()).judged();
    assert_eq!(advice(&judged, "model_file_disk:llama.gguf").confidence, Confidence::Low, "it may be no disk");
}

/// A host with a store of so much, of which so much is unused as far as that is known, on a filesystem that is so full.
pub(super) fn store(layout: Layout, unused: Option<u64>, full: f64) -> Host {
    let mut host = Host::new(HOST);
    let stored = |name: &str, used| Stored {
        name: name.into(),
        models: vec![name.into()],
        bytes: 20 * GIB,
        in_use: used,
        used: used.then_some(20_000 * DAY),
        duplicate: false,
        unused: !used,
    };
    let store = Store {
        name: "ollama".into(),
        layout,
        path: "/var/lib/ollama/models".into(),
        tier: Tier::Ssd,
        fstype: "ext4".into(),
        files: 9,
        bytes: 100 * GIB,
        duplicates: None,
        unreferenced: None,
        unused: unused.map(|bytes| Amount { files: 2, bytes }),
        why: None,
        largest: vec![stored("old:70b", false), stored("new:8b", true), stored("$(reboot)", false)],
    };
    host.apply(Reading::ModelFile(model_file::Reading::Store(Arc::new(store))));
    host.mounts("/", 200, 190).mounts("/var/lib", 200, (200.0 * (1.0 - full)) as u64).run(10, 1);
    host
}

#[test]
fn unused_models_are_told_once_that_is_known_and_matter_where_the_disk_fills() {
    let judged = store(Layout::Ollama, Some(40 * GIB), 0.9).expect(&["model_files_unused:/var/lib/ollama/models"]);
    let unused = advice(&judged, "model_files_unused:/var/lib/ollama/models");
    assert_eq!(unused.saves.as_ref().unwrap().bytes, Some((40 * GIB) as f64));
    assert!(unused.actions[0].commands.is_empty(), "another server may have the model: {unused:#?}");
    let what = unused.actions[0].after.as_deref().unwrap();
    assert!(what.contains("from /var/lib/ollama/models, such as old:70b") && !what.contains("new:8b"), "{what}");
    let judged = store(Layout::Folder, Some(40 * GIB), 0.3).expect(&[]);
    assert_eq!(judged.advice[0].confidence, Confidence::Low, "there is room");
    assert!(store(Layout::Ollama, Some(500 * MIB), 0.9).expect(&[]).advice.is_empty());
    assert!(store(Layout::Ollama, None, 0.9).expect(&[]).advice.is_empty(), "it is not known");
}

#[test]
fn a_model_is_needed_as_much_as_what_is_anonymous() {
    // 32 GiB of which 2 GiB are anonymous, and 20 GiB a model that is all there.
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.6, (0.0, 0));
    let llama = host.workload(LLAMA, 22 * GIB, 2 * GIB);
    host.has(llama, Statistic::MemoryLimit, 60 * GIB).serves(llama, model::Kind::LlamaCpp, &[]);
    host.maps(llama, ("llama.gguf", 20 * GIB, Tier::Ssd), 20 * GIB, 0);
    host.days(Some("llama.service"), 8, |_| day(22 * GIB, 2 * GIB, Some(60 * GIB)));
    let judged = host.run(60, 1).expect(&["memory_limit_lower:llama.service"]);
    let lower = advice(&judged, "memory_limit_lower:llama.service");
    let to: u64 = lower.actions[0].after.as_deref().unwrap().parse().unwrap();
    assert!((22 * GIB + 300 * MIB..25 * GIB).contains(&to), "{to}");
}

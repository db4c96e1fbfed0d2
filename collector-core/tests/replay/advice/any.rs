//! Whatever a host is like: no advice contradicts another, none is there twice, and each has evidence, a reason and something to do.

use collector_core::past::Day;
use collector_core::statistic::host::Statistic as OfHost;
use collector_core::statistic::model;
use collector_core::statistic::model_file::Tier;
use collector_core::statistic::workload::Statistic;
use proptest::prelude::*;

use super::host_days;
use crate::made::{GIB, Host, MIB, SECOND};

/// A workload: memory and what of it stays, limit, memory.high, days, kills and waits on each, whether it serves and maps a model.
type Made = ((u64, f64), Option<u64>, Option<u64>, (u64, u32, f64), (bool, Option<u64>));

fn workload() -> impl Strategy<Value = Made> {
    (
        (1u64..60_000, 0.0..1.0f64),
        prop::option::of(1u64..70_000),
        prop::option::of(1u64..70_000),
        (0u64..9, 0u32..4, 0.0..20_000.0f64),
        (any::<bool>(), prop::option::of(1u64..50_000)),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_advice_contradicts_another(
        all in prop::collection::vec(workload(), 0..5),
        (swap, zram, available) in (0u64..40_000, 0u64..70_000, 0u64..64_000),
        (factor, pages, defrag, full) in (1u64..300, 0u64..3, 0u64..5, 0.0..1.0f64),
        (used, waited, kills) in (0.0..1.0f64, 0.0..9000.0f64, 0u32..3),
    ) {
        let total = 64_000 * MIB;
        let mut host = Host::new(total);
        host_days(&mut host, total, used, (waited, kills));
        host.is(OfHost::SwapTotal, swap * MIB).is(OfHost::SwapFree, swap * MIB / 2).is(OfHost::MemoryAvailable, available * MIB);
        host.is(OfHost::ZramSize, zram * MIB).is(OfHost::ZramMost, zram * MIB).is(OfHost::ZramUsed, zram * MIB / 3);
        host.is(OfHost::WatermarkScaleFactor, factor).is(OfHost::HugePagesEnabled, pages).is(OfHost::HugePagesDefrag, defrag);
        host.grows(OfHost::MemoryPressureFull, (full * SECOND as f64) as u64).grows(OfHost::SwapIn, 5 * MIB);
        host.grows(OfHost::ReclaimedKswapd, 20 * MIB);
        for (at, ((memory, stays), limit, high, (days, killed, waits), (serves, maps))) in all.into_iter().enumerate() {
            let memory = memory * MIB;
            let own = host.workload(&format!("/system.slice/w{at}.service"), memory, (memory as f64 * stays) as u64);
            for (statistic, amount) in [(Statistic::MemoryLimit, limit), (Statistic::MemoryHigh, high)] {
                amount.into_iter().for_each(|amount| { host.has(own, statistic, amount * MIB); });
            }
            host.gains(own, Statistic::MemoryEventHigh, 1);
            if serves {
                host.serves(own, model::Kind::LlamaCpp, &[(model::Statistic::PromptCacheBytes, 8 * GIB)]);
            }
            if let Some(mapped) = maps {
                host.maps(own, ("a.gguf", mapped * MIB, Tier::Network), mapped * MIB / 2, 70 * MIB);
            }
            host.days(Some(&format!("w{at}.service")), days, |_| Day {
                memory: Some([0.0, memory as f64 / 2.0, memory as f64]),
                anon: Some([0.0, 0.0, memory as f64 * stays]),
                limit: limit.map(|limit| (limit * MIB) as f64),
                memory_waiting: Some(waits),
                kills: Some(killed),
                kills_here: Some(killed),
                ..Day::default()
            });
        }
        host.run(240, 5);
        host.judged();
    }
}

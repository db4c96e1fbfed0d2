//! reclaim: see `collector_common::reclaim`.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::cgroup::Id;
use collector_common::layout::ABSENT;
use collector_common::oom::{Constraint, NO_ORDER, Scope};
use collector_common::reclaim::{KINDS, Kind, Stall, word};
use collector_common::ring::{self, Header, Ring};
use collector_common::slot::Section;

use crate::kernel::{self, Address, Css, argument, layout, setting};
use crate::map::{Cause, LAST_RECLAIM, Limits, RECLAIM_TIME};
use crate::slot::{self, Controller};
use crate::stopwatch::{self, Lap};
use crate::{counter, emit};

const RECLAIM: Section<{ KINDS * word::COUNT }> = Section::of("RECLAIM");

#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_begin")]
pub fn reclaim_direct_begin(ctx: RawTracePointContext) -> i32 {
    begin(&ctx, Lap::DirectReclaim)
}

#[raw_tracepoint(tracepoint = "mm_vmscan_direct_reclaim_end")]
pub fn reclaim_direct_end(ctx: RawTracePointContext) -> i32 {
    end(&ctx, Lap::DirectReclaim, Kind::Direct, Scope::Host)
}

#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_begin")]
pub fn reclaim_memcg_begin(ctx: RawTracePointContext) -> i32 {
    begin(&ctx, Lap::MemcgReclaim)
}

#[raw_tracepoint(tracepoint = "mm_vmscan_memcg_reclaim_end")]
pub fn reclaim_memcg_end(ctx: RawTracePointContext) -> i32 {
    end(&ctx, Lap::MemcgReclaim, Kind::Memcg, Scope::Memcg)
}

#[inline(always)]
fn begin(ctx: &RawTracePointContext, lap: Lap) -> i32 {
    stopwatch::start(lap, argument::<u32>(ctx, layout!(reclaim_begin_order)) as u64);
    0
}

#[inline(always)]
fn end(ctx: &RawTracePointContext, lap: Lap, kind: Kind, scope: Scope) -> i32 {
    let Some(stopped) = stopwatch::stop(lap) else { return 0 };
    let pages: u64 = ctx.arg(0);
    let first = kind as usize * word::COUNT;
    let waiter = Css::current();
    slot::count_for(waiter, Controller::Memory, RECLAIM, |row| {
        counter::add(row, first + word::STALLS, 1);
        counter::add(row, first + word::NS, stopped.ns);
        counter::add(row, first + word::PAGES, pages);
    });
    counter::observe_at(&RECLAIM_TIME, kind as u32, stopped.ns);
    let (mut limited, mut at) = (Id::default(), 0);
    if layout!(reclaim_end_memcg) != ABSENT {
        let memcg: Address = argument(ctx, layout!(reclaim_end_memcg));
        // Null for the host's own reclaim.
        if !kernel::is_null(memcg) {
            let target = Css::of_memcg(memcg);
            slot::count_for(target, Controller::Memory, RECLAIM, |row| {
                counter::add(row, first + word::TARGET_PAGES, pages);
            });
            (limited, at) = (target.id(), memcg as u64);
        }
    }
    // For a memory cgroup the kernel reports an order of zero, whatever was asked for.
    let order = if scope as u32 == Scope::Host as u32 { stopped.note as i32 } else { NO_ORDER };
    let (constraint, limits) = (constraint(scope), Limits::NONE);
    remember(Cause { ns: stopped.now, scope: scope as u64, limited, memcg: at, constraint, order, limits });
    if stopped.ns >= setting!(stall_ns) {
        let stall = Stall {
            header: Header::new(ring::Kind::ReclaimStall, stopped.now),
            cgroup: waiter.id(),
            ns: stopped.ns,
            pages,
            task: kernel::current(),
            kind: kind as u32,
            order: stopped.note as u32,
        };
        emit::send(Ring::Bulk, stall);
    }
    0
}

/// An OOM kill follows a failed reclaim of the same thread within moments. The kind of that reclaim shows whose memory ran
/// out, without a probe on the OOM killer itself.
#[inline(always)]
fn remember(cause: Cause) {
    // The map evicts its oldest entries. Without an entry a kill is still reported, with an unknown scope.
    let _ = LAST_RECLAIM.insert(kernel::current_tid(), cause, 0);
}

/// A reclaim of the host does not show which memory nodes it was confined to.
#[inline(always)]
fn constraint(scope: Scope) -> u32 {
    (if scope as u32 == Scope::Memcg as u32 { Constraint::Memcg } else { Constraint::Unknown }) as u32
}

//! compaction: see `collector_common::compaction`.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::compaction::{Stall, word};
use collector_common::ring::{Header, Kind, Ring};
use collector_common::slot::Section;

use crate::kernel::{self, Css, layout, read, setting};
use crate::map::COMPACTION_TIME;
use crate::slot::{self, Controller};
use crate::stopwatch::{self, Lap};
use crate::{counter, emit};

const COMPACTION: Section<{ word::COUNT }> = Section::of("COMPACTION");

/// `PF_KTHREAD` of include/linux/sched.h: the task is a kernel thread. BTF has no macros; the value has not changed since
/// 2.6.27 introduced it.
const PF_KTHREAD: u32 = 0x0020_0000;

#[raw_tracepoint(tracepoint = "mm_compaction_begin")]
pub fn compaction_begin(_ctx: RawTracePointContext) -> i32 {
    if !is_background() {
        stopwatch::start(Lap::Compaction, 0);
    }
    0
}

#[raw_tracepoint(tracepoint = "mm_compaction_end")]
pub fn compaction_end(_ctx: RawTracePointContext) -> i32 {
    if is_background() {
        return 0;
    }
    let Some(stopped) = stopwatch::stop(Lap::Compaction) else { return 0 };
    let waiter = Css::current();
    slot::count_for(waiter, Controller::Memory, COMPACTION, |row| {
        counter::add(row, word::STALLS, 1);
        counter::add(row, word::NS, stopped.ns);
    });
    counter::observe_at(&COMPACTION_TIME, 0, stopped.ns);
    if stopped.ns >= setting!(stall_ns) {
        let stall = Stall {
            header: Header::new(Kind::CompactionStall, stopped.now),
            cgroup: waiter.id(),
            ns: stopped.ns,
            task: kernel::current(),
        };
        emit::send(Ring::Bulk, stall);
    }
    0
}

/// Kernel threads such as kcompactd compact so that no task has to wait: that is not a stall.
#[inline(always)]
fn is_background() -> bool {
    read::<u32>(kernel::current_task(), layout!(task_flags)) & PF_KTHREAD != 0
}

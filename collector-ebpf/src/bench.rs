//! For benchmarks and tests only: a program that sends a burst of made-up records, to measure and overflow the rings, and
//! an empty program, to measure the cost of a call. The agent never loads them.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::block::{DeviceOperation, Io};
use collector_common::cgroup::Id;
use collector_common::ring::{Header, Kind, Ring};

use crate::emit;

/// Records per run: about as many as the verifier can unroll.
const RECORDS: u32 = 1024;

/// Run with BPF_PROG_TEST_RUN, never attached.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn flood(ctx: RawTracePointContext) -> i32 {
    let id: u64 = ctx.arg(0);
    for count in 0..RECORDS {
        let io = Io {
            // SAFETY: the helper has no preconditions.
            header: Header::new(Kind::BlockIo, unsafe { bpf_ktime_get_ns() }),
            cgroup: Id { id, hierarchy: 0 },
            queue_ns: 0,
            service_ns: 1_000_000 + count as u64,
            device: DeviceOperation { device: 8 << 20, operation: 0 },
            bytes: 4096,
            status: 0,
        };
        emit::send(Ring::Bulk, io);
    }
    0
}

/// The least that any program on a tracepoint costs.
#[raw_tracepoint(tracepoint = "page_fault_user")]
pub fn empty(_ctx: RawTracePointContext) -> i32 {
    0
}

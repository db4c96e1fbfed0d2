//! block: see `collector_common::block`.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use collector_common::block::{self, DeviceOperation, Io, Operation, device_word, word};
use collector_common::layout::ABSENT;
use collector_common::lost::Stage;
use collector_common::ring::{Header, Kind, Ring};
use collector_common::settings::OPERATIONS;

use crate::kernel::{Address, Css, Memory, Probed, SETTINGS, Typed, constant, layout, setting};
use crate::map::{BLOCK, BLOCK_IO, IN_FLIGHT};
use crate::slot::{self, Controller};
use crate::{counter, emit};

/// The low byte of `request.cmd_flags` is the operation (`REQ_OP_MASK`).
const OPERATION_MASK: u32 = 0xff;

static ZERO: [u64; device_word::COUNT] = [0; device_word::COUNT];

#[raw_tracepoint(tracepoint = "block_rq_issue")]
pub fn block_rq_issue(ctx: RawTracePointContext) -> i32 {
    let request: u64 = ctx.arg(0);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    match IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; a request is handled by one CPU at a time.
        Some(issued) => unsafe { *issued = now },
        None => {
            if IN_FLIGHT.insert(request, now, 0).is_err() {
                emit::lost(Stage::InFlight);
            }
        }
    }
    0
}

#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    complete::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2)).unwrap_or(0)
}

#[raw_tracepoint(tracepoint = "block_rq_complete")]
pub fn block_rq_complete_raw(ctx: RawTracePointContext) -> i32 {
    complete::<Probed>(ctx.arg(0), ctx.arg(1), ctx.arg(2)).unwrap_or(0)
}

/// When the programs were attached: every request issued after that is seen.
#[inline(always)]
fn attached_ns() -> u64 {
    // SAFETY: nobody deletes it, and the map is LRU: if it was dropped, that was long ago.
    unsafe { IN_FLIGHT.get(block::ATTACHED) }.copied().unwrap_or(0)
}

/// Takes the time of issue of a completed request; zero if unknown.
#[inline(always)]
fn arrive(request: u64) -> u64 {
    let mut issued_ns = 0;
    if let Some(issued) = IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; one CPU completes a request, and it is not issued again before.
        unsafe {
            issued_ns = *issued;
            *issued = 0;
        }
    }
    issued_ns
}

#[inline(always)]
fn complete<M: Memory>(rq: Address, status: i32, bytes: u32) -> Option<i32> {
    // A request can complete in parts; the last part completes it.
    let done = bytes >= M::read(rq, layout!(request_data_len));
    // No disk: a command of the driver to the device itself (SCSI inquiry), which is not block IO.
    let device = device::<M>(rq)?;
    let operation = operation(M::read(rq, layout!(request_cmd_flags)));
    let key = DeviceOperation { device, operation };
    // A flush is requested by an empty write, or by a write that completes a second time, empty, after the flush: neither
    // went to the device. The flush itself is a request of its own.
    if bytes == 0 && operation == Operation::Write as u32 {
        return None;
    }

    let Some(row) = row(&key) else {
        emit::lost(Stage::Device);
        return None;
    };
    counter::add(row, device_word::BYTES, bytes as u64);
    if status != 0 {
        counter::add(row, device_word::ERRORS, 1);
    }
    if !done {
        charge::<M>(rq, operation, bytes, 0, 0);
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let made_ns: u64 = M::read(rq, layout!(request_start_time_ns));
    let mut issued_ns = arrive(rq as u64);
    if issued_ns == 0 {
        if status == 0 {
            // A request issued before the programs were attached is not a loss. A device without statistics does not record
            // when a request was created.
            if made_ns == 0 || made_ns >= attached_ns() {
                emit::lost(Stage::InFlight);
            }
            charge::<M>(rq, operation, bytes, 1, 0);
            return None;
        }
        // It failed before it was issued.
        issued_ns = now;
    }
    let queue_ns = if made_ns == 0 { 0 } else { issued_ns.saturating_sub(made_ns) };
    let service_ns = now.saturating_sub(issued_ns);
    if made_ns != 0 {
        counter::observe(row, device_word::QUEUE, queue_ns);
    }
    counter::observe(row, device_word::SERVICE, service_ns);
    charge::<M>(rq, operation, bytes, 1, service_ns);
    if status != 0 || service_ns >= setting!(slow_io_ns) {
        let io = Io {
            header: Header::new(Kind::BlockIo, now),
            cgroup: css::<M>(rq).id(),
            queue_ns,
            service_ns,
            device: key,
            bytes,
            status,
        };
        emit::send(Ring::Bulk, io);
    }
    None
}

/// Adds to the row of the cgroup that caused the IO; a flush belongs to no cgroup. Not inlined: with registers of its own,
/// the verifiers of all kernels accept it; inlined, there is a path on which a register of the caller is not set.
#[inline(never)]
fn charge<M: Memory>(rq: Address, operation: u32, bytes: u32, ios: u64, service_ns: u64) -> u64 {
    let css = css::<M>(rq);
    if css.serial == 0 || operation >= block::OPERATIONS as u32 {
        return 0;
    }
    let first = operation as usize * word::COUNT;
    if let Some(row) = BLOCK_IO.get_ptr_mut(slot::of(css, Controller::Io)) {
        counter::add(row, first + word::IOS, ios);
        counter::add(row, first + word::BYTES, bytes as u64);
        counter::add(row, first + word::NS, service_ns);
    }
    0
}

/// `dev_t` of the whole disk.
#[inline(always)]
fn device<M: Memory>(rq: Address) -> Option<u32> {
    let disk: Address = if layout!(request_rq_disk) != ABSENT {
        M::read(rq, layout!(request_rq_disk))
    } else {
        M::read(M::read(rq, layout!(request_q)), layout!(queue_disk))
    };
    if disk.is_null() {
        return None;
    }
    Some(M::read::<u32>(disk, layout!(disk_major)) << 20 | M::read::<u32>(disk, layout!(disk_first_minor)))
}

/// A table instead of comparisons: the verifier would follow each outcome to the end of the program.
#[inline(always)]
fn operation(flags: u32) -> u32 {
    let operation = constant(&SETTINGS.operations[(flags & OPERATION_MASK) as usize % OPERATIONS]) as u32;
    if operation < block::OPERATIONS as u32 { operation } else { Operation::Other as u32 }
}

/// State of the bio's cgroup in the io controller: for writeback that is the owner, not the kworker.
#[inline(always)]
fn css<M: Memory>(rq: Address) -> Css {
    let bio: Address = M::read(rq, layout!(request_bio));
    let blkg: Address = M::read(bio, layout!(bio_blkg));
    let blkcg: Address = M::read(blkg, layout!(blkg_blkcg));
    Css::at_with::<M>(blkcg.wrapping_add(layout!(blkcg_css) as usize))
}

#[inline(always)]
#[allow(
    clippy::needless_borrows_for_generic_args,
    reason = "by value it would be copied to the stack, which is too small"
)]
fn row(key: &DeviceOperation) -> Option<*mut [u64; device_word::COUNT]> {
    if let Some(row) = BLOCK.get_ptr_mut(key) {
        return Some(row);
    }
    // If another CPU was first, its row is used.
    let _ = BLOCK.insert(key, &ZERO, BPF_NOEXIST as u64);
    BLOCK.get_ptr_mut(key)
}

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

/// Since when every request is seen.
#[inline(always)]
fn attached_ns() -> u64 {
    // SAFETY: nobody deletes it; what a full map has dropped was long ago.
    unsafe { IN_FLIGHT.get(block::ATTACHED) }.copied().unwrap_or(0)
}

/// Takes note of a request's arrival, and gives when it was issued: zero if that is not known.
#[inline(always)]
fn arrive(request: u64) -> u64 {
    let mut issued_ns = 0;
    if let Some(issued) = IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; a request is completed by one CPU, and not issued again before.
        unsafe {
            issued_ns = *issued;
            *issued = 0;
        }
    }
    issued_ns
}

#[inline(always)]
fn complete<M: Memory>(rq: Address, status: i32, bytes: u32) -> Option<i32> {
    // A request may complete in parts; it is done with the last.
    let done = bytes >= M::read(rq, layout!(request_data_len));
    // No disk: a driver talks to the device itself (a SCSI inquiry, say), which is no block IO.
    let device = device::<M>(rq)?;
    let operation = operation(M::read(rq, layout!(request_cmd_flags)));
    let key = DeviceOperation { device, operation };
    // Who asks for a flush does so with an empty write, or with one that ends a second time, empty, once the cache is
    // flushed: neither was with the device. The flush itself is a request of its own.
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
            // Nothing is lost of one that was under way when the programs were attached. When it was made is not known of a
            // device without statistics.
            if made_ns == 0 || made_ns >= attached_ns() {
                emit::lost(Stage::InFlight);
            }
            charge::<M>(rq, operation, bytes, 1, 0);
            return None;
        }
        // Failed before it was issued.
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

/// Counts for the cgroup that caused it; a flush belongs to none. A real call: its registers are its own, which spares the
/// verifier of every kernel a path on which one of the caller's is not set.
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

/// The kernel's `dev_t` of the whole disk.
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

/// Looked up rather than compared: the verifier would follow each outcome to the end of the program.
#[inline(always)]
fn operation(flags: u32) -> u32 {
    let operation = constant(&SETTINGS.operations[(flags & OPERATION_MASK) as usize % OPERATIONS]) as u32;
    if operation < block::OPERATIONS as u32 { operation } else { Operation::Other as u32 }
}

/// The io controller's state of the cgroup that the bio belongs to: for writeback its owner, not the kworker.
#[inline(always)]
fn css<M: Memory>(rq: Address) -> Css {
    let bio: Address = M::read(rq, layout!(request_bio));
    let blkg: Address = M::read(bio, layout!(bio_blkg));
    let blkcg: Address = M::read(blkg, layout!(blkg_blkcg));
    Css::seen_by::<M>(blkcg.wrapping_add(layout!(blkcg_css) as usize))
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
    // Whoever comes second finds the first one's row.
    let _ = BLOCK.insert(key, &ZERO, BPF_NOEXIST as u64);
    BLOCK.get_ptr_mut(key)
}

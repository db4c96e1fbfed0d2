//! block: see `collector_common::block`.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use collector_common::block::{self, DeviceOperation, Io, Operation, device_word, word};
use collector_common::layout::ABSENT;
use collector_common::lost::Stage;
use collector_common::ring::{Header, Kind, Ring};
use collector_common::settings::OPERATIONS;
use collector_common::slot::Section;

use crate::kernel::{self, Address, Css, Memory, Probed, SETTINGS, Typed, constant, layout, setting};
use crate::map::{BLOCK, DISK_NAMES, IN_FLIGHT};
use crate::slot::{self, Controller};
use crate::{counter, emit};

const BLOCK_IO: Section<{ block::OPERATIONS * word::COUNT }> = Section::of("BLOCK_IO");

/// The low byte of `request.cmd_flags` is the operation (`REQ_OP_MASK`).
const OPERATION_MASK: u32 = 0xff;

static ZERO: [u64; device_word::COUNT] = [0; device_word::COUNT];

#[raw_tracepoint(tracepoint = "block_rq_issue")]
pub fn block_rq_issue(ctx: RawTracePointContext) -> i32 {
    // The queue came first once. Two plain loads would become one of a variable offset, which verifiers reject.
    let request: u64 = if layout!(block_issue_request) == 1 { crate::kernel::argument(&ctx, 1) } else { ctx.arg(0) };
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    match IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; a request is handled by one CPU at a time.
        Some(issued) if !is_retry(request as Address, unsafe { *issued }, now) => unsafe { *issued = now },
        // The time that the device did not answer is part of what it took.
        Some(_) => {}
        None => {
            if IN_FLIGHT.insert(request, now, 0).is_err() {
                emit::lost(Stage::InFlight);
            }
        }
    }
    0
}

/// Whether a request is issued again after a timeout. Soon after the last time the device was only busy; what was issued before
/// the request was created belongs to another one, which had the same memory and did not complete.
#[inline(always)]
fn is_retry(rq: Address, issued_ns: u64, now: u64) -> bool {
    if issued_ns == 0 || now.saturating_sub(issued_ns) < setting!(slow_io_ns) {
        return false;
    }
    let made_ns: u64 = made::<Probed>(rq);
    made_ns != 0 && issued_ns >= made_ns
}

/// When a request was created; zero if unknown. From 6.12 on the kernel tells whether it accounts a request, and from 7.2 on the
/// time of one that it does not account is that of an earlier request (block/blk-mq.c).
#[inline(always)]
fn made<M: Memory>(rq: Address) -> u64 {
    let bit = layout!(rqf_io_stat);
    if bit != ABSENT && M::read::<u32>(rq, layout!(request_rq_flags)) >> (bit & 31) & 1 == 0 {
        return 0;
    }
    M::read(rq, layout!(request_start_time_ns))
}

#[btf_tracepoint(function = "block_rq_complete")]
pub fn block_rq_complete(ctx: BtfTracePointContext) -> i32 {
    complete::<Typed>(ctx.arg(0), ctx.arg(1), ctx.arg(2)).unwrap_or(0)
}

// Without helpers it would be the program above.
#[cfg(not(feature = "typed"))]
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

    let Some(row) = row::<M>(&key, rq) else {
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
    let made_ns: u64 = made::<M>(rq);
    let issued_ns = arrive(rq as u64);
    let (mut queue_ns, mut service_ns) = (0, 0);
    if issued_ns != 0 {
        service_ns = now.saturating_sub(issued_ns);
        counter::observe(row, device_word::SERVICE, service_ns);
        if made_ns != 0 {
            queue_ns = issued_ns.saturating_sub(made_ns);
            counter::observe(row, device_word::QUEUE, queue_ns);
        }
    } else if status == 0 && (made_ns == 0 || made_ns >= attached_ns()) {
        // A request issued before the programs were attached is not a loss. A device without statistics does not record when a
        // request was created. One that failed may not have been issued at all: it has no service time.
        emit::lost(Stage::InFlight);
    }
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
    slot::count_for(css, Controller::Io, BLOCK_IO, |row| {
        counter::add(row, first + word::IOS, ios);
        counter::add(row, first + word::BYTES, bytes as u64);
        counter::add(row, first + word::NS, service_ns);
    });
    0
}

#[inline(always)]
fn disk<M: Memory>(rq: Address) -> Address {
    if layout!(request_rq_disk) != ABSENT {
        M::read(rq, layout!(request_rq_disk))
    } else {
        M::read(M::read(rq, layout!(request_q)), layout!(queue_disk))
    }
}

/// Stores the name of a disk that had no row. A path of a multipath NVMe is hidden: user space finds no name for its number.
/// Not inlined: the name takes registers and stack.
#[inline(never)]
fn name<M: Memory>(device: u32, rq: Address) -> u64 {
    let name: block::DiskName = kernel::read(disk::<M>(rq), layout!(disk_name));
    let _ = DISK_NAMES.insert(device, name, 0);
    0
}

/// `dev_t` of the whole disk.
#[inline(always)]
fn device<M: Memory>(rq: Address) -> Option<u32> {
    let disk = disk::<M>(rq);
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
fn row<M: Memory>(key: &DeviceOperation, rq: Address) -> Option<*mut [u64; device_word::COUNT]> {
    let device = key.device;
    // SAFETY: the helper has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let key = key.in_shard(cpu & setting!(device_shard_mask));
    if let Some(row) = BLOCK.get_ptr_mut(&key) {
        return Some(row);
    }
    name::<M>(device, rq);
    // If another CPU was first, its row is used.
    let _ = BLOCK.insert(&key, &ZERO, BPF_NOEXIST as u64);
    BLOCK.get_ptr_mut(&key)
}

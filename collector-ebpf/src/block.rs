//! block: see `collector_common::block`.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::{btf_tracepoint, raw_tracepoint};
use aya_ebpf::programs::{BtfTracePointContext, RawTracePointContext};
use collector_common::block::{self, DeviceOperation, Io, Operation, device_word, word};
use collector_common::layout::ABSENT;
use collector_common::lost::Stage;
use collector_common::notice;
use collector_common::ring::{Header, Kind, Ring};
use collector_common::settings::OPERATIONS;
use collector_common::slot::Section;

use crate::kernel::{self, Address, Css, Memory, Probed, SETTINGS, Typed, constant, layout, setting};
use crate::map::{BLOCK, BLOCK_FREE, BLOCK_NUMBERS, BLOCK_REMEMBERED, DISK_NAMES, IN_FLIGHT, NOTICE};
use crate::slot::{self, Controller};
use crate::{counter, emit, number};

const BLOCK_IO: Section<{ block::OPERATIONS * word::COUNT }> = Section::of("BLOCK_IO");

/// The low byte of `request.cmd_flags` is the operation (`REQ_OP_MASK`).
const OPERATION_MASK: u32 = 0xff;

/// The part of a remembered word that is the number.
const NUMBER: u64 = 0xffff;

/// The request that a tracepoint passes. The queue came first once. Two plain loads would become one of a variable offset, which
/// verifiers reject.
#[inline(always)]
fn request_of(ctx: &RawTracePointContext) -> u64 {
    if layout!(block_issue_request) == 1 { kernel::argument(ctx, 1) } else { ctx.arg(0) }
}

#[raw_tracepoint(tracepoint = "block_rq_issue")]
pub fn block_rq_issue(ctx: RawTracePointContext) -> i32 {
    let request = request_of(&ctx);
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

/// A request that goes back to the queue will be issued again, and then stores that time. What it took until now the device did
/// not answer, unless that was short: then the device was only busy.
#[raw_tracepoint(tracepoint = "block_rq_requeue")]
pub fn block_rq_requeue(ctx: RawTracePointContext) -> i32 {
    let request = request_of(&ctx);
    let issued_ns: u64 = Probed::read(request as Address, layout!(request_io_start_time_ns));
    let made_ns: u64 = made::<Probed>(request as Address);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    // Unless it is known when the request was created, nothing would tell a time of it from one of an earlier request.
    if issued_ns == 0 || made_ns == 0 || now.saturating_sub(issued_ns) < setting!(slow_io_ns) {
        return 0;
    }
    match IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; a request is handled by one CPU at a time.
        Some(first) if unsafe { *first } < made_ns => unsafe { *first = issued_ns },
        // It is not the first time.
        Some(_) => {}
        None => {
            if IN_FLIGHT.insert(request, issued_ns, 0).is_err() {
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

/// Since when the issue of every request is seen; zero while it is not.
#[inline(always)]
fn issues_since() -> u64 {
    let Some(words) = NOTICE.get_ptr_mut(0) else { return 0 };
    // SAFETY: from a successful lookup; one word, read at once.
    unsafe { words.cast::<u64>().add(notice::word::ISSUES_SINCE).read_volatile() }
}

/// When the kernel says that a request was issued last; zero if it does not. From 6.9 on that is the clock as the plug read it
/// first, which can be before another thread created the request; 5.16 and 5.17 stored the time of the bio, which always is.
#[inline(always)]
fn started<M: Memory>(rq: Address, made_ns: u64) -> u64 {
    let started_ns: u64 = M::read(rq, layout!(request_io_start_time_ns));
    if started_ns >= made_ns {
        started_ns
    } else if layout!(rqf_io_stat) != ABSENT && started_ns != 0 {
        made_ns
    } else {
        0
    }
}

/// When a completed request was issued first; zero if unknown. `started_ns` is what the request says itself.
#[inline(always)]
fn issued(request: u64, made_ns: u64, started_ns: u64, now: u64) -> u64 {
    // Only what took long can have been issued twice.
    let again = made_ns != 0 && now.saturating_sub(made_ns) >= setting!(slow_io_ns);
    if started_ns != 0 && !again && issues_since() == 0 {
        return started_ns;
    }
    let stored_ns = arrive(request);
    if stored_ns < made_ns || (started_ns != 0 && (made_ns == 0 || stored_ns > started_ns)) {
        started_ns
    } else {
        stored_ns
    }
}

/// Takes the time of issue that was stored for a completed request; zero if none was.
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

    let Some(row) = row::<M>(key, rq) else {
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
    let started_ns = started::<M>(rq, made_ns);
    let issued_ns = issued(rq as u64, made_ns, started_ns, now);
    let (mut queue_ns, mut service_ns) = (0, 0);
    if issued_ns != 0 {
        service_ns = now.saturating_sub(issued_ns);
        counter::observe(row, device_word::SERVICE, service_ns);
        if made_ns != 0 {
            queue_ns = issued_ns.saturating_sub(made_ns);
            counter::observe(row, device_word::QUEUE, queue_ns);
        }
    } else {
        counter::add(row, device_word::UNTIMED, 1);
        // One that failed may not have been issued at all. What was issued before the program that sees it was attached is not lost.
        let since_ns = issues_since();
        if status == 0 && since_ns != 0 && made_ns >= since_ns {
            emit::lost(Stage::InFlight);
        }
    }
    // Newer kernels never store it for a driver's own commands.
    let stores = layout!(request_io_start_time_ns) != ABSENT && operation != Operation::Other as u32;
    if stores && started_ns == 0 && status == 0 {
        counter::add(row, device_word::UNSTARTED, 1);
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

/// The row of a device and operation in the shard of this CPU. Each CPU remembers the numbers of a few pairs in one word each,
/// because another program can preempt this one on the same CPU. A pair keeps its number, so what is remembered stays true.
#[inline(always)]
fn row<M: Memory>(key: DeviceOperation, rq: Address) -> Option<*mut [u64; device_word::COUNT]> {
    let remembered = BLOCK_REMEMBERED.get_ptr_mut(key.place())?;
    let pair = (key.device as u64) << 32 | (key.operation as u64) << 16;
    // SAFETY: from a successful lookup; one word, read and written at once.
    let mut word = unsafe { remembered.read_volatile() };
    if word & !NUMBER != pair || word & NUMBER == 0 {
        word = pair | find::<M>(key.device, key.operation, rq);
        // SAFETY: as above.
        unsafe { remembered.write_volatile(word) };
    }
    // SAFETY: the helper has no preconditions.
    let shard = unsafe { bpf_get_smp_processor_id() } & setting!(device_shard_mask);
    BLOCK.get_ptr_mut((word & NUMBER).checked_sub(1)? as u32 + shard * block::ROWS)
}

/// The number of a pair, plus one; zero if there is no room for another. Not inlined: it is rare, and takes registers and stack.
#[inline(never)]
fn find<M: Memory>(device: u32, operation: u32, rq: Address) -> u64 {
    // First: then there is a name where there is a number.
    name::<M>(device, rq);
    let key = DeviceOperation { device, operation };
    let number = number::find(&BLOCK_NUMBERS, &BLOCK_FREE, &key, notice::word::DEVICES);
    number.map_or(0, |number| (number as u64 + 1) & NUMBER)
}

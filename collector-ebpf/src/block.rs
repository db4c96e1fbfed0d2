//! block: see `collector_common::block`.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::block::{self, DeviceOperation, Io, Operation, device_word, word};
use collector_common::layout::ABSENT;
use collector_common::lost::Stage;
use collector_common::ring::{Header, Kind, Ring};
use collector_common::settings::OPERATIONS;

use crate::kernel::{Address, Css, SETTINGS, constant, layout, read, setting};
use crate::map::{BLOCK, BLOCK_IO, IN_FLIGHT};
use crate::slot::{self, Controller};
use crate::{counter, emit};

/// The low byte of `request.cmd_flags` is the operation (`REQ_OP_MASK`).
const OPERATION_MASK: u32 = 0xff;

static ZERO: [u64; device_word::COUNT] = [0; device_word::COUNT];

/// When a request set out; all zero once it has arrived. The kernel uses the memory of its requests again and again, and
/// so the entries of the map stay: making and removing one for each IO costs more than everything else about it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Flight {
    inserted_ns: u64,
    issued_ns: u64,
}

#[raw_tracepoint(tracepoint = "block_rq_insert")]
pub fn block_rq_insert(ctx: RawTracePointContext) -> i32 {
    depart(ctx.arg(0), |flight, now| *flight = Flight { inserted_ns: now, issued_ns: now })
}

#[raw_tracepoint(tracepoint = "block_rq_issue")]
pub fn block_rq_issue(ctx: RawTracePointContext) -> i32 {
    depart(ctx.arg(0), |flight, now| {
        if flight.inserted_ns == 0 {
            flight.inserted_ns = now;
        }
        flight.issued_ns = now;
    })
}

#[raw_tracepoint(tracepoint = "block_rq_complete")]
pub fn block_rq_complete(ctx: RawTracePointContext) -> i32 {
    let request: u64 = ctx.arg(0);
    let status: i32 = ctx.arg(1);
    let bytes: u32 = ctx.arg(2);
    complete(request, status, bytes).unwrap_or(0)
}

#[inline(always)]
fn depart(request: u64, note: impl FnOnce(&mut Flight, u64)) -> i32 {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if let Some(flight) = IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; a request is handled by one CPU at a time.
        note(unsafe { &mut *flight }, now);
    } else if IN_FLIGHT.insert(request, Flight { inserted_ns: now, issued_ns: now }, 0).is_err() {
        emit::lost(Stage::InFlight);
    }
    0
}

/// Takes note of a request's arrival, and gives when it had set out: all zero if that is not known.
#[inline(always)]
fn arrive(request: u64) -> Flight {
    let mut departed = Flight { inserted_ns: 0, issued_ns: 0 };
    if let Some(flight) = IN_FLIGHT.get_ptr_mut(request) {
        // SAFETY: from a successful lookup; a request is completed by one CPU, and not issued again before.
        unsafe {
            departed = *flight;
            *flight = Flight { inserted_ns: 0, issued_ns: 0 };
        }
    }
    departed
}

#[inline(always)]
fn complete(request: u64, status: i32, bytes: u32) -> Option<i32> {
    let rq = request as Address;
    // A request may complete in parts; it is done with the last.
    let done = bytes >= read(rq, layout!(request_data_len));
    // No disk: a driver talks to the device itself (a SCSI inquiry, say), which is no block IO.
    let Some(device) = device(rq) else {
        if done {
            arrive(request);
        }
        return None;
    };
    let operation = operation(read(rq, layout!(request_cmd_flags)));
    let key = DeviceOperation { device, operation };

    let Some(row) = row(&key) else {
        emit::lost(Stage::Device);
        return None;
    };
    counter::add(row, device_word::BYTES, bytes as u64);
    let first = operation as usize * word::COUNT;
    let css = css(rq);
    // A flush belongs to nobody.
    // Null rather than absent: the compiler may carry around what lies beside an absent value, and the verifier refuses.
    let mut workload = core::ptr::null_mut();
    if css.serial != 0 {
        workload = BLOCK_IO.get_ptr_mut(slot::of(css, Controller::Io)).unwrap_or(workload);
    }
    if !workload.is_null() {
        counter::add(workload, first + word::BYTES, bytes as u64);
    }
    if status != 0 {
        counter::add(row, device_word::ERRORS, 1);
    }
    if !done {
        return None;
    }
    if !workload.is_null() {
        counter::add(workload, first + word::IOS, 1);
    }
    let Flight { inserted_ns, issued_ns } = arrive(request);
    if issued_ns == 0 {
        emit::lost(Stage::InFlight);
        return None;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let queue_ns = issued_ns.saturating_sub(inserted_ns);
    let service_ns = now.saturating_sub(issued_ns);
    counter::observe(row, device_word::QUEUE, queue_ns);
    counter::observe(row, device_word::SERVICE, service_ns);
    if !workload.is_null() {
        counter::add(workload, first + word::NS, service_ns);
    }
    if status != 0 || service_ns >= setting!(slow_io_ns) {
        let io = Io {
            header: Header::new(Kind::BlockIo, now),
            cgroup: css.id(),
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

/// The kernel's `dev_t` of the whole disk.
#[inline(always)]
fn device(rq: Address) -> Option<u32> {
    let disk: Address = if layout!(request_rq_disk) != ABSENT {
        read(rq, layout!(request_rq_disk))
    } else {
        read(read(rq, layout!(request_q)), layout!(queue_disk))
    };
    if disk.is_null() {
        return None;
    }
    Some(read::<u32>(disk, layout!(disk_major)) << 20 | read::<u32>(disk, layout!(disk_first_minor)))
}

/// Looked up rather than compared: the verifier would follow each outcome to the end of the program.
#[inline(always)]
fn operation(flags: u32) -> u32 {
    let operation = constant(&SETTINGS.operations[(flags & OPERATION_MASK) as usize % OPERATIONS]) as u32;
    if operation < block::OPERATIONS as u32 { operation } else { Operation::Other as u32 }
}

/// The io controller's state of the cgroup that the bio belongs to: for writeback its owner, not the kworker.
#[inline(always)]
fn css(rq: Address) -> Css {
    let bio: Address = read(rq, layout!(request_bio));
    let blkg: Address = read(bio, layout!(bio_blkg));
    let blkcg: Address = read(blkg, layout!(blkg_blkcg));
    Css::at(blkcg.wrapping_add(layout!(blkcg_css) as usize))
}

#[inline(always)]
fn row(key: &DeviceOperation) -> Option<*mut [u64; device_word::COUNT]> {
    if let Some(row) = BLOCK.get_ptr_mut(key) {
        return Some(row);
    }
    // Whoever comes second finds the first one's row.
    let _ = BLOCK.insert(key, &ZERO, BPF_NOEXIST as u64);
    BLOCK.get_ptr_mut(key)
}

//! cgroup: see `collector_common::cgroup`.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_probe_read_kernel_str, bpf_snprintf};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::debug;
use collector_common::cgroup::{CHANGE_HEAD, Event, PATH};
use collector_common::lost::Stage;
use collector_common::ring::{Header, Kind, Ring};

use crate::emit;
use crate::kernel::{Address, TYPED, cgroup_id, layout, read, setting};
use crate::map::CHANGE;

#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    change(&ctx, Event::Mkdir, 0).unwrap_or(0)
}

#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    change(&ctx, Event::Rmdir, 0).unwrap_or(0)
}

#[raw_tracepoint(tracepoint = "cgroup_rename")]
pub fn cgroup_rename(ctx: RawTracePointContext) -> i32 {
    change(&ctx, Event::Rename, 0).unwrap_or(0)
}

#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: RawTracePointContext) -> i32 {
    let pid: u32 = read(ctx.arg(2), layout!(task_tgid));
    change(&ctx, Event::Attach, pid).unwrap_or(0)
}

/// For `bpf_snprintf`.
static FORMAT: [u8; 3] = *b"%s\0";

/// All these tracepoints run under the kernel's `cgroup_mutex`, so this CPU's record is never written twice at once.
#[inline(always)]
fn change(ctx: &RawTracePointContext, event: Event, pid: u32) -> Option<i32> {
    let cgroup: Address = ctx.arg(0);
    let path: Address = ctx.arg(1);
    let id = cgroup_id(cgroup);
    if id.hierarchy != setting!(memory_hierarchy) && id.hierarchy != setting!(io_hierarchy) {
        return None;
    }
    let record = CHANGE.get_ptr_mut(0)?;
    // SAFETY: from a successful lookup, and not shared, see above; the helper checks the path's address itself and
    // writes at most `PATH` bytes, including the NUL.
    let length = unsafe {
        (*record).header = Header::new(Kind::CgroupChange, bpf_ktime_get_ns());
        (*record).cgroup = id;
        (*record).event = event as u32;
        (*record).pid = pid;
        (*record).level = read(cgroup, layout!(cgroup_level));
        copy((&raw mut (*record).path).cast(), path)
    };
    // The other events are read without their path.
    if length == PATH as i64 && matches!(event, Event::Mkdir | Event::Rename) {
        emit::lost(Stage::Path);
    }
    // The mask shows the verifier the bound that the helper guarantees, without the NUL.
    let length = (length - 1).max(0) as usize & (PATH - 1);
    // SAFETY: as above.
    unsafe { (*record).path_len = length as u32 };
    debug!(ctx, "cgroup {}: event {}, {} bytes of path", id.id, event as u32, length);
    // SAFETY: the record is `CHANGE_HEAD + PATH` bytes, and `length` is less than `PATH`.
    emit::send_bytes(Ring::Critical, unsafe { core::slice::from_raw_parts(record.cast::<u8>(), CHANGE_HEAD + length) });
    None
}

/// Copies a string of at most `PATH` bytes. Returns its length with the NUL.
///
/// # Safety
/// There must be room for `PATH` bytes.
#[inline(always)]
unsafe fn copy(to: *mut u8, path: Address) -> i64 {
    // SAFETY: see above; the helpers check the path's address themselves.
    unsafe {
        if !TYPED {
            return bpf_probe_read_kernel_str(to.cast(), PATH as u32, path.cast());
        }
        // A string has no type of its own. From 5.13 on this helper copies it, and is allowed where reads are not.
        let argument = path as u64;
        let size = size_of_val(&argument) as u32;
        let length = bpf_snprintf(
            to.cast(),
            PATH as u32,
            FORMAT.as_ptr().cast_mut().cast(),
            (&raw const argument).cast_mut(),
            size,
        );
        // It returns what would have been written.
        length.min(PATH as i64)
    }
}

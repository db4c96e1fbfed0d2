//! Reads the kernel's structures, at offsets that were resolved when the agent started.
//!
//! The offsets are read-only globals. The verifier knows their values and drops branches that this kernel does not take,
//! including calls of helpers that it does not have.
//!
//! The programs are compiled twice. With the feature `typed` they call no helper that reads kernel memory, which lockdown
//! forbids: every pointer has a type that the verifier knows from BTF, and what cannot be reached so stays unknown.

use core::arch::asm;
use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use collector_common::cgroup::Id;
use collector_common::layout::{ABSENT, Layout};
use collector_common::ring::Task;
use collector_common::settings::{OPERATIONS, Settings};

/// Written by the loader before verification.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::EMPTY;

/// Written by the loader before verification.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings {
    stall_ns: 0,
    slow_io_ns: 0,
    bulk_wake_bytes: 0,
    operations: [0; OPERATIONS],
    memory_hierarchy: 0,
    io_hierarchy: 0,
    device_shard_mask: 0,
    secret: 0,
    cpus: 0,
    reserved: 0,
};

/// Reads a field of [`LAYOUT`].
macro_rules! layout {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::LAYOUT.$field)
    };
}
/// Reads a field of [`SETTINGS`].
macro_rules! setting {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::SETTINGS.$field)
    };
}
pub(crate) use {layout, setting};

/// Reads a global as the loader wrote it. Volatile, so that the compiler does not use the value in this source.
#[inline(always)]
pub fn constant<T: Copy>(global: &'static T) -> T {
    // SAFETY: a plain read of a valid reference.
    unsafe { core::ptr::from_ref(global).read_volatile() }
}

/// Whether these are the programs without helpers that read kernel memory.
pub const TYPED: bool = cfg!(feature = "typed");

/// An address in kernel memory.
pub type Address = *const u8;

/// Copies a `T` from `base + offset`; all zeroes must be a valid `T`. The result is zero if the address cannot be read or the
/// field does not exist on this kernel. So a chain of reads needs no branch per step, each of which the verifiers of older
/// kernels would follow.
#[inline(always)]
pub fn read<T: Copy>(base: Address, offset: u32) -> T {
    if TYPED {
        return Typed::read(base, offset);
    }
    let mut value = MaybeUninit::<T>::zeroed();
    if offset != ABSENT {
        let from = base.wrapping_add(offset as usize);
        // SAFETY: the helper writes `size_of::<T>()` bytes, and checks the address that it reads itself.
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast()) };
    }
    // SAFETY: zeroed, then written only by the helper.
    unsafe { value.assume_init() }
}

/// Ways to read kernel memory.
pub trait Memory {
    /// Reads a `T` at `base + offset`, like [`read`].
    fn read<T: Copy>(base: Address, offset: u32) -> T;
}

/// With a helper, from any address.
pub struct Probed;

impl Memory for Probed {
    #[inline(always)]
    fn read<T: Copy>(base: Address, offset: u32) -> T {
        read(base, offset)
    }
}

/// Directly, through pointers whose types the verifier knows: the arguments of a typed tracepoint, and what they point to.
/// A load costs next to nothing, a helper call about 20 ns.
pub struct Typed;

impl Memory for Typed {
    #[inline(always)]
    fn read<T: Copy>(base: Address, offset: u32) -> T {
        if offset == ABSENT {
            // SAFETY: all zeroes must be a valid `T`, see `read`.
            return unsafe { MaybeUninit::zeroed().assume_init() };
        }
        // SAFETY: the verifier rejects the program if it does not know the pointer's type; a faulting load reads as zero.
        unsafe { load(base, offset) }
    }
}

/// Argument `index` of a raw tracepoint, for an index known only when the agent starts. Copied with a helper, because the
/// verifiers of older kernels reject loads from the context at a variable offset.
#[inline(always)]
pub fn argument<T: Copy>(context: &impl EbpfContext, index: u32) -> T {
    if TYPED {
        return typed_argument(context, index);
    }
    read(context.as_ptr() as Address, if index == ABSENT { ABSENT } else { index * 8 })
}

/// The places that `layout` names, each with a load of its own: in assembly, because the compiler would make one load at a
/// variable offset of several.
#[inline(always)]
fn typed_argument<T: Copy>(context: &impl EbpfContext, index: u32) -> T {
    macro_rules! load {
        ($offset:literal) => {{
            let word: u64;
            // SAFETY: the verifier checks that the tracepoint has this argument.
            unsafe {
                asm!(
                    concat!("{word} = *(u64 *)({context} + ", $offset, ")"),
                    word = lateout(reg) word, context = in(reg) context.as_ptr(),
                    options(readonly, nostack),
                );
            }
            word
        }};
    }
    let word = match index {
        0 => load!("0"),
        1 => load!("8"),
        6 => load!("48"),
        10 => load!("80"),
        _ => 0,
    };
    // SAFETY: on this little-endian target an argument of fewer bytes is the first bytes of its word, and `T` is a number or an
    // address.
    unsafe { core::ptr::from_ref(&word).cast::<T>().read() }
}

/// Whether an argument that the kernel types as a pointer is null. In assembly for typed programs: verifiers believe that it
/// never is, and would drop the check, and a load from it would be fatal. They compare with another small number.
#[inline(always)]
pub fn is_null(pointer: Address) -> bool {
    if !TYPED {
        return pointer.is_null();
    }
    let null: u64;
    // SAFETY: compares, and reads nothing.
    unsafe {
        asm!(
            "{null} = 0",
            "if {pointer} > 4095 goto +1",
            "{null} = 1",
            null = out(reg) null, pointer = in(reg) pointer as usize,
            options(pure, nomem, nostack),
        );
    }
    null != 0
}

/// Ids of the current process and thread: `tgid << 32 | tid`.
#[inline(always)]
pub fn current_ids() -> u64 {
    bpf_get_current_pid_tgid()
}

#[inline(always)]
pub fn current_tid() -> u32 {
    current_ids() as u32
}

/// Address of the current task, for [`read`].
#[inline(always)]
pub fn current_task() -> Address {
    // SAFETY: the helpers have no preconditions.
    unsafe { if TYPED { bpf_get_current_task_btf() as Address } else { bpf_get_current_task() as Address } }
}

/// The current task, for a record.
#[inline(always)]
pub fn current() -> Task {
    let ids = current_ids();
    let comm = bpf_get_current_comm().unwrap_or_default();
    Task { pid: (ids >> 32) as u32, tid: ids as u32, comm }
}

/// State of a cgroup in one controller, with its serial number, which is unique while the kernel is up. Both are zero if
/// there is none.
#[derive(Clone, Copy)]
pub struct Css {
    pub address: Address,
    pub serial: u64,
}

impl Css {
    /// Of the current task, in the memory controller. On the hot path of every page fault: three loads where the kernel
    /// allows direct loads.
    #[inline(always)]
    pub fn current() -> Css {
        if layout!(task_btf) != 1 {
            return Css::of_task(current_task());
        }
        // SAFETY: from 5.11 on the verifier types these pointers by BTF and checks each offset against the type; a faulting
        // load reads as zero.
        unsafe {
            let task = bpf_get_current_task_btf() as Address;
            let cgroups = load::<Address>(task, layout!(task_cgroups));
            let address = load::<Address>(cgroups, layout!(css_set_memory));
            let serial = load::<u64>(address, layout!(css_serial_nr));
            Css { address, serial }
        }
    }

    /// Of any task, in the memory controller.
    #[inline(always)]
    pub fn of_task(task: Address) -> Css {
        let cgroups: Address = read(task, layout!(task_cgroups));
        Css::at(read(cgroups, layout!(css_set_memory)))
    }

    #[inline(always)]
    pub fn at(address: Address) -> Css {
        Css::at_with::<Probed>(address)
    }

    /// For programs that may read kernel memory directly.
    #[inline(always)]
    pub fn at_with<M: Memory>(address: Address) -> Css {
        Css { address, serial: M::read(address, layout!(css_serial_nr)) }
    }

    /// Of a `struct mem_cgroup`.
    #[inline(always)]
    pub fn of_memcg(memcg: Address) -> Css {
        Css::at(memcg.wrapping_add(layout!(mem_cgroup_css) as usize))
    }

    /// All zero if it cannot be read.
    #[inline(always)]
    pub fn id(self) -> Id {
        cgroup_id(read(self.address, layout!(css_cgroup)))
    }
}

/// The `struct mem_cgroup` of a memory controller's state. Not for typed programs: for the verifier it ends with that state.
#[inline(always)]
pub fn memcg(css: Address) -> Address {
    css.wrapping_sub(layout!(mem_cgroup_css) as usize)
}

/// Id of a `struct cgroup`; all zero if it cannot be read.
#[inline(always)]
pub fn cgroup_id(cgroup: Address) -> Id {
    let kn: Address = read(cgroup, layout!(cgroup_kn));
    let root: Address = read(cgroup, layout!(cgroup_root));
    Id { id: read(kn, layout!(kn_id)), hierarchy: read::<u32>(root, layout!(root_hierarchy_id)) as u64 }
}

/// Direct load through a pointer whose type the verifier knows.
///
/// # Safety
/// `base` must come from a helper or load that returns a BTF-typed pointer; the verifier rejects anything else.
#[inline(always)]
unsafe fn load<T: Copy>(base: Address, offset: u32) -> T {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

//! Reading the kernel's structures, through offsets that were resolved when the agent started.
//!
//! The offsets are read-only globals: the verifier knows their values, and drops the branches that this kernel does not
//! take, calls to helpers that it lacks included.

use core::mem::MaybeUninit;

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use collector_common::cgroup::Id;
use collector_common::layout::{ABSENT, Layout};
use collector_common::ring::Task;
use collector_common::settings::{OPERATIONS, Settings};

/// Written by the loader before the programs are verified.
#[unsafe(no_mangle)]
pub static LAYOUT: Layout = Layout::EMPTY;

/// Written by the loader before the programs are verified.
#[unsafe(no_mangle)]
pub static SETTINGS: Settings = Settings {
    stall_ns: 0,
    slow_io_ns: 0,
    bulk_wake_bytes: 0,
    operations: [0; OPERATIONS],
    memory_hierarchy: 0,
    io_hierarchy: 0,
};

/// The value of a field of [`LAYOUT`].
macro_rules! layout {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::LAYOUT.$field)
    };
}
/// The value of a field of [`SETTINGS`].
macro_rules! setting {
    ($field:ident) => {
        $crate::kernel::constant(&$crate::kernel::SETTINGS.$field)
    };
}
pub(crate) use {layout, setting};

/// Reads a global as the loader wrote it: the compiler must not use the value that it sees here.
#[inline(always)]
pub fn constant<T: Copy>(global: &'static T) -> T {
    // SAFETY: a plain read of a valid reference.
    unsafe { core::ptr::from_ref(global).read_volatile() }
}

/// Some address in the kernel.
pub type Address = *const u8;

/// Copies a `T`, for which all zeroes must be a value, from `base + offset`. What cannot be read, or does not exist on
/// this kernel, is zero: so the helper leaves it, and a chain of reads needs no branch for each link, which the verifier
/// of older kernels would follow one by one.
#[inline(always)]
pub fn read<T: Copy>(base: Address, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    if offset != ABSENT {
        let from = base.wrapping_add(offset as usize);
        // SAFETY: the helper writes `size_of::<T>()` bytes, and checks the address that it reads itself.
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast()) };
    }
    // SAFETY: zeroed, and then only written by the helper.
    unsafe { value.assume_init() }
}

/// How a program gets at the kernel's memory.
pub trait Memory {
    /// The `T` at `base + offset`, as [`read`] has it.
    fn read<T: Copy>(base: Address, offset: u32) -> T;
}

/// Through a helper, from any address.
pub struct Probed;

impl Memory for Probed {
    #[inline(always)]
    fn read<T: Copy>(base: Address, offset: u32) -> T {
        read(base, offset)
    }
}

/// Directly, along pointers whose types the verifier knows: those of a typed tracepoint's arguments, and what they point
/// to. A load costs next to nothing, a helper's call some 20 ns.
pub struct Typed;

impl Memory for Typed {
    #[inline(always)]
    fn read<T: Copy>(base: Address, offset: u32) -> T {
        if offset == ABSENT {
            // SAFETY: for which all zeroes must be a value.
            return unsafe { MaybeUninit::zeroed().assume_init() };
        }
        // SAFETY: the verifier refuses the program if the pointer's type is not known; a fault in such a load reads as zero.
        unsafe { load(base, offset) }
    }
}

/// Argument `index` of a raw tracepoint, where the index is known only when the agent starts. Copied, because the
/// verifier of older kernels refuses loads from the context at anything but a literal offset.
#[inline(always)]
pub fn argument<T: Copy>(context: &impl EbpfContext, index: u32) -> T {
    read(context.as_ptr() as Address, if index == ABSENT { ABSENT } else { index * 8 })
}

/// The process and thread that run now: `tgid << 32 | tid`.
#[inline(always)]
pub fn current_ids() -> u64 {
    bpf_get_current_pid_tgid()
}

/// The thread that runs now.
#[inline(always)]
pub fn current_tid() -> u32 {
    current_ids() as u32
}

/// The task that runs now, as an address for [`read`].
#[inline(always)]
pub fn current_task() -> Address {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_get_current_task() as Address }
}

/// The task that runs now, as a record names it.
#[inline(always)]
pub fn current() -> Task {
    let ids = current_ids();
    let comm = bpf_get_current_comm().unwrap_or_default();
    Task { pid: (ids >> 32) as u32, tid: ids as u32, comm }
}

/// A cgroup's state of one controller, and the number that is its alone while the kernel is up; both zero for none.
#[derive(Clone, Copy)]
pub struct Css {
    pub address: Address,
    pub serial: u64,
}

impl Css {
    /// The memory controller's state of the task that runs now. This is the hot path of every page fault: three loads
    /// where the kernel lets a program load directly.
    #[inline(always)]
    pub fn current() -> Css {
        if layout!(task_btf) != 1 {
            return Css::of_task(current_task());
        }
        // SAFETY: from 5.11 on the verifier types these pointers by BTF, checks each offset against the type, and a
        // fault in such a load reads as zero.
        unsafe {
            let task = bpf_get_current_task_btf() as Address;
            let cgroups = load::<Address>(task, layout!(task_cgroups));
            let address = load::<Address>(cgroups, layout!(css_set_memory));
            let serial = load::<u64>(address, layout!(css_serial_nr));
            Css { address, serial }
        }
    }

    /// The memory controller's state of any task.
    #[inline(always)]
    pub fn of_task(task: Address) -> Css {
        let cgroups: Address = read(task, layout!(task_cgroups));
        Css::at(read(cgroups, layout!(css_set_memory)))
    }

    /// The state at this address.
    #[inline(always)]
    pub fn at(address: Address) -> Css {
        Css::seen_by::<Probed>(address)
    }

    /// The same, for a program that may have another way to the kernel's memory.
    #[inline(always)]
    pub fn seen_by<M: Memory>(address: Address) -> Css {
        Css { address, serial: M::read(address, layout!(css_serial_nr)) }
    }

    /// The state of a `struct mem_cgroup`.
    #[inline(always)]
    pub fn of_memcg(memcg: Address) -> Css {
        Css::at(memcg.wrapping_add(layout!(mem_cgroup_css) as usize))
    }

    /// Which cgroup it is; all zero if it cannot be told.
    #[inline(always)]
    pub fn id(self) -> Id {
        cgroup_id(read(self.address, layout!(css_cgroup)))
    }
}

/// Which cgroup a `struct cgroup` is; all zero if it cannot be told.
#[inline(always)]
pub fn cgroup_id(cgroup: Address) -> Id {
    let kn: Address = read(cgroup, layout!(cgroup_kn));
    let root: Address = read(cgroup, layout!(cgroup_root));
    Id { id: read(kn, layout!(kn_id)), hierarchy: read::<u32>(root, layout!(root_hierarchy_id)) as u64 }
}

/// A direct load from a pointer that the verifier knows by its type.
///
/// # Safety
/// `base` must come from a helper or load that gives a BTF-typed pointer; anything else is refused at load time.
#[inline(always)]
unsafe fn load<T: Copy>(base: Address, offset: u32) -> T {
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(base.add(offset as usize).cast::<T>()) }
}

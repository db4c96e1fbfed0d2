//! The eBPF programs. One file per signal, with the same name as in `collector-common` (its records and counters) and in
//! `collector-core/src/signal` (its meaning).
//!
//! Programs count frequent events and send records only of rare ones. They know nothing of names, units or rates, and
//! nothing of the kernel's layout except what is in `LAYOUT`.

#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod bench;
mod block;
mod cgroup;
mod compaction;
mod counter;
mod dirty;
mod emit;
mod fault;
mod kernel;
mod kill;
mod kswapd;
mod map;
mod number;
mod oom;
mod pass;
mod reclaim;
mod share;
mod slot;
mod stopwatch;
mod transfer;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

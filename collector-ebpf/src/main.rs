//! The eBPF programs: how each signal is seen. One file a signal, with the same stem as in `collector-common` (what it
//! is) and in `collector-core/src/signal` (what it means).
//!
//! A program counts what can be counted and sends only what is rare. It knows nothing of names, units or rates, and
//! nothing of the kernel's layout but what `LAYOUT` tells it.

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
mod kswapd;
mod map;
mod oom;
mod reclaim;
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

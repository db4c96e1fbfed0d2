//! `compact`: compacts all of the host's memory, and waits for it.

pub fn run() {
    std::fs::write("/proc/sys/vm/compact_memory", "1").unwrap();
}

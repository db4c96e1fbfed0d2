//! `compact`: compacts all memory of the host, and waits for it.

pub fn run() {
    std::fs::write("/proc/sys/vm/compact_memory", "1").unwrap();
}

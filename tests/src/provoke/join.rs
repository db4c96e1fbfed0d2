//! Shared by the verbs: joining cgroups, the kernel's count of this process's faults, and staying alive.

use std::io::Read as _;

/// Moves this process into cgroups, by their `cgroup.procs` files, in this order.
pub fn join(cgroups: &[&str]) {
    for procs in cgroups {
        std::fs::write(procs, "0").unwrap_or_else(|error| panic!("{procs}: {error}"));
    }
}

/// Minor and major faults of this process so far (getrusage(2)).
pub fn faults() -> (u64, u64) {
    // SAFETY: a C struct of numbers, for which zero is valid, and which the call fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &mut usage), 0);
        usage
    };
    (usage.ru_minflt as u64, usage.ru_majflt as u64)
}

/// Prints the faults since `before`, minor and major, and waits until standard input ends, so that the faults of the exit do
/// not count.
pub fn report(before: (u64, u64)) {
    let after = faults();
    println!("{} {}", after.0 - before.0, after.1 - before.1);
    let _ = std::io::stdin().read(&mut [0]);
}

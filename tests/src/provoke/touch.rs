//! `touch ACCESS PAGES CGROUP…`: joins the cgroups, then touches fresh pages one by one: `write` or `read` in user mode, or
//! `kernel`, where the kernel writes them in a read(2).

use crate::join::{faults, join, report};
use crate::memory::{Buffer, Memory};

/// Page size. With larger pages some touches would not fault.
const PAGE: usize = 4096;

pub fn run(access: &str, pages: usize, cgroups: &[&str]) {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let (memory, mut buffer) = (Memory::anonymous(pages * PAGE), Buffer::new(pages * PAGE));
    join(cgroups);
    let before = faults();
    match access {
        "write" => memory.write(),
        "read" => memory.read(),
        "kernel" => assert_eq!(rustix::io::read(&zero, &mut *buffer).unwrap(), pages * PAGE),
        _ => panic!("unknown access: {access}"),
    }
    report(before);
}

/// `visit PAGES CGROUP…`: joins one cgroup after the other, and writes as many fresh pages in each.
pub fn visit(pages: usize, cgroups: &[&str]) {
    let memory = Memory::anonymous(pages * PAGE * cgroups.len());
    let before = faults();
    for (place, cgroup) in cgroups.iter().enumerate() {
        join(&[cgroup]);
        memory.part(place, cgroups.len()).write();
    }
    report(before);
}

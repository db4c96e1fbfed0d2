//! `touch ACCESS PAGES CGROUP…`: joins the cgroups, then touches fresh pages one by one: `write` or `read` in user mode, or
//! `kernel`, where the kernel writes them in a read(2).

use std::ptr::null_mut;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

use crate::join::{faults, join, report};

/// Page size. With larger pages some touches would not fault.
const PAGE: usize = 4096;

pub fn run(access: &str, pages: usize, cgroups: &[&str]) {
    let zero = std::fs::File::open("/dev/zero").unwrap();
    let length = pages * PAGE;
    let memory = fresh(pages);
    join(cgroups);
    let before = faults();
    // SAFETY: within the mapping.
    let page = |index: usize| unsafe { memory.add(index * PAGE) };
    match access {
        // SAFETY: as above.
        "write" => (0..pages).for_each(|index| unsafe { page(index).write_volatile(1) }),
        // SAFETY: as above.
        "read" => (0..pages).for_each(|index| assert_eq!(unsafe { page(index).read_volatile() }, 0)),
        "kernel" => {
            // SAFETY: the mapping belongs to this function, and nothing else uses it now.
            let buffer = unsafe { std::slice::from_raw_parts_mut(memory, length) };
            assert_eq!(rustix::io::read(&zero, buffer).unwrap(), length);
        }
        _ => panic!("unknown access: {access}"),
    }
    report(before);
}

/// `visit PAGES CGROUP…`: joins one cgroup after the other, and writes as many fresh pages in each.
pub fn visit(pages: usize, cgroups: &[&str]) {
    let memory = fresh(pages * cgroups.len());
    let before = faults();
    for (place, cgroup) in cgroups.iter().enumerate() {
        join(&[cgroup]);
        // SAFETY: within the mapping.
        (0..pages).for_each(|index| unsafe { memory.add((place * pages + index) * PAGE).write_volatile(1) });
    }
    report(before);
}

/// Pages that nobody has touched.
fn fresh(pages: usize) -> *mut u8 {
    let length = pages * PAGE;
    // SAFETY: a new mapping, to which nothing else refers.
    unsafe {
        let memory = mmap_anonymous(null_mut(), length, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE).unwrap();
        // Otherwise the kernel may fill many pages on one fault.
        madvise(memory, length, Advice::LinuxNoHugepage).unwrap();
        memory.cast::<u8>()
    }
}

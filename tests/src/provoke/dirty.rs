//! `dirty FILE BYTES CGROUP…`: joins the cgroups, then writes through the page cache and leaves the pages dirty, to be
//! written back by another process.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use crate::join::join;

pub fn run(file: &str, bytes: usize, cgroups: &[&str]) {
    let file = OpenOptions::new().write(true).open(file).unwrap();
    join(cgroups);
    file.write_all_at(&vec![0x5a; bytes], 0).unwrap();
    println!("{bytes} 0");
}

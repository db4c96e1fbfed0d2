//! A file that is named like the CUDA driver's library → the offsets of functions: bounded in memory, and none is outside the
//! segments that the file says it has.

#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use collector::source::transfer::library::functions;
use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

const WANTED: [&str; 3] = ["cuMemAlloc_v2", "cuMemFree_v2", "f"];

static FILE: LazyLock<File> =
    LazyLock::new(|| File::from(memfd_create("libcuda.so.1", MemfdFlags::CLOEXEC).expect("make a file in memory")));

fuzz_target!(|bytes: &[u8]| {
    FILE.set_len(0).and_then(|()| FILE.write_all_at(bytes, 0)).expect("write to memory");
    match functions(&FILE, &WANTED) {
        Ok(found) => {
            assert!(found.keys().all(|name| WANTED.contains(name)));
            assert_eq!(functions(&FILE, &WANTED).expect("it did before"), found);
            // The same in a file that has a hole of hundreds of megabytes at its end.
            FILE.set_len(900 << 20).expect("a hole");
            assert_eq!(functions(&FILE, &WANTED).expect("it did before"), found);
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
});

//! A kernel's BTF → the layout for the eBPF programs.

#![no_main]

use collector::source::kernel::layout::{LayoutError, Unmet, resolve};
use collector_core::btf::Btf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = Btf::parse(bytes) else { return };
    match resolve(&btf) {
        Ok(resolved) => {
            for (program, Unmet::Unsupported(why) | Unmet::Unneeded(why)) in &resolved.unmet {
                assert!(!why.is_empty(), "{program}");
            }
            assert_eq!(resolve(&btf).expect("it did before"), resolved);
        }
        Err(LayoutError::Attribution(why)) => assert!(!why.is_empty()),
        Err(other) => panic!("{other}"),
    }
});

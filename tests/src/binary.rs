//! Path of the `headroom` under test.

use std::path::{Path, PathBuf};

/// The binary that `cargo xtask test` built, or the one beside this test.
pub fn binary() -> PathBuf {
    std::env::var_os("HEADROOM_BIN").map(PathBuf::from).unwrap_or_else(|| {
        // Tests are in a folder below it, other programs are not.
        let test = std::env::current_exe().unwrap();
        let beside = |folder: &Path| Some(folder.join("headroom")).filter(|binary| binary.is_file());
        test.ancestors().skip(1).take(2).find_map(beside).unwrap_or_else(|| "headroom".into())
    })
}

//! Where the `headroom` is that is tested.

use std::path::{Path, PathBuf};

/// The binary that is tested: what `cargo xtask test` built, or the one beside this test.
pub fn binary() -> PathBuf {
    std::env::var_os("HEADROOM_BIN").map(PathBuf::from).unwrap_or_else(|| {
        // Tests lie in a folder of their own below it, other programs do not.
        let test = std::env::current_exe().unwrap();
        let beside = |folder: &Path| Some(folder.join("headroom")).filter(|binary| binary.is_file());
        test.ancestors().skip(1).take(2).find_map(beside).unwrap_or_else(|| "headroom".into())
    })
}

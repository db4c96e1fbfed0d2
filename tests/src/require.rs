//! Requirements of tests. A test that cannot run here says why, and fails with `--require`.

use std::env;
use std::path::{Path, PathBuf};

use crate::binary::binary;

/// Set by `cargo xtask test --require`.
const REQUIRE: &str = "HEADROOM_REQUIRE";

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this is a virtual machine that `cargo xtask test vm` booted for the tests: anything may be done to it.
pub fn own_machine() -> bool {
    env::var_os("HEADROOM_MACHINE").is_some()
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
    find(program).is_some()
}

/// Where a program is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The folder of the project's own programs: in cargo's target folder, beside that of the binary.
pub fn tools() -> PathBuf {
    binary().ancestors().nth(2).unwrap_or(Path::new("")).join("tools")
}

/// Reports that a test cannot run here. With `--require`, that is a failure.
pub fn skip(why: &str) {
    assert!(env::var_os(REQUIRE).is_none(), "this test is required and cannot run: {why}");
    eprintln!("skipped: {why}");
}

/// Returns from the test with a message unless the condition holds.
#[macro_export]
macro_rules! needs {
    ($condition:expr, $why:expr) => {
        if !$condition {
            $crate::require::skip($why);
            return;
        }
    };
}

/// Returns with a message from a test that does not apply to this kind of host. Never a failure, even with `--require`:
/// nothing that could be installed or granted would make it run here.
#[macro_export]
macro_rules! applies {
    ($condition:expr, $why:expr) => {
        if !$condition {
            eprintln!("does not apply to this host: {}", $why);
            return;
        }
    };
}

/// The kernel's version: its first two numbers.
pub fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

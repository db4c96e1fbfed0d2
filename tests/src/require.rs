//! Tests that need something of the machine: they say why they cannot run, and fail for it when `--require` is given.

use std::env;

/// Set by `cargo xtask test --require`.
const REQUIRE: &str = "HEADROOM_REQUIRE";

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this machine is a test's own, a virtual one that `cargo xtask test vm` booted: anything may be done to it.
pub fn own_machine() -> bool {
    env::var_os("HEADROOM_MACHINE").is_some()
}

/// Whether a program can be run.
pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Says that a test cannot run here. With `--require`, that is a failure.
pub fn skip(why: &str) {
    assert!(env::var_os(REQUIRE).is_none(), "this test is required and cannot run: {why}");
    eprintln!("skipped: {why}");
}

/// Returns from the test, saying why, unless the condition holds.
#[macro_export]
macro_rules! needs {
    ($condition:expr, $why:expr) => {
        if !$condition {
            $crate::require::skip($why);
            return;
        }
    };
}

/// Returns from a test that is about another kind of host, saying so, unless the condition holds. No failure even with
/// `--require`: nothing that could be installed or granted would let it run on this one.
#[macro_export]
macro_rules! about {
    ($condition:expr, $why:expr) => {
        if !$condition {
            eprintln!("not about this host: {}", $why);
            return;
        }
    };
}

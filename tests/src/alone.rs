//! For tests that measure or change the whole process: each runs in a process of its own.

use std::env;
use std::process::Command;

/// Set in a process that runs a single test.
const ALONE: &str = "HEADROOM_ALONE";

/// Whether this process runs a single test. If not, starts a process that runs the test, and waits for it.
///
/// `path` is the path of an item in the test's body.
pub fn is_alone(path: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    // program::module::test::inner
    let name = path.split_once("::").and_then(|(_, rest)| rest.rsplit_once("::")).unwrap().0;
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    eprintln!("{text}");
    assert!(output.status.success(), "{name} ended with {} in a process of its own", output.status);
    assert!(text.contains("1 passed"), "no test is named {name}");
    false
}

/// Continues in a process that runs only this test. In any other process, returns once that one has ended.
#[macro_export]
macro_rules! alone {
    () => {
        fn inner() {}
        if !$crate::alone::is_alone(std::any::type_name_of_val(&inner)) {
            return;
        }
    };
}

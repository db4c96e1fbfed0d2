//! Tests that measure or change the whole process: each runs in a process of its own, beside those that run meanwhile.

use std::env;
use std::process::Command;

/// Set in the process that has one test alone.
const ALONE: &str = "HEADROOM_ALONE";

/// Whether this process is the test's own. If not, one is made, which runs the test by this name, and its end is waited for.
///
/// `path` is the path of something in the test's body.
pub fn is_alone(path: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    // program::module::test::inner
    let name = path.split_once("::").and_then(|(_, rest)| rest.rsplit_once("::")).unwrap().0;
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    eprintln!("{said}");
    assert!(output.status.success(), "in a process of its own, {name} ended with {}", output.status);
    assert!(said.contains("1 passed"), "there is no test {name}");
    false
}

/// Goes on in a process that has this test alone; in any other, returns once that has ended.
#[macro_export]
macro_rules! alone {
    () => {
        fn inner() {}
        if !$crate::alone::is_alone(std::any::type_name_of_val(&inner)) {
            return;
        }
    };
}

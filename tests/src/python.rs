//! The tests of the Python package, run by the system's Python: nothing is installed, and nothing is written beside them.

use std::env;
use std::path::Path;
use std::process::{Command, Output};

/// Its tests in this folder, without any configuration from the environment.
pub fn tests(folder: &str) -> Command {
    let package = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/python"));
    let mut python = Command::new("python3");
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("HEADROOM_") {
            python.env_remove(name);
        }
    }
    python.current_dir(package).env("PYTHONPATH", "src:tests").env("PYTHONDONTWRITEBYTECODE", "1");
    python.args(["-W", "error::ResourceWarning", "-m", "unittest", "discover", "--start-directory"]);
    python.arg(format!("tests/{folder}"));
    python
}

/// None may fail, and none may be skipped.
pub fn passed(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    // The last line is `OK`, or `OK (skipped=1)`; of no tests at all Python says `NO TESTS RAN` or `OK`, by version.
    let ran = said.lines().any(|line| line.starts_with("Ran ") && !line.starts_with("Ran 0 "));
    assert!(output.status.success() && ran && said.trim_end().ends_with("\nOK"), "{said}");
}

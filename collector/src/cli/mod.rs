//! One file a verb.

/// Parses the arguments, runs the verb, and gives its exit code.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

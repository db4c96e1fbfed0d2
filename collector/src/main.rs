//! Arguments → verb → exit code.

fn main() -> std::process::ExitCode {
    collector::cli::main()
}

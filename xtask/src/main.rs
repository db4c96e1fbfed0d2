//! Headroom's development tasks: arguments → verb → exit code. One file a verb.

mod bench;
mod build;
mod check;
mod cut_btf;
mod dist;
mod fuzz;
mod project;
mod run;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use project::Project;

/// Builds, runs and tests Headroom.
///
/// On a fresh Debian machine with Rust, as root, two commands are enough: `cargo xtask run` and `cargo xtask test`. Each
/// first installs what it needs and does not find.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what building, checking and testing need: the eBPF toolchain, clippy for it, fio
    ///
    /// Installs Debian's packages (as root), and compiles bpf-linker into cargo's target folder. What is there is left
    /// alone. On other systems it says what to install by hand.
    Setup,
    /// Build the binary `headroom`, eBPF programs included
    Build(build::Args),
    /// Build and run the collector: `cargo xtask run -- --listen 127.0.0.1:9000`
    Run(run::Args),
    /// What a change must pass before its tests: fmt, clippy (host and eBPF), generated docs up to date
    Check,
    /// Build and run every test that this machine can run
    ///
    /// Everything:                   cargo xtask test
    /// Without the live kernel:      cargo xtask test unit
    /// One live test:                cargo xtask test live -- oom
    /// A test that cannot run fails: cargo xtask test --require
    /// GPUs, against stand-ins:      cargo xtask test gpu
    /// GPUs, against a real one:     cargo xtask test gpu --hardware
    /// Other kernels, emulated:      cargo xtask test vm
    /// Two of them, and one test:    cargo xtask test vm 5.10 7.2 -- a_kill
    #[command(verbatim_doc_comment)]
    Test(test::Args),
    /// Feed what reads others' input with whatever breaks it, by cargo-fuzz
    ///
    /// Every target for a minute:         cargo xtask fuzz
    /// Two of them, for ten:              cargo xtask fuzz btf http --seconds 600
    /// What made one crash, once more:    cargo xtask fuzz btf -- fuzz/artifacts/btf/crash-…
    /// All, and the table into the docs:  cargo xtask fuzz --seconds 600 --write
    ///
    /// It takes Rust's nightly (rustup toolchain install nightly --profile minimal). What was found is begun with the next
    /// time; it lies in cargo's target folder. A crash becomes a unit test beside the code that it is in.
    #[command(verbatim_doc_comment)]
    Fuzz(fuzz::Args),
    /// Measure what the probes and the collector cost
    Bench(bench::Args),
    /// Build what is shipped: the release binary, a Debian package, manual page and completions, in `target/dist`
    Dist(dist::Args),
    /// Cut a kernel's BTF down to what the layout resolver reads: a fixture for its tests
    CutBtf {
        /// The whole BTF: `/sys/kernel/btf/vmlinux` of that kernel
        input: PathBuf,
        /// The fixture
        output: PathBuf,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = Project::find().and_then(|project| match args.verb {
        Verb::Setup => setup::setup(&project),
        Verb::Build(args) => build::build(&project, &args),
        Verb::Run(args) => run::run(&project, &args),
        Verb::Check => check::check(&project),
        Verb::Test(args) => test::test(&project, &args),
        Verb::Fuzz(args) => fuzz::fuzz(&project, &args),
        Verb::Bench(args) => bench::bench(&project, &args),
        Verb::Dist(args) => dist::dist(&project, &args),
        Verb::CutBtf { input, output } => cut_btf::run(&input, &output),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            project::say(project::ERROR, &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn arguments_after_the_dashes_are_the_collectors() {
        let args = Args::parse_from(["cargo xtask", "run", "--release", "--", "--release", "--listen", "[::1]:1"]);
        let Verb::Run(run) = args.verb else { panic!("not run") };
        assert!(run.build.release);
        assert_eq!(run.args, ["--release", "--listen", "[::1]:1"]);
    }
}

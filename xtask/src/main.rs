//! Headroom's development tasks: arguments → verb → exit code. One file per verb.

mod advisory;
mod bench;
mod build;
mod check;
mod cut_btf;
mod debian;
mod dist;
mod fuzz;
mod incidents;
mod licence;
mod models;
mod page;
mod peer;
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
/// On a fresh Debian machine with Rust, two commands are enough, as root: `cargo xtask run` and `cargo xtask test`. Both
/// first install what is missing.
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
    /// Installs Debian packages (as root) and compiles bpf-linker into cargo's target folder. What is installed already stays
    /// as it is. On other systems it prints what to install.
    Setup,
    /// Build the binary `headroom` with its eBPF programs
    Build(build::Args),
    /// Build and run the collector: `cargo xtask run -- --listen 127.0.0.1:9000`
    Run(run::Args),
    /// Check formatting, clippy (host and eBPF), the page's types, licences and generated docs: what a change must pass before its tests run
    Check,
    /// Find known vulnerabilities of the crates that this is built from, with cargo-audit
    Advisories(advisory::Args),
    /// Write the licences and notices of all that the binary contains
    Notices {
        /// File to write
        output: PathBuf,
    },
    /// Build, and run every test that this machine can run
    ///
    /// Everything:                   cargo xtask test
    /// Without the live kernel:      cargo xtask test unit
    /// One live test:                cargo xtask test live -- oom
    /// Fail tests that cannot run:   cargo xtask test --require
    /// GPUs, against stand-ins:      cargo xtask test gpu
    /// GPUs, against a real one:     cargo xtask test gpu --hardware
    /// Other kernels, emulated:      cargo xtask test vm
    /// Two of them, one test:        cargo xtask test vm 5.10 7.2 -- a_kill
    /// Staged incidents:             cargo xtask test incidents
    /// Some of them, on two kernels: cargo xtask test incidents 6.12 7.2 -- growth saw
    /// A whole Debian, emulated:     cargo xtask test debian
    /// Debian 13, what guard does:   cargo xtask test debian 13 -- guard
    /// What made-up models need:     cargo xtask test models
    #[command(verbatim_doc_comment)]
    Test(test::Args),
    /// Fuzz the parsers of untrusted input with cargo-fuzz
    ///
    /// Every target for a minute:           cargo xtask fuzz
    /// Two targets for ten minutes:         cargo xtask fuzz btf http --seconds 600
    /// Reproduce a crash:                   cargo xtask fuzz btf -- fuzz/artifacts/btf/crash-…
    /// All, with the table in the docs:     cargo xtask fuzz --seconds 600 --write
    ///
    /// Needs nightly Rust (rustup toolchain install nightly --profile minimal). Inputs found by one run, in cargo's target folder,
    /// are used by the next. Turn a crash into a unit test beside the code that crashed.
    #[command(verbatim_doc_comment)]
    Fuzz(fuzz::Args),
    /// Measure the cost of the probes and the collector
    Bench(bench::Args),
    /// Build the release: binary, Debian package, manual page and completions, in `target/dist`
    Dist(dist::Args),
    /// Reduce a kernel's BTF to what the layout resolver reads, for use as a test fixture
    CutBtf {
        /// Full BTF: `/sys/kernel/btf/vmlinux` of that kernel
        input: PathBuf,
        /// Fixture to write
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
        Verb::Advisories(args) => advisory::advisories(&project, &args),
        Verb::Notices { output } => licence::notices(&project, &output),
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
    fn the_arguments_are_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn arguments_after_the_dashes_go_to_the_collector() {
        let args = Args::parse_from(["cargo xtask", "run", "--release", "--", "--release", "--listen", "[::1]:1"]);
        let Verb::Run(run) = args.verb else { panic!("not run") };
        assert!(run.build.release);
        assert_eq!(run.args, ["--release", "--listen", "[::1]:1"]);
    }
}

//! Finds the eBPF toolchain and calls it.
//!
//! The collector's build script includes this file by path. So it uses std alone, and has nothing that only one of the two
//! needs. It only looks; `setup.rs` installs.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Target of the eBPF programs.
pub const TARGET: &str = "bpfel-unknown-none";

/// Folder of the tools that `cargo xtask setup` installs, below cargo's target folder.
pub const TOOLS: &str = "tools";

/// Folder of the packages that the page is made of, below that.
pub const PAGE: &str = "page";

/// A compiler and a linker for eBPF.
#[derive(Debug)]
pub struct Toolchain {
    pub rust: Rust,
    /// Path of bpf-linker.
    pub linker: PathBuf,
}

/// A Rust compiler that can compile for [`TARGET`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rust {
    /// Debian's, with a compiled `core` for the target.
    Debian,
    /// rustup's nightly, which compiles `core` from source.
    Nightly,
}

/// The missing parts of the toolchain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    pub rust: bool,
    /// bpf-linker.
    pub linker: bool,
}

/// Finds the toolchain. Looks for bpf-linker below each of `targets`, which are target folders of cargo, and then on PATH.
pub fn find(targets: &[PathBuf]) -> Result<Toolchain, Missing> {
    match (rust(), linker(targets)) {
        (Some(rust), Some(linker)) => Ok(Toolchain { rust, linker }),
        (rust, linker) => Err(Missing { rust: rust.is_none(), linker: linker.is_none() }),
    }
}

impl Toolchain {
    /// `cargo VERB` for the eBPF programs of the workspace in the folder `root`, for kernels of this `arch` (as in
    /// `CARGO_CFG_TARGET_ARCH`), with its output below `target_dir`. The caller may add arguments.
    ///
    /// It clears the variables of cargo, rustup and the user's compiler flags that this process runs with: they are for the
    /// host's compiler.
    pub fn cargo(&self, verb: &str, root: &Path, arch: &str, target_dir: &Path) -> Command {
        let mut command = match self.rust {
            Rust::Debian => {
                // `/usr/bin/cargo clippy` would run the first cargo-clippy in ~/.cargo/bin or on PATH, which is rustup's.
                let cargo = if verb == "clippy" { "/usr/bin/cargo-clippy" } else { "/usr/bin/cargo" };
                let mut command = Command::new(cargo);
                scrub(&mut command);
                command.env("CARGO", "/usr/bin/cargo").env("RUSTC", "/usr/bin/rustc").arg(verb);
                // Inline assembly is unstable on this target. Only the crates that use it are allowed to.
                command.env("RUSTC_BOOTSTRAP", "aya_ebpf,collector_ebpf");
                command
            }
            Rust::Nightly => {
                let mut command = Command::new("rustup");
                scrub(&mut command);
                command.args(["run", "nightly", "cargo", verb, "-Zbuild-std=core"]);
                command
            }
        };
        let mut linker = std::ffi::OsString::from("-Clinker=");
        linker.push(&self.linker);
        let cfg = format!("--cfg=bpf_target_arch=\"{arch}\"");
        let flags = [cfg.as_ref(), "-Cdebuginfo=2".as_ref(), "-Clink-arg=--btf".as_ref(), linker.as_os_str()];
        command
            // An empty wrapper overrides one in the user's configuration, which may not know this compiler.
            .env("RUSTC_WRAPPER", "")
            // This variable overrides all other sources of flags.
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join(OsStr::new("\x1f")))
            // bpf-linker optimises across crates itself, and how the agent is linked must not change what old kernels get.
            .env("CARGO_PROFILE_RELEASE_LTO", "false")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .current_dir(root)
            .args(["--package", "collector-ebpf", "--release", "--target", TARGET, "--target-dir"])
            .arg(target_dir);
        command
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.rust, "a Rust compiler for the BPF target"), (self.linker, "bpf-linker")];
        let parts: Vec<&str> = parts.iter().filter(|(missing, _)| *missing).map(|(_, part)| *part).collect();
        write!(f, "the eBPF toolchain is missing ({})", parts.join(", "))
    }
}

fn rust() -> Option<Rust> {
    let debian = sysroot(Command::new("/usr/bin/rustc")).is_some_and(|root| has_core(&root));
    if debian && Path::new("/usr/bin/cargo").is_file() {
        return Some(Rust::Debian);
    }
    let mut nightly = Command::new("rustup");
    // Looking for the toolchain must not install it.
    nightly.env("RUSTUP_AUTO_INSTALL", "0").args(["run", "nightly", "rustc"]);
    let source = sysroot(nightly)?.join("lib/rustlib/src/rust/library/core/src/lib.rs");
    source.is_file().then_some(Rust::Nightly)
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    scrub(&mut rustc);
    let output = rustc.args(["--print", "sysroot"]).stderr(Stdio::null()).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(path.trim_end()))
}

/// Whether a compiled `core` for [`TARGET`] is below this sysroot.
fn has_core(sysroot: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
    })
}

fn linker(targets: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let ours = targets.iter().map(|target| target.join(TOOLS).join("bin"));
    ours.chain(std::env::split_paths(&path)).map(|folder| folder.join("bpf-linker")).find(|file| file.is_file())
}

/// Removes the variables that describe this process's own cargo and compiler.
pub fn scrub(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_foreign) {
            command.env_remove(&name);
        }
    }
}

/// Whether this variable describes the build of another compiler. Variables that say where cargo finds crates, how it prints,
/// and how many jobs may run are kept.
fn is_foreign(name: &str) -> bool {
    const KEPT: &[&str] = &[
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    match name {
        "CARGO" | "LD_LIBRARY_PATH" | "RUSTFLAGS" | "RUSTDOC" | "RUSTDOCFLAGS" | "RUSTUP_TOOLCHAIN" => true,
        "CLIPPY_ARGS" | "CLIPPY_CONF_DIR" => true,
        _ if name == "RUSTC" || name.starts_with("RUSTC_") => true,
        _ => name.starts_with("CARGO_") && !KEPT.iter().any(|kept| name.starts_with(kept)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn toolchain(rust: Rust) -> Toolchain {
        Toolchain { rust, linker: "/t/tools/bin/bpf-linker".into() }
    }

    fn command(rust: Rust, verb: &str) -> Command {
        toolchain(rust).cargo(verb, Path::new("/w"), "x86_64", Path::new("/o"))
    }

    fn env(command: &Command, name: &str) -> Option<OsString> {
        command.get_envs().find(|(key, _)| *key == name).and_then(|(_, value)| value.map(OsStr::to_owned))
    }

    fn line(command: &Command) -> String {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn missing_parts_are_named_in_one_sentence() {
        let both = Missing { rust: true, linker: true };
        assert_eq!(both.to_string(), "the eBPF toolchain is missing (a Rust compiler for the BPF target, bpf-linker)");
        let linker = Missing { rust: false, linker: true };
        assert_eq!(linker.to_string(), "the eBPF toolchain is missing (bpf-linker)");
    }

    #[test]
    fn debian_builds_with_its_own_compiler_and_its_compiled_core() {
        let command = command(Rust::Debian, "build");
        let expected =
            "/usr/bin/cargo build --package collector-ebpf --release --target bpfel-unknown-none --target-dir /o";
        assert_eq!(line(&command), expected);
        assert_eq!(env(&command, "RUSTC").unwrap(), "/usr/bin/rustc");
        assert_eq!(env(&command, "RUSTC_BOOTSTRAP").unwrap(), "aya_ebpf,collector_ebpf");
        assert_eq!(command.get_current_dir(), Some(Path::new("/w")));
    }

    #[test]
    fn nightly_compiles_core_itself() {
        let command = command(Rust::Nightly, "build");
        assert!(
            line(&command).starts_with("rustup run nightly cargo build -Zbuild-std=core --package collector-ebpf ")
        );
        assert_eq!(env(&command, "RUSTC_BOOTSTRAP"), None);
    }

    #[test]
    fn clippy_belongs_to_the_compiler() {
        assert!(line(&command(Rust::Debian, "clippy")).starts_with("/usr/bin/cargo-clippy clippy --package "));
        assert!(
            line(&command(Rust::Nightly, "clippy")).starts_with("rustup run nightly cargo clippy -Zbuild-std=core ")
        );
    }

    #[test]
    fn flags_reach_the_compiler_unchanged() {
        let flags = env(&command(Rust::Debian, "build"), "CARGO_ENCODED_RUSTFLAGS").unwrap();
        let flags: Vec<&str> = flags.to_str().unwrap().split('\x1f').collect();
        let expected = ["--cfg=bpf_target_arch=\"x86_64\"", "-Cdebuginfo=2", "-Clink-arg=--btf"];
        assert_eq!(flags[..3], expected);
        assert_eq!(flags[3], "-Clinker=/t/tools/bin/bpf-linker");
    }

    #[test]
    fn variables_of_the_hosts_compiler_are_removed() {
        for name in ["RUSTC", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO", "LD_LIBRARY_PATH"] {
            assert!(is_foreign(name), "{name}");
        }
        for name in ["CARGO_BUILD_TARGET", "CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_PROFILE_RELEASE_LTO"] {
            assert!(is_foreign(name), "{name}");
        }
        for name in ["PATH", "HOME", "CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_MAKEFLAGS", "RUSTUP_HOME", "RUST_LOG"] {
            assert!(!is_foreign(name), "{name}");
        }
    }

    #[test]
    fn core_counts_only_when_compiled_for_the_target() {
        let root = std::env::temp_dir().join(format!("headroom-sysroot-{}", std::process::id()));
        let library = root.join("lib/rustlib").join(TARGET).join("lib");
        std::fs::create_dir_all(&library).unwrap();
        assert!(!has_core(&root));
        std::fs::write(library.join("libcore-0.rmeta"), "").unwrap();
        assert!(!has_core(&root));
        std::fs::write(library.join("libcore-0.rlib"), "").unwrap();
        assert!(has_core(&root));
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_projects_linker_comes_before_others() {
        let target = std::env::temp_dir().join(format!("headroom-target-{}", std::process::id()));
        let file = target.join("tools/bin/bpf-linker");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        assert_eq!(linker(&["/nonexistent".into(), target.clone()]), Some(file));
        std::fs::remove_dir_all(&target).unwrap();
    }
}

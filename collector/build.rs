//! Compiles the eBPF programs into `OUT_DIR/collector-ebpf`, and those for kernels with lockdown into
//! `OUT_DIR/collector-ebpf-typed`, and bundles the page into `OUT_DIR/page.js` and `page.css`, from where the collector takes them
//! into its binary.

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the eBPF programs are made of, in the workspace.
const SOURCES: &[&str] = &["collector-ebpf", "collector-common", "Cargo.toml", "Cargo.lock"];

fn main() {
    // Neither a panic nor an exit code: cargo would bury the one sentence that helps in this script's whole output.
    if let Err(message) = build() {
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), String> {
    let out = PathBuf::from(variable("OUT_DIR")?);
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = package.parent().ok_or("the collector's folder is not inside the workspace")?;
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }

    let toolchain =
        toolchain::find(&targets(&out, root)).map_err(|missing| format!("{missing}: run `cargo xtask setup`"))?;
    println!("cargo::rerun-if-changed={}", toolchain.linker.display());
    if toolchain.rust == toolchain::Rust::Debian {
        println!("cargo::rerun-if-changed=/usr/bin/rustc");
    }

    let compile = |features: &[&str]| {
        let target = out.join("ebpf");
        let mut command = toolchain.cargo("build", root, &variable("CARGO_CFG_TARGET_ARCH")?, &target);
        // Quiet leaves the compiler's own words on stderr, and nothing else. The lock file is the outer cargo's to write.
        let output = command.args(["--quiet", "--locked"]).args(features).output();
        let output = output.map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))?;
        let words = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(format!("the eBPF programs do not compile:\n{words}"));
        }
        // Cargo hides whatever else a build script prints.
        for line in words.lines() {
            println!("cargo::warning={line}");
        }
        let object = target.join(toolchain::TARGET).join("release/collector-ebpf");
        std::fs::read(&object).map_err(|error| format!("read {}: {error}", object.display()))
    };
    let write = |name: &str, object: &[u8]| {
        let file = out.join(name);
        std::fs::write(&file, object).map_err(|error| format!("write {}: {error}", file.display()))
    };
    write("collector-ebpf", &compile(&[])?)?;
    write("collector-ebpf-typed", &typed(compile(&["--features", "typed"])?))?;
    page(&out, root)
}

/// Bundles the page. Without the packages that it is made of, both files are empty, and all else works.
fn page(out: &Path, root: &Path) -> Result<(), String> {
    println!("cargo::rerun-if-changed={}", root.join("web/src").display());
    let targets = targets(out, root);
    let folders = targets.iter().map(|target| target.join(toolchain::TOOLS).join(toolchain::PAGE));
    let folders: Vec<PathBuf> = folders.collect();
    // Written last.
    let Some(folder) = folders.iter().find(|folder| folder.join("installed").is_file()) else {
        for folder in folders {
            // Cargo runs this script again once something is installed there, and each time if there is no such folder.
            let _ = std::fs::create_dir_all(&folder);
            println!("cargo::rerun-if-changed={}", folder.display());
        }
        println!(
            "cargo::warning=the page is left out: `cargo xtask setup` installs what it is made of, with Node.js and npm"
        );
        let empty = |name: &str| {
            std::fs::write(out.join(name), "").map_err(|error| format!("write {}: {error}", out.join(name).display()))
        };
        return empty("page.js").and_then(|()| empty("page.css"));
    };
    println!("cargo::rerun-if-changed={}", folder.join("installed").display());
    let packages = folder.join("node_modules");
    let mut bundler = Command::new(bundler(&packages)?);
    bundler.current_dir(root).env("NODE_PATH", &packages).arg("web/src/main.tsx");
    bundler.args(["--bundle", "--minify", "--format=iife", "--target=es2020", "--charset=utf8", "--log-level=warning"]);
    bundler.args(["--jsx=automatic", "--jsx-import-source=preact", "--legal-comments=none"]);
    let output = bundler.arg(format!("--outfile={}", out.join("page.js").display())).output();
    let output = output.map_err(|error| format!("cannot run {}: {error}", bundler.get_program().display()))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("the page cannot be bundled:\n{}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// esbuild's own program: the script of that name needs Node.js, and only looks for this one.
fn bundler(packages: &Path) -> Result<PathBuf, String> {
    let folder = packages.join("@esbuild");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("list {}: {error}", folder.display()))?;
    let programs = entries.filter_map(|entry| Some(entry.ok()?.path().join("bin/esbuild")));
    let mut programs = programs.filter(|program| program.is_file());
    programs.next().ok_or_else(|| format!("no esbuild for this system in {}", folder.display()))
}

/// Turns raw tracepoints into typed ones. The name of its section says what a program is, and both names have one length.
fn typed(mut object: Vec<u8>) -> Vec<u8> {
    let (raw, typed) = (b"raw_tp/", b"tp_btf/");
    for at in 0..object.len().saturating_sub(raw.len()) {
        if object[at..].starts_with(raw) {
            object[at..at + raw.len()].copy_from_slice(typed);
        }
    }
    object
}

/// The folders that may be cargo's target folder, where `cargo xtask setup` leaves bpf-linker: cargo does not tell a
/// build script. The one this runs in comes first, then the one in force, then the default.
fn targets(out: &Path, root: &Path) -> Vec<PathBuf> {
    let here = out.ancestors().find(|folder| folder.join(".rustc_info.json").is_file()).map(Path::to_owned);
    let set = env::var_os("CARGO_TARGET_DIR").map(|folder| root.join(folder));
    here.into_iter().chain(set).chain([root.join("target")]).collect()
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}

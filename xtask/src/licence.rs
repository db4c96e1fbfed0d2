//! The licences of the crates that the workspace is built from, and of the page's packages: which are allowed, and the notices that
//! must travel with the binary.
//!
//! Knows what `cargo metadata` and the page's lockfile say, and what files these bring. What only serves development is checked too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::project::{self, Project};
use crate::toolchain;

/// Licences that ask for no more than their own text: the binary is under Apache-2.0 and linked statically.
const PERMISSIVE: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Licences of fonts, which are used to draw pictures and are not shipped.
const FONT: [&str; 2] = ["OFL-1.1", "Ubuntu-font-1.0"];

/// Packages of the workspace that end up in the binary.
const SHIPPED: [&str; 2] = ["collector", "collector-ebpf"];

/// Beginnings of the names of files with licences and notices, in capitals.
const FILES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// A crate or an npm package of somebody else.
#[derive(Debug)]
struct Crate {
    name: String,
    version: String,
    licence: String,
    authors: Vec<String>,
    folder: PathBuf,
    /// Whether it is part of the binary.
    shipped: bool,
}

/// Fails if a crate has a licence that is not permissive.
pub fn check(project: &Project) -> Result<()> {
    let crates = crates(project)?;
    let refused: Vec<_> = crates.iter().filter(|of| !is_allowed(of)).map(|of| format!("  {of}")).collect();
    if !refused.is_empty() {
        bail!("crates and packages whose licence is not known to be permissive:\n{}", refused.join("\n"));
    }
    Ok(())
}

/// Writes the licences and notices of all that the binary contains.
pub fn notices(project: &Project, file: &Path) -> Result<()> {
    let mut crates = crates(project)?;
    // A page that could not be bundled is not in the binary either.
    crates.retain(|of| of.shipped && of.folder.is_dir());
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for of in &crates {
        let mut texts = texts(&of.folder)?;
        if texts.is_empty() {
            let authors = if of.authors.is_empty() { String::new() } else { format!(" by {}", of.authors.join(", ")) };
            texts.push(format!("{}{authors}, which brings no text of its licence: {}", of.name, of.licence));
        }
        texts.into_iter().for_each(|text| _ = groups.entry(text).or_default().insert(of.to_string()));
    }
    for text in standard_library()? {
        groups.entry(text).or_default().insert("the standard library of Rust (MIT OR Apache-2.0)".into());
    }
    let mut notices = String::from("Headroom contains the work of others, under these licences.\n");
    for (text, names) in groups {
        let names: Vec<_> = names.into_iter().collect();
        write!(notices, "\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join("\n"))?;
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    fs::write(file, notices).with_context(|| format!("write {}", file.display()))
}

fn crates(project: &Project) -> Result<Vec<Crate>> {
    let mut metadata = project.cargo("metadata");
    metadata.args(["--format-version", "1", "--locked", "--filter-platform"]);
    // Of what is only for other systems nothing is built.
    metadata.arg(format!("{}-unknown-linux-gnu", env::consts::ARCH));
    let output = metadata.stderr(Stdio::inherit()).output().context("run cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed");
    }
    let crates = parse(&serde_json::from_slice(&output.stdout)?).context("parse the output of cargo metadata")?;
    Ok(crates.into_iter().chain(packages(project)?).collect())
}

/// Where the page's packages are, if they are installed.
fn installed(project: &Project) -> PathBuf {
    project.target.join(toolchain::TOOLS).join(toolchain::PAGE)
}

/// The page's packages. Those that only make it are not in it.
fn packages(project: &Project) -> Result<Vec<Crate>> {
    let file = project.root.join("web/package-lock.json");
    let lock = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let lock: Value = serde_json::from_slice(&lock).with_context(|| format!("parse {}", file.display()))?;
    let installed = installed(project);
    let packages = lock["packages"].as_object().context("no packages")?;
    let foreign = packages.iter().filter(|(path, _)| !path.is_empty());
    let package = |(path, package): (&String, &Value)| {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        Ok(Crate {
            name: path.trim_start_matches("node_modules/").to_owned(),
            version: text("version").with_context(|| format!("{path}: no version"))?,
            licence: text("license").unwrap_or_default(),
            authors: Vec::new(),
            folder: installed.join(path),
            shipped: package["dev"] != true,
        })
    };
    foreign.map(package).collect()
}

fn parse(metadata: &Value) -> Result<Vec<Crate>> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let nodes = metadata["resolve"]["nodes"].as_array().context("no graph")?;
    let graph: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, &node["deps"]))).collect();
    let packages = metadata["packages"].as_array().context("no packages")?;
    let roots = packages.iter().filter(|package| SHIPPED.iter().any(|name| package["name"] == *name));
    let mut open: Vec<&str> = roots.filter_map(|package| package["id"].as_str()).collect();
    let mut shipped = BTreeSet::new();
    // A macro runs in the compiler.
    let is_macro = |package: &&Value| {
        package["targets"].as_array().is_some_and(|of| of.iter().any(|it| it["kind"][0] == "proc-macro"))
    };
    let macros: BTreeSet<&str> =
        packages.iter().filter(is_macro).filter_map(|package| package["id"].as_str()).collect();
    while let Some(id) = open.pop() {
        if !macros.contains(id) && shipped.insert(id) {
            let dependencies = graph.get(id).and_then(|dependencies| dependencies.as_array()).into_iter().flatten();
            let is_linked =
                |dependency: &&Value| dependency["dep_kinds"].as_array().is_some_and(|of| of.iter().any(is_normal));
            open.extend(dependencies.filter(is_linked).filter_map(|dependency| dependency["pkg"].as_str()));
        }
    }
    let foreign = packages.iter().filter(|package| !package["source"].is_null());
    let used = foreign.filter(|package| package["id"].as_str().is_some_and(|id| graph.contains_key(id)));
    used.map(|package| {
        let manifest = PathBuf::from(text(&package["manifest_path"]).context("no manifest")?);
        let authors = package["authors"].as_array().into_iter().flatten().filter_map(text);
        Ok(Crate {
            name: text(&package["name"]).context("no name")?,
            version: text(&package["version"]).context("no version")?,
            licence: text(&package["license"]).unwrap_or_default(),
            authors: authors.collect(),
            folder: manifest.parent().context("no folder")?.to_owned(),
            shipped: package["id"].as_str().is_some_and(|id| shipped.contains(id)),
        })
    })
    .collect()
}

/// Neither for tests nor for build scripts.
fn is_normal(kind: &Value) -> bool {
    kind["kind"].is_null()
}

impl std::fmt::Display for Crate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let licence = if self.licence.is_empty() { "no licence stated" } else { &self.licence };
        write!(f, "{} {} ({licence})", self.name, self.version)
    }
}

fn is_allowed(of: &Crate) -> bool {
    // An older spelling of OR.
    let words = of.licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = words.split_whitespace().collect();
    let allowed = |licence: &str| PERMISSIVE.contains(&licence) || !of.shipped && FONT.contains(&licence);
    let mut at = 0;
    either(&words, &mut at, &allowed) == Some(true) && at == words.len()
}

/// An SPDX expression with OR, from the word `at` on. `None` if it is malformed.
fn either(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut answer = all(words, at, allowed)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        answer |= all(words, at, allowed)?;
    }
    Some(answer)
}

fn all(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let mut answer = one(words, at, allowed)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        answer &= one(words, at, allowed)?;
    }
    Some(answer)
}

fn one(words: &[&str], at: &mut usize, allowed: &dyn Fn(&str) -> bool) -> Option<bool> {
    let word = *words.get(*at)?;
    *at += 1;
    if word == "(" {
        let answer = either(words, at, allowed)?;
        *at += 1;
        return (words.get(*at - 1) == Some(&")")).then_some(answer);
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1)?;
        *at += 2;
        return Some(allowed(&format!("{word} WITH {exception}")));
    }
    (!matches!(word, ")" | "OR" | "AND" | "WITH")).then(|| allowed(word))
}

/// The licences and notices in a folder, and in folders below it that have such a name.
fn texts(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("list {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
            FILES.iter().any(|start| name.starts_with(start)) && !name.ends_with(".HTML")
        })
        .collect();
    paths.sort();
    for path in paths {
        let inside =
            || fs::read_dir(&path).map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect());
        let files: Vec<PathBuf> = if path.is_dir() { inside().unwrap_or_default() } else { vec![path] };
        for file in files.iter().filter(|file| file.is_file()) {
            let bytes = fs::read(file).with_context(|| format!("read {}", file.display()))?;
            let text = String::from_utf8_lossy(&bytes);
            let lines: Vec<_> = text.trim_start_matches('\u{feff}').lines().map(str::trim_end).collect();
            texts.push(lines.join("\n").trim_matches('\n').to_owned());
        }
    }
    Ok(texts)
}

/// What the installed Rust says of its standard library, which is linked too.
fn standard_library() -> Result<Vec<String>> {
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler).args(["--print", "sysroot"]).output().context("run rustc")?;
    let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let folder = ["share/doc/rust", "share/doc/rustc", "share/doc/libstd-rust-dev"];
    let found = folder.iter().map(|folder| sysroot.join(folder)).find(|folder| folder.is_dir());
    let texts = found.map(|folder| texts(&folder)).transpose()?.unwrap_or_default();
    if texts.is_empty() {
        project::say(project::NOTE, "notices: this Rust brings no text of its own licence");
        return Ok(vec![
            "Copyright (c) The Rust Project Contributors; https://www.rust-lang.org/policies/licenses".into(),
        ]);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stated(licence: &str, shipped: bool) -> bool {
        let (name, version) = ("name".into(), "1".into());
        is_allowed(&Crate { name, version, licence: licence.into(), authors: vec![], folder: "/".into(), shipped })
    }

    #[test]
    fn an_expression_is_allowed_if_one_way_to_meet_it_is() {
        for licence in [
            "MIT",
            "MIT/Apache-2.0",
            "Apache-2.0 / MIT",
            "MIT OR LGPL-2.1-or-later",
            "Apache-2.0 WITH LLVM-exception",
            "(MIT OR GPL-3.0-only) AND Unicode-3.0",
            "GPL-2.0-only OR MIT AND ISC",
        ] {
            assert!(stated(licence, true), "{licence}");
        }
        for licence in [
            "",
            "LGPL-2.1-or-later",
            "MIT AND GPL-3.0-only",
            "Apache-2.0 WITH Unknown-exception",
            "(MIT OR Apache-2.0",
            "MIT OR",
            "MIT MPL-2.0",
            "OR",
            ")",
            "OFL-1.1",
        ] {
            assert!(!stated(licence, true), "{licence}");
        }
        assert!(stated("MIT AND OFL-1.1", false) && !stated("AGPL-3.0-only", false));
    }

    #[test]
    fn every_licence_is_permissive() {
        let project = Project::find().unwrap();
        check(&project).unwrap();
        let crates = crates(&project).unwrap();
        let shipped = |name: &str| crates.iter().find(|of| of.name == name).map(|of| of.shipped);
        assert_eq!(
            ["aya", "aya-ebpf", "ring", "syn", "rcgen", "uplot", "preact", "esbuild"].map(shipped),
            [true, true, true, false, false, true, true, false].map(Some)
        );
    }

    #[test]
    fn notices_have_the_texts_of_what_is_shipped() {
        let file = env::temp_dir().join(format!("notices-{}", std::process::id()));
        notices(&Project::find().unwrap(), &file).unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        for part in ["\nring 0.", "\naya-ebpf 0.", "Permission is hereby granted", "standard library of Rust"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("\nrcgen "), "it only serves tests");
        let page = installed(&Project::find().unwrap()).join("installed").is_file();
        for part in ["\nuplot 1.", "Leon Sorokin", "\npreact 10.", "Jason Miller"] {
            assert_eq!(text.contains(part), page, "{part}");
        }
        assert!(text.len() < 2 << 20, "{} bytes", text.len());
    }
}

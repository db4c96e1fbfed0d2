//! Estimates of small models against what the kernel charged a real llama.cpp server (b11549, as xllamacpp has it) for them: anonymous and mapped memory, and the
//! peak. `cargo xtask test models` runs the server again, each time in a cgroup of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use collector_core::need::gguf::Header;
use collector_core::need::llama::estimate::{Files, MIB, estimate};
use collector_core::need::llama::setting::{Load, Settings};
use collector_core::need::{Memory, Need, Resource};
use serde::Deserialize;

#[derive(Deserialize)]
struct Model {
    arch: String,
    /// Length of the whole file.
    bytes: u64,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    args: Vec<String>,
    /// Bytes that the kernel charged.
    anonymous: u64,
    mapped: u64,
    peak: u64,
}

/// One line of the table: estimate, its error, and what the kernel charged.
struct Row {
    model: String,
    run: String,
    anonymous: (u64, u64, u64),
    mapped: (u64, u64, u64),
    peak: (u64, u64),
}

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Amount and error of the parts that are charged so.
fn sum(need: &Need, counts: impl Fn(Memory) -> bool) -> (u64, u64) {
    let parts = need.parts.iter().filter(|part| !part.loading);
    let parts = parts.filter(|part| matches!(part.resource, Resource::Host { memory } if counts(memory)));
    parts.fold((0, 0), |(amount, error), part| (amount + part.amount, error + part.error))
}

fn rows() -> Vec<Row> {
    let models = fs::read_to_string(root("tests/fixtures/need/served.json")).unwrap();
    let models: BTreeMap<String, Model> = serde_json::from_str(&models).unwrap();
    let mut rows = Vec::new();
    for (name, model) in models {
        let bytes = fs::read(root(&format!("tests/fixtures/need/{name}.gguf"))).unwrap();
        assert!(bytes.len() <= 32 << 10, "{name}");
        let header = Header::read(&*bytes).unwrap();
        assert_eq!(header.architecture(), Ok(&*model.arch));
        assert!(header.data + header.weights.end <= model.bytes, "{name}");
        for run in &model.runs {
            let settings = Settings::of(&run.args).unwrap();
            assert_eq!(settings.not_considered, [""; 0]);
            let files = Files { model: header.clone(), projector: None, draft: None, adapters: Vec::new() };
            let need = estimate(&files, &settings, 0).unwrap();
            // Locked pages of a mapped file are charged as mapped.
            let is_mapped =
                |memory| memory == Memory::Mapped || memory == Memory::Locked && settings.load == Load::MappedLocked;
            let (anonymous, error) = sum(&need, |memory| memory.hard() && !is_mapped(memory));
            let (mapped, mapped_error) = sum(&need, is_mapped);
            let passing = need.parts.iter().filter(|part| part.loading).map(|part| part.amount).sum::<u64>();
            rows.push(Row {
                model: name.clone(),
                run: run.args.join(" "),
                anonymous: (anonymous, error, run.anonymous),
                mapped: (mapped, mapped_error, run.mapped),
                peak: (anonymous + mapped + passing, run.peak),
            });
        }
    }
    rows
}

/// The server's own code is mapped, too, if it was not read before.
const CODE: u64 = 64 * MIB;

#[test]
fn the_kernel_charges_what_the_need_says_within_its_error() {
    let rows = rows();
    assert!(rows.len() >= 14, "{}", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        for (what, (estimate, error, real), more) in [("anonymous", row.anonymous, 0), ("mapped", row.mapped, CODE)] {
            // A few pages of a file may not be mapped.
            if real > estimate + error + more || real + error + MIB < estimate {
                let mib = |bytes| bytes / MIB;
                let (estimate, error, real) = (mib(estimate), mib(error), mib(real));
                wrong.push(format!("{} {}: {what} {estimate} ± {error} MiB, not {real}", row.model, row.run));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// As the documentation has it, in MiB rounded down.
pub fn table() -> String {
    let mib = |bytes: u64| bytes / MIB;
    let line = |row: &Row| {
        let with = |(estimate, error, real): (u64, u64, u64)| match mib(error) {
            0 => format!("{} / {}", mib(estimate), mib(real)),
            error => format!("{} ± {error} / {}", mib(estimate), mib(real)),
        };
        let (peak, real) = row.peak;
        let (model, anonymous, mapped) =
            (row.model.trim_start_matches("served-"), with(row.anonymous), with(row.mapped));
        format!("| {model} | `{}` | {anonymous} | {mapped} | {} / {} |\n", row.run, mib(peak), mib(real))
    };
    let head = "| model | command line | anonymous | mapped | peak |\n|---|---|---|---|---|\n";
    head.to_owned() + &rows().iter().map(line).collect::<String>()
}

//! Estimates of made-up models against what llama.cpp's own estimator says of the same files: `llama-fit-params` of b11434, with a
//! CPU and with a device that counts as a GPU. `cargo xtask test models` makes both again.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use collector_core::need::gguf::Header;
use collector_core::need::llama::estimate::{Files, MIB, estimate};
use collector_core::need::llama::setting::Settings;
use collector_core::need::{Need, Resource};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
struct Model {
    arch: String,
    class: String,
    /// Length of the whole file.
    bytes: u64,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    args: Vec<String>,
    /// MiB of weights, cache and compute buffers, rounded down.
    host: [u64; 3],
    gpu: Vec<[u64; 3]>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/need")
}

fn models() -> BTreeMap<String, Model> {
    serde_json::from_str(&fs::read_to_string(folder().join("oracle.json")).unwrap()).unwrap()
}

fn header(name: &str) -> Header {
    let bytes = fs::read(folder().join(format!("{name}.gguf"))).unwrap();
    assert!(bytes.len() <= 32 << 10, "{name}");
    Header::read(&*bytes).unwrap()
}

/// Bytes of weights, cache and compute buffers on a device.
fn columns(need: &Need, gpu: Option<u32>) -> [u64; 3] {
    let on = |what: &str| {
        let parts = need.parts.iter().filter(|part| !part.loading && part.what.contains(what));
        let parts = parts.filter(|part| match part.resource {
            Resource::Vram { gpu: device } => Some(device) == gpu,
            Resource::Host { .. } => gpu.is_none(),
            _ => false,
        });
        parts.map(|part| part.amount).sum()
    };
    [on("weights"), on("KV cache"), on("compute buffers")]
}

/// One line of the table: a device of a run.
struct Row {
    model: String,
    class: String,
    run: String,
    device: &'static str,
    estimated: [u64; 3],
    oracle: [u64; 3],
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, model) in models() {
        let header = header(&name);
        assert_eq!(header.architecture(), Ok(&*model.arch));
        assert!(header.data + header.weights.end <= model.bytes, "{name}");
        for run in &model.runs {
            let mut settings = Settings::of(&run.args).unwrap();
            assert_eq!(settings.not_considered, [""; 0]);
            // The estimator's defaults, not the server's.
            settings.parallel.get_or_insert(1);
            settings.repack = false;
            let files = Files { model: header.clone(), projector: None, draft: None, adapters: Vec::new() };
            let offloads = run.args.iter().any(|argument| argument == "-ngl");
            assert_eq!(run.gpu.len(), usize::from(offloads), "{name} {:?}", run.args);
            let gpus = u32::try_from(run.gpu.len()).unwrap();
            let need = estimate(&files, &settings, gpus).unwrap();
            let mut row = |device, gpu, oracle| {
                let estimated = columns(&need, gpu);
                let run = run.args.join(" ");
                rows.push(Row { model: name.clone(), class: model.class.clone(), run, device, estimated, oracle });
            };
            row("host", None, run.host);
            if let [gpu] = run.gpu[..] {
                row("GPU", Some(0), gpu);
            }
        }
    }
    rows
}

/// Why this row misses its mark.
fn wrong(row: &Row) -> Option<String> {
    let [weights, cache, compute] = row.estimated;
    let mib = |bytes: u64| bytes / MIB;
    if mib(weights) != row.oracle[0] {
        return Some(format!("weights {} MiB, not {}", mib(weights), row.oracle[0]));
    }
    if mib(cache).abs_diff(row.oracle[1]) > 1 {
        return Some(format!("cache {} MiB, not {}", mib(cache), row.oracle[1]));
    }
    let (found, real) = (mib(compute), row.oracle[2]);
    let fits = match &*row.class {
        "dense" => found.abs_diff(real) <= (real / 10).max(16),
        // MiB are rounded down.
        _ => found + 1 >= real && found <= 2 * (real + 1),
    };
    (!fits).then(|| format!("compute {found} MiB, not {real}"))
}

#[test]
fn estimates_are_those_of_a_real_estimator() {
    let rows = rows();
    assert!(models().len() >= 30 && rows.len() >= 80, "{}", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|row| wrong(row).map(|why| format!("{} {} on {}: {why}", row.model, row.run, row.device)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Arithmetic of tests stops at an overflow.
    #[test]
    fn a_damaged_header_is_refused_or_estimated(
        name in prop::sample::select(models().into_keys().collect::<Vec<_>>()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        early in any::<bool>(),
        gpus in 0..3u32,
        flags in prop::sample::select(vec!["", "-c 4294967295 -ub 4294967295 -b 4294967295", "-fa off -np 9 -ngl 3", "-cmoe --mlock"]),
    ) {
        let mut bytes = fs::read(folder().join(format!("{name}.gguf"))).unwrap();
        // The keys come first.
        let end = if early { bytes.len().min(1500) } else { bytes.len() };
        for (at, byte) in damage {
            bytes[at.index(end)] = byte;
        }
        let settings = Settings::of(&flags.split_whitespace().collect::<Vec<_>>()).unwrap();
        if let Ok(header) = Header::read(&*bytes) {
            let _ = header.split();
            let files = Files { model: header.clone(), projector: Some(header.clone()), draft: Some(header), adapters: vec![1] };
            if let Ok(need) = estimate(&files, &settings, gpus) {
                let total = need.total();
                prop_assert!(total.host_load_peak >= total.host_hard && total.host_hard > 0);
            }
        }
    }
}

#[test]
fn the_tables_of_the_documentation_are_true() {
    let mut table = String::new();
    for row in rows() {
        let cell = |index: usize| format!("{} / {}", row.estimated[index] / MIB, row.oracle[index]);
        let cells = [0, 1, 2].map(cell).join(" | ");
        table += &format!("| {} | {} | `{}` | {} | {cells} |\n", row.model, row.class, row.run, row.device);
    }
    let head =
        "| model | class | command line | device | weights | KV cache | compute |\n|---|---|---|---|---|---|---|\n";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/need.md");
    let mut page = fs::read_to_string(&path).unwrap();
    let tables = [("table", head.to_owned() + &table), ("served", crate::served::table())];
    for (name, new) in tables {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
        let (before, rest) = page.split_once(&begin).unwrap();
        let (old, after) = rest.split_once(&end).unwrap();
        if std::env::var_os("BLESS").is_some() {
            page = format!("{before}{begin}{new}{end}{after}");
            fs::write(&path, &page).unwrap();
        } else {
            assert_eq!(old, new, "run with BLESS=1");
        }
    }
}

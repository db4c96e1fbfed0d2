//! Model files that are in use, and stores of them, as tables. Knows no agent.

use collector_core::amount::{bytes, percent};
use collector_core::api::model_file::{ModelFile, ModelStore};
use collector_core::statistic::model_file::How;

use crate::cli::sheet::{Column, Line, Paint, table};

/// At most this many files are listed; --json has all.
const MOST: usize = 40;

/// The largest first.
pub fn files(all: &[ModelFile], width: usize) -> Vec<Line> {
    if all.is_empty() {
        return Vec::new();
    }
    let rows = &all[..all.len().min(MOST)];
    let name = |it: &ModelFile| match it.files {
        0 | 1 => it.file.clone(),
        more => format!("{} ({more} files)", it.file),
    };
    let share = |it: &ModelFile| match (it.cached_bytes, it.bytes) {
        (Some(cached), all @ 1..) => Some(percent(cached as f64 / all as f64)),
        _ => None,
    };
    let again = |it: &ModelFile| it.read_again_bytes.is_some_and(|again| again > 0);
    let columns = [
        Column::text("FILE", rows, |it| (Paint::Plain, name(it))),
        Column::number("SIZE", rows, |it| Some(bytes(it.bytes))),
        Column::number("CACHED", rows, share),
        Column::number("READ AGAIN", rows, |it| it.read_again_bytes.map(bytes)).alarming(rows, again),
        Column::text("ON", rows, |it| (Paint::Plain, it.tier.label().to_owned())),
        Column::text("USE", rows, |it| (Paint::Plain, used(it.how).to_owned())),
        Column::text("BY", rows, |it| (Paint::Plain, it.server.clone().unwrap_or_else(|| it.workload.clone()))),
        Column::text("FILESYSTEM", rows, |it| (Paint::Dim, it.filesystem.clone())),
    ];
    let mut lines = table(&columns, width);
    if all.len() > MOST {
        lines.push(Line::new(Paint::Dim, format!("{} more: headroom models --json", all.len() - MOST)));
    }
    lines
}

fn used(how: How) -> &'static str {
    match how {
        How::Mapped => "mapped",
        How::Open => "open",
        How::Argument => "named",
    }
}

pub fn stores(all: &[ModelStore], width: usize) -> Vec<Line> {
    if all.is_empty() {
        return Vec::new();
    }
    let columns = [
        Column::text("STORE", all, |it| (Paint::Plain, it.path.clone())),
        Column::number("SIZE", all, |it| Some(bytes(it.bytes))),
        Column::number("FILES", all, |it| Some(it.files.to_string())),
        Column::number("TWICE", all, |it| it.duplicate_bytes.map(bytes)),
        Column::number("UNUSED", all, |it| it.unused_bytes.map(bytes)),
        Column::number("UNNAMED", all, |it| it.unreferenced_bytes.map(bytes)),
        Column::text("ON", all, |it| (Paint::Plain, it.tier.label().to_owned())),
        Column::text("KIND", all, |it| (Paint::Plain, it.layout.label().to_owned())),
    ];
    let missing = |it: &ModelStore| Some(Line::new(Paint::Yellow, format!("{}: {}", it.path, it.missing.as_ref()?)));
    table(&columns, width).into_iter().chain(all.iter().filter_map(missing)).collect()
}

#[cfg(test)]
mod tests {
    use collector_core::statistic::model_file::{Layout, Tier};

    use super::*;

    fn file(name: &str, cached: Option<u64>) -> ModelFile {
        ModelFile {
            file: name.to_owned(),
            workload: "llama.service".to_owned(),
            server: Some("llama_cpp:8080".to_owned()),
            how: How::Mapped,
            files: 1,
            bytes: 4 << 30,
            cached_bytes: cached,
            evicted_bytes: cached.map(|_| 0),
            read_again_bytes: cached.map(|_| 7 << 20),
            tier: Tier::Ssd,
            filesystem: "ext4".to_owned(),
            used: 0,
        }
    }

    fn text(lines: &[Line], width: usize) -> String {
        lines.iter().map(|line| line.render(width, false) + "\n").collect()
    }

    #[test]
    fn a_file_says_how_much_of_it_is_in_memory_and_who_uses_it() {
        let all =
            [file("m.gguf", Some(3 << 30)), ModelFile { server: None, files: 3, ..file("x\x1b.safetensors", None) }];
        let lines = files(&all, 200);
        assert_eq!(text(&lines, 200).lines().count(), 3);
        assert_eq!(
            text(&lines, 200).lines().next(),
            Some("FILE                             SIZE  CACHED  READ AGAIN  ON   USE     BY              FILESYSTEM")
        );
        assert!(
            text(&lines, 200).contains(
                "m.gguf                       4.00 GiB    75 %    7.00 MiB  ssd  mapped  llama_cpp:8080  ext4"
            )
        );
        assert!(text(&lines, 200).contains("(3 files)  4.00 GiB       –           –"));
        assert!(text(&files(&all, 80), 80).lines().all(|line| line.chars().count() <= 80));
        let many: Vec<_> = (0..MOST + 2).map(|_| file("m", None)).collect();
        assert!(text(&files(&many, 80), 80).ends_with("2 more: headroom models --json\n"));
        assert!(files(&[], 80).is_empty() && stores(&[], 80).is_empty());
    }

    #[test]
    fn a_store_says_what_is_there_twice_and_unused_and_what_is_not_known() {
        let store = ModelStore {
            store: "ollama".to_owned(),
            layout: Layout::Ollama,
            path: "/usr/share/ollama/.ollama/models".to_owned(),
            tier: Tier::Ssd,
            filesystem: "ext4".to_owned(),
            files: 12,
            bytes: 90 << 30,
            duplicate_bytes: Some(0),
            unreferenced_bytes: Some(4 << 30),
            unused_bytes: None,
            missing: Some("its manifests cannot be read".to_owned()),
            largest: Vec::new(),
        };
        let text = text(&stores(&[store], 200), 200);
        assert!(text.contains("90.0 GiB     12    0 B       –  4.00 GiB  ssd  ollama"), "{text}");
        assert!(text.ends_with("/usr/share/ollama/.ollama/models: its manifests cannot be read\n"), "{text}");
    }
}

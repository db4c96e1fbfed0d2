//! A need as a table, and as JSON.

use anyhow::Context as _;
use collector_core::amount;
use collector_core::incident::page::text::Paint;
use collector_core::need::known::version;
use collector_core::need::{Need, Part, Resource, Total};
use collector_core::text::{shown, shown_json};
use serde::Serialize;

use crate::cli::sheet::{Column, table};

#[derive(Serialize)]
struct Page<'a> {
    need: &'a Need,
    total: Total,
    /// Sentences about what is not known: while there is one, the sums are a lower bound.
    missing: Vec<String>,
}

pub fn json(need: &Need) -> anyhow::Result<String> {
    let json = serde_json::to_string_pretty(&Page { need, total: need.total(), missing: need.missing() })
        .context("write JSON")?;
    Ok(shown_json(&json).into_owned() + "\n")
}

pub fn text(need: &Need, width: usize, colour: bool) -> String {
    let parts: Vec<&Part> = need.parts.iter().collect();
    let columns = [
        Column::text("NEED", &parts, |part| (Paint::Plain, part.what.clone())),
        Column::number("AMOUNT", &parts, |part| Some(amount_of(part, part.amount))),
        Column::number("±", &parts, |part| (part.error > 0).then(|| amount_of(part, part.error))),
        Column::text("WHERE", &parts, |part| (Paint::Plain, place(&part.resource))),
        Column::text("WHEN", &parts, |part| {
            (Paint::Plain, if part.loading { "loading" } else { "running" }.to_owned())
        }),
    ];
    let mut text = String::new();
    for line in table(&columns, width) {
        text += &(line.render(width, colour) + "\n");
    }
    text.push('\n');
    totals(&mut text, need);
    let refused: Vec<String> = need.refused.iter().map(|remark| remark.sentence.clone()).collect();
    list(&mut text, "It would not start", &refused);
    list(&mut text, "Not known, so the sums are a lower bound", &need.missing());
    list(&mut text, "Assumed", &need.assumptions);
    list(&mut text, "Not considered", &need.not_considered);
    text
}

fn totals(text: &mut String, need: &Need) {
    let total = need.total();
    let bound = match need.upper_bound {
        _ if !need.missing().is_empty() => ", at least",
        true => ", at most",
        false => "",
    };
    let mut line = |name: &str, amount: u64, note: &str| {
        let line = format!("{name:<22} {:>9}  {note}", amount::bytes(amount));
        *text += &format!("{}\n", line.trim_end());
    };
    line("Host memory, hard", total.host_hard, &format!("cannot be reclaimed{bound}"));
    line("Host memory, soft", total.host_soft, "mapped weights; slow where it does not fit");
    if total.host_load_peak > total.host_hard {
        line("  hard, while loading", total.host_load_peak, "");
    }
    for (gpu, bytes) in &total.vram {
        line(&format!("VRAM of GPU {gpu}"), *bytes, bound.trim_start_matches(", "));
    }
    if let Some(least) = need.compute_capability {
        *text += &format!("{:<22} {:>9}  of each GPU, at least\n", "Compute capability", version(least));
    }
}

fn list(text: &mut String, name: &str, sentences: &[String]) {
    if !sentences.is_empty() {
        *text += &format!("\n{name}:\n");
    }
    for sentence in sentences {
        *text += &format!("  - {}\n", shown(sentence));
    }
}

fn amount_of(part: &Part, amount: u64) -> String {
    match part.resource {
        Resource::Host { .. } | Resource::Vram { .. } | Resource::Disk { .. } => amount::bytes(amount),
        Resource::Cpu => format!("{}", amount as f64 / 1000.0),
        Resource::Network => format!("{} Mbit/s", amount as f64 / 1e6),
        Resource::Slot { .. } => amount.to_string(),
    }
}

fn place(resource: &Resource) -> String {
    match resource {
        Resource::Host { memory } => format!("host, {}", memory.name()),
        Resource::Vram { gpu } => format!("GPU {gpu}"),
        Resource::Disk { path } => path.clone(),
        Resource::Cpu => "CPUs".to_owned(),
        Resource::Network => "network".to_owned(),
        Resource::Slot { name } => format!("slot {name}"),
    }
}

#[cfg(test)]
mod tests {
    use collector_core::need::remark::Remark;
    use collector_core::need::share::Share;
    use collector_core::need::{Memory, Origin};

    use super::*;

    #[test]
    fn every_number_and_sentence_is_shown() {
        let mut need = Need::default();
        let part = |what: &str, resource, amount, error| Part {
            what: what.to_owned(),
            resource,
            amount,
            error,
            origin: Origin::Estimated,
            loading: false,
        };
        need.add(part("weights", Resource::Host { memory: Memory::Mapped }, 3 << 30, 0));
        need.add(part("KV cache", Resource::Vram { gpu: 0 }, 1 << 30, 5 << 20));
        need.add(part("declared", Resource::Cpu, 500, 0));
        need.add(Part { loading: true, ..part("staging", Resource::Host { memory: Memory::Pinned }, 4 << 20, 0) });
        need.assume("\x1b[2J is not shown");
        need.not_considered.push("--rpc host".to_owned());
        let lines = text(&need, 100, false);
        let expected = [
            "NEED        AMOUNT         ±  WHERE         WHEN",
            "weights   3.00 GiB         –  host, mapped  running",
            "KV cache  1.00 GiB  5.00 MiB  GPU 0         running",
            "declared       0.5         –  CPUs          running",
            "staging   4.00 MiB         –  host, pinned  loading",
            "",
            "Host memory, hard            0 B  cannot be reclaimed",
            "Host memory, soft       3.00 GiB  mapped weights; slow where it does not fit",
            "  hard, while loading   4.00 MiB",
            "VRAM of GPU 0           1.00 GiB",
            "",
            "Assumed:",
            r"  - \x1b[2J is not shown",
            "",
            "Not considered:",
            "  - --rpc host",
        ];
        assert_eq!(lines.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_not_known_and_what_cannot_be_is_said() {
        let mut need = Need { compute_capability: Some(75), upper_bound: true, ..Need::default() };
        need.add(Part {
            what: "weights".to_owned(),
            resource: Resource::Vram { gpu: 0 },
            amount: 1 << 30,
            error: 0,
            origin: Origin::Estimated,
            loading: false,
        });
        need.shares.push(Share { what: "rest".to_owned(), gpu: 0, millionths: 900_000, beside: 0, beside_error: 0 });
        need.refused.push(Remark::whatever("it needs 2 GPUs, and there is 1"));
        let text = text(&need, 100, false);
        let least =
            "VRAM of GPU 0           1.00 GiB  at least\nCompute capability           7.5  of each GPU, at least\n";
        assert!(text.contains(least), "{text}");
        let lists = "\nIt would not start:\n  - it needs 2 GPUs, and there is 1\n\nNot known, so the sums are a lower bound:\n  - how much 90 %";
        assert!(text.contains(lists), "{text}");
        let page: serde_json::Value = serde_json::from_str(&json(&need).unwrap()).unwrap();
        assert_eq!(page["missing"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn json_has_the_sums() {
        let mut need = Need::default();
        need.add(Part {
            what: "x".to_owned(),
            resource: Resource::Vram { gpu: 1 },
            amount: 7,
            error: 0,
            origin: Origin::Declared,
            loading: false,
        });
        need.not_considered.push("--alias \u{202e}".to_owned());
        let text = json(&need).unwrap();
        assert!(text.contains(r"--alias \u202e"), "{text}");
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(page["total"]["vram"]["1"], 7);
        assert_eq!(page["need"]["parts"][0]["origin"], "declared");
    }
}

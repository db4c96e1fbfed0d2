//! What was slow on the page of an incident: GPUs against what is usual, facts that changed most, and neighbours that used more.

use super::text::{Paint, Text};
use crate::amount::{bytes, fixed, percent, seconds};
use crate::incident::{Slow, Starved};
use crate::view::slow::{Fact, FactKind};

/// At most this many facts are shown, those that changed most.
const FACTS: usize = 10;
/// A fact that changed by less than this factor did not change.
const CHANGED: f64 = 1.2;

pub(super) fn starved(page: &mut Text, starved: &Starved) {
    page.head("GPUs");
    for gpu in &starved.gpus {
        let (now, usual) = (percent(gpu.utilization), percent(gpu.usual));
        page.paragraph(
            Paint::Plain,
            &format!("GPU {} ({}): {now} of the time busy, usually {usual}", gpu.gpu, gpu.model),
        );
    }
    let over = if starved.over { "" } else { " so far" };
    page.paragraph(Paint::Plain, &format!("low for {}{over}", seconds(starved.seconds)));
    if !starved.shared.is_empty() {
        let text = format!(
            "shared with others, so whose utilization it is cannot be told: GPU {}",
            starved.shared.join(", GPU ")
        );
        page.paragraph(Paint::Dim, &text);
    }
}

pub(super) fn changed(page: &mut Text, slow: &Slow) {
    let pairs = Fact::ALL.iter().filter_map(|fact| Some((*fact, slow.pair(*fact)?)));
    let mut changed: Vec<(f64, Fact, f64, f64)> = pairs
        .filter_map(|(fact, pair)| {
            let before = pair.before?;
            let [less, more] = if pair.now < before { [pair.now, before] } else { [before, pair.now] };
            let factor = if less > 0.0 { more / less } else { f64::INFINITY };
            (more > 0.0 && factor >= CHANGED).then_some((factor, fact, pair.now, before))
        })
        .collect();
    changed.sort_by(|one, two| two.0.total_cmp(&one.0));
    if !changed.is_empty() {
        page.head("What changed");
        for (_, fact, now, before) in changed.into_iter().take(FACTS) {
            page.paragraph(
                Paint::Plain,
                &format!("{}: {} (before: {})", fact.what(), shown(fact, now), shown(fact, before)),
            );
        }
    }
    if slow.neighbours.is_empty() {
        return;
    }
    page.head("Neighbours");
    for it in &slow.neighbours {
        let was = |before: Option<f64>, text: fn(f64) -> String| {
            before.map_or(String::new(), |it| format!(" (before: {})", text(it)))
        };
        let cpus = |number: f64| fixed(number, 2);
        let rate = |number: f64| format!("{}/s", bytes(number.max(0.0) as u64));
        let parts = [
            it.cpus.map(|now| format!("{} CPUs{}", cpus(now), was(it.cpus_before, cpus))),
            it.io_bytes_per_second.map(|now| format!("IO {}{}", rate(now), was(it.io_before, rate))),
            it.memory_bytes.map(|held| format!("{} of memory", bytes(held))),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        page.paragraph(Paint::Plain, &format!("{}: {}", it.workload, parts.join(", ")));
    }
}

/// The value of a fact with its unit.
fn shown(fact: Fact, value: f64) -> String {
    let name = fact.name();
    match fact.kind() {
        _ if name.ends_with("bytes_per_second") => format!("{}/s", bytes(value.max(0.0) as u64)),
        _ if name.ends_with("bytes") => bytes(value.max(0.0) as u64),
        _ if name.ends_with("seconds_per_second") => format!("{} s in each second", fixed(value, 2)),
        _ if name.ends_with("seconds_per_io") => seconds(value),
        _ if name.ends_with("ratio") => percent(value),
        _ if name.ends_with("hertz") => format!("{} MHz", fixed(value / 1e6, 0)),
        FactKind::Level | FactKind::Setting => fixed(value, 1),
        _ => format!("{}/s", fixed(value, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Incident, Kind, Neighbour, Pair, StarvedGpu};

    #[test]
    fn the_page_shows_what_changed_and_who_did_more() {
        let mut incident = Incident::new(Kind::GpuStarved, "1".to_owned(), 60_000_000_000);
        let pair = |fact: Fact, now, before| (fact.name().to_owned(), Pair { now, before: Some(before) });
        incident.evidence.slow = Some(Slow {
            facts: [
                pair(Fact::CpuWait, 1.6, 0.1),
                pair(Fact::Read, 1000.0, 1010.0),
                pair(Fact::GpuUtilization, 0.3, 0.9),
            ]
            .into(),
            neighbours: vec![Neighbour {
                workload: "/noise".to_owned(),
                cpus: Some(1.9),
                cpus_before: Some(0.0),
                ..Neighbour::default()
            }],
            ..Slow::default()
        });
        let gpu = StarvedGpu { gpu: "3".to_owned(), utilization: 0.3, usual: 0.9, ..StarvedGpu::default() };
        incident.evidence.starved =
            Some(Starved { gpus: vec![gpu], seconds: 42.0, shared: vec!["5".to_owned()], ..Starved::default() });
        let page = crate::incident::page::page(&incident, &[], 200, false);
        for words in [
            "30 % of the time busy, usually 90 %",
            "low for 42 s so far",
            "cannot be told: GPU 5",
            "1.60 s in each second (before: 0.10 s",
            "/noise: 1.90 CPUs (before: 0.00)",
        ] {
            assert!(page.contains(words), "{words} is not in\n{page}");
        }
        assert!(!page.contains("read from disks"), "that did not change:\n{page}");
    }
}

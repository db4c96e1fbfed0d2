//! What would have been, from recordings of real kills: the text of each is beside the recording, as a golden file.

use collector_core::engine::Engine;
use collector_core::what_if::{Change, Fate, Report, WhatIf};

use crate::fixture::{folder, golden, samples};

fn report(name: &str, change: &str) -> Report {
    let mut judge = WhatIf::new(Change::parse(change).unwrap());
    let [mut engine, mut other] = [Engine::new(), Engine::new()];
    for sample in samples(&folder("incident").join(name).with_extension("jsonl")) {
        let otherwise = judge.alter(&sample).map(|altered| other.apply(&altered)).unwrap_or_default();
        let told = engine.apply(&sample);
        judge.see(&sample, engine.view(), &told, &otherwise);
    }
    let told = engine.finish();
    judge.told(engine.view(), &told);
    judge.finish(engine.view())
}

#[test]
fn what_would_have_become_of_a_recorded_kill() {
    let mut text = String::new();
    for (name, change, fate) in [
        // It grew on and on.
        ("leak", "limit /leaky 150M", Fate::Later),
        ("leak", "limit /leaky 90M", Fate::Same),
        ("leak", "limit /leaky none", Fate::Avoided),
        ("leak", "without /elsewhere", Fate::Same),
        // It took all within a second.
        ("spike", "limit /roomy/tight 400M", Fate::NotKnown),
        ("spike", "limit /roomy 10G", Fate::Same),
        // A neighbour filled the limit.
        ("bystander", "without /crowded/grower", Fate::Avoided),
        ("bystander", "without /crowded/bystander", Fate::Later),
    ] {
        let report = report(name, change);
        text += &format!("$ headroom replay {name}.jsonl --what-if '{change}'\n{}\n", report.text());
        let fates: Vec<Fate> = report.kills.iter().map(|kill| kill.fate).collect();
        assert_eq!(fates, [fate], "{name} {change}: {report:#?}");
    }
    golden(&folder("incident").join("what-if.txt"), &text);
}

//! Pages of synthetic incidents.

use super::*;
use crate::incident::{Change, Held, Limit, LostGpu, Source, Storm, Task, Victim, What};
use crate::signal::oom::Scope;

const MIB: u64 = 1 << 20;

fn kill() -> Incident {
    let mut incident = Incident::new(Kind::Oom, "20261121T144105.000000".to_owned(), 1_795_272_065_000_000_000);
    let (gpu, uuid) = ("0".into(), "GPU-a".into());
    let held = Held { gpu, uuid, time: 5, process_bytes: None, workload_bytes: Some(MIB) };
    let victim = |pid| Victim {
        pid,
        comm: "py\x1b[31mthon".to_owned(),
        workload: Some("ollama.service".to_owned()),
        anon_bytes: Some(60 * MIB),
        gpus: vec![held.clone()],
        trigger: Task { pid: 9, comm: "asker".to_owned(), workload: None },
        ..Victim::default()
    };
    incident.title = "OOM kill of 20 processes in ollama.service".to_owned();
    incident.cause = super::super::cause::find(&incident);
    let evidence = &mut incident.evidence;
    (evidence.kills, evidence.killed) = ((1..=10).map(victim).collect(), 20);
    evidence.scope = Some(Scope::Memcg);
    evidence.limit = Some(Limit { workload: Some("/a".to_owned()), source: Source::Only, ..Limit::default() });
    let name = "kubernetes/a-very-long-namespace/a-pod-with-a-long-name-0123456789/container".to_owned();
    let memory = (0..60).map(|second| (second > 9).then_some(second * MIB)).collect();
    let long = Consumer {
        workload: name,
        memory_bytes: Some(59 * MIB),
        growth_bytes: Some(-5),
        memory,
        ..Consumer::default()
    };
    let short = Consumer { workload: "b".to_owned(), vram_bytes: Some(MIB), ..Consumer::default() };
    evidence.within = vec![long, short];
    evidence.history.ago = (0..60).map(|second| 59.5 - f64::from(second)).collect();
    let zero = (Series::Swap.name().to_owned(), vec![Some(0.0); 60]);
    let line = |series: Series, scale: f64| {
        (series.name().to_owned(), (0..60).map(|second| (second > 9).then_some(f64::from(second) * scale)).collect())
    };
    evidence.history.workload = [zero, line(Series::Memory, MIB as f64), line(Series::MemoryWaiting, 0.01)].into();
    let change = Change {
        time: incident.time - 3_000_000_000,
        since: None,
        what: What::Limit,
        of: "/a".to_owned(),
        before: None,
        after: Some(MIB),
    };
    evidence.changes = vec![change];
    incident
}

#[test]
fn a_page_shows_all_that_is_known() {
    let page = page(&kill(), &[], 100, false);
    for part in [
        "2026-11-21 14:41:05.000 UTC · OOM kill · incident 20261121T144105.000000, not complete yet",
        "Killed: 20 processes",
        "(8) in ollama.service: anon 60.0 MiB; user 0, oom_score_adj 0; triggered by asker",
        "held memory of GPU 0: an unknown amount, of 1.00 MiB of its workload",
        "and 12 more",
        "of an unknown size, of /a (the only limit that applies)",
        "Largest workloads below /a",
        "MEMORY  GROWTH      VRAM",
        "Last 59 s of the workload",
        "10.0 MiB … 59.0 MiB",
        "10 % … 59 %",
        "3.0 s before: the memory limit of /a changed from none to 1.00 MiB",
    ] {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    for part in ["(9) in ollama", "swap", "LIMIT", "Host", "\x1b"] {
        assert!(!page.contains(part), "{part}:\n{page}");
    }
}

#[test]
fn lines_fit_the_width() {
    for width in [0, 40, 60, 80, 120, 500] {
        let page = page(&kill(), &[], width, false);
        let widest = page.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width.clamp(40, 120), "{width}: {widest}\n{page}");
    }
    assert!(page(&kill(), &[], 40, false).contains("GROWTH\n") && page(&kill(), &[], 60, false).contains("VRAM\n"));
    assert!(page(&kill(), &[], 80, false).contains('█') && page(&kill(), &[], 80, false).contains('…'));
}

#[test]
fn only_the_page_sets_colours_and_each_ends_with_its_line() {
    let page = page(&kill(), &[], 100, true);
    assert!(page.contains("\x1b[1mWhy\x1b[0m") && page.contains("py\\x1b[31mthon"));
    for line in page.lines().filter(|line| line.contains('\x1b')) {
        assert!(line.starts_with('\x1b') && line.ends_with("\x1b[0m") && line.matches('\x1b').count() == 2, "{line:?}");
    }
}

#[test]
fn an_incident_without_evidence_has_a_page() {
    for kind in Kind::ALL {
        let mut incident = Incident::new(kind, "1".to_owned(), 0);
        (incident.complete, incident.cause) = (true, super::super::cause::find(&incident));
        let page = page(&incident, &[], 80, false);
        assert!(page.contains("1970-01-01 00:00:00.000 UTC") && page.contains("\nNext\n"), "{page}");
        assert!(!page.contains("not complete"));
    }
}

#[test]
fn a_lost_gpu_and_pressure_have_their_parts() {
    let mut incident = kill();
    incident.evidence = Evidence::default();
    let holders = vec![super::super::Holder { workload: "/a".to_owned(), bytes: None }];
    let gpu = LostGpu { gpu: "3".to_owned(), xids: vec![48, 79], temperature: Some(91), holders, ..LostGpu::default() };
    incident.evidence.gpu = Some(gpu);
    let text = page(&incident, &[], 100, false);
    for part in ["\nGPU 3\n", "last 91 °C", "reported XID 48, 79", "/a held an unknown amount of its memory"] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    incident.kind = Kind::MemoryPressure;
    incident.evidence.storm = Some(Storm { waited_seconds: Some(2.5), stalled_seconds: None, ..Storm::default() });
    let waited = Consumer { workload: "/a".to_owned(), waiting_seconds: Some(12.0), ..Consumer::default() };
    incident.evidence.consumers = vec![waited];
    let text = page(&incident, &[], 100, false);
    for part in ["at least one task of the host waited for 2.5 s", "Workloads that waited most on this host", "WAITED"]
    {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

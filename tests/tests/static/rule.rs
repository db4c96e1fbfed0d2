//! The rules in Prometheus' own tools: whether the export is valid, and whether its rules fire when the agent's do.

use std::fs;
use std::process::{Command, Output};

use collector_core::metric::METRICS;
use collector_core::rule::runbook::runbooks;
use collector_core::rule::{Rules, export, raw};
use collector_tests::binary::binary;
use collector_tests::needs;
use collector_tests::scratch::scratch;
use serde_json::{Value, json};

const WHY: &str = "promtool is not installed (Debian: prometheus)";

fn promtool() -> bool {
    Command::new("promtool").arg("--version").output().is_ok()
}

/// Runs promtool in a folder with these files; returns its output.
#[track_caller]
fn run(args: &[&str], files: &[(&str, &str)]) -> String {
    let folder = scratch();
    for (file, text) in files {
        fs::write(folder.join(file), text).unwrap();
    }
    let output = Command::new("promtool").args(args).current_dir(&folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

fn pack() -> String {
    export::export(&Rules::new(&[]).unwrap())
}

#[test]
fn the_export_is_valid() {
    needs!(promtool(), WHY);
    let said = run(&["check", "rules", "rules.yml"], &[("rules.yml", &pack())]);
    let count = Rules::new(&[]).unwrap().enabled().count();
    // Rules of incidents are left out, with a comment: these have no metric.
    let left_out = pack().lines().filter(|line| line.contains(" is about the incident")).count();
    assert!((1..6).contains(&left_out), "{left_out}");
    assert!(said.contains(&format!("SUCCESS: {} rules found", count - left_out)), "{said}");
}

/// What a runbook tells people to type works: PromQL is parsed, and our own commands know their flags.
#[test]
fn runbooks_name_queries_and_commands_that_exist() {
    needs!(promtool(), WHY);
    let checks = runbooks().unwrap().into_values().flat_map(|runbook| runbook.check);
    let (commands, rest): (Vec<String>, Vec<String>) =
        checks.map(|[what, _]| what).partition(|what| what.starts_with("headroom "));
    let queries: Vec<&str> =
        rest.iter().filter(|what| what.contains("headroom_")).flat_map(|what| what.split(", ")).collect();
    assert!(commands.len() > 20 && queries.len() > 30, "{commands:?} {queries:?}");
    let rules: Vec<Value> =
        (0..).zip(&queries).map(|(n, query)| json!({ "record": format!("q{n}"), "expr": query })).collect();
    let file = json!({ "groups": [{ "name": "runbooks", "rules": rules }] }).to_string();
    run(&["check", "rules", "queries.yml"], &[("queries.yml", &file)]);
    for command in commands {
        let output = headroom_help(&command);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(!headroom_help("headroom workloads --sort colour").status.success(), "a wrong value is found");
}

fn headroom_help(command: &str) -> Output {
    Command::new(binary()).args(command.split(' ').skip(1)).arg("--help").output().unwrap()
}

/// A rule on every metric of the catalogue, with every way to treat gaps: whatever an operator writes can be exported.
#[test]
fn a_rule_on_any_metric_can_be_exported() {
    needs!(promtool(), WHY);
    let mut text = String::new();
    for (number, metric) in METRICS.iter().enumerate() {
        let suffix = match metric.kind {
            collector_core::metric::row::Kind::Histogram => "_sum",
            collector_core::metric::row::Kind::Info => continue,
            _ => "",
        };
        if metric.is_about_alerts() {
            continue;
        }
        let change = match metric.kind {
            collector_core::metric::row::Kind::Gauge if number % 2 == 0 => "slope = \"90s\"\n",
            collector_core::metric::row::Kind::Gauge => "",
            _ => "rate = \"1h 30m\"\n",
        };
        let labels: String = metric.labels.iter().map(|label| format!("{{labels.{label}}} ")).collect();
        let matches: Vec<String> = metric.labels.iter().map(|label| format!("{label} = '!\"a\\.b\"|x.*'")).collect();
        text += &format!(
            "[[rule]]\nalert = \"Rule{number}\"\nmetric = \"{}{suffix}\"\n{change}match = {{ {} }}\nabove = -1.5e-7\nclear = -2.0\nfor = \"1500ms\"\n\
             severity = \"info\"\nsummary = '''{labels}: \"{{value}}\" {{value:percent}} {{value:bytes}}\n{{value:duration}} {{{{ }}}} \\ # é'''\naction = \"a: b\"\n",
            metric.name,
            matches.join(", "),
        );
    }
    let exported = export::export(&Rules::new(&raw::read(&text).unwrap()).unwrap());
    run(&["check", "rules", "rules.yml"], &[("rules.yml", &exported)]);
}

const CASES: &str = r#"
rule_files: [rules.yml]
evaluation_interval: 15s
tests:
  - name: a threshold that has to hold for a while, and only while it holds
    interval: 15s
    input_series:
      - series: headroom_host_memory_used_ratio
        values: 0.5 0.93x24 0.5x10
    alert_rule_test:
      - {alertname: HostMemoryHigh, eval_time: 5m, exp_alerts: []}
      - alertname: HostMemoryHigh
        eval_time: 5m15s
        exp_alerts:
          - exp_labels: {severity: warning}
            exp_annotations:
              summary: Host memory is 93% used
              action: "Find the workload that grew: headroom workloads. Give it a memory limit, move it, or stop what is not needed."
      - {alertname: HostMemoryHigh, eval_time: 7m, exp_alerts: []}
      - {alertname: HostMemoryCritical, eval_time: 5m30s, exp_alerts: []}
  - name: the rate of a counter, by its labels
    interval: 15s
    input_series:
      - series: headroom_host_memory_short_wait_seconds_total{kind="waiting"}
        values: 0+7.5x40
      - series: headroom_host_memory_short_wait_seconds_total{kind="stalled"}
        values: 0+15x40
    alert_rule_test:
      - alertname: HostMemoryPressure
        eval_time: 4m
        exp_alerts:
          - exp_labels: {severity: warning, kind: waiting}
            exp_annotations:
              summary: "The host is short of memory: at least one task waited for it for 50% of the last minute"
              action: "Memory is short even if it does not look full: page cache that is in use is dropped and read again. Check which workloads are reclaimed from (headroom workloads), and leave more memory free."
  - name: the first of a counter that was not there before, and its end
    interval: 15s
    input_series:
      - series: headroom_gpu_xid_errors_total{gpu="0",uuid="GPU-a",xid="79"}
        values: _x20 1x60
      - series: headroom_gpu_xid_errors_total{gpu="0",uuid="GPU-a",xid="13"}
        values: _x20 1x60
      - series: headroom_gpu_xid_errors_total{gpu="0",uuid="GPU-a",xid="999"}
        values: _x20 1x60
    alert_rule_test:
      - {alertname: GpuXidCritical, eval_time: 4m, exp_alerts: []}
      - alertname: GpuXidCritical
        eval_time: 6m
        exp_alerts:
          - exp_labels: {severity: critical, gpu: "0", uuid: GPU-a, xid: "79"}
            exp_annotations:
              summary: "GPU 0: XID 79"
              action: "Look up the XID in docs/rules.md for its meaning and what to do."
      - alertname: GpuXid
        eval_time: 6m
        exp_alerts:
          - exp_labels: {severity: warning, gpu: "0", uuid: GPU-a, xid: "13"}
            exp_annotations:
              summary: "GPU 0: XID 13"
              action: "Look up the XID in docs/rules.md for its meaning and what to do."
      - alertname: GpuXidUnknown
        eval_time: 6m
        exp_alerts:
          - exp_labels: {severity: warning, gpu: "0", uuid: GPU-a, xid: "999"}
            exp_annotations:
              summary: "GPU 0: XID 999"
              action: "Look up the XID in docs/rules.md for its meaning and what to do."
      - {alertname: GpuXidCritical, eval_time: 12m, exp_alerts: []}
  - name: below, and an event by its counter
    interval: 15s
    input_series:
      - series: headroom_source_up{source="gpu"}
        values: 1x4 0x20
      - series: headroom_oom_kills_total{scope="memcg",workload="ollama.service"}
        values: 0x8 1x40
    alert_rule_test:
      - alertname: SourceStale
        eval_time: 4m
        exp_alerts:
          - exp_labels: {severity: warning, source: gpu}
            exp_annotations:
              summary: Headroom cannot read gpu
              action: "Its metrics are missing or stale, and no rule evaluates them. Run headroom doctor, and check the agent's log."
      - {alertname: OomKill, eval_time: 1m45s, exp_alerts: []}
      - alertname: OomKill
        eval_time: 3m
        exp_alerts:
          - exp_labels: {severity: critical, scope: memcg, workload: ollama.service}
            exp_annotations:
              summary: OomKill of ollama.service
              action: "Run headroom explain last for the cause. If its own limit is too low, raise that. If another workload exhausted the host, limit that workload."
      - {alertname: OomKill, eval_time: 9m, exp_alerts: []}
  - name: a leak has its alert by its kind
    interval: 60s
    input_series:
      - series: headroom_leak_exhaustion_seconds{workload="leaks",kind="vram"}
        values: _x5 7200-60x20
    alert_rule_test:
      - {alertname: GpuMemoryLeak, eval_time: 4m, exp_alerts: []}
      - {alertname: WorkloadMemoryLeak, eval_time: 15m, exp_alerts: []}
      - alertname: GpuMemoryLeak
        eval_time: 16m
        exp_alerts:
          - exp_labels: {severity: warning, workload: leaks, kind: vram}
            exp_annotations:
              summary: "GPU memory of leaks leaks: its GPUs are full in 1h 49m 0s"
              action: "It keeps what it should free: tensors in a list, an unbounded cache, CUDA graphs captured again. Restart it before the GPU is full, and check torch.cuda.memory_summary()."
"#;

#[test]
fn exported_rules_fire_when_they_should_and_only_then() {
    needs!(promtool(), WHY);
    // Every alert also links its runbook.
    let (mut cases, mut alert) = (String::new(), "");
    for line in CASES.lines() {
        cases += &format!("{line}\n");
        alert = line.trim_start_matches([' ', '-']).strip_prefix("alertname: ").unwrap_or(alert);
        if let Some(indent) = line.find("action: ") {
            let page = format!("{}/blob/main/docs/runbooks/{alert}.md", env!("CARGO_PKG_REPOSITORY"));
            cases += &format!("{:indent$}runbook_url: {page}\n", "");
        }
    }
    let files = [("rules.yml", &*pack()), ("cases.yml", &cases)];
    run(&["test", "rules", "cases.yml"], &files);
}

//! The shipped Grafana dashboards, each checked against Grafana's own types, and their queries by Prometheus' parser.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Output};

use collector_core::metric::METRICS;
use collector_tests::dashboard::{files, queries};
use collector_tests::needs;
use collector_tests::require::{installed, tools};
use collector_tests::scratch::scratch;
use serde_json::{Value, json};

use crate::tidy::root;

/// Whether TypeScript's compiler accepts these texts as dashboards, and what it says.
fn typed(dashboards: &[String]) -> Output {
    let (folder, tools) = (scratch(), tools().join("grafana"));
    std::os::unix::fs::symlink(tools.join("node_modules"), folder.join("node_modules")).unwrap();
    for file in ["types.ts", "tsconfig.json"] {
        fs::copy(root().join("tests/grafana").join(file), folder.join(file)).unwrap();
    }
    // JSON is TypeScript.
    let mut text = "import type { Checked } from \"./types\";\n".to_owned();
    for (index, dashboard) in dashboards.iter().enumerate() {
        writeln!(text, "export const dashboard{index}: Checked = {dashboard};").unwrap();
    }
    fs::write(folder.join("dashboards.ts"), text).unwrap();
    let compiler = tools.join("node_modules/typescript/bin/tsc");
    Command::new("node").arg(compiler).arg("--project").arg(&*folder).output().unwrap()
}

#[test]
fn grafana_knows_every_property_and_value() {
    let there = installed("node") && tools().join("grafana/installed").is_file();
    needs!(there, "Grafana's types are not installed: cargo xtask test --require");
    let dashboards: Vec<String> = files().into_iter().map(|(_, text)| text).collect();
    assert_eq!(dashboards.len(), 6);
    let output = typed(&dashboards);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    // Each of these mistakes is found.
    let mistakes = [
        (r#""mode": "normal""#, r#""mode": "nrmal""#),
        (r#""colorMode": "#, r#""colourMode": "#),
        (r#""displayMode": "basic""#, r#""displayMode": 3"#),
        (r#""drawStyle": "points""#, r#""drawStyle": "dots""#),
        (r#""schemaVersion": 39"#, r#""schemaVersion": "39""#),
    ];
    let wrong = mistakes.map(|(right, wrong)| {
        let text = dashboards.iter().find(|text| text.contains(right)).unwrap_or_else(|| panic!("{right}"));
        text.replacen(right, wrong, 1)
    });
    let said = typed(&wrong).stdout;
    let said = String::from_utf8_lossy(&said);
    assert_eq!(said.matches("error TS").count(), mistakes.len(), "{said}");
}

#[test]
fn prometheus_parses_every_query() {
    needs!(installed("promtool"), "promtool (Debian: prometheus) checks queries");
    let dashboards = files().into_iter().map(|(_, text)| serde_json::from_str::<Value>(&text).unwrap());
    let queries: Vec<String> = dashboards.flat_map(|dashboard| queries(&dashboard)).collect();
    assert!(queries.len() >= METRICS.iter().filter(|metric| !metric.detail.is_full()).count());
    let rule = |(index, query): (usize, &String)| json!({ "record": format!("q{index}"), "expr": query });
    let rules: Vec<Value> = queries.iter().enumerate().map(rule).collect();
    let folder = scratch();
    let file = folder.join("queries.yml");
    // JSON is YAML.
    fs::write(&file, json!({ "groups": [{ "name": "dashboards", "rules": rules }] }).to_string()).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains(&format!("{} rules found", queries.len())), "{output:?}");
}

//! The shipped Grafana dashboards: their files, and their queries with values for Grafana's variables.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Path and text of each.
pub fn files() -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

/// The PromQL of all panels and annotations, as Grafana sends it if everything is chosen.
pub fn queries(dashboard: &Value) -> Vec<String> {
    let mut queries = Vec::new();
    collect(dashboard, &mut queries);
    let plain = |query: &String| {
        let query = query.replace("$__rate_interval", "1m").replace("$__interval", "1m").replace("$__range", "1h");
        query.replace("$top", "10").replace("$instance", ".*").replace("$workload", ".*").replace("$gpu", ".*")
    };
    queries.iter().map(plain).collect()
}

fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            queries.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| collect(member, queries));
        }
        Value::Array(members) => members.iter().for_each(|member| collect(member, queries)),
        _ => {}
    }
}

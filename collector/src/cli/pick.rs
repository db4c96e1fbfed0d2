//! Which entries of the journal a verb lists, and in whose time: flags of `alerts`, `incidents` and `events`.

use collector_core::pattern::Patterns;
use serde_json::Value;

use super::moment::Since;
use crate::clock;
use crate::zone;

#[derive(clap::Args, Clone, Debug)]
pub struct Pick {
    /// List at most N, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// List what happened since then: a time ago, such as 2h, or a moment, such as 2026-11-20T08:00, in local time, or in UTC with a Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<Since>,
    /// List what is about this workload; * matches any text
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// Show times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
}

impl Pick {
    /// Since when, in nanoseconds since the Unix epoch.
    pub fn from(&self) -> u64 {
        self.since.map_or(0, |since| since.time(clock::unix_ns()))
    }

    /// Whether something about this workload, or about the host, is listed.
    pub fn wants(&self, workload: Option<&str>) -> bool {
        match &self.workload {
            Some(pattern) => workload.is_some_and(|name| Patterns::new(std::slice::from_ref(pattern)).matches(name)),
            None => true,
        }
    }

    /// `2026-11-21 15:55:13` of local time, `2026-11-21T14:55:13Z` of UTC.
    pub fn moment(&self, ns: u64) -> String {
        zone::second(ns, self.utc)
    }
}

/// The workload that an event of the journal is about.
pub fn workload(what: &Value) -> Option<&str> {
    let labels = || what.get("labels")?.get("workload");
    what.get("workload").filter(|name| name.is_string()).or_else(labels)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_workload_is_picked_by_its_name_or_a_pattern() {
        let pick =
            |workload: Option<&str>| Pick { limit: 1, since: None, workload: workload.map(str::to_owned), utc: true };
        assert!(pick(None).wants(None) && pick(None).wants(Some("a")));
        let star = pick(Some("docker/*"));
        assert!(star.wants(Some("docker/vllm")) && !star.wants(Some("ollama.service")) && !star.wants(None));
        assert_eq!(workload(&json!({"workload": "a"})), Some("a"));
        assert_eq!(workload(&json!({"labels": {"workload": "b"}, "workload": null})), Some("b"));
        assert_eq!(workload(&json!({"trigger": {}})), None);
        assert_eq!(pick(None).moment(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
    }
}

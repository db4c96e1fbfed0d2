//! What in a valid configuration contradicts itself, or this host. Each is a sentence: the agent starts all the same.

use collector_core::alert::Severity;
use collector_core::amount::{bytes, percent};
use collector_core::rule::{Change, Condition, Rule, Rules, Side, Threshold};

use super::level::Levels;
use super::load::Effective;
use super::scaling::Scaling;
use super::section::Config;
use super::setting;

/// What pools need besides their own size.
const SPARE: f64 = 1.2;

/// `memory`: the host's, in bytes, if it is known.
pub fn contradictions(effective: &Effective, memory: Option<u64>) -> Vec<String> {
    let Effective { config, rules, .. } = effective;
    let mut found = pools(config);
    found.extend(host(effective, memory));
    found.extend(severities(rules));
    found.extend(limits(config, rules));
    found.extend(scaling(config));
    found
}

fn pools(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let sum = config.pool.iter().filter_map(|pool| pool.value.memory).fold(0_u64, u64::saturating_add);
    let wanted = (sum as f64 * SPARE) as u64;
    if let Some(need) = config.need.memory.filter(|need| wanted > *need) {
        let (sum, wanted, need) = (bytes(sum), bytes(wanted), bytes(need));
        found.push(format!(
            "the pools hold {sum}; with a fifth to spare that is {wanted}, more than need.memory, {need}"
        ));
    }
    found
}

fn scaling(config: &Config) -> Vec<String> {
    let Scaling { above, below, least, most, .. } = config.scaling;
    let mut found = Vec::new();
    if least > most {
        found.push(format!(
            "scaling.least, {least}, is more than scaling.most, {most}: there are never fewer than {least}"
        ));
    }
    if below >= above {
        let [below, above] = [below, above].map(percent);
        found.push(format!(
            "scaling.below, {below}, is not less than scaling.above, {above}: the number of instances would go up and down"
        ));
    }
    found
}

fn host(effective: &Effective, memory: Option<u64>) -> Vec<String> {
    let need = &effective.config.need;
    let mut found = Vec::new();
    let place = |key: &str| {
        let place = setting::find(key).and_then(|setting| effective.origin(setting));
        place.map(|place| format!("{place}: ")).unwrap_or_default()
    };
    for (key, amount) in [("need.memory", need.memory), ("need.reserved", need.reserved)] {
        if let Some((amount, all)) = amount.zip(memory).filter(|(amount, all)| amount > all) {
            found.push(format!(
                "{}{key} is {}, more than this host's memory, {}",
                place(key),
                bytes(amount),
                bytes(all)
            ));
        }
    }
    if let Some((reserved, all)) = need.reserved.zip(need.memory).filter(|(reserved, all)| reserved > all) {
        let place = place("need.reserved");
        found.push(format!("{place}need.reserved, {}, is more than need.memory, {}", bytes(reserved), bytes(all)));
    }
    found
}

/// The rules that fire above a threshold.
fn above(rules: &Rules) -> impl Iterator<Item = (&Rule, &Threshold)> {
    rules.enabled().filter_map(|rule| match &rule.condition {
        Condition::Threshold(threshold) if threshold.side == Side::Above => Some((rule, threshold)),
        _ => None,
    })
}

/// Whether both read the same series in the same way.
fn same(one: &Threshold, other: &Threshold) -> bool {
    let series = |it: &Threshold| {
        let matches = it
            .matches
            .iter()
            .map(|(label, pattern)| (*label, pattern.prometheus().0, pattern.prometheus().1.to_owned()));
        (it.metric.name, it.part, matches.collect::<Vec<_>>(), it.change)
    };
    series(one) == series(other)
}

/// A less urgent rule whose threshold is above that of a more urgent one fires after it.
fn severities(rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    for (urgent, critical) in above(rules) {
        for (rule, threshold) in above(rules) {
            if rule.severity < urgent.severity && threshold.threshold > critical.threshold && same(threshold, critical)
            {
                found.push(format!(
                    "{} ({}) fires above {}, but {} ({}) above {} already",
                    rule.name,
                    rule.severity.label(),
                    threshold.threshold,
                    urgent.name,
                    urgent.severity.label(),
                    critical.threshold
                ));
            }
        }
    }
    found
}

/// A warning that comes when the limit is passed comes too late.
fn limits(config: &Config, rules: &Rules) -> Vec<String> {
    let mut found = Vec::new();
    for (rule, threshold) in above(rules).filter(|(rule, _)| rule.severity == Severity::Warning) {
        let Some((key, limit, then)) = limit(&config.level, threshold) else { continue };
        if threshold.threshold > limit {
            let (above, limit) = (percent(threshold.threshold), percent(limit));
            found.push(format!("{} warns above {above}, but {key} is {limit}: {then}", rule.name));
        }
    }
    found
}

/// The limit of what this rule watches, and what comes before its warning.
fn limit(level: &Levels, threshold: &Threshold) -> Option<(&'static str, f64, String)> {
    let host = || "the level is 4 before it warns".to_owned();
    match (threshold.metric.name, threshold.change) {
        ("headroom_host_memory_used_ratio", None) => Some(("level.memory_limit", level.memory_limit, host())),
        // Busy CPUs alone lead to level 4 only below a limit of all.
        ("headroom_host_cpu_average_busy_seconds_total", Some(Change::Rate(_))) => {
            Some(("level.cpu_limit", level.cpu_limit, host()))
        }
        ("headroom_host_filesystem_used_ratio", None) => {
            let concerns = |mountpoint: &&String| {
                let label = |index: usize| threshold.metric.labels.get(index).copied();
                let mut of = threshold.matches.iter().filter(|(index, _)| label(*index) == Some("mountpoint"));
                of.all(|(_, pattern)| pattern.matches(mountpoint))
            };
            let named: Vec<&str> = level.filesystems.iter().filter(concerns).map(String::as_str).collect();
            let then = format!("the level is 4 before it warns of {}", named.join(", "));
            (!named.is_empty()).then_some(("level.filesystem_limit", level.filesystem_limit, then))
        }
        ("headroom_gpu_memory_used_ratio", None) => {
            let then = "the level of a GPU that no model server holds is 4 before it warns of that GPU";
            Some(("level.gpu_limit", level.gpu_limit, then.to_owned()))
        }
        _ => None,
    }
}

/// The host's memory in bytes.
pub fn host_memory() -> Option<u64> {
    let info = rustix::system::sysinfo();
    let unit = u64::from(info.mem_unit.max(1));
    info.totalram.checked_mul(unit).filter(|all| *all > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Layers, load};
    use std::fs;

    /// What is said of a file, on a host of 64 GiB.
    fn said(text: &str) -> Vec<String> {
        let file =
            std::env::temp_dir().join(format!("headroom-contradiction-{}-{}.toml", std::process::id(), text.len()));
        fs::write(&file, text).unwrap();
        let effective = load(&Layers { file: Some(file.clone()), ..Layers::default() }).unwrap();
        fs::remove_file(file).unwrap();
        contradictions(&effective, Some(64 << 30))
    }

    #[test]
    fn the_defaults_contradict_nothing() {
        assert_eq!(said(""), [""; 0]);
    }

    #[test]
    fn each_contradiction_is_named() {
        let pool = "[[pool]]\nname = \"a\"\nmemory = \"10G\"\n";
        let rule = |name: &str, above: f64, severity: &str| {
            format!(
                "[[rule]]\nalert = \"{name}\"\nmetric = \"headroom_host_swap_used_ratio\"\nabove = {above}\n\
                 severity = \"{severity}\"\nsummary = \"s\"\naction = \"a\"\n"
            )
        };
        for (text, wanted) in [
            (
                format!("need.memory = \"23G\"\n{pool}{}", pool.replace("\"a\"", "\"b\"")),
                "the pools hold 20.0 GiB; with a fifth to spare that is 24.0 GiB, more than need.memory, 23.0 GiB",
            ),
            (
                "need.reserved = \"65G\"\n".to_owned(),
                "need.reserved is 65.0 GiB, more than this host's memory, 64.0 GiB",
            ),
            ("[scaling]\nleast = 3\nmost = 2\n".to_owned(), "scaling.least, 3, is more than scaling.most, 2"),
            (
                "scaling = { above = 0.3, below = 0.4 }\n".to_owned(),
                "scaling.below, 40 %, is not less than scaling.above, 30 %",
            ),
            (
                "need = { memory = \"2G\", reserved = \"3G\" }\n".to_owned(),
                "need.reserved, 3.00 GiB, is more than need.memory",
            ),
            (
                format!("{}{}", rule("Early", 0.5, "critical"), rule("Late", 0.6, "info")),
                "Late (info) fires above 0.6, but Early (critical) above 0.5 already",
            ),
            (
                "level.memory_limit = 0.85\n".to_owned(),
                "HostMemoryHigh warns above 90 %, but level.memory_limit is 85 %",
            ),
            (
                "level = { filesystem_limit = 0.8, filesystems = [\"/\", \"/data\"] }\n".to_owned(),
                "HostFilesystemFull warns above 90 %, but level.filesystem_limit is 80 %: the level is 4 before it warns of /, /data",
            ),
            (
                "level.gpu_limit = 0.9\n[[rule]]\nalert = \"GpuMemoryCritical\"\n".to_owned(),
                "GpuMemoryCritical warns above 95 %, but level.gpu_limit is 90 %: the level of a GPU that no model server holds is 4",
            ),
            (
                "level.cpu_limit = 0.5\n[[rule]]\nalert = \"HostCpuHigh\"\nseverity = \"warning\"\n".to_owned(),
                "HostCpuHigh warns above 90 %, but level.cpu_limit is 50 %",
            ),
        ] {
            let said = said(&text);
            assert!(said.iter().any(|it| it.contains(wanted)), "{text}: {said:#?}");
        }
        // The alerts of other filesystems have nothing to do with the level.
        let other = "level = { filesystem_limit = 0.8, filesystems = [\"/\"] }\n[[rule]]\nalert = \"HostFilesystemFull\"\n\
            match.mountpoint = \"/data\"\n";
        assert_eq!(said(other), [""; 0]);
        assert_eq!(said(&format!("need.memory = \"24G\"\n{pool}{}", pool.replace("\"a\"", "\"b\""))), [""; 0]);
    }

    #[test]
    fn this_host_has_memory() {
        assert!(host_memory().unwrap() > 1 << 20);
    }
}

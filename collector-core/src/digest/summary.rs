//! What stands out in a period, in sentences: the worst first.

use std::collections::BTreeMap;

use super::block::{Finding, Weight};
use super::card;
use super::draw::share;
use super::words::{bytes, duration, plural, some, sum};
use super::{Digest, Event};
use crate::amount::percent;
use crate::xid;
use crate::zone::Zone;

/// A workload or host that used so much of its memory was near its limit.
const NEAR: f64 = 0.9;
/// Waits below this share of the time are nothing to look at.
const SMALL_WAIT: f64 = 0.001;
const LARGE_WAIT: f64 = 0.01;
/// Shorter spells of throttling are nothing to look at, in seconds.
const THROTTLED: f64 = 60.0;
/// A GPU that was used less on average was hardly used.
const IDLE: f64 = 0.05;
/// At most so many names in a sentence.
const NAMES: usize = 4;

/// One sentence about the whole period.
pub fn headline(digest: &Digest, findings: &[Finding]) -> String {
    if digest.is_empty() {
        return "Nothing is recorded of this period: the agent did not run, or kept no journal and no history."
            .to_owned();
    }
    let bad = findings.iter().filter(|finding| finding.weight == Weight::Bad).count() as u64;
    let verdict = match bad {
        0 if digest.knows_events() => "No problem was seen.".to_owned(),
        0 => "No problem is recorded.".to_owned(),
        bad => format!("{}.", plural(bad, "problem")),
    };
    if digest.events_from.is_none_or(|since| since >= digest.to) {
        return format!("{verdict} {}; incidents and alerts are not known.", watched(digest));
    }
    let (incidents, fired) = (digest.incidents.len() as u64, sum(&digest.alerts));
    let recorded = if digest.knows_events() { "" } else { " recorded" };
    format!(
        "{verdict} {}: {}, {}, {}{recorded}.",
        watched(digest),
        plural(incidents, "incident"),
        plural(digest.kills, "OOM kill"),
        plural(fired, "alert")
    )
}

fn watched(digest: &Digest) -> String {
    match digest.known_seconds as f64 / digest.record.whole_seconds.max(1) as f64 {
        _ if digest.known_seconds == 0 => "There is no history of the host in this period".to_owned(),
        share if share >= 0.995 => "The host was watched all the time".to_owned(),
        share => format!("The host was watched for {} of the period", percent(share)),
    }
}

pub fn findings(digest: &Digest, zone: &Zone) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    incidents(&mut found, digest);
    alerts(&mut found, digest);
    host(&mut found, digest, zone);
    workloads(&mut found, digest);
    digest.gpus.iter().for_each(|gpu| of_gpu(&mut found, gpu));
    record(&mut found, digest);
    found.0.extend(unknown_events(digest, zone).map(|text| Finding { weight: Weight::Note, text }));
    // What comes first within a weight is what was said first.
    found.0.sort_by_key(|finding| finding.weight);
    found.0
}

/// That incidents and alerts of the period, or of its beginning, are not known.
pub fn unknown_events(digest: &Digest, zone: &Zone) -> Option<String> {
    match digest.events_from {
        None => Some("No journal: incidents and alerts are not known.".to_owned()),
        Some(since) if since > digest.from => {
            Some(format!("Incidents and alerts before {} are no longer kept.", zone.minute(since)))
        }
        Some(_) => None,
    }
}

struct Found(Vec<Finding>);

impl Found {
    fn say(&mut self, weight: Weight, text: String) {
        self.0.push(Finding { weight, text });
    }
}

fn incidents(found: &mut Found, digest: &Digest) {
    if digest.kills > 0 {
        let by = by_workload(digest.incidents.iter().filter(|event| event.killed > 0), |event| event.killed);
        let verb = if digest.kills == 1 { "was" } else { "were" };
        let what = plural(digest.kills, "process");
        found.say(Weight::Bad, format!("{what} {verb} killed because memory ran out: {}.", some(&by, NAMES)));
    }
    let others: Vec<&Event> = digest.incidents.iter().filter(|event| event.killed == 0).collect();
    if !others.is_empty() {
        let by = by_workload(others.iter().copied(), |_| 1);
        let lost = others.iter().any(|event| event.kind == crate::incident::Kind::GpuLost.name());
        let what = plural(others.len() as u64, if digest.kills > 0 { "other incident" } else { "incident" });
        let weight = if lost { Weight::Bad } else { Weight::Note };
        found.say(weight, format!("{what}: {}.", some(&by, NAMES)));
    }
    if digest.incidents.is_empty() && digest.known_seconds > 0 && digest.knows_events() {
        found.say(Weight::Good, "There was no incident.".to_owned());
    }
}

/// The most frequent first.
fn by_workload<'a>(events: impl Iterator<Item = &'a Event>, count: impl Fn(&Event) -> u64) -> Vec<(String, u64)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let name = event.workload.clone().unwrap_or_else(|| "the host".to_owned());
        *counts.entry(name).or_default() += count(event);
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

fn alerts(found: &mut Found, digest: &Digest) {
    let critical: Vec<(String, u64)> =
        digest.alerts.iter().filter(|it| it.of == "critical").map(|it| (it.name.clone(), it.count)).collect();
    let others: Vec<(String, u64)> =
        digest.alerts.iter().filter(|it| it.of == "warning").map(|it| (it.name.clone(), it.count)).collect();
    let all = |alerts: &[(String, u64)]| alerts.iter().map(|(_, count)| count).sum();
    // Kills are told already.
    if critical.iter().any(|(name, _)| name != "OomKill") {
        found.say(Weight::Bad, format!("{}: {}.", plural(all(&critical), "critical alert"), some(&critical, NAMES)));
    }
    if !others.is_empty() {
        found.say(Weight::Note, format!("{}: {}.", plural(all(&others), "warning"), some(&others, NAMES)));
    }
}

fn host(found: &mut Found, digest: &Digest, zone: &Zone) {
    let host = &digest.host;
    if let (Some(most), Some(total), Some(when)) = (host.memory_bytes.max, host.memory_limit_bytes, host.peak_time()) {
        let share = host.limit_used_ratio.unwrap_or(0.0);
        let mean = host.memory_bytes.mean.map_or(String::new(), |mean| format!("; {} on average", bytes(mean)));
        let weight = if share >= NEAR { Weight::Bad } else { Weight::Good };
        found.say(
            weight,
            format!(
                "Host memory in use reached {} of {} ({}) on {} {}{mean}.",
                bytes(most),
                bytes(total as f64),
                percent(share),
                zone.day(when),
                zone.hour(when)
            ),
        );
    }
    let waits = [("memory", host.memory_waiting_seconds), ("IO", host.io_waiting_seconds)];
    for (what, time) in waits.into_iter().filter_map(|(what, time)| Some((what, time?))) {
        let share = share(digest, time);
        let weight = match what {
            "memory" if share >= LARGE_WAIT => Weight::Bad,
            _ if share >= SMALL_WAIT => Weight::Note,
            _ => continue,
        };
        let text =
            format!("Some task waited for {what} for {} in all, {} of the time.", duration(time), percent(share));
        found.say(weight, text);
    }
}

fn workloads(found: &mut Found, digest: &Digest) {
    let near = digest.workloads.iter().filter(|it| it.incidents == 0 && it.limit_used_ratio >= Some(NEAR));
    let mut near: Vec<_> = near.collect();
    near.sort_by(|one, other| other.limit_used_ratio.unwrap_or(0.0).total_cmp(&one.limit_used_ratio.unwrap_or(0.0)));
    if let Some(first) = near.first() {
        let (name, share) = (first.workload.as_deref().unwrap_or_default(), first.limit_used_ratio.unwrap_or(0.0));
        let more = match near.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more reached {} or above", percent(NEAR)),
        };
        let without = if digest.knows_events() { " without an incident" } else { "" };
        let text = format!("{name} reached {} of its memory limit{without}{more}.", percent(share));
        found.say(Weight::Note, text);
    }
    for it in digest.workloads.iter().filter(|it| it.memory_limit_before_bytes.is_some()).take(NAMES) {
        let (before, now) = (it.memory_limit_before_bytes.unwrap_or(0), it.memory_limit_bytes.unwrap_or(0));
        let name = it.workload.as_deref().unwrap_or_default();
        let text =
            format!("The memory limit of {name} was changed from {} to {}.", bytes(before as f64), bytes(now as f64));
        found.say(Weight::Note, text);
    }
}

fn of_gpu(found: &mut Found, gpu: &card::Figures) {
    let name = gpu.name();
    for (code, count) in &gpu.xids {
        let meaning = xid::meaning(&code.to_string());
        found.say(Weight::Bad, format!("{name} reported XID {meaning}, {}.", plural(*count, "time")));
    }
    if gpu.ecc_uncorrected > 0 {
        let errors = plural(gpu.ecc_uncorrected, "memory error");
        found.say(Weight::Bad, format!("{name} had {errors} that could not be corrected."));
    }
    if let Some(time) = gpu.throttled_seconds.filter(|time| *time >= THROTTLED) {
        let hot = gpu.temperature_celsius.max.map_or(String::new(), |most| format!(" (up to {most:.0} °C)"));
        let text = format!("{name} was slowed down for {} by heat, power supply or hardware{hot}.", duration(time));
        found.say(Weight::Bad, text);
    }
    if let Some(mean) = gpu.utilization_ratio.mean.filter(|mean| *mean < IDLE) {
        found.say(Weight::Note, format!("{name} was hardly used: {} on average.", percent(mean)));
    }
}

fn record(found: &mut Found, digest: &Digest) {
    let missing: u64 = digest.record.gaps.iter().map(|gap| gap.missing_seconds).sum();
    if missing > 0 && digest.known_seconds > 0 {
        let gaps = plural(digest.record.gaps.len() as u64, "gap");
        let text = format!(
            "The host was not watched for {}, in {gaps}. What happened then is not in this report.",
            duration(missing as f64)
        );
        found.say(Weight::Note, text);
    }
    let lost: Vec<(String, u64)> =
        digest.record.lost.iter().map(|(stage, count)| ((*stage).to_owned(), *count)).collect();
    if !lost.is_empty() {
        found.say(Weight::Note, format!("The agent dropped data, so counts may be too low: {}.", some(&lost, NAMES)));
    }
}

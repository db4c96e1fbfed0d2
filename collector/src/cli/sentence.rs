//! Events of the journal in one sentence each, also of those that have none of their own. Knows the JSON of outcomes; what it does not
//! know is told field by field.

use std::fmt::Write as _;

use collector_core::action::Kind;
use collector_core::amount::{bytes, seconds};
use serde::Deserialize as _;
use serde_json::Value;

/// What happened.
pub fn sentence(kind: &str, what: &Value) -> String {
    if let Some(told) = advice(kind, what) {
        return told;
    }
    let own = ["title", "summary", "sentence"].iter().find_map(|name| what.get(name)?.as_str());
    if let Some(own) = own {
        let names = ["id", "alert", "state"].iter().filter_map(|name| what.get(name)?.as_str());
        let names: Vec<_> = names.collect();
        return if names.is_empty() { own.to_owned() } else { format!("{}: {own}", names.join(" ")) };
    }
    told(kind, what).unwrap_or_else(|| {
        let mut text = String::new();
        fields(what, &mut text);
        text.trim_start().to_owned()
    })
}

/// What became of an advice.
fn advice(kind: &str, what: &Value) -> Option<String> {
    let text = |name: &str| what.get(name)?.as_str();
    let (id, title) = (text("id")?, text("title")?);
    let state = what.get("state").filter(|_| kind == "advice")?;
    let value = state.pointer("/followed/value").and_then(Value::as_str);
    let became = match value {
        Some(value) => {
            let kind = what.pointer("/actions/0/kind").and_then(|kind| Kind::deserialize(kind).ok());
            format!("was followed: set to {}", kind.map_or_else(|| value.to_owned(), |kind| kind.shown(value)))
        }
        None if state.get("gone").is_some() => "holds no longer".to_owned(),
        None => "holds".to_owned(),
    };
    Some(format!("{id} {became}: {title}"))
}

fn told(kind: &str, what: &Value) -> Option<String> {
    let fact = |name: &str| what.pointer(&format!("/fact/{name}"));
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let time = |value: &Value| Some(seconds(value.as_u64()? as f64 / 1e9));
    let of = text(what.get("workload")).map(|name| format!(" of {name}")).unwrap_or_default();
    let who = || Some(format!("{} ({}){of}", text(fact("comm"))?, fact("pid")?.as_u64()?));
    Some(match kind {
        "reclaim_stall" => {
            let (waited, freed) = (time(fact("ns")?)?, bytes(fact("bytes")?.as_u64()?));
            format!("{} waited {waited} until memory was free: it reclaimed {freed} itself", who()?)
        }
        "compaction_stall" => {
            format!("{} waited {} until memory was moved together", who()?, time(fact("ns")?)?)
        }
        "slow_io" | "failed_io" => {
            let io = |name: &str| fact("io").and_then(|io| io.get(name));
            let (what, size) = (text(io("operation"))?, bytes(io("bytes")?.as_u64()?));
            let device = text(fact("device"))?;
            let (queue, service) = (time(io("queue_ns")?)?, time(io("service_ns")?)?);
            match kind {
                "slow_io" => format!(
                    "a {what} of {size} on {device}{of} took {service} on the device after {queue} in its queue"
                ),
                _ => format!("a {what} of {size} on {device}{of} failed with status {}", io("status")?.as_i64()?),
            }
        }
        "allocation_refused" => {
            let (size, code) = (bytes(fact("bytes")?.as_u64()?), fact("code")?.as_u64()?);
            format!("the CUDA driver refused {} an allocation of {size} with code {code}", who()?)
        }
        "oom_kill" | "dying" => {
            let kill = |name: &str| what.pointer(&format!("/kill/{name}"));
            let who = format!("{} ({}){of}", text(kill("comm"))?, kill("pid")?.as_u64()?);
            match kind {
                "oom_kill" => {
                    let held =
                        kill("anon_bytes").and_then(Value::as_u64).map(|held| format!(", which held {}", bytes(held)));
                    format!("the OOM killer killed {who}{}", held.unwrap_or_default())
                }
                _ => format!("the OOM killer found {who}, which was dying already, and did not kill it"),
            }
        }
        "signal" => {
            let sent = |name: &str| what.pointer(&format!("/sent/{name}"));
            let who = format!("{} ({}){of}", text(sent("comm"))?, sent("pid")?.as_u64()?);
            let by = format!("{} ({})", text(sent("sender_comm"))?, sent("sender_pid")?.as_u64()?);
            let ends = if sent("fatal")?.as_bool()? { "killed" } else { "asked to end" };
            format!("{who} was {ends} by {by} while memory was short")
        }
        "pressure" => {
            let trigger = |name: &str| what.pointer(&format!("/trigger/{name}"));
            let who = if trigger("kind")?.as_str()? == "stalled" { "all tasks" } else { "some tasks" };
            let waited = match trigger("resource")?.as_str()? {
                "cpu" => "a CPU",
                "io" => "IO",
                other => other,
            };
            let (least, within) = (time(trigger("threshold_ns")?)?, time(trigger("window_ns")?)?);
            format!("{who} of the host waited for {waited} for at least {least} within {within}")
        }
        _ => return None,
    })
}

/// Every field with a value, nested ones included: ` name=value name=value`.
fn fields(value: &Value, text: &mut String) {
    let Value::Object(object) = value else { return };
    for (name, value) in object {
        match value {
            Value::Null => {}
            Value::Object(_) => fields(value, text),
            Value::Array(items) if items.is_empty() => {}
            // What has blanks could pass for other fields.
            Value::String(word) if word.contains([' ', '"', '=']) => {
                let _ = write!(text, " {name}=\"{}\"", word.replace('"', r#"\""#));
            }
            Value::String(word) => drop(write!(text, " {name}={word}")),
            // The line already begins with the time.
            Value::Number(_) if name == "time" => {}
            other => drop(write!(text, " {name}={other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use collector_core::outcome::{Named, Outcome};
    use collector_core::pressure::{Kind, Resource, Stall, Trigger};
    use collector_core::signal::{block, compaction, reclaim, transfer};
    use serde_json::json;

    use super::*;

    /// As the journal has it.
    fn told(outcome: &Outcome) -> String {
        let Value::Object(what) = serde_json::to_value(outcome).unwrap() else { panic!() };
        let (kind, what) = what.iter().next().unwrap();
        sentence(kind, what)
    }

    fn named<T>(fact: T) -> Box<Named<T>> {
        Box::new(Named { time: 1, workload: Some(Arc::from("a.service")), fact })
    }

    #[test]
    fn what_has_no_sentence_of_its_own_gets_one() {
        let (comm, ns) = ("python3".to_owned(), 1_500_000_000);
        let stall = reclaim::Stall {
            cgroup: None,
            kind: reclaim::Kind::Memcg,
            ns,
            bytes: 4096,
            order: 0,
            pid: 7,
            tid: 7,
            comm: comm.clone(),
        };
        let io = block::Io {
            cgroup: None,
            device: block::Device { major: 8, minor: 0 },
            operation: block::Operation::Read,
            queue_ns: 2_000_000,
            service_ns: ns,
            bytes: 4096,
            status: 5,
        };
        let on = block::OnDevice { device: Arc::from("sda"), io };
        let refusal = transfer::Refusal {
            cgroup: None,
            memory: transfer::Memory::Device,
            bytes: 1 << 30,
            code: 2,
            pid: 7,
            tid: 7,
            comm: comm.clone(),
        };
        let trigger = Trigger {
            resource: Resource::Memory,
            kind: Kind::Stalled,
            threshold_ns: 200_000_000,
            window_ns: 2_000_000_000,
        };
        let advised = |state: serde_json::Value| {
            let standing = serde_json::json!({
                "id": "memory_limit_raise:a.service", "rule": "memory_limit_raise", "object": {"workload": "a.service"},
                "title": "Raise it", "why": "", "evidence": [], "confidence": "low", "because": "", "risk": "low",
                "actions": [], "since": 1, "state": state,
            });
            Outcome::Advice(Box::new(serde_json::from_value(standing).unwrap()))
        };
        let set = serde_json::json!({"followed": {"at": 7, "value": "20480", "before": {"seconds": 0}}});
        for (outcome, wanted) in [
            (advised("holds".into()), "memory_limit_raise:a.service holds: Raise it"),
            (advised(set), "memory_limit_raise:a.service was followed: set to 20480: Raise it"),
            (
                Outcome::ReclaimStall(named(stall)),
                "python3 (7) of a.service waited 1.5 s until memory was free: it reclaimed 4.00 KiB itself",
            ),
            (
                Outcome::CompactionStall(named(compaction::Stall { cgroup: None, ns, pid: 7, tid: 7, comm })),
                "python3 (7) of a.service waited 1.5 s until memory was moved together",
            ),
            (
                Outcome::SlowIo(named(on.clone())),
                "a read of 4.00 KiB on sda of a.service took 1.5 s on the device after 2 ms in its queue",
            ),
            (Outcome::FailedIo(named(on)), "a read of 4.00 KiB on sda of a.service failed with status 5"),
            (
                Outcome::AllocationRefused(named(refusal)),
                "the CUDA driver refused python3 (7) of a.service an allocation of 1.00 GiB with code 2",
            ),
            (
                Outcome::Pressure(Stall { trigger, total_ns: Some(1) }),
                "all tasks of the host waited for memory for at least 200 ms within 2.0 s",
            ),
        ] {
            assert_eq!(told(&outcome), wanted);
        }
    }

    #[test]
    fn a_sentence_of_its_own_comes_with_its_names_and_what_is_not_known_field_by_field() {
        assert_eq!(
            sentence("incident", &json!({"id": "i-1", "title": "it was killed", "time": 5})),
            "i-1: it was killed"
        );
        assert_eq!(
            sentence("alert", &json!({"alert": "Hot", "state": "firing", "summary": "it is hot"})),
            "Hot firing: it is hot"
        );
        assert_eq!(sentence("lease", &json!({"sentence": "reservation 7 ended"})), "reservation 7 ended");
        let other = json!({"comm": "a b", "io": {"bytes": 4096, "time": 1}, "x": null, "workload": "x k=9 \"y"});
        assert_eq!(sentence("slow_io", &other), "comm=\"a b\" bytes=4096 workload=\"x k=9 \\\"y\"");
    }
}

//! Whether an advice was followed: what its action sets, as it is now, against what it was and what was advised.

use std::collections::BTreeMap;

use crate::action::{Action, DEFRAG, Kind, Object, SCHEDULER, WEIGHING};
use crate::advice::Advice;
use crate::isolation::weight;
use crate::program::Flags;
use crate::statistic::host;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::model::Told;

/// Whoever went so far of the way followed it.
const WAY: f64 = 0.75;
/// Of what had no value before: this share more or less.
const ABOUT: f64 = 0.25;

/// A value that is set.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Number(f64),
    /// No limit.
    Unlimited,
}

/// What it was set to, if one of its actions was carried out, by whomever.
pub fn followed(view: &View, advice: &Advice) -> Option<String> {
    advice.actions.iter().find_map(|action| {
        if action.kind == Kind::Configure {
            return configured(view, action);
        }
        if let Some(now) = word(view, action) {
            let is_new = action.before.as_deref() != Some(now) && action.after.as_deref() == Some(now);
            return is_new.then(|| now.to_owned());
        }
        let now = current(view, action)?;
        let (before, after) = (action.before.as_deref().and_then(parse), action.after.as_deref().and_then(parse)?);
        is_about(before, now, after).then(|| match now {
            Value::Number(number) => format!("{number}"),
            Value::Unlimited => "max".to_owned(),
        })
    })
}

/// What a server was started with, if these are the flags that were advised, or about these.
fn configured(view: &View, action: &Action) -> Option<String> {
    let advised = flags(action.after.as_deref()?);
    let before = action.before.as_deref().map(flags).unwrap_or_default();
    let is_as_advised = |given: &Flags| {
        advised.iter().all(|(name, after)| {
            let Some(now) = given.get(*name) else { return false };
            match (parse(now), parse(after)) {
                (Some(now), Some(after)) => {
                    let before = before.get(name).and_then(|value| parse(value));
                    before == Some(now) && now == after || is_about(before, now, after)
                }
                _ => **now == **after,
            }
        })
    };
    let is_new =
        |given: &Flags| advised.keys().any(|name| before.get(name).copied() != given.get(*name).map(|now| &**now));
    // Of several it is not known which one was meant.
    let mut all = servers(view, &action.object);
    let given = all.next().filter(|given| is_as_advised(given) && is_new(given))?;
    if all.next().is_some() {
        return None;
    }
    let words = advised.keys().flat_map(|name| [*name, given.get(*name).map_or("", |now| now)]);
    Some(words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "))
}

/// The flags of the servers that an object is or has.
fn servers<'a>(view: &'a View, object: &'a Object) -> impl Iterator<Item = &'a Flags> {
    let is_meant = move |told: &Told| match object {
        Object::Server(name) => *told.server.name == **name,
        Object::Workload(name) => told.workload(&view.workloads).is_some_and(|it| *it.name == **name),
        _ => false,
    };
    let servers = view.models.servers.values().filter(move |told| is_meant(told));
    servers.map(|told| &*told.server.flags)
}

/// Flags as an action writes them; without a value for one that has none.
fn flags(text: &str) -> BTreeMap<&str, &str> {
    let mut words = text.split(' ').peekable();
    let mut flags = BTreeMap::new();
    while let Some(name) = words.next() {
        flags.insert(name, words.next_if(|word| !word.starts_with("--")).unwrap_or_default());
    }
    flags
}

fn is_about(before: Option<Value>, now: Value, after: Value) -> bool {
    use Value::{Number, Unlimited};
    match (before, now, after) {
        (Some(before), now, _) if before == now => false,
        (_, Unlimited, Unlimited) => true,
        (_, Unlimited, _) | (_, _, Unlimited) => false,
        (Some(Number(before)), Number(now), Number(after)) if before != after => {
            (now - before) / (after - before) >= WAY
        }
        (_, Number(now), Number(after)) => (now - after).abs() <= ABOUT * after.abs(),
    }
}

/// What an action sets, as it is now; none where the view does not have it.
fn current(view: &View, action: &Action) -> Option<Value> {
    let swap = || view.host.statistics.get(host::Statistic::SwapTotal).map(|total| Value::Number(total as f64));
    let statistic = match action.kind {
        Kind::MemoryMax => Statistic::MemoryLimit,
        Kind::MemoryHigh => Statistic::MemoryHigh,
        Kind::MemoryLow => Statistic::MemoryLow,
        Kind::CpuMax => {
            let Object::Workload(name) = &action.object else { return None };
            return crate::target::of(view, name)?.known.cpu_max.map(Value::Number);
        }
        Kind::SwapOn | Kind::ZramOn if action.object == Object::Host => return swap(),
        Kind::Sysctl if action.key.as_deref() == Some("vm.watermark_scale_factor") => {
            let now = view.host.statistics.get(host::Statistic::WatermarkScaleFactor);
            return now.map(|value| Value::Number(value as f64));
        }
        _ => return None,
    };
    let Object::Workload(name) = &action.object else { return None };
    let statistics = &view.workloads.find(name)?.statistics;
    // A workload that is gone has no limit any more, but nobody took it away.
    statistics.get(Statistic::MemoryCurrent)?;
    Some(statistics.get(statistic).map_or(Value::Unlimited, |value| Value::Number(value as f64)))
}

/// A word that an action sets, as it is now; none where the view does not have it, and of what is no word.
fn word(view: &View, action: &Action) -> Option<&'static str> {
    if let (Object::Disk(name), Some(SCHEDULER)) = (&action.object, action.key.as_deref()) {
        return Some(if weight::on(view, name)??.acts() { WEIGHING } else { "another" });
    }
    let is_defrag = action.kind == Kind::Sysctl && action.key.as_deref() == Some(DEFRAG);
    let place = view.host.statistics.get(host::Statistic::HugePagesDefrag).filter(|_| is_defrag)?;
    host::DEFRAG.get(usize::try_from(place).ok()?).copied()
}

/// As actions write values: plain numbers, or `max`.
fn parse(text: &str) -> Option<Value> {
    match text {
        "max" => Some(Value::Unlimited),
        _ => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::action::Risk;
    use crate::advice::Confidence;
    use crate::advise::stage::Host;
    use crate::statistic::model::Server;
    use crate::statistic::{contention, disk, model};

    fn action(kind: Kind, key: &str, before: Option<&str>, after: &str) -> Action {
        Action {
            kind,
            object: Object::Host,
            key: Some(key.to_owned()),
            before: before.map(str::to_owned),
            after: Some(after.to_owned()),
            risk: Risk::Low,
            undo: String::new(),
            commands: Vec::new(),
        }
    }

    /// What is found to be followed of an action while a number of the host is this.
    fn found(action: Action, statistic: host::Statistic, now: u64) -> Option<String> {
        let mut view = View::default();
        view.host.statistics.set(statistic, now);
        let advice = super::super::tests::advice("rule", Object::Host, Confidence::High, 0.0);
        followed(&view, &Advice { actions: vec![action], ..advice })
    }

    #[test]
    fn values_are_read_as_actions_write_them() {
        for (text, value) in [
            ("21474836480", Some(Value::Number(21_474_836_480.0))),
            ("2.5", Some(Value::Number(2.5))),
            ("max", Some(Value::Unlimited)),
            ("inf", None),
            ("20GiB", None),
            ("madvise", None),
            ("", None),
        ] {
            assert_eq!(parse(text), value, "{text}");
        }
    }

    #[test]
    fn swap_that_was_added_in_a_file_or_in_compressed_memory_is_seen() {
        for kind in [Kind::SwapOn, Kind::ZramOn] {
            let of = |now| found(action(kind, "swap", None, "8000"), host::Statistic::SwapTotal, now);
            assert_eq!((of(7999), of(0)), (Some("7999".to_owned()), None), "{kind:?}");
        }
    }

    #[test]
    fn a_cpu_quota_is_compared_in_cpus() {
        let mut host = Host::new(&["/system.slice/llama.service"]);
        host.serve(1, 1, model::Kind::LlamaCpp);
        for second in [2, 7] {
            host.files(
                second,
                1,
                &[(Statistic::MemoryCurrent, 1), (Statistic::Populated, 1), (Statistic::CpuPeriods, second)],
            );
            host.close(
                second,
                1,
                &[(contention::Statistic::CpuQuota, 4000), (contention::Statistic::CpuPeriods, second)],
            );
            host.tick(second);
        }
        let object = Object::Workload("llama.service".to_owned());
        let of = |before, after| {
            let action = Action { object: object.clone(), ..action(Kind::CpuMax, "cpu.max", Some(before), after) };
            let advice = super::super::tests::advice("rule", object.clone(), Confidence::High, 0.0);
            followed(&host.view, &Advice { actions: vec![action], ..advice })
        };
        assert_eq!((of("2", "4").as_deref(), of("4", "8"), of("2", "16")), (Some("4"), None, None));
    }

    #[test]
    fn who_waits_for_huge_pages_is_compared_by_its_word() {
        let of = |now| {
            let set = action(Kind::Sysctl, DEFRAG, Some("always"), "defer+madvise");
            found(set, host::Statistic::HugePagesDefrag, now)
        };
        assert_eq!((of(3).as_deref(), of(4), of(2), of(9)), (Some("defer+madvise"), None, None, None));
    }

    #[test]
    fn a_server_that_was_started_with_other_flags_is_seen() {
        let mut host = Host::new(&["/system.slice/llama.service"]);
        host.serve(1, 1, model::Kind::LlamaCpp);
        let name = host.view.models.servers.keys().next().unwrap().clone();
        let of = |host: &mut Host, before: Option<&str>, after: &str, given: &[(&str, &str)]| {
            let told = Arc::make_mut(host.view.models.servers.get_mut(&name).unwrap());
            let flags = given.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            told.server = Arc::new(Server { flags: Arc::new(flags), ..(*told.server).clone() });
            let found = |object: Object| {
                let advice = super::super::tests::advice("rule", object.clone(), Confidence::High, 0.0);
                let action = Action { object, ..action(Kind::Configure, "flags", before, after) };
                followed(&host.view, &Advice { actions: vec![action], ..advice })
            };
            let by_workload = found(Object::Workload("llama.service".to_owned()));
            assert_eq!(found(Object::Server(name.to_string())), by_workload);
            assert_eq!(found(Object::Server("vllm:1".to_owned())), None);
            by_workload
        };
        let mut of = |before, after, given: &[_]| of(&mut host, before, after, given).unwrap_or_default();
        assert_eq!(of(None, "--cache-ram 1024", &[("--cache-ram", "1024"), ("--threads", "2")]), "--cache-ram 1024");
        assert_eq!(of(Some("--cache-ram 8192"), "--cache-ram 1024", &[("--cache-ram", "1000")]), "--cache-ram 1000");
        assert_eq!(of(Some("--cache-ram 8192"), "--cache-ram 1024", &[("--cache-ram", "8192")]), "", "as before");
        assert_eq!(of(Some("--cache-ram 8192"), "--cache-ram 1024", &[]), "", "left out: that is another value");
        assert_eq!(of(None, "--mlock", &[("--mlock", "")]), "--mlock");
        assert_eq!(of(None, "--load-mode none", &[("--load-mode", "mmap")]), "");
        let (before, after) = (Some("--ctx-size 4096"), "--ctx-size 4096 --parallel 2");
        assert_eq!(of(before, after, &[("--ctx-size", "4096"), ("--parallel", "2")]), "--ctx-size 4096 --parallel 2");
        assert_eq!(of(before, after, &[("--ctx-size", "4096")]), "");
        assert_eq!(of(Some("--threads -1"), "--threads 2", &[("--threads", "-1")]), "");
        // Another server of the workload may have had these flags all along.
        let told = host.view.models.servers[&name].clone();
        host.view.models.servers.insert("vllm:2".into(), told);
        let flags = Arc::new([("--threads".into(), "2".into())].into());
        for told in host.view.models.servers.values_mut() {
            let told = Arc::make_mut(told);
            told.server = Arc::new(Server { flags: Arc::clone(&flags), ..(*told.server).clone() });
        }
        let object = Object::Workload("llama.service".to_owned());
        let advice = super::super::tests::advice("rule", object.clone(), Confidence::High, 0.0);
        let action = Action { object, ..action(Kind::Configure, "flags", None, "--threads 2") };
        assert_eq!(
            (followed(&host.view, &Advice { actions: vec![action], ..advice }), host.view.models.servers.len()),
            (None, 2)
        );
    }

    #[test]
    fn a_disk_on_which_weights_act_now_is_seen_whatever_makes_them_act() {
        let mut view = View::default();
        let advice = super::super::tests::advice("rule", Object::Host, Confidence::High, 0.0);
        let advice = Advice { actions: vec![crate::action::io_weights("sda", None, true).unwrap()], ..advice };
        let mut of = |weighs| {
            view.host.disks.clear();
            view.host.disks.insert("sda".into(), [(disk::Statistic::Weighs, weighs)].into_iter().collect());
            followed(&view, &advice)
        };
        assert_eq!((of(0), of(1).as_deref()), (None, Some(WEIGHING)));
        assert_eq!(followed(&View::default(), &advice), None);
    }

    #[test]
    fn who_went_most_of_the_way_or_further_followed_it() {
        let (number, max) = (Value::Number, Value::Unlimited);
        let of = |before, now, after| is_about(before, now, after);
        assert!(of(Some(number(10.0)), number(20.0), number(20.0)));
        assert!(
            of(Some(number(10.0)), number(18.0), number(20.0)) && of(Some(number(10.0)), number(30.0), number(20.0))
        );
        assert!(
            !of(Some(number(10.0)), number(12.0), number(20.0)) && !of(Some(number(10.0)), number(5.0), number(20.0))
        );
        assert!(of(Some(number(40.0)), number(21.0), number(20.0)), "down, too");
        assert!(of(Some(max), number(22.0), number(20.0)) && of(None, number(18.0), number(20.0)));
        assert!(!of(Some(max), number(60.0), number(20.0)), "another limit than was advised");
        assert!(of(Some(number(10.0)), max, max) && !of(Some(max), max, max));
        assert!(!of(Some(number(10.0)), max, number(20.0)), "taken away instead");
        assert!(!of(Some(number(20.0)), number(20.0), number(20.0)), "nobody changed it");
    }
}

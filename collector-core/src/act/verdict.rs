//! Whether a request is carried out: the protected list, then the policy, then what is dangerous. The answer names the rule that decides.

use super::danger::{Danger, Readings, danger};
use super::place::{Caller, Place};
use super::policy::{Allow, Bounds, Policy};
use super::protect::protected;
use super::request::{Object, Request, Task, key};
use crate::action::{Change, Kind, Risk};
use crate::amount;
use crate::identity::Identity;

/// What is asked, with all that the answer rests on.
pub struct Asked<'a> {
    pub request: &'a Request,
    pub task: &'a Task,
    pub caller: &'a Caller,
    pub place: &'a Place,
    /// Of the cgroup; nothing of a process.
    pub readings: Readings,
    /// The limit of memory or swap that it has now, in bytes; `None`: none, or not known.
    pub limit: Option<u64>,
    /// How many changes a rule has allowed within so many seconds.
    pub recent: &'a dyn Fn(&str, u64) -> u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed {
        /// The rule's name.
        rule: String,
        risk: Risk,
        /// Although a check says that it is dangerous: what it says.
        forced: Option<String>,
    },
    /// Which rule or check refuses it, and why.
    Refused(String),
}

/// How far a rule fits a request: of several that refuse, the last to refuse says most.
type Fit = (u8, String);

pub fn judge(policy: &Policy, asked: &Asked<'_>) -> Verdict {
    if let Some(why) = protected(asked.place) {
        return Verdict::Refused(why);
    }
    let risk = risk(asked);
    if policy.agent == Some(asked.caller.uid) && asked.caller.uid != 0 && risk != Risk::Low {
        return Verdict::Refused(format!(
            "the agent may ask for changes of low risk alone, and the risk of {} is {}",
            key(asked.request.kind),
            risk.label()
        ));
    }
    let mut best: Option<Fit> = None;
    let mut found = None;
    for allow in &policy.allow {
        match refusal(allow, asked) {
            None => {
                found = Some(allow.name.clone());
                break;
            }
            Some(fit) if best.as_ref().is_none_or(|best| fit.0 > best.0) => best = Some(fit),
            Some(_) => {}
        }
    }
    let Some(rule) = found else {
        let none = || format!("no rule of the policy allows {}", key(asked.request.kind));
        return Verdict::Refused(best.map_or_else(none, |(_, why)| why));
    };
    let danger = match asked.task {
        Task::Change(change) => danger(change, &asked.readings, asked.request.for_seconds.is_some()),
        Task::Terminate | Task::Kill => None,
    };
    match danger {
        Some(Danger::Never(why)) => Verdict::Refused(why),
        Some(Danger::Forced(why)) if !asked.request.force => {
            Verdict::Refused(format!("{why}; --force does it all the same"))
        }
        Some(Danger::Forced(why)) => Verdict::Allowed { rule, risk, forced: Some(why) },
        None => Verdict::Allowed { rule, risk, forced: None },
    }
}

/// The risk, with what is set now.
fn risk(asked: &Asked<'_>) -> Risk {
    let tightens = match asked.task {
        Task::Change(Change::MemoryMax(None) | Change::SwapMax(None)) => false,
        Task::Change(Change::MemoryMax(Some(after)) | Change::SwapMax(Some(after))) => {
            asked.limit.is_none_or(|before| *after < before)
        }
        _ => true,
    };
    asked.request.kind.risk(tightens)
}

/// Why a rule does not allow it.
fn refusal(allow: &Allow, asked: &Asked<'_>) -> Option<Fit> {
    let Asked { request, caller, place, .. } = asked;
    let (kind, name) = (key(request.kind), &allow.name);
    if !allow.kinds.contains(&request.kind) {
        return Some((0, format!("no rule of the policy allows {kind}")));
    }
    let (path, rooted) = place.path();
    // Who makes cgroups of his own could call one like anybody's workload.
    let named = || rooted && allow.workloads.matches(&Identity::of(path).name);
    if !allow.paths.matches(path) && !named() {
        return Some((1, format!("no rule of the policy allows {kind} for {path}")));
    }
    if !allow.is_for(caller.uid, &caller.gids) {
        return Some((2, format!("the rule {name:?} allows this, but not to uid {}", caller.uid)));
    }
    if let Task::Change(change) = asked.task
        && let Some(why) = out_of_bounds(allow, change)
    {
        return Some((3, format!("the rule {name:?} {why}")));
    }
    if let Some(most) = allow.for_most
        && is_reversible(request)
        && request.for_seconds.is_none_or(|seconds| seconds > most)
    {
        let most = amount::duration(most as f64);
        return Some((4, format!("the rule {name:?} allows changes that are undone within {most} (--for)")));
    }
    if let Some((times, window)) = allow.often
        && (asked.recent)(name, window) >= times
    {
        let window = amount::duration(window as f64);
        return Some((5, format!("the rule {name:?} allows {times} changes in {window}, and there were as many")));
    }
    None
}

/// Whether it has an undo that a time could bring.
fn is_reversible(request: &Request) -> bool {
    matches!(request.object, Object::Cgroup { .. })
        && !matches!(request.kind, Kind::Reclaim | Kind::Terminate | Kind::Kill | Kind::Thaw)
}

fn out_of_bounds(allow: &Allow, change: &Change) -> Option<String> {
    let memory = |value: Option<u64>| within(&allow.memory, value, "memory", &amount::bytes);
    match change {
        Change::MemoryMax(limit) | Change::MemoryHigh(limit) | Change::SwapMax(limit) => memory(*limit),
        Change::MemoryLow(bytes) | Change::MemoryMin(bytes) | Change::Reclaim(bytes) => memory(Some(*bytes)),
        Change::CpuMax(cpus) => within(&allow.cpus, *cpus, "CPUs", &|cpus| amount::fixed(cpus, 2)),
        Change::CpuWeight(weight) | Change::IoWeight(weight) => {
            within(&allow.weight, Some(*weight), "weight", &|weight| weight.to_string())
        }
        Change::Cpuset(..) | Change::IoMax { .. } | Change::Freeze | Change::Thaw => None,
    }
}

fn within<T: PartialOrd + Copy>(
    bounds: &Bounds<T>,
    value: Option<T>,
    what: &str,
    shown: &dyn Fn(T) -> String,
) -> Option<String> {
    if bounds.hold(value) {
        return None;
    }
    let asked = value.map_or_else(|| "no limit".to_owned(), shown);
    let bounds = match (bounds.least.map(shown), bounds.most.map(shown)) {
        (Some(least), Some(most)) => format!("from {least} to {most}"),
        (Some(least), None) => format!("from {least} on"),
        (None, Some(most)) => format!("up to {most}"),
        (None, None) => String::new(),
    };
    Some(format!("allows {what} {bounds}, and {asked} was asked for"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::Process;

    const GIB: u64 = 1 << 30;

    const POLICY: &str = r#"
agent = "999"

[[allow]]
name = "limits"
kinds = ["memory_max", "memory_low", "memory_high", "cpu_max", "freeze"]
workloads = ["/mine*", "vllm*"]
users = ["0", "999", "7"]
memory_least = "1G"
memory_most = "8G"
cpus_most = 4
times = 3
window = "1m"

[[allow]]
name = "short"
kinds = ["cpu_weight"]
workloads = ["/mine"]
users = ["7"]
groups = ["50"]
weight_least = 10
for_most = "1h"

[[allow]]
name = "ends"
kinds = ["kill"]
workloads = ["/mine"]
"#;

    struct Case {
        kind: Kind,
        value: &'static str,
        path: &'static str,
        uid: u32,
        gids: Vec<u32>,
        rooted: bool,
        force: bool,
        seconds: Option<u64>,
        recent: u64,
    }

    impl Default for Case {
        fn default() -> Case {
            let (kind, value, path) = (Kind::MemoryMax, "4G", "/mine");
            Case { kind, value, path, uid: 0, gids: Vec::new(), rooted: true, force: false, seconds: None, recent: 0 }
        }
    }

    fn judged(case: &Case) -> Verdict {
        let none = |_: &str| None;
        let policy = Policy::parse(POLICY, &none, &none).unwrap();
        let object = Object::Cgroup { path: case.path.to_owned(), id: 1 };
        let value = Some(case.value.to_owned()).filter(|value| !value.is_empty());
        let request =
            Request { value, for_seconds: case.seconds, force: case.force, ..Request::new(case.kind, object) };
        let task = request.task().unwrap();
        let place =
            Place::Cgroup { path: case.path.to_owned(), rooted: case.rooted, own: false, processes: Vec::new() };
        let caller = Caller { uid: case.uid, gids: case.gids.clone(), pid: 1, comm: "sh".to_owned() };
        let readings = Readings { usage: Some(2 * GIB), reclaimable: Some(GIB), swap: Some(0), host: Some(64 * GIB) };
        let recent = |_: &str, _: u64| case.recent;
        let (task, caller, place) = (&task, &caller, &place);
        judge(&policy, &Asked { request: &request, task, caller, place, readings, limit: None, recent: &recent })
    }

    fn refused(case: &Case) -> String {
        match judged(case) {
            Verdict::Refused(why) => why,
            allowed => panic!("{allowed:?}"),
        }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_the_answer_names_the_rule() {
        let allowed = judged(&Case::default());
        assert_eq!(allowed, Verdict::Allowed { rule: "limits".to_owned(), risk: Risk::High, forced: None });
        for (case, says) in [
            (
                Case { value: "9G", ..Case::default() },
                "\"limits\" allows memory from 1.00 GiB to 8.00 GiB, and 9.00 GiB was asked",
            ),
            (Case { value: "max", ..Case::default() }, "no limit was asked for"),
            (Case { path: "/other", ..Case::default() }, "no rule of the policy allows memory_max for /other"),
            (Case { kind: Kind::SwapMax, ..Case::default() }, "no rule of the policy allows swap_max"),
            (Case { uid: 8, ..Case::default() }, "\"limits\" allows this, but not to uid 8"),
            (Case { recent: 3, ..Case::default() }, "allows 3 changes in 60 s"),
            (Case { kind: Kind::CpuWeight, value: "50", uid: 7, ..Case::default() }, "undone within"),
            (
                Case { kind: Kind::CpuWeight, value: "50", uid: 7, seconds: Some(7200), ..Case::default() },
                "undone within",
            ),
            (
                Case { kind: Kind::CpuWeight, value: "5", uid: 7, ..Case::default() },
                "\"short\" allows weight from 10 on",
            ),
            (Case { kind: Kind::CpuWeight, value: "50", ..Case::default() }, "not to uid 0"),
            (Case { kind: Kind::Kill, value: "", uid: 7, ..Case::default() }, "\"ends\" allows this, but not to uid 7"),
        ] {
            let why = refused(&case);
            assert!(why.contains(says), "{why}");
        }
        let member =
            Case { kind: Kind::CpuWeight, value: "50", uid: 9, gids: vec![50], seconds: Some(60), ..Case::default() };
        assert!(matches!(judged(&member), Verdict::Allowed { risk: Risk::Low, .. }));
        assert!(matches!(judged(&Case { kind: Kind::Kill, value: "", ..Case::default() }), Verdict::Allowed { .. }));
    }

    #[test]
    fn the_agent_may_ask_for_low_risk_alone() {
        let low = Case { kind: Kind::MemoryLow, uid: 999, ..Case::default() };
        assert!(matches!(judged(&low), Verdict::Allowed { risk: Risk::Low, .. }));
        assert!(refused(&Case { uid: 999, ..Case::default() }).contains("low risk alone"));
    }

    #[test]
    fn no_policy_reaches_what_is_protected_and_no_name_is_forged() {
        let kubelet = Case { path: "/kubepods/mine", ..Case::default() };
        assert!(refused(&kubelet).starts_with("a kubelet owns"));
        let own = Case { path: "/system.slice/vllm.service", ..Case::default() };
        assert!(matches!(judged(&own), Verdict::Allowed { .. }), "by its name");
        let forged = Case { rooted: false, ..own };
        assert!(refused(&forged).contains("no rule"), "a user made a cgroup that is called so");
        let process = Process {
            pid: 5,
            uid: 0,
            comm: "sshd".to_owned(),
            path: "/mine".to_owned(),
            rooted: true,
            kernel: false,
            own: false,
        };
        let held = Place::Cgroup { path: "/mine".to_owned(), rooted: true, own: false, processes: vec![process] };
        assert!(protected(&held).is_some());
    }

    #[test]
    fn danger_gives_way_to_force_and_a_livelock_never_does() {
        let below = Case { value: "1G", ..Case::default() };
        assert!(refused(&below).contains("--force"));
        let forced = judged(&Case { force: true, ..below });
        assert!(matches!(forced, Verdict::Allowed { forced: Some(_), .. }), "{forced:?}");
        let (kind, seconds) = (Kind::MemoryHigh, Some(60));
        let mark = Case { kind, seconds, value: "1G", ..Case::default() };
        assert!(matches!(judged(&mark), Verdict::Allowed { forced: None, .. }), "half of it can be dropped");
        let freeze = Case { kind: Kind::Freeze, value: "", ..Case::default() };
        assert!(refused(&freeze).contains("thawed"));
        assert!(matches!(judged(&Case { seconds, ..freeze }), Verdict::Allowed { .. }));
    }
}

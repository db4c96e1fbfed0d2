//! What somebody asks the actuator for, and the change that it means. Knows no policy and no host.

use serde::{Deserialize, Serialize};

use crate::action::{Change, Kind};
use crate::amount;
use crate::text::unescape;

/// Longest reason, in bytes.
const LONGEST_WHY: usize = 500;
/// Longest value, in bytes: a list of CPUs.
const LONGEST_VALUE: usize = 1000;
/// Longest key of a caller, in bytes.
const LONGEST_KEY: usize = 100;
/// Longest path of a cgroup, in bytes: what the kernel takes.
const LONGEST_PATH: usize = 4096;
/// Longest time after which a change is undone: a year.
const LONGEST_TIME: u64 = 365 * 86_400;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub kind: Kind,
    pub object: Object,
    /// What it is set to: bytes, CPUs, a weight, a list of CPUs, or `max`. Absent where the kind says it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// After so many seconds it is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The advice that it follows, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Chosen by the caller: a second request with the same key changes nothing and gets the answer of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Does it although a check says that it is dangerous. No policy and no protected list gives way to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Says what would be done, and does nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What it is done to. A number of its own tells a cgroup or process from another that came later with the same path or pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Object {
    /// `id` is the inode number of its directory: in the memory hierarchy on cgroup v1.
    Cgroup { path: String, id: u64 },
    /// `started` is field 22 of `/proc/PID/stat`.
    Process { pid: u32, started: u64 },
}

/// What a request means.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    Change(Change),
    Terminate,
    Kill,
}

/// Why a request means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Object::Cgroup { path, .. } => f.write_str(path),
            Object::Process { pid, .. } => write!(f, "process {pid}"),
        }
    }
}

impl Request {
    pub fn new(kind: Kind, object: Object) -> Request {
        let (value, for_seconds, why, advice, key) = (None, None, None, None, None);
        Request { kind, object, value, for_seconds, why, advice, key, force: false, dry_run: false }
    }

    /// What it means.
    pub fn task(&self) -> Result<Task, Malformed> {
        let too_long = |text: &Option<String>, most| text.as_ref().is_some_and(|text| text.len() > most);
        if too_long(&self.why, LONGEST_WHY) || too_long(&self.advice, LONGEST_WHY) {
            return Err(Malformed(format!("a reason may have {LONGEST_WHY} bytes at most")));
        }
        if too_long(&self.value, LONGEST_VALUE) {
            return Err(Malformed(format!("a value may have {LONGEST_VALUE} bytes at most")));
        }
        if too_long(&self.key, LONGEST_KEY) {
            return Err(Malformed(format!("a key may have {LONGEST_KEY} bytes at most")));
        }
        if self.for_seconds.is_some_and(|seconds| seconds == 0 || seconds > LONGEST_TIME) {
            return Err(Malformed("the time until it is undone must be from 1 s to 365 d".to_owned()));
        }
        if let Object::Cgroup { path, .. } = &self.object {
            check_path(path)?;
        }
        let task = match self.kind {
            Kind::Terminate => Task::Terminate,
            Kind::Kill => Task::Kill,
            kind => Task::Change(change(kind, self.value.as_deref())?),
        };
        let is_process = matches!(self.object, Object::Process { .. });
        match &task {
            Task::Change(_) if is_process => Err(Malformed(
                "a process can only be terminated or killed: name its cgroup for anything else".to_owned(),
            )),
            Task::Change(Change::Reclaim(_) | Change::Thaw) | Task::Terminate | Task::Kill
                if self.for_seconds.is_some() =>
            {
                Err(Malformed("this cannot be undone: leave out the time".to_owned()))
            }
            _ => Ok(task),
        }
    }
}

/// Only paths as the kernel writes them: from the root, without names that lead elsewhere.
fn check_path(path: &str) -> Result<(), Malformed> {
    let wrong = |why: &str| Err(Malformed(format!("{path:?} is no path of a cgroup: {why}")));
    if path.len() > LONGEST_PATH {
        return Err(Malformed("the path of the cgroup is too long".to_owned()));
    }
    let bytes = unescape(path);
    let Some(names) = bytes.strip_prefix(b"/") else { return wrong("it does not begin with a slash") };
    if bytes.contains(&0) {
        return wrong("it has a zero byte");
    }
    let leads = |name: &[u8]| name.is_empty() || name == b"." || name == b"..";
    match !names.is_empty() && names.split(|byte| *byte == b'/').any(leads) {
        true => wrong("it has an empty name, `.` or `..`"),
        false => Ok(()),
    }
}

fn change(kind: Kind, value: Option<&str>) -> Result<Change, Malformed> {
    let given = || value.map(str::trim).ok_or_else(|| Malformed(format!("{} needs a value", key(kind))));
    let is_max = |text: &str| matches!(text, "max" | "none" | "infinity");
    let bytes = |text: &str| {
        amount::parse_bytes(text).map_err(|why| Malformed(format!("{text:?} is no amount of memory: {why}")))
    };
    let limit = || given().and_then(|text| if is_max(text) { Ok(None) } else { bytes(text).map(Some) });
    let weight = || given().and_then(|text| text.parse().map_err(|_| Malformed(format!("{text:?} is no weight"))));
    let change = match kind {
        Kind::MemoryMax => Change::MemoryMax(limit()?),
        Kind::MemoryHigh => Change::MemoryHigh(limit()?),
        Kind::MemoryLow => Change::MemoryLow(bytes(given()?)?),
        Kind::MemoryMin => Change::MemoryMin(bytes(given()?)?),
        Kind::SwapMax => Change::SwapMax(limit()?),
        Kind::CpuWeight => Change::CpuWeight(weight()?),
        Kind::IoWeight => Change::IoWeight(weight()?),
        Kind::CpuMax => Change::CpuMax(match given()? {
            text if is_max(text) => None,
            text => Some(text.parse().map_err(|_| Malformed(format!("{text:?} is no number of CPUs")))?),
        }),
        Kind::Cpuset => Change::Cpuset(given()?.to_owned(), None),
        Kind::Reclaim => Change::Reclaim(bytes(given()?)?),
        Kind::Freeze => Change::Freeze,
        Kind::Thaw => Change::Thaw,
        other => return Err(Malformed(format!("the actuator does not carry out {}", key(other)))),
    };
    match change.is_valid() {
        true => Ok(change),
        false => Err(Malformed(format!("{} cannot be {:?}: {}", key(kind), value.unwrap_or_default(), bounds(kind)))),
    }
}

fn bounds(kind: Kind) -> &'static str {
    match kind {
        Kind::CpuWeight | Kind::IoWeight => "weights are from 1 to 10000",
        Kind::CpuMax => "quotas are from 0.01 to 10000 CPUs, or max",
        Kind::Cpuset => "write a list of CPUs such as 0-3,8",
        _ => "give an amount above 0",
    }
}

/// The kind as JSON and the policy write it.
pub fn key(kind: Kind) -> String {
    match serde_json::to_value(kind) {
        Ok(serde_json::Value::String(name)) => name,
        _ => format!("{kind:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(path: &str) -> Object {
        Object::Cgroup { path: path.to_owned(), id: 1 }
    }

    fn task(kind: Kind, value: &str) -> Result<Task, Malformed> {
        let value = Some(value.to_owned()).filter(|value| !value.is_empty());
        Request { value, ..Request::new(kind, cgroup("/a")) }.task()
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        assert_eq!(task(Kind::MemoryMax, "2GiB"), Ok(Task::Change(Change::MemoryMax(Some(2 << 30)))));
        assert_eq!(task(Kind::MemoryMax, "max"), Ok(Task::Change(Change::MemoryMax(None))));
        assert_eq!(task(Kind::CpuMax, "1.5"), Ok(Task::Change(Change::CpuMax(Some(1.5)))));
        assert_eq!(task(Kind::Cpuset, "0-1"), Ok(Task::Change(Change::Cpuset("0-1".to_owned(), None))));
        assert_eq!(task(Kind::Freeze, ""), Ok(Task::Change(Change::Freeze)));
        assert_eq!(task(Kind::Kill, ""), Ok(Task::Kill));
        for (kind, value) in [
            (Kind::MemoryMax, ""),
            (Kind::MemoryMax, "much"),
            (Kind::MemoryLow, "max"),
            (Kind::CpuWeight, "0"),
            (Kind::CpuMax, "NaN"),
            (Kind::CpuMax, "-1"),
            (Kind::Cpuset, "0; reboot"),
            (Kind::Reclaim, "0"),
            (Kind::Sysctl, "1"),
            (Kind::DeleteModel, ""),
            (Kind::Restart, ""),
        ] {
            assert!(task(kind, value).is_err(), "{kind:?} {value}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_tree() {
        for path in ["/a", "/", "/a/b.service", r"/a\x2db.service", "/caf\u{e9}"] {
            assert!(Request::new(Kind::Thaw, cgroup(path)).task().is_ok(), "{path}");
        }
        for path in ["", "a", "/..", "/a/../b", "/a//b", "/a/", "/./a", r"/a\x00b", "/a/.."] {
            assert!(Request::new(Kind::Thaw, cgroup(path)).task().is_err(), "{path}");
        }
        let long = Request::new(Kind::Thaw, cgroup(&"/a".repeat(3000)));
        assert!(long.task().is_err());
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let process = Object::Process { pid: 1, started: 2 };
        assert!(Request::new(Kind::Freeze, process.clone()).task().is_err());
        let timed = Request { for_seconds: Some(5), ..Request::new(Kind::Kill, process) };
        assert!(timed.task().is_err());
        let never = Request { for_seconds: Some(0), ..Request::new(Kind::Freeze, cgroup("/a")) };
        assert!(never.task().is_err());
        let wordy = Request { why: Some("x".repeat(501)), ..Request::new(Kind::Freeze, cgroup("/a")) };
        assert!(wordy.task().is_err());
    }
}

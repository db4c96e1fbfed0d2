//! The policy: what the actuator may do, to which cgroups, how much, how often, and for whom. Everything that no rule allows is refused.
//! Knows the text of the file, and no file.

use std::fmt;

use serde::Deserialize;

use super::request::key;
use crate::action::Kind;
use crate::amount;
use crate::pattern::Patterns;

/// The kinds that the actuator carries out.
pub const KINDS: [Kind; 14] = [
    Kind::MemoryLow,
    Kind::MemoryMin,
    Kind::MemoryHigh,
    Kind::MemoryMax,
    Kind::SwapMax,
    Kind::CpuWeight,
    Kind::CpuMax,
    Kind::Cpuset,
    Kind::IoWeight,
    Kind::Reclaim,
    Kind::Freeze,
    Kind::Thaw,
    Kind::Terminate,
    Kind::Kill,
];

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// The user as whom the agent runs: whatever the rules say, it may ask for changes of low risk alone.
    pub agent: Option<u32>,
    /// The group whose members may connect to the socket.
    pub group: Option<u32>,
    pub allow: Vec<Allow>,
}

/// What one rule allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Allow {
    pub name: String,
    pub kinds: Vec<Kind>,
    /// Of paths where they begin with a slash; else of workloads as their paths name them.
    pub paths: Patterns,
    pub workloads: Patterns,
    pub uids: Vec<u32>,
    pub gids: Vec<u32>,
    /// Bytes.
    pub memory: Bounds<u64>,
    /// CPUs.
    pub cpus: Bounds<f64>,
    pub weight: Bounds<u64>,
    /// Seconds after which a change must be undone.
    pub for_most: Option<u64>,
    /// So many changes within so many seconds.
    pub often: Option<(u64, u64)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds<T> {
    pub least: Option<T>,
    pub most: Option<T>,
}

/// Why a text is no policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    agent: Option<String>,
    group: Option<String>,
    #[serde(default)]
    allow: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    kinds: Vec<String>,
    workloads: Vec<String>,
    #[serde(default = "root")]
    users: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    memory_least: Option<String>,
    memory_most: Option<String>,
    cpus_least: Option<f64>,
    cpus_most: Option<f64>,
    weight_least: Option<u64>,
    weight_most: Option<u64>,
    for_most: Option<String>,
    times: Option<u64>,
    window: Option<String>,
}

fn root() -> Vec<String> {
    vec!["0".to_owned()]
}

impl Policy {
    /// Reads a policy. `user` and `group` find the number of a name.
    pub fn parse(
        text: &str,
        user: &dyn Fn(&str) -> Option<u32>,
        group: &dyn Fn(&str) -> Option<u32>,
    ) -> Result<Policy, Wrong> {
        let file: File = toml::from_str(text).map_err(|error| Wrong(error.to_string().trim().to_owned()))?;
        let find = |of: &dyn Fn(&str) -> Option<u32>, what: &str, name: &str| {
            let known = name.parse().ok().or_else(|| of(name));
            known.ok_or_else(|| Wrong(format!("there is no {what} {name:?} on this host")))
        };
        let mut policy = Policy {
            agent: file.agent.map(|name| find(user, "user", &name)).transpose()?,
            group: file.group.map(|name| find(group, "group", &name)).transpose()?,
            allow: Vec::new(),
        };
        for raw in file.allow {
            if policy.allow.iter().any(|other| other.name == raw.name) {
                return Err(Wrong(format!("two rules are called {:?}", raw.name)));
            }
            let users = raw.users.iter().map(|name| find(user, "user", name)).collect::<Result<_, _>>();
            let groups = raw.groups.iter().map(|name| find(group, "group", name)).collect::<Result<_, _>>();
            let allow = users.and_then(|uids| raw.read(uids, groups?));
            policy.allow.push(allow.map_err(|Wrong(why)| Wrong(format!("allow {:?}: {why}", raw.name)))?);
        }
        Ok(policy)
    }

    /// Whether somebody is named anywhere: nobody else is answered at all.
    pub fn knows(&self, uid: u32, gids: &[u32]) -> bool {
        uid == 0
            || self.agent == Some(uid)
            || self.allow.iter().any(|allow| allow.is_for(uid, gids))
            || self.group.is_some_and(|group| gids.contains(&group))
    }
}

impl Allow {
    pub fn is_for(&self, uid: u32, gids: &[u32]) -> bool {
        self.uids.contains(&uid) || gids.iter().any(|gid| self.gids.contains(gid))
    }
}

impl Raw {
    fn read(&self, uids: Vec<u32>, gids: Vec<u32>) -> Result<Allow, Wrong> {
        if self.name.trim().is_empty() {
            return Err(Wrong("a rule needs a name".to_owned()));
        }
        let kind = |name: &String| {
            let found = KINDS.into_iter().find(|kind| key(*kind) == *name);
            found.ok_or_else(|| Wrong(format!("{name:?} is no kind of change that the actuator carries out")))
        };
        let kinds = self.kinds.iter().map(kind).collect::<Result<Vec<_>, _>>()?;
        if kinds.is_empty() || self.workloads.is_empty() {
            return Err(Wrong("a rule needs at least one of `kinds` and one of `workloads`".to_owned()));
        }
        let bytes = |text: &Option<String>| {
            let read = text.as_deref().map(amount::parse_bytes).transpose();
            read.map_err(|why| {
                Wrong(format!("{:?} is no amount of memory: {why}", text.as_deref().unwrap_or_default()))
            })
        };
        let seconds = |text: &Option<String>| {
            let read = text.as_deref().map(humantime::parse_duration).transpose();
            let read =
                read.map_err(|why| Wrong(format!("{:?} is no duration: {why}", text.as_deref().unwrap_or_default())))?;
            match read.map(|time| time.as_secs()) {
                Some(0) => Err(Wrong("a duration must be 1 s at least".to_owned())),
                seconds => Ok(seconds),
            }
        };
        let often = match (self.times, seconds(&self.window)?) {
            (Some(times), Some(window)) => Some((times, window)),
            (None, None) => None,
            _ => return Err(Wrong("`times` and `window` belong together".to_owned())),
        };
        let (paths, workloads) = self.workloads.iter().cloned().partition::<Vec<_>, _>(|one| one.starts_with('/'));
        Ok(Allow {
            name: self.name.clone(),
            kinds,
            paths: Patterns::new(&paths),
            workloads: Patterns::new(&workloads),
            uids,
            gids,
            memory: ordered(Bounds { least: bytes(&self.memory_least)?, most: bytes(&self.memory_most)? }, "memory")?,
            cpus: ordered(Bounds { least: self.cpus_least, most: self.cpus_most }, "cpus")?,
            weight: ordered(Bounds { least: self.weight_least, most: self.weight_most }, "weight")?,
            for_most: seconds(&self.for_most)?,
            often,
        })
    }
}

fn ordered<T: PartialOrd + Copy>(bounds: Bounds<T>, what: &str) -> Result<Bounds<T>, Wrong> {
    match (bounds.least, bounds.most) {
        (Some(least), Some(most)) if least > most => Err(Wrong(format!("{what}_least is above {what}_most"))),
        _ => Ok(bounds),
    }
}

impl<T: PartialOrd + Copy> Bounds<T> {
    /// Whether a value is within; `None` is no limit at all.
    pub fn hold(&self, value: Option<T>) -> bool {
        match value {
            None => self.most.is_none(),
            Some(value) => self.least.is_none_or(|least| value >= least) && self.most.is_none_or(|most| value <= most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Policy, Wrong> {
        let user =
            |name: &str| [("root", 0), ("headroom", 999)].iter().find(|(it, _)| *it == name).map(|(_, uid)| *uid);
        Policy::parse(text, &user, &|name| (name == "ops").then_some(50))
    }

    const RULE: &str = "[[allow]]\nname = \"a\"\nkinds = [\"memory_max\"]\nworkloads = [\"/a*\", \"vllm*\"]\n";

    #[test]
    fn an_empty_policy_allows_nothing() {
        assert_eq!(parse(""), Ok(Policy::default()));
        assert!(parse("").unwrap().knows(0, &[]) && !parse("").unwrap().knows(7, &[]));
    }

    #[test]
    fn a_rule_says_what_for_whom_and_how_much() {
        let more = "users = [\"headroom\", \"7\"]\ngroups = [\"ops\"]\nmemory_least = \"1GiB\"\nmemory_most = \"4GiB\"\n\
                    for_most = \"1h\"\ntimes = 2\nwindow = \"10m\"\n";
        let policy = parse(&format!("agent = \"headroom\"\ngroup = \"ops\"\n{RULE}{more}")).unwrap();
        let allow = &policy.allow[0];
        assert_eq!((policy.agent, policy.group), (Some(999), Some(50)));
        assert_eq!((&*allow.uids, &*allow.gids), (&[999, 7][..], &[50][..]));
        assert_eq!((allow.for_most, allow.often), (Some(3600), Some((2, 600))));
        assert!(allow.paths.matches("/ab") && allow.workloads.matches("vllm-1") && !allow.paths.matches("vllm-1"));
        let holds = [None, Some(1 << 30), Some(4 << 30), Some(5 << 30), Some(1)].map(|it| allow.memory.hold(it));
        assert_eq!(holds, [false, true, true, false, false]);
        assert!(policy.knows(7, &[]) && policy.knows(8, &[50]) && !policy.knows(8, &[51]));
        assert_eq!(parse(RULE).unwrap().allow[0].uids, [0], "root alone, unless it says more");
    }

    #[test]
    fn the_example_is_a_policy_and_allows_nothing_as_it_is() {
        let example = include_str!("../../../deploy/act.toml");
        assert_eq!(parse(example), Ok(Policy::default()));
        let is_key = |line: &&str| line.starts_with("# ") && line.contains(" = ") || line.starts_with("# [[");
        let lines = example.lines().filter(is_key).map(|line| &line[2..]);
        let text = lines.collect::<Vec<_>>().join("\n").replace("\"operators\"", "\"ops\"");
        let policy = parse(&text).unwrap();
        assert_eq!((policy.allow.len(), policy.agent, policy.group), (2, Some(999), Some(50)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("allow = 1", "allow"),
            ("surprise = 1", "surprise"),
            (&format!("{RULE}limit = 1\n"), "limit"),
            (&format!("{RULE}users = [\"nobody-here\"]\n"), "no user \"nobody-here\""),
            (&format!("{RULE}memory_most = \"much\"\n"), "memory"),
            (&format!("{RULE}memory_least = \"2G\"\nmemory_most = \"1G\"\n"), "memory_least is above"),
            (&format!("{RULE}times = 1\n"), "belong together"),
            (&format!("{RULE}{RULE}"), "two rules"),
            (&RULE.replace("memory_max", "reboot"), "\"reboot\" is no kind"),
            (&RULE.replace("memory_max", "restart"), "\"restart\" is no kind"),
            (&RULE.replace("\"memory_max\"", ""), "at least one"),
        ] {
            let Err(Wrong(why)) = parse(text) else { panic!("{text}") };
            assert!(why.contains(says), "{text}: {why}");
        }
    }
}

//! What a caller sends: an ask for a verdict, a claim of a lease, an owner. Untrusted: [`Ask::check`] and [`Claim::check`] bound it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Priority;
use crate::circuit::Cause;
use crate::learn::Work;
use crate::need::{Need, Resource};
use crate::text::is_shown;

/// Parts of a need, bytes of its texts, GPUs, and bytes of a name.
const PARTS: usize = 64;
const SENTENCES: usize = 64;
const TEXT: usize = 1024;
const GPUS: usize = 64;
const NAME: usize = 128;
/// The longest that somebody waits, and the longest life of a lease, in seconds.
pub const LONGEST_WAIT: u64 = 7 * 24 * 3600;
pub const LONGEST_LIFE: u64 = 366 * 24 * 3600;
/// How far ahead somebody may reserve, in seconds, at least and at most.
pub const LEAST_AHEAD: u64 = 60;
pub const LONGEST_AHEAD: u64 = 31 * 24 * 3600;

/// A question: does this need fit here now? It changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    pub need: Need,
    /// 0 (background) to 4 (critical); 2 unless given.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 0, maximum = 4)]
    pub priority: Priority,
    /// What is started, such as the name of a service: failures and starts are counted by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The GPUs that it may use, by number, in the order of the need's own; unless given, those with most room are chosen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// What would be started: what the same work needed before is looked at, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Work>>,
}

/// A claim: this need is to be kept free for an owner until it uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    pub need: Need,
    /// As for an ask.
    #[serde(default)]
    #[schema(value_type = u8, minimum = 0, maximum = 4)]
    pub priority: Priority,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// Whose use is counted, and with whose end the lease ends: unless given, the process that asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<OwnerName>,
    /// Seconds until it ends in any case; unless given, it ends with its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Seconds until it begins, 60 at least: a reservation made ahead. Only root may make one. It has a `unit` and an end (`seconds`, counted
    /// from its begin), belongs to no process, and is taken up by the first claim of the same user and unit; until then it is kept free
    /// from work that would still run. An hour after its begin it ends if nobody came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_in_seconds: Option<u64>,
    /// Seconds to wait until there is room. The answer comes when there is, or when the time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_seconds: Option<u64>,
    /// It holds something that could be given up, such as a cached model: if a more important claim of the same user waits for room,
    /// its owner is asked to (event `eviction`).
    #[serde(default)]
    pub evictable: bool,
    /// The same for claims of any user that are as important. Only root may say that.
    #[serde(default)]
    pub anyone: bool,
    /// Chosen by the caller: a second claim of the same user with the same key gets the lease of the first. So a claim can be
    /// repeated when its answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is started: what it uses is measured for its next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Box<Work>>,
}

/// Whether the owner of a lease may be asked to give it up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// For a more important claim of the same user.
    #[serde(default)]
    pub evictable: bool,
    /// For claims of any user that are as important. Only root may say that, or take it back.
    #[serde(default)]
    pub anyone: bool,
}

/// How something that was started ended. A unit that fails again and again may not start for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// As in the claim.
    pub unit: String,
    /// Why it failed; absent if it ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// The reservation that it ran under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<u64>,
}

impl Ended {
    /// # Errors
    /// With a sentence, if anything is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        match self.unit.is_empty() {
            true => Err("unit has a name".to_owned()),
            false => name("unit", Some(&self.unit)),
        }
    }
}

/// An owner, as a caller names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OwnerName {
    /// A process of the same user, with all that it starts.
    Pid(u32),
    /// The caller's own cgroup, or one whose directory its user owns, by its path.
    Cgroup(String),
}

impl Ask {
    /// # Errors
    /// With a sentence, if anything is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        check(&self.need, self.unit.as_deref(), &self.gpus)?;
        self.work.as_ref().map_or(Ok(()), |work| work.check())
    }
}

impl Claim {
    /// The same as a question.
    pub fn ask(&self) -> Ask {
        let Claim { need, priority, unit, gpus, work, .. } = self.clone();
        Ask { need, priority, unit, gpus, work }
    }

    /// # Errors
    /// With a sentence, if anything is out of its bounds.
    pub fn check(&self) -> Result<(), String> {
        check(&self.need, self.unit.as_deref(), &self.gpus)?;
        name("key", self.key.as_deref())?;
        self.work.as_ref().map_or(Ok(()), |work| work.check())?;
        if self.seconds.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
            return Err(format!("seconds is a number from 1 to {LONGEST_LIFE}"));
        }
        if self.begins_in_seconds.is_some() {
            if self.begins_in_seconds.is_some_and(|seconds| !(LEAST_AHEAD..=LONGEST_AHEAD).contains(&seconds)) {
                return Err(format!("begins_in_seconds is {LEAST_AHEAD} at least and {LONGEST_AHEAD} at most"));
            }
            if self.seconds.is_none() {
                return Err("a reservation that begins later has an end: say seconds, too".to_owned());
            }
            if self.wait_seconds.is_some_and(|seconds| seconds > 0) {
                return Err("a reservation that begins later does not wait: leave wait_seconds out".to_owned());
            }
            if self.unit.is_none() {
                return Err("a reservation that begins later is taken up by its unit: say unit, too".to_owned());
            }
        }
        if self.wait_seconds.is_some_and(|seconds| seconds > LONGEST_WAIT) {
            return Err(format!("wait_seconds is {LONGEST_WAIT} at most"));
        }
        Ok(())
    }
}

fn check(need: &Need, unit: Option<&str>, gpus: &[String]) -> Result<(), String> {
    if need.parts.len() > PARTS {
        return Err(format!("a need has {PARTS} parts at most"));
    }
    let remarks = || [&need.not_known, &need.refused].into_iter().flatten().map(|remark| &remark.sentence);
    let sentences = || [&need.assumptions, &need.not_considered].into_iter().flatten().chain(remarks());
    if need.shares.len() > PARTS
        || sentences().count() > 4 * SENTENCES
        || sentences().any(|sentence| sentence.len() > TEXT)
    {
        return Err(format!("a need has {SENTENCES} assumptions of {TEXT} bytes at most"));
    }
    for part in &need.parts {
        name("what", Some(&part.what))?;
        match &part.resource {
            Resource::Disk { path } if !path.starts_with('/') || path.len() > TEXT || !path.chars().all(is_shown) => {
                return Err(format!("the path of a disk is absolute, of {TEXT} bytes at most, and can be shown"));
            }
            Resource::Slot { name: slot } => name("the name of a slot", Some(slot))?,
            Resource::Vram { gpu } if *gpu as usize >= GPUS => {
                return Err(format!("a need has {GPUS} GPUs at most: gpu counts from 0, among those that it may use"));
            }
            _ => {}
        }
    }
    name("unit", unit)?;
    gpus.iter().try_for_each(|gpu| name("the number of a GPU", Some(gpu)))?;
    let distinct = gpus.iter().collect::<std::collections::BTreeSet<_>>().len();
    if gpus.len() > GPUS || distinct < gpus.len() {
        return Err(format!("gpus has {GPUS} numbers of GPUs at most, each once"));
    }
    Ok(())
}

fn name(what: &str, text: Option<impl AsRef<str>>) -> Result<(), String> {
    match text {
        Some(text) if text.as_ref().len() > NAME => Err(format!("{what} has {NAME} bytes at most")),
        Some(text) if text.as_ref().is_empty() => Err(format!("{what} is not empty")),
        Some(text) if !text.as_ref().chars().all(is_shown) => {
            Err(format!("{what} has a character that does not look like itself on a terminal"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_its_bounds_is_refused_with_a_sentence() {
        let part = r#"{"what":"x","resource":"host","memory":"anonymous","amount":1,"origin":"declared"}"#;
        let need = |parts: &str| format!(r#"{{"need":{{"parts":[{parts}]}}"#);
        let read = |text: String| {
            let claim = serde_json::from_str::<Claim>(&text).map_err(|error| error.to_string())?;
            claim.check()
        };
        assert_eq!(read(need(part) + "}"), Ok(()));
        let many = vec![part; PARTS + 1].join(",");
        for (text, says) in [
            (need(&many) + "}", "64 parts"),
            (need(part) + r#","seconds":0}"#, "seconds"),
            (need(part) + r#","wait_seconds":9999999999}"#, "wait_seconds"),
            (need(part) + r#","priority":5}"#, "0 to 4"),
            (need(part) + r#","begins_in_seconds":60}"#, "has an end"),
            (need(part) + r#","begins_in_seconds":9999999,"seconds":60}"#, "at most"),
            (need(part) + r#","begins_in_seconds":59,"seconds":60}"#, "60 at least"),
            (need(part) + r#","begins_in_seconds":60,"seconds":60,"wait_seconds":1}"#, "does not wait"),
            (need(part) + r#","begins_in_seconds":60,"seconds":60}"#, "say unit"),
            (need(part) + r#","unit":"a\u001b[2J"}"#, "does not look like itself"),
            (need(part) + r#","unit":""}"#, "not empty"),
            (need(r#"{"what":"x","resource":"slot","name":"","amount":1,"origin":"declared"}"#) + "}", "not empty"),
            (need(part) + r#","mode":1}"#, "unknown field"),
            (need(part) + r#","owner":{"pid":1,"cgroup":"/a"}}"#, ""),
            (need(part) + r#","owner":{"pid":-1}}"#, "u32"),
            (need(part) + r#","gpus":["0","0"]}"#, "each once"),
            (need(&part.replace(":1,", ":-1,")) + "}", ""),
            (need(&part.replace(":1,", ":18446744073709551616,")) + "}", ""),
            (need(&part.replace("anonymous", "heap")) + "}", ""),
            (
                need(r#"{"what":"x","resource":"vram","gpu":4000000000,"amount":1,"origin":"declared"}"#) + "}",
                "64 GPUs",
            ),
            (need(r#"{"what":"x","resource":"disk","path":"a","amount":1,"origin":"declared"}"#) + "}", "absolute"),
        ] {
            let error = read(text.clone()).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn the_end_of_a_unit_has_its_name_and_a_cause_that_is_one() {
        let read = |text: &str| {
            let ended = serde_json::from_str::<Ended>(text).map_err(|error| error.to_string())?;
            ended.check().map(|()| ended.cause)
        };
        assert_eq!(read(r#"{"unit":"a"}"#), Ok(None));
        assert_eq!(read(r#"{"unit":"a","cause":"oom","reservation":7}"#), Ok(Some(Cause::Oom)));
        assert_eq!(read(r#"{"unit":"a","cause":{"exit":3}}"#), Ok(Some(Cause::Exit(3))));
        let long = format!(r#"{{"unit":"{}"}}"#, "a".repeat(NAME + 1));
        let bad = [r#"{"unit":""}"#, r#"{"unit":"a","cause":{"exit":256}}"#, r#"{"unit":"a","uid":0}"#, "{}", &long];
        assert!(bad.iter().all(|text| read(text).is_err()));
    }
}

//! The scenarios, by subject. A truth is what is true, whatever the agent tells today.

mod ended;
mod host;
mod kind;
mod moved;
mod name;
mod nested;
mod own;
mod pressure;
mod several;

use collector_core::incident::cause::NOT_KNOWN;

use super::scenario::{Knob, Scenario};

/// Rose fast and without a break.
const SPIKE: &[&str] = &["sudden_spike"];
/// Rose slowly, in a straight line.
const GROWTH: &[&str] = &["steady_growth"];
/// Rises and falls: no shape says why it was full.
const OWN_LIMIT: &[&str] = &["own_limit"];
/// Needs all of its limit all the time.
const TOO_LOW: &[&str] = &["limit_too_low"];
/// Shared memory or files in memory fill the limit.
const SHARED: &[&str] = &["shared_memory"];
/// Memory of the kernel fills the limit.
const KERNEL: &[&str] = &["kernel_memory"];
/// File pages that cannot be dropped fill the limit.
const CACHE_HELD: &[&str] = &["file_pages"];
/// Other processes of the same cgroup hold most.
const OTHERS: &[&str] = &["other_processes"];
const BY_ANOTHER: &[&str] = &["grown_by_another"];
const PARENTS: &[&str] = &["parents_limit"];
const HOST: &[&str] = &["host_exhausted"];
const HOST_BY_ANOTHER: &[&str] = &["host_exhausted_by_another"];
const SWAP_FULL: &[&str] = &["swap_full"];
/// Waits at its own limit for what it swapped out.
const SWAPPING: &[&str] = &["near_its_limit"];
/// Memory that a cgroup left that is gone.
const LEFT_BEHIND: &[&str] = &["left_behind"];
/// Memory that may not be taken from a neighbour.
const PROTECTED: &[&str] = &["protected_neighbour"];
const LOWERED: &[&str] = &["limit_lowered"];
/// Waits for ever at its limit.
const FROZEN: &[&str] = &["frozen_at_limit"];
/// Killed by somebody else than the OOM killer.
const BY_HAND: &[&str] = &["killed_by_a_process"];
const THRASH: &[&str] = &["page_cache_thrash"];
/// Held back by its own `memory.high`.
const HIGH: &[&str] = &["memory_high"];
const IO_BY_ONE: &[&str] = &["io_by_one"];
/// Waits for its own limit on IO.
const IO_LIMIT: &[&str] = &["io_limit"];
/// No single workload did most of the IO.
const IO_BY_SEVERAL: &[&str] = &[NOT_KNOWN];

/// Quick ones, for every run of the tests.
pub const QUICK: [&str; 8] = [
    "crash_loop",
    "fork_bomb",
    "forked_at_once",
    "kill_storm",
    "ends_by_itself",
    "parents_limit",
    "grandparents_limit",
    "bystander",
];

pub fn all() -> Vec<Scenario> {
    let subjects: [fn() -> Vec<Scenario>; 9] = [
        own::scenarios,
        kind::scenarios,
        several::scenarios,
        nested::scenarios,
        moved::scenarios,
        ended::scenarios,
        host::scenarios,
        pressure::scenarios,
        name::scenarios,
    ];
    subjects.iter().flat_map(|scenarios| scenarios()).collect()
}

pub fn quick() -> Vec<Scenario> {
    all().into_iter().filter(|scenario| QUICK.contains(&scenario.name)).collect()
}

/// A cgroup with a limit, which is hit.
fn limited(name: &'static str, what: &'static str) -> Scenario {
    Scenario::new(name, what).group("", &[Knob::Limit(100.0)]).limit("", 100.0)
}

fn either(one: impl AsRef<[&'static str]>, other: impl AsRef<[&'static str]>) -> Vec<&'static str> {
    [one.as_ref(), other.as_ref()].concat()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use collector_core::incident::cause::{RULES, Rule};

    use super::*;

    #[test]
    fn names_are_unique_and_the_quick_ones_exist() {
        let names: Vec<&str> = all().iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        assert_eq!(quick().len(), QUICK.len());
    }

    /// A cause that no rule finds could never be right.
    #[test]
    fn every_cause_is_one_that_the_agent_finds_for_this_kind() {
        for scenario in all() {
            let fits =
                |rule: &&Rule| scenario.truth.kind.is_none_or(|kind| rule.kinds.iter().any(|it| it.name() == kind));
            let found: Vec<&str> = RULES.iter().filter(fits).map(|rule| rule.name).chain([NOT_KNOWN]).collect();
            let unknown: Vec<&&str> = scenario.truth.causes.iter().filter(|cause| !found.contains(cause)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", scenario.name);
        }
    }
}

//! The cases, in their order, and what they share. Only data. A case is a script for bash in `case/`, which runs as root.

use anyhow::{Result, bail};

/// Something that is tried in the machine.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    /// For the table.
    pub what: &'static str,
    pub script: &'static str,
}

macro_rules! cases {
    ($($name:ident: $what:literal,)*) => {
        &[$(Case { name: stringify!($name), what: $what, script: include_str!(concat!("case/", stringify!($name))) }),*]
    };
}

/// Files beside the cases: what runs them, what they begin with, and programs that they call.
pub const COMMON: [(&str, &str); 6] = [
    ("run", include_str!("run")),
    ("common", include_str!("common")),
    ("probe", include_str!("probe")),
    ("leases", include_str!("leases")),
    ("incidents", include_str!("incidents")),
    ("hog", include_str!("hog")),
];

/// The first installs the package, and the last removes it.
pub const CASES: &[Case] = cases! {
    install: "the package installs; the unit is enabled, and ready; user, group and directories are there",
    ready: "`Type=notify`: systemd knows that the agent is ready; `headroom status` answers",
    sandbox: "the process is no root, cannot write to the host, and has three capabilities left; exposure at most 2.5",
    quiet: "after the start nothing was lost, and no alert fires",
    restart: "restart, kill -9 and stop; a lease survives the first two",
    watchdog: "an agent that hangs is started again by the watchdog",
    reload: "`systemctl reload`, also with a wrong file, which changes nothing",
    config_error: "an agent with a wrong configuration is not started again and again",
    guard_root: "`headroom guard` from root's login: a scope of its own owns the lease; exit codes",
    guard_user: "the same from a user's login: the user's own manager makes the scope",
    guard_sudo: "the same with sudo: the scope is in the slice of who called it",
    guard_service: "in a service: no scope; a stop is no failure; `Type=notify` with `NotifyAccess=all`",
    guard_signal: "SIGTERM to the guard, Ctrl-C on a terminal and `systemctl stop` of the scope reach the command once",
    guard_gone: "a guard that is killed leaves the lease to the scope, until that ends",
    guard_oom: "OOM kills in the scope, by a slice's limit and by its own, are reported with the incident's sentence",
    burn_down: "a lease burns down by what the scope uses, compared with `memory.current`",
    level: "the level follows the host's memory, and comes back",
    reserve_unit: "`ExecStartPre=headroom reserve`: the unit's cgroup owns the lease, and it ends with the unit",
    reserve_shell: "the same in a shell script",
    reserve_delegate: "the same with `Delegate=yes`",
    reserve_other: "the same with `User=`",
    reserve_empty: "a unit that stays active without a process has no cgroup, and no lease",
    reserve_user_unit: "the same in a unit of a user's manager",
    wait_unit: "`ExecStartPre=headroom wait`: without room the unit does not start",
    breaker: "a unit with `Restart=always` that fails three times is refused its next start",
    prolog: "a prolog as slurmd runs it, with and without an agent",
    kill_service: "OOM kill in a service",
    journal: "`journalctl -p warning` finds that kill, with its workload and its incident as fields",
    kill_template: "OOM kill in an instance of a template",
    kill_scope: "OOM kill in a scope",
    kill_slice: "OOM kill by the limit of a slice",
    kill_user_unit: "OOM kill in a unit of a user's manager",
    kill_login: "OOM kill in a login session, by the limit of the user's slice",
    kill_nspawn: "OOM kill in a container of systemd-nspawn",
    kill_earlyoom: "a kill by earlyoom",
    kill_host: "OOM kill because the whole host is full",
    act: "the actuator: off by default, a policy that only root writes, limits set, undone, expired, left to systemd, a freeze; its sandbox",
    upgrade: "an upgrade starts the new agent, and keeps a changed configuration",
    remove: "removal keeps the journal; purge leaves nothing behind",
};

/// Those whose names have one of the `names` in them, or all. The package is always installed.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Case>> {
    let named = |case: &&Case| names.is_empty() || names.iter().any(|name| case.name.contains(&**name));
    if !CASES.iter().any(|case| named(&case)) {
        bail!("no case has such a name: {}", CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(" "));
    }
    Ok(CASES.iter().filter(|case| case.name == "install" || named(case)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::Command;

    /// A script that no row names would never run.
    #[test]
    fn every_script_is_a_case_and_bash_can_read_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/debian/case");
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(CASES.iter().any(|case| case.name == name), "{name}");
            assert!(Command::new("bash").arg("-n").arg(folder.join(&name)).status().unwrap().success(), "{name}");
        }
    }

    #[test]
    fn the_package_is_installed_whatever_is_chosen() {
        let names = |asked: &[&str]| {
            let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
            chosen(&asked).map(|found| found.iter().map(|case| case.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["burn"]).unwrap(), ["install", "burn_down"]);
        assert_eq!(names(&[]).unwrap().len(), CASES.len());
        assert!(names(&["nothing"]).is_err());
    }
}

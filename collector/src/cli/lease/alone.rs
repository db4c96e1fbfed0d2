//! A verdict without an agent: one look at this host, with what an agent would know and this look cannot.

use anyhow::Result;
use collector_core::admission::{self, Case};
use collector_core::lease::{Ask, Caller, Verdict, Want};

use crate::cli::direct::Direct;
use crate::config::load::Effective;
use crate::source::cgroup::Hierarchies;
use crate::source::lease::place::Places;
use crate::source::root::Root;

/// Two looks are this far apart, so that it is known how busy the CPUs are.
const APART: std::time::Duration = std::time::Duration::from_millis(200);

pub fn verdict(ask: &Ask, effective: &Effective) -> Result<Verdict> {
    let config = &effective.config;
    let root = Root::new(&config.rootfs);
    let places = Places::new(&root, &Hierarchies::find(&root)?);
    let mut direct = Direct::with_host(config, effective.rules.clone())?;
    direct.read();
    direct.wait();
    std::thread::sleep(APART);
    let view = direct.read();
    let uid = rustix::process::geteuid().as_raw();
    let caller = Caller { uid, privileged: uid == 0, high: true, ..Caller::default() };
    let caller = places.locate(caller, places.of(std::process::id()));
    let want = Want::of(&ask.need);
    let unit = ask.unit.as_deref();
    let case =
        Case { want: &want, priority: ask.priority, gpus: &ask.gpus, caller: &caller, unit, lasts: None, told: true };
    let mut verdict = admission::judge_need(view, &ask.need, &case, &[]).verdict;
    verdict.not_known.push("what others were promised and do not use yet: no agent keeps reservations here".to_owned());
    verdict
        .not_known
        .push("whether something else starts at this moment: no agent lets one start at a time".to_owned());
    Ok(verdict)
}

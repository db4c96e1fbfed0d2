//! `headroom advise ID --apply`: an advice as a request to the actuator.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use collector_core::act::{KINDS, Request};
use collector_core::action::{Action, Object};
use collector_core::advice::Advice;

use super::{SOCKET, Way, ask, object};
use crate::exit::{Exit, Failure};

/// How an advice is carried out.
#[derive(clap::Args, Clone, Debug)]
pub struct Follow {
    /// Have the actuator do it (headroom act --help): the first of its actions that the actuator can carry out
    #[arg(long, requires = "id", conflicts_with = "replay")]
    pub apply: bool,
    /// With --apply: say what would be done, and do nothing
    #[arg(long, requires = "apply")]
    dry_run: bool,
    /// With --apply: undo it after so long, unless somebody else changed it meanwhile
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration, requires = "apply")]
    time: Option<Duration>,
    /// With --apply: do it although a check says that it is dangerous
    #[arg(long, requires = "apply")]
    force: bool,
    /// With --apply: socket of the actuator
    #[arg(long, value_name = "FILE", default_value = SOCKET)]
    act_socket: PathBuf,
}

/// Has the actuator follow an advice.
///
/// # Errors
/// If none of its actions is one that the actuator carries out.
pub fn follow(advice: &Advice, how: &Follow, json: bool) -> Result<Exit, Failure> {
    let action = advice.actions.iter().find(|action| can(action)).ok_or_else(|| {
        Failure::from(anyhow!("the actuator carries out no action of {}", advice.id))
            .hint("type what `headroom advise ID` shows")
    })?;
    let object = match &action.object {
        Object::Process(pid) => object::process(*pid)?,
        other => object::workload(&other.to_string())?,
    };
    let request = Request {
        value: action.after.clone(),
        for_seconds: how.time.map(|time| time.as_secs().max(1)),
        why: Some(advice.title.clone()),
        advice: Some(advice.id.clone()),
        force: how.force,
        dry_run: how.dry_run,
        ..Request::new(action.kind, object)
    };
    ask::change(&Way { dry_run: how.dry_run, json, act_socket: how.act_socket.clone() }, &request)
}

fn can(action: &Action) -> bool {
    KINDS.contains(&action.kind) && matches!(action.object, Object::Workload(_) | Object::Process(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::action::{Kind, Risk};

    #[test]
    fn only_what_is_about_a_workload_and_has_a_file_is_carried_out() {
        let of = |kind, object| {
            let (key, before, after) = (None, None, None);
            can(&Action {
                kind,
                object,
                key,
                before,
                after,
                risk: Risk::Low,
                undo: String::new(),
                commands: Vec::new(),
            })
        };
        let web = || Object::Workload("web".to_owned());
        assert!(of(Kind::MemoryMax, web()) && of(Kind::Kill, Object::Process(7)));
        assert!(!of(Kind::Restart, web()) && !of(Kind::Configure, web()) && !of(Kind::Sysctl, Object::Host));
        assert!(!of(Kind::MemoryMax, Object::Host));
    }
}

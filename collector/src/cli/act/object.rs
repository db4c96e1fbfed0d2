//! What a person names on a command line, as the actuator takes it: a cgroup by path and id, a process by number and start.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use collector_core::act::Object;
use collector_core::api::workloads::Summary;

use crate::act::Tree;
use crate::cli::settings::Settings;
use crate::client::Client;
use crate::exit::Failure;
use crate::http::WORKLOADS;
use crate::source::model::process::stat;

/// A workload by the path of its cgroup, or by the name that the agent knows it by.
pub fn workload(name: &str) -> Result<Object, Failure> {
    let path = if name.starts_with('/') { name.to_owned() } else { path_of(name)? };
    let path = if path.len() > 1 { path.trim_end_matches('/').to_owned() } else { path };
    let id = Tree::find()?.open("memory", &path).map_err(|why| anyhow!(why))?.id;
    Ok(Object::Cgroup { path, id })
}

pub fn process(pid: u32) -> Result<Object, Failure> {
    let found = stat(Path::new("/proc"), pid).with_context(|| format!("there is no process {pid}"))?;
    Ok(Object::Process { pid, started: found.started })
}

fn path_of(name: &str) -> Result<String, Failure> {
    const HINT: &str = "name the path of its cgroup: headroom workloads --json shows it";
    let asked = || {
        let body =
            Client::of(&Settings::default().load()?)?.page(WORKLOADS).context("ask the agent for its workloads")?;
        let found: Summary =
            serde_json::from_slice(&body).context("the answer is not from an agent of this version")?;
        let alive = found.workloads.into_iter().find(|line| line.workload == name && !line.gone);
        Ok::<_, Failure>(alive.map(|line| line.cgroup))
    };
    match asked() {
        Ok(Some(path)) => Ok(path),
        Ok(None) => Err(Failure::from(anyhow!("the agent knows no workload {name}")).hint(HINT)),
        Err(failure) => Err(failure.hint(HINT)),
    }
}

//! A systemd scope for one command: where one may be made, and making it. A scope takes a process out of the cgroup that it is in, so
//! none is made where that would lift a limit. Knows no lease.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::runtime::Builder;
use tokio::time::timeout;
use zbus::Connection;
use zbus::zvariant::Value;

/// How long systemd may take for an answer, and for moving the process.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(2);

/// Which manager makes the scope, and in which slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    System { slice: String },
    User { slice: String },
}

/// Where a process with this cgroup (v2) and user may get a scope of its own.
///
/// # Errors
/// With the reason, if there is none.
pub fn place(cgroup: Option<&str>, uid: u32) -> Result<Place, &'static str> {
    let path = cgroup.ok_or("cgroup v2 does not manage this host's services")?;
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    let [above @ .., last] = &names[..] else { return Err("it runs in no session of a user") };
    if !last.ends_with(".scope") {
        return Err("it does not run in a session or a scope of a user, and a scope of its own would lift limits");
    }
    let slice = |names: &[&str]| names.iter().rfind(|name| name.ends_with(".slice")).map(|name| (*name).to_owned());
    let user = format!("user@{uid}.service");
    match above {
        // A login session, of root or with sudo. Root's own manager may not run, and root can ask that of the system. What limits all of
        // the user goes on doing so.
        ["user.slice", own] if last.starts_with("session-") && uid == 0 && is_of_user(own) => {
            Ok(Place::System { slice: (*own).to_owned() })
        }
        ["user.slice", own] if last.starts_with("session-") && *own == format!("user-{uid}.slice") => {
            Ok(Place::User { slice: "app.slice".to_owned() })
        }
        ["user.slice", _, manager, below @ ..] if *manager == user && !is_container(last) => {
            Ok(Place::User { slice: slice(below).unwrap_or_else(|| "app.slice".to_owned()) })
        }
        _ => Err("it does not run in a session or a scope of a user, and a scope of its own would lift limits"),
    }
}

fn is_of_user(slice: &str) -> bool {
    let number = slice.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice"));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

fn is_container(scope: &str) -> bool {
    ["libpod-", "docker-", "crun-", "nerdctl-", "lxc"].iter().any(|prefix| scope.starts_with(prefix))
}

/// Whether the cgroup itself limits anything, which a scope of its own would not keep.
pub fn is_limited(directory: &Path) -> bool {
    let text = |file: &str| fs::read_to_string(directory.join(file)).unwrap_or_default();
    // A quota is `max 100000` if there is none.
    let limits = ["memory.max", "memory.high", "memory.swap.max", "pids.max", "cpu.max"];
    let limited = |text: String| text.split_whitespace().next().is_some_and(|limit| limit != "max");
    limits.into_iter().map(text).any(limited) || !text("io.max").trim().is_empty()
}

/// The name of the scope of a unit's process.
pub fn name(unit: &str, pid: u32) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_.".contains(c) { c } else { '_' };
    let unit: String = unit.chars().map(plain).take(64).collect();
    format!("headroom-{unit}-{pid}.scope")
}

/// Moves the process into a scope of this name. Returns the scope's cgroup.
///
/// # Errors
/// If systemd does not do that in time. The process then stays where it is.
pub fn enter(place: &Place, name: &str, pid: u32) -> Result<String> {
    let runtime = Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(async {
        let bus = async {
            match place {
                Place::System { .. } => Connection::system().await.context("connect to the system bus"),
                Place::User { .. } => Connection::session().await.context("connect to the user's bus"),
            }
        };
        let connection = timeout(PATIENCE, bus).await.context("the bus does not answer")??;
        timeout(PATIENCE, start(&connection, place, name, pid)).await.context("systemd does not answer")?
    })?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match cgroup(pid) {
            Some(path) if path.rsplit('/').next() == Some(name) => return Ok(path),
            _ if Instant::now() > deadline => bail!("systemd did not move the process to {name}"),
            _ => sleep(PAUSE),
        }
    }
}

async fn start(connection: &Connection, place: &Place, name: &str, pid: u32) -> Result<()> {
    match call(connection, place, name, pid, true).await {
        // Before systemd 253 a scope has no such property.
        Err(zbus::Error::MethodError(..)) => call(connection, place, name, pid, false).await,
        done => done,
    }
    .with_context(|| format!("ask systemd for {name}"))
}

/// systemd's StartTransientUnit (org.freedesktop.systemd1(5)).
async fn call(connection: &Connection, place: &Place, name: &str, pid: u32, oom: bool) -> zbus::Result<()> {
    let (Place::System { slice } | Place::User { slice }) = place;
    let mut properties = vec![
        ("Description", Value::from("a command that headroom guards")),
        ("Slice", Value::from(slice.as_str())),
        ("PIDs", Value::from(vec![pid])),
        // Nothing is left of it once it has ended.
        ("CollectMode", Value::from("inactive-or-failed")),
    ];
    if oom {
        // As without a scope: the kill of one process stops no other.
        properties.push(("OOMPolicy", Value::from("continue")));
    }
    let auxiliary: Vec<(&str, Vec<(&str, Value<'_>)>)> = Vec::new();
    let manager = Some("org.freedesktop.systemd1.Manager");
    let body = (name, "fail", properties, auxiliary);
    let path = "/org/freedesktop/systemd1";
    connection.call_method(Some("org.freedesktop.systemd1"), path, manager, "StartTransientUnit", &body).await?;
    Ok(())
}

/// The cgroup of a process in the v2 hierarchy that systemd manages; `None` where it manages another.
pub fn cgroup(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let alone = !text.lines().any(|line| line.contains(":name=systemd:"));
    text.lines().find_map(|line| line.strip_prefix("0::")).filter(|_| alone).map(str::to_owned)
}

#[cfg(test)]
mod tests;

//! Asks the actuator over its socket, and says what it answered. Knows HTTP as statuses.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use collector_core::act::{Answer, Record, Request, State};
use collector_core::api::problem::Problem;
use collector_core::text::shown_json;
use hyper::Method;
use rustix::net::sockopt::socket_peercred;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Way, page};
use crate::client::{Client, is_absent, is_forbidden};
use crate::exit::{Exit, Failure};
use crate::http::Address;

/// How long a change may take, with those before it.
const PATIENCE: Duration = Duration::from_secs(60);
const ACTIONS: &str = "/api/v1/actions";

/// Asks for a change, and prints what came of it.
pub fn change(way: &Way, request: &Request) -> Result<Exit, Failure> {
    let body = serde_json::to_vec(request).context("write the request")?;
    answered(way, &send(way, Method::POST, ACTIONS, Some(body))?)
}

/// Undoes a change.
pub fn undo(way: &Way, id: u64) -> Result<Exit, Failure> {
    let how = if way.dry_run { "?dry_run=true" } else { "" };
    answered(way, &send(way, Method::POST, &format!("{ACTIONS}/{id}/undo{how}"), None)?)
}

/// All changes that the caller may see.
pub fn all(way: &Way) -> Result<collector_core::act::Actions, Failure> {
    send(way, Method::GET, ACTIONS, None)
}

fn answered(way: &Way, answer: &Answer) -> Result<Exit, Failure> {
    let text = if way.json { json(answer)? } else { page::answer(answer) };
    crate::cli::print(&text)?;
    Ok(match answer {
        Answer::Action(record) => exit(record),
        Answer::Preview(_) | Answer::Unchanged { .. } => Exit::Success,
    })
}

fn exit(record: &Record) -> Exit {
    match record.state {
        State::Failed | State::Intended => Exit::Failure,
        State::SteppedAside => Exit::Aside,
        State::Done | State::Undone | State::Expired => Exit::Success,
    }
}

pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value).context("write JSON")?;
    Ok(shown_json(&json).into_owned() + "\n")
}

fn send<T: DeserializeOwned>(way: &Way, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<T, Failure> {
    let socket = way.act_socket.display();
    // The folder is the agent's: whoever is the agent could put another socket there.
    if let Ok(stream) = UnixStream::connect(&way.act_socket)
        && let Ok(peer) = socket_peercred(&stream)
        && !peer.uid.is_root()
    {
        return Err(anyhow!("uid {} listens on {socket}, and not root: that is no actuator", peer.uid.as_raw()).into());
    }
    let client = Client::at(vec![Address::Socket(way.act_socket.clone())])?;
    let answer = client.send(method, path, body, PATIENCE).map_err(|error| {
        if is_absent(&error) {
            let error = anyhow!("the actuator does not run: nobody listens on {socket}");
            return Failure::from(error).hint("it is off by default: systemctl enable --now headroom-act.socket");
        }
        if is_forbidden(&error) {
            let error = anyhow!("uid {} may not connect to {socket}", rustix::process::getuid().as_raw());
            return Failure::new(Exit::Privilege, error).hint("ask as root, or as a user whom the policy names");
        }
        Failure::from(anyhow!("{}", error.root_cause()).context(format!("ask the actuator at {socket}")))
    })?;
    if answer.status.is_success() {
        return Ok(serde_json::from_slice(&answer.body).context("the answer is not from an actuator of this version")?);
    }
    let detail = match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => problem.detail,
        Err(_) => String::from_utf8_lossy(&answer.body).trim().to_owned(),
    };
    let exit = match answer.status.as_u16() {
        403 => Exit::Refused,
        409 => Exit::Aside,
        _ => Exit::Failure,
    };
    Err(Failure::new(exit, anyhow!(detail)))
}

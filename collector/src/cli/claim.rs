//! What verbs ask of the agent about leases: one, another owner for it, its end; and how a command ended. Knows HTTP only as statuses,
//! no flags and no processes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use collector_core::api::problem::Problem;
use collector_core::api::read::ROOT;
use collector_core::lease::ask::LONGEST_WAIT;
use collector_core::lease::{Claim, Ended, Granted, Mark, OwnerName, Verdict};
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::client::{Answer, Client, is_absent, is_forbidden};

/// How long the agent may take for an answer that needs no waiting.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How much later than asked an answer may come on a busy host.
const LATE: Duration = Duration::from_secs(30);
/// How long an agent that went away while somebody waits may take to come back: an update, or a crash.
const GONE: Duration = Duration::from_secs(30);
/// The pause before it is asked again, doubled up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

const RESERVATIONS: &str = "reservations";
pub const CIRCUITS: &str = "circuits";

/// The answer to a claim.
#[derive(Debug)]
pub enum Claimed {
    Granted(Box<Granted>),
    /// There is no room, and there was none while it waited.
    Refused(Box<Verdict>),
    /// The user has asked for too much at once: another time it may be heard.
    Later(anyhow::Error),
    /// Nobody could be asked.
    NoAgent(anyhow::Error),
}

/// A problem that says what the verdict is.
#[derive(Deserialize)]
struct Refusal {
    verdict: Option<Verdict>,
}

/// Claims room, and waits for it for so long. Calls `waits` with the reason if there is none now.
///
/// # Errors
/// If the agent may not be asked, or says that the claim itself is wrong.
pub fn claim(client: &Client, claim: &Claim, wait: Duration, waits: impl FnOnce(&str)) -> Result<Claimed> {
    let wait = wait.min(Duration::from_secs(LONGEST_WAIT));
    let deadline = Instant::now() + wait;
    match once(client, claim, Duration::ZERO)? {
        Claimed::Refused(verdict) if !wait.is_zero() => waits(&verdict.reason),
        Claimed::Later(why) if !wait.is_zero() => waits(&why.to_string()),
        claimed => return Ok(claimed),
    }
    let (mut gone, mut pause): (Option<Instant>, _) = (None, PAUSE);
    loop {
        let asked = Instant::now();
        let left = deadline.saturating_duration_since(asked);
        match once(client, claim, left)? {
            Claimed::NoAgent(error) => {
                // It held the claim until now: this is another absence.
                if asked.elapsed() > TIMEOUT {
                    (gone, pause) = (None, PAUSE);
                }
                let since = *gone.get_or_insert_with(Instant::now);
                if since.elapsed() > GONE.min(wait) {
                    return Ok(Claimed::NoAgent(error));
                }
            }
            Claimed::Later(_) if !left.is_zero() => gone = None,
            claimed => return Ok(claimed),
        }
        std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now()).max(PAUSE)));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn once(client: &Client, claim: &Claim, wait: Duration) -> Result<Claimed> {
    // A part of a second is worth a whole one.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let claim = Claim { wait_seconds: Some(seconds).filter(|seconds| *seconds > 0), ..claim.clone() };
    let limit = if wait.is_zero() { TIMEOUT } else { wait + LATE };
    let body = serde_json::to_vec(&claim).context("write the claim")?;
    match client.send(Method::POST, &path(RESERVATIONS), Some(body), limit) {
        Err(error) if is_forbidden(&error) && !is_absent(&error) => Err(error),
        Err(error) => Ok(Claimed::NoAgent(error)),
        Ok(answer) => understood(&answer),
    }
}

fn understood(answer: &Answer) -> Result<Claimed> {
    let Answer { status, body } = answer;
    match *status {
        StatusCode::CREATED | StatusCode::OK => {
            Ok(Claimed::Granted(serde_json::from_slice(body).context("read the lease")?))
        }
        StatusCode::CONFLICT => {
            let refusal: Refusal = serde_json::from_slice(body).context("read the refusal")?;
            Ok(Claimed::Refused(Box::new(refusal.verdict.ok_or_else(|| anyhow!("{}", said(answer)))?)))
        }
        StatusCode::TOO_MANY_REQUESTS => Ok(Claimed::Later(anyhow!("{}", said(answer)))),
        // An agent that is older, or stops, or is broken.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Ok(Claimed::NoAgent(anyhow!("the agent gives no leases: {}", said(answer))))
        }
        status if status.is_server_error() => {
            Ok(Claimed::NoAgent(anyhow!("the agent answers {status}: {}", said(answer))))
        }
        _ => Err(anyhow!("the agent refuses the claim: {}", said(answer))),
    }
}

/// What an answer says is wrong.
fn said(answer: &Answer) -> String {
    match serde_json::from_slice::<Problem>(&answer.body) {
        Ok(problem) => problem.detail,
        Err(_) => format!("HTTP status {}", answer.status),
    }
}

/// Where the agent answers about something.
pub fn path(what: &str) -> String {
    format!("{ROOT}{what}")
}

/// The answer to a request that waits for nothing.
///
/// # Errors
/// What the agent says is wrong.
pub fn ask<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    what: &str,
    body: Option<&impl Serialize>,
) -> Result<T> {
    let answer = send(client, method, what, body)?;
    serde_json::from_slice(&answer.body).context("the answer is not from an agent of this version")
}

/// Gives a lease to another owner.
pub fn own(client: &Client, id: u64, owner: &OwnerName) -> Result<()> {
    send(client, Method::POST, &format!("{RESERVATIONS}/{id}/owner"), Some(owner)).map(drop)
}

pub fn release(client: &Client, id: u64) -> Result<()> {
    send(client, Method::DELETE, &format!("{RESERVATIONS}/{id}"), None::<&()>).map(drop)
}

/// Releases a lease that may have ended with its owner before.
pub fn give_back(client: &Client, id: u64) -> Result<()> {
    let answer = client.send(Method::DELETE, &path(&format!("{RESERVATIONS}/{id}")), None, TIMEOUT)?;
    match answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
        true => Ok(()),
        false => Err(anyhow!("{}", said(&answer))),
    }
}

/// Says that what a lease holds is in use.
pub fn touch(client: &Client, id: u64) -> Result<()> {
    send(client, Method::POST, &format!("{RESERVATIONS}/{id}/touch"), None::<&()>).map(drop)
}

/// Says whether the owner of a lease may be asked to give it up.
pub fn mark(client: &Client, id: u64, mark: &Mark) -> Result<()> {
    send(client, Method::POST, &format!("{RESERVATIONS}/{id}/evictable"), Some(mark)).map(drop)
}

/// Reports how something that was started ended.
pub fn ended(client: &Client, ended: &Ended) -> Result<()> {
    send(client, Method::POST, CIRCUITS, Some(ended)).map(drop)
}

fn send(client: &Client, method: Method, what: &str, body: Option<&impl Serialize>) -> Result<Answer> {
    let body = body.map(serde_json::to_vec).transpose().context("write the request")?;
    let answer = client.send(method, &path(what), body, TIMEOUT)?;
    match answer.status.is_success() {
        true => Ok(answer),
        false => Err(anyhow!("{}", said(&answer))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Result<Claimed> {
        let status = StatusCode::from_u16(status).unwrap();
        understood(&Answer { status, body: body.to_owned().into() })
    }

    #[test]
    fn a_refusal_an_old_agent_and_a_wrong_claim_are_told_apart() {
        let verdict = r#"{"verdict":"wait","reason":"r","resources":[]}"#;
        let refusal = format!(r#"{{"type":"about:blank","title":"t","status":409,"detail":"d","verdict":{verdict}}}"#);
        assert!(matches!(answer(409, &refusal), Ok(Claimed::Refused(verdict)) if verdict.reason == "r"));
        let problem = r#"{"type":"about:blank","title":"t","status":400,"detail":"no such field"}"#;
        assert_eq!(answer(400, problem).unwrap_err().to_string(), "the agent refuses the claim: no such field");
        assert!(matches!(answer(429, problem), Ok(Claimed::Later(why)) if why.to_string() == "no such field"));
        for status in [404, 405, 500, 503] {
            assert!(matches!(answer(status, "x"), Ok(Claimed::NoAgent(_))), "{status}");
        }
        assert!(answer(409, problem).is_err() && answer(201, "{}").is_err());
    }
}

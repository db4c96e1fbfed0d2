//! Requests to the agent, and what comes back: an answer, or a problem. Knows no flags.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use collector_core::api::problem::Problem;
use collector_core::api::read::ROOT;
use collector_core::lease::ask::LONGEST_WAIT;
use collector_core::lease::{Claim, Granted, Verdict};
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Answer, Client, is_absent};

/// How long an answer that waits for nothing may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// What an answer that is held back may take beyond its time.
const GRACE: Duration = Duration::from_secs(5);
/// How long an agent that went away may take to come back, and how often it is asked.
const AWAY: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// What became of a claim.
pub enum Claimed {
    Granted(Box<Granted>),
    Short(Box<Verdict>),
}

/// Sends a request whose answer is of this type.
pub fn ask<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Option<&impl Serialize>,
) -> Result<T> {
    let answer = send(client, method, path, body, PATIENCE)?;
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => parse(&answer.body),
        _ => Err(anyhow!("{}", said(&answer).detail)),
    }
}

/// Claims a lease. An agent that stops meanwhile is asked again with the same key: what it had granted is not granted twice.
pub fn claim(client: &Client, claim: &Claim, wait: Duration) -> Result<Claimed> {
    let until = Instant::now() + wait.min(Duration::from_secs(LONGEST_WAIT));
    let mut away: Option<Instant> = None;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // A part of a second is worth a whole one.
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        let asked = Claim { wait_seconds: (seconds > 0).then_some(seconds), ..claim.clone() };
        let answer = send(client, Method::POST, "reservations", Some(&asked), left + GRACE + PATIENCE);
        let again = match answer {
            Ok(answer) => match answer.status {
                StatusCode::CREATED | StatusCode::OK => return Ok(Claimed::Granted(Box::new(parse(&answer.body)?))),
                StatusCode::CONFLICT => match said(&answer).verdict {
                    Some(verdict) => return Ok(Claimed::Short(verdict)),
                    None => bail!("{}", said(&answer).detail),
                },
                // The user has asked for too much at once: the agent is there.
                StatusCode::TOO_MANY_REQUESTS if !left.is_zero() => {
                    away = None;
                    std::thread::sleep(PAUSE.min(left));
                    continue;
                }
                // It stops.
                StatusCode::SERVICE_UNAVAILABLE if !left.is_zero() => anyhow!("{}", said(&answer).detail),
                _ => bail!("{}", said(&answer).detail),
            },
            Err(error) if away.is_none() && is_absent(&error) => return Err(error),
            Err(error) if left.is_zero() => return Err(error),
            Err(error) => error,
        };
        let since = *away.get_or_insert_with(Instant::now);
        if since.elapsed() > AWAY.max(left) {
            return Err(again.context("the agent went away, and did not come back"));
        }
        std::thread::sleep(PAUSE.min(left.max(Duration::from_millis(1))));
    }
}

fn send(client: &Client, method: Method, path: &str, body: Option<&impl Serialize>, limit: Duration) -> Result<Answer> {
    let body = body.map(serde_json::to_vec).transpose().context("write the request")?;
    client.send(method, &format!("{ROOT}{path}"), body, limit)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).context("the answer is not from an agent of this version")
}

fn said(answer: &Answer) -> Problem {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&answer.body);
        Problem::new(answer.status.as_u16(), format!("HTTP status {}: {}", answer.status, text.trim()))
    })
}

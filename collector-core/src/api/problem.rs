//! A problem: the answer of the API instead of the one that was asked for (RFC 9457, `application/problem+json`).

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::lease::{Answer, Body, Verdict};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the status means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong and, where it helps, what would be right.
    pub detail: String,
    /// `InsufficientResources` where something is short: `verdict` says of what, and by how much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why there is no room, with the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
}

impl Problem {
    pub fn new(status: u16, detail: impl Into<String>) -> Problem {
        let title = match status {
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            413 => "Content Too Large",
            421 => "Misdirected Request",
            429 => "Too Many Requests",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            _ => "Internal Server Error",
        };
        Problem {
            kind: "about:blank".to_owned(),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            error: None,
            verdict: None,
        }
    }

    /// The status and the body of an answer to a request.
    pub fn or_body(answer: Answer) -> Result<(u16, Body), Problem> {
        match answer.body {
            Body::Refused { detail, verdict } => {
                let error = verdict.as_ref().and_then(|verdict| verdict.error.clone());
                Err(Problem { error, verdict, ..Problem::new(answer.status, detail) })
            }
            body => Ok((answer.status, body)),
        }
    }

    /// A parameter that cannot be taken as it is.
    pub fn parameter(detail: impl Into<String>) -> Problem {
        Problem::new(400, detail)
    }

    /// Something that does not exist.
    pub fn unknown(detail: impl Into<String>) -> Problem {
        Problem::new(404, detail)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

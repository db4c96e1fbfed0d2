//! Problems of the API as responses (RFC 9457). Knows no path.

use axum::body::{Body, to_bytes};
use axum::http::header::{self, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use collector_core::api::problem::Problem;

use super::body::Answer;

pub const CONTENT_TYPE: &str = "application/problem+json";

/// Longest text of an error, in bytes.
const TEXT: usize = 4096;

pub fn response(problem: Problem) -> Response {
    let Answer { status, bytes } = problem.into();
    (status, [(header::CONTENT_TYPE, CONTENT_TYPE)], bytes).into_response()
}

/// An error that is text, as a problem. Its headers stay.
pub async fn of_text(response: Response) -> Response {
    if is_other(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = to_bytes(body, TEXT).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let problem = Problem::new(
        parts.status.as_u16(),
        match text.trim() {
            "" => "this is a bug in headroom: its log says more",
            text => text,
        },
    );
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    Response::from_parts(parts, Body::from(Answer::from(problem).bytes))
}

/// Whether it is no error, or a problem already.
fn is_other(response: &Response) -> bool {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    !is_error || response.headers().get(header::CONTENT_TYPE).is_some_and(|it| it == CONTENT_TYPE)
}

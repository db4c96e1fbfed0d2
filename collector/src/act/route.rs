//! The paths of the actuator's socket: what is asked becomes work for its thread, and what that answers becomes a response.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use collector_core::act::{Answer, Caller, Request};
use collector_core::api::problem::Problem;
use serde::Serialize;
use tokio::sync::oneshot;

use super::worker::Work;

/// Longest request, in bytes.
const LONGEST: usize = 64 << 10;

/// Where the work goes.
pub type Desk = Arc<SyncSender<Work>>;

pub fn router(desk: Desk) -> Router {
    Router::new()
        .route("/api/v1/actions", get(list).post(ask))
        .route("/api/v1/actions/{id}", get(one))
        .route("/api/v1/actions/{id}/undo", post(undo))
        .fallback(|| async { problem(&Problem::new(404, "there is nothing at this path")) })
        .layer(DefaultBodyLimit::max(LONGEST))
        .with_state(desk)
}

async fn ask(State(desk): State<Desk>, Extension(caller): Extension<Caller>, body: Bytes) -> Response {
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return problem(&Problem::new(400, format!("the request is not understood: {error}"))),
    };
    let answered = done(&desk, |reply| Work::Ask(Box::new(request), caller, reply)).await;
    let created = matches!(answered, Ok(Answer::Action(_)));
    respond(&answered, if created { StatusCode::CREATED } else { StatusCode::OK })
}

async fn list(State(desk): State<Desk>, Extension(caller): Extension<Caller>) -> Response {
    respond(&done(&desk, |reply| Work::List(caller, reply)).await, StatusCode::OK)
}

async fn one(State(desk): State<Desk>, Extension(caller): Extension<Caller>, Path(id): Path<String>) -> Response {
    match number(&id) {
        Ok(id) => respond(&done(&desk, |reply| Work::Get(id, caller, reply)).await, StatusCode::OK),
        Err(wrong) => problem(&wrong),
    }
}

async fn undo(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let dry_run = match query.as_deref() {
        None | Some("" | "dry_run=false") => false,
        Some("dry_run=true") => true,
        Some(_) => return problem(&Problem::new(400, "an undo takes dry_run=true, and nothing else")),
    };
    match number(&id) {
        Ok(id) => respond(&done(&desk, |reply| Work::Undo { id, dry_run, caller, reply }).await, StatusCode::OK),
        Err(wrong) => problem(&wrong),
    }
}

fn number(id: &str) -> Result<u64, Problem> {
    id.parse().map_err(|_| Problem::new(404, format!("there is no change {id:?}")))
}

/// Has the thread do it.
async fn done<T>(desk: &Desk, work: impl FnOnce(oneshot::Sender<Result<T, Problem>>) -> Work) -> Result<T, Problem> {
    let (reply, answer) = oneshot::channel();
    desk.try_send(work(reply)).map_err(|error| match error {
        TrySendError::Full(_) => Problem::new(503, "too many requests wait: ask again later"),
        TrySendError::Disconnected(_) => Problem::new(503, "the actuator is stopping"),
    })?;
    answer.await.unwrap_or_else(|_| Err(Problem::new(503, "the actuator is stopping")))
}

fn respond<T: Serialize>(answer: &Result<T, Problem>, status: StatusCode) -> Response {
    match answer {
        Ok(answer) => json(status, "application/json", answer),
        Err(wrong) => problem(wrong),
    }
}

fn problem(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, "application/problem+json", problem)
}

fn json(status: StatusCode, kind: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(body) => (status, [(CONTENT_TYPE, kind)], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

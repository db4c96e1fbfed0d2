//! Paths and their responses. Knows nothing of sockets.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use collector_core::api::change::Change;
use collector_core::api::problem::Problem;
use collector_core::api::read::{ROOT, Read, Route};
use collector_core::api::reservations::Viewer;

use super::body::{Answer, Page};
use super::exposition::Exposition;
use super::follow::{Stopping, Streams};
use super::limit::Limits;
use super::negotiation;
use super::problem;
use super::render::{Cut, Renderer, Unrendered, body_of};
use super::request::{Client, Desk};
use super::seat::{Peer, Seat};
use super::site::Site;

/// Path of the workloads as JSON.
pub const WORKLOADS: &str = "/api/v1/workloads";

/// Path of whether the agent works.
pub const HEALTHY: &str = "/-/healthy";

/// Paths below this one have answers of a few bytes, for those who watch over the agent.
pub const SMALL: &str = "/-/";

/// Paths outside the API, with what they answer.
const PATHS: [(&str, &str); 3] = [
    ("/metrics", "all metrics, in OpenMetrics or Prometheus text format"),
    (HEALTHY, "health: 200 while the agent takes readings, else 503 with the reason"),
    ("/-/ready", "readiness: 200 once the first readings are complete, else 503 with the reason"),
];

/// Which methods there are.
const METHODS: &str = "GET,HEAD";

/// The routes. `cut` ends the connections that read a body.
pub fn router(exposition: Arc<dyn Exposition>, limits: &Limits, cut: Cut) -> Router {
    let renderer = Renderer::new(exposition.clone(), limits.bodies, cut);
    let streams = exposition.events().map(Streams::new);
    let desk = exposition.requests().map(|requests| Arc::new(Desk::new(requests)));
    let site = Arc::new(Site::new(&PATHS));
    Router::new()
        .route("/", get(async move |headers: HeaderMap| site.answer(&headers).await))
        .route("/metrics", get(metrics))
        .route(HEALTHY, get(healthy))
        .route("/-/ready", get(ready))
        .fallback(other)
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use GET or HEAD\n"))
        .with_state(Endpoint { exposition, renderer, streams, desk })
}

/// The path below the API's, if it is.
pub fn below_api(path: &str) -> Option<&str> {
    let below = path.strip_prefix(ROOT.trim_end_matches('/'))?;
    below.strip_prefix('/').or(below.is_empty().then_some(""))
}

#[derive(Clone)]
struct Endpoint {
    exposition: Arc<dyn Exposition>,
    renderer: Arc<Renderer>,
    streams: Option<Arc<Streams>>,
    desk: Option<Arc<Desk>>,
}

async fn metrics(
    State(endpoint): State<Endpoint>,
    Extension(seat): Extension<Arc<Seat>>,
    headers: HeaderMap,
) -> Response {
    let format = negotiation::format(&headers);
    answer(endpoint, &seat, &headers, format.content_type(), Page::Metrics(format)).await
}

/// The API, and paths that are none.
async fn other(
    State(endpoint): State<Endpoint>,
    Extension(seat): Extension<Arc<Seat>>,
    Extension(Stopping(stopped)): Extension<Stopping>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    let Some(path) = below_api(uri.path()) else {
        let text = "not found; available paths: /metrics, /api/v1/…, /-/healthy, /-/ready; see /api/v1/openapi.json\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    // At an address nobody is known.
    let viewer = parts.extensions.get::<Client>().map_or(Viewer::Stranger, Client::viewer);
    let reads = method == Method::GET || method == Method::HEAD;
    if Change::find(method.as_str(), path).is_some() || !reads && Change::is_at(path) {
        return change(endpoint, parts.extensions.get::<Client>().cloned(), &method, path, body, &seat, stopped).await;
    }
    let Some((route, part)) = Route::find(path) else {
        if Change::is_at(path) {
            let problem = Problem::new(405, "this is no read: POST to it, on the socket");
            return ([(ALLOW, Change::methods(path))], problem::response(problem)).into_response();
        }
        return problem::response(Problem::unknown(
            "there is nothing at this path: /api/v1/openapi.json lists what there is",
        ));
    };
    if !reads {
        let problem = Problem::new(405, "nothing can be changed here: use GET or HEAD");
        return ([(ALLOW, METHODS)], problem::response(problem)).into_response();
    }
    match route.read(part, uri.query()) {
        Ok(Read::Events) => match (&endpoint.streams, seat.peer) {
            (Some(streams), Peer::User(uid)) => {
                let only_head = method == Method::HEAD;
                let stream = streams.answer((uid, viewer), &headers, only_head, seat, stopped).await;
                stream.unwrap_or_else(problem::response)
            }
            _ => problem::response(Problem::new(403, "events are on the socket alone")),
        },
        Ok(Read::Reservations(_)) => {
            let read = Read::Reservations(viewer);
            answer(endpoint, &seat, &headers, read.content_type(), Page::Api(read)).await
        }
        Ok(read) => answer(endpoint, &seat, &headers, read.content_type(), Page::Api(read)).await,
        Err(problem) => problem::response(problem),
    }
}

/// A request that changes something.
async fn change(
    endpoint: Endpoint,
    client: Option<Client>,
    method: &Method,
    path: &str,
    body: Body,
    seat: &Seat,
    stopped: tokio::sync::watch::Receiver<()>,
) -> Response {
    let Some((found, id)) = Change::find(method.as_str(), path) else {
        let problem = Problem::new(405, "nothing can be changed here with this method");
        return ([(ALLOW, Change::methods(path))], problem::response(problem)).into_response();
    };
    match (client, &endpoint.desk) {
        (Some(client), Some(desk)) => desk.answer(client, found, id, body, seat, stopped).await,
        _ => {
            problem::response(Problem::new(403, "this is answered on the socket alone, where the kernel says who asks"))
        }
    }
}

/// Serves a page that may be large, within the limit of concurrent scrapes.
async fn answer(
    endpoint: Endpoint,
    seat: &Seat,
    headers: &HeaderMap,
    content_type: &'static str,
    page: Page,
) -> Response {
    if !seat.queue().await {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many concurrent scrapes\n").into_response();
    }
    let (Answer { status, bytes }, compressed) = match endpoint.renderer.page(&page, negotiation::gzip(headers)).await {
        Ok(rendered) => rendered,
        Err(Unrendered::Stopping) => {
            return (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response();
        }
        Err(Unrendered::Failed) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    seat.read(body_of(&bytes));
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    let content_type = if status == StatusCode::OK { content_type } else { problem::CONTENT_TYPE };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

async fn healthy(State(endpoint): State<Endpoint>) -> Response {
    verdict("healthy\n", endpoint.exposition.healthy())
}

async fn ready(State(endpoint): State<Endpoint>) -> Response {
    verdict("ready\n", endpoint.exposition.ready())
}

fn verdict(good: &'static str, verdict: Result<(), String>) -> Response {
    match verdict {
        Ok(()) => good.into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

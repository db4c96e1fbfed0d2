//! Paths and their responses. Knows nothing of sockets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use super::body::Page;
use super::exposition::Exposition;
use super::limit::Limits;
use super::negotiation;
use super::render::{Cut, Renderer, Unrendered, body_of};
use super::seat::Seat;

/// Path of the workloads as JSON.
pub const WORKLOADS: &str = "/api/v1/workloads";

/// Path of whether the agent works.
pub const HEALTHY: &str = "/-/healthy";

/// Paths below this one have answers of a few bytes, for those who watch over the agent.
pub const SMALL: &str = "/-/";

const INDEX: &str = concat!(
    "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Headroom</title></head>\n<body>\n",
    "<h1>Headroom ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<ul>\n",
    "<li><a href=\"/metrics\">/metrics</a>: all metrics, in OpenMetrics or Prometheus text format</li>\n",
    "<li><a href=\"/api/v1/workloads\">/api/v1/workloads</a>: workloads as JSON: memory, limits, pressure, stalls, OOM kills</li>\n",
    "<li><a href=\"/-/healthy\">/-/healthy</a>: health: 200 while the agent takes readings, else 503 with the reason</li>\n",
    "<li><a href=\"/-/ready\">/-/ready</a>: readiness: 200 once the first readings are complete, else 503 with the reason</li>\n",
    "</ul>\n</body>\n</html>\n",
);

/// The routes. `cut` ends the connections that read a body.
pub fn router(exposition: Arc<dyn Exposition>, limits: &Limits, cut: Cut) -> Router {
    let renderer = Renderer::new(exposition.clone(), limits.bodies, cut);
    Router::new()
        .route("/", get(Html(INDEX)))
        .route("/metrics", get(metrics))
        .route(WORKLOADS, get(workloads))
        .route(HEALTHY, get(healthy))
        .route("/-/ready", get(ready))
        .fallback((
            StatusCode::NOT_FOUND,
            "not found; available paths: /metrics, /api/v1/workloads, /-/healthy, /-/ready\n",
        ))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use GET or HEAD\n"))
        .with_state(Endpoint { exposition, renderer })
}

#[derive(Clone)]
struct Endpoint {
    exposition: Arc<dyn Exposition>,
    renderer: Arc<Renderer>,
}

async fn metrics(
    State(endpoint): State<Endpoint>,
    Extension(seat): Extension<Arc<Seat>>,
    headers: HeaderMap,
) -> Response {
    let format = negotiation::format(&headers);
    answer(endpoint, &seat, &headers, format.content_type(), Page::Metrics(format)).await
}

async fn workloads(
    State(endpoint): State<Endpoint>,
    Extension(seat): Extension<Arc<Seat>>,
    headers: HeaderMap,
) -> Response {
    answer(endpoint, &seat, &headers, "application/json", Page::Workloads).await
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
    let (body, compressed) = match endpoint.renderer.body(page, negotiation::gzip(headers)).await {
        Ok(rendered) => rendered,
        Err(Unrendered::Stopping) => {
            return (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response();
        }
        Err(Unrendered::Failed) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    };
    seat.read(body_of(&body));
    let mut response = body.into_response();
    let headers = response.headers_mut();
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

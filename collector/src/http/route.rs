//! Paths and their responses. Knows nothing of sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::body::Page;
use super::exposition::Exposition;
use super::limit::{Limits, RENDERS};
use super::negotiation;

/// Path of the workloads as JSON.
pub const WORKLOADS: &str = "/api/v1/workloads";

/// Smaller bodies fit into one packet, so compression gains nothing.
const GZIP_MIN: usize = 1024;

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

/// The routes. Adds scrapes rejected by the limit to `shed`.
pub fn router(exposition: Arc<dyn Exposition>, limits: &Limits, shed: Arc<AtomicU64>) -> Router {
    let scrapes = Arc::new(Semaphore::new(limits.scrapes));
    let renders = Arc::new(Semaphore::new(RENDERS));
    Router::new()
        .route("/", get(Html(INDEX)))
        .route("/metrics", get(metrics))
        .route(WORKLOADS, get(workloads))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .fallback((
            StatusCode::NOT_FOUND,
            "not found; available paths: /metrics, /api/v1/workloads, /-/healthy, /-/ready\n",
        ))
        .method_not_allowed_fallback(async || (StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use GET or HEAD\n"))
        .with_state(Endpoint { exposition, scrapes, renders, queue: limits.queue, shed })
}

#[derive(Clone)]
struct Endpoint {
    exposition: Arc<dyn Exposition>,
    scrapes: Arc<Semaphore>,
    renders: Arc<Semaphore>,
    queue: Duration,
    shed: Arc<AtomicU64>,
}

/// A body and the permit of its scrape. The permit is released after the last byte is sent, not when the response is handed to
/// hyper: a client that does not read must not make room for the next.
struct Held {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

async fn metrics(State(endpoint): State<Endpoint>, headers: HeaderMap) -> Response {
    let format = negotiation::format(&headers);
    answer(endpoint, &headers, format.content_type(), Page::Metrics(format)).await
}

async fn workloads(State(endpoint): State<Endpoint>, headers: HeaderMap) -> Response {
    answer(endpoint, &headers, "application/json", Page::Workloads).await
}

/// Serves a page that may be large, within the limit of concurrent scrapes.
async fn answer(endpoint: Endpoint, headers: &HeaderMap, content_type: &'static str, page: Page) -> Response {
    let Ok(Ok(permit)) = timeout(endpoint.queue, endpoint.scrapes.clone().acquire_owned()).await else {
        endpoint.shed.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::SERVICE_UNAVAILABLE, "too many concurrent scrapes\n").into_response();
    };
    let Some(snapshot) = endpoint.exposition.snapshot().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response();
    };
    // A held snapshot makes the fold loop copy its state, so it is held only while rendering.
    let pages = snapshot.pages().clone();
    let plain = pages.plain(page, &endpoint.renders, move || snapshot.render(page)).await;
    let compress = negotiation::gzip(headers) && plain.as_ref().is_some_and(|plain| plain.len() > GZIP_MIN);
    let body = match plain {
        Some(plain) if compress => pages.gzip(page, &endpoint.renders, plain).await,
        plain => plain,
    };
    let Some(body) = body else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let held = Bytes::from_owner(Held { body, _permit: permit });
    let mut response = held.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if compress {
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

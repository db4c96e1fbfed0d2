//! The bodies rendered from one snapshot. Each is rendered once and compressed once, in the runtime's blocking pool, and
//! shared by all requests. Knows nothing of the contents, and not who waits for them.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::exposition::Format;
use crate::mutex::lock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Metrics(Format),
    /// JSON: a [`collector_core::api::workloads::Summary`].
    Workloads,
}

impl Page {
    pub(super) fn index(self) -> usize {
        match self {
            Page::Metrics(Format::OpenMetrics) => 0,
            Page::Metrics(Format::Text) => 1,
            Page::Workloads => 2,
        }
    }
}

/// The bodies of one snapshot, each rendered on first request.
#[derive(Debug, Default)]
pub struct Pages {
    plain: [Once; 3],
    gzip: [Once; 3],
}

impl Pages {
    /// The body of a page, if its rendering has begun.
    pub(super) fn begun(&self, page: Page) -> Option<Body> {
        self.plain[page.index()].begun()
    }

    /// The body of a page, rendered by `render` if needed, within `permit`; none if rendering panicked.
    pub async fn plain(
        &self,
        page: Page,
        permit: OwnedSemaphorePermit,
        render: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Option<Bytes> {
        let body = self.plain[page.index()].begin(async { Some(permit) }, move || Some(render()));
        finished(body).await
    }

    /// The same body, compressed with gzip and then passed on by `keep`. `permits` bounds concurrent rendering.
    pub(super) async fn gzip(
        &self,
        page: Page,
        permits: &Arc<Semaphore>,
        plain: Bytes,
        keep: impl FnOnce(Bytes) -> Bytes + Send + 'static,
    ) -> Option<Bytes> {
        let permit = permits.clone().acquire_owned();
        let body = self.gzip[page.index()]
            .begin(async { permit.await.ok() }, move || gzip(&plain).map(|packed| keep(packed.into())).ok());
        finished(body).await
    }
}

pub(super) async fn finished(mut body: Body) -> Option<Bytes> {
    body.wait_for(Option::is_some).await.ok()?.clone()
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// A finished or pending body. The sender is dropped without a value if rendering failed.
pub(super) type Body = watch::Receiver<Option<Bytes>>;

/// A body that is rendered once.
#[derive(Debug, Default)]
struct Once(Mutex<Option<Body>>);

impl Once {
    fn begun(&self) -> Option<Body> {
        Once::present(&lock(&self.0))
    }

    fn present(slot: &Option<Body>) -> Option<Body> {
        slot.as_ref().filter(|body| body.borrow().is_some() || body.has_changed().is_ok()).cloned()
    }

    /// Returns the finished or pending body, or starts rendering. Rendering goes on even if all clients disconnect.
    fn begin(
        &self,
        permit: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static,
        make: impl FnOnce() -> Option<Bytes> + Send + 'static,
    ) -> Body {
        let mut slot = lock(&self.0);
        if let Some(body) = Once::present(&slot) {
            return body;
        }
        let (sender, body) = watch::channel(None);
        *slot = Some(body.clone());
        tokio::spawn(async move {
            let Some(permit) = permit.await else { return };
            let made = spawn_blocking(move || {
                let _permit = permit;
                sender.send_replace(make());
            });
            if made.await.is_err() {
                tracing::error!("rendering a page panicked: this is a bug in headroom");
            }
        });
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const PAGE: Page = Page::Workloads;

    fn permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(2))
    }

    #[tokio::test]
    async fn concurrent_requests_share_one_rendering() {
        let (pages, permits, renders) = (Arc::new(Pages::default()), permits(), Arc::new(AtomicUsize::new(0)));
        let (go_on, wait) = mpsc::channel::<()>();
        let mut wait = Some(wait);
        let mut ask = || {
            let (pages, permits, renders, wait) = (pages.clone(), permits.clone(), renders.clone(), wait.take());
            tokio::spawn(async move {
                let render = move || {
                    renders.fetch_add(1, Ordering::Relaxed);
                    let _ = wait.map(|wait| wait.recv());
                    Bytes::from(vec![b'x'; 5000])
                };
                let permit = permits.clone().acquire_owned().await.unwrap();
                let plain = pages.plain(PAGE, permit, render).await.unwrap();
                let gzip = pages.gzip(PAGE, &permits, plain.clone(), |packed| packed).await.unwrap();
                (plain, gzip)
            })
        };
        let (first, left, second) = (ask(), ask(), ask());
        tokio::task::yield_now().await;
        // A client that disconnects does not affect the others.
        left.abort();
        go_on.send(()).unwrap();
        let ((plain, gzip), (other_plain, other_gzip)) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!((plain.as_ptr(), gzip.as_ptr()), (other_plain.as_ptr(), other_gzip.as_ptr()));
        assert!(gzip.len() < plain.len() / 10);
        assert_eq!(renders.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_panic_fails_one_request_and_the_next_tries_again() {
        let (pages, permits) = (Pages::default(), permits());
        let permit = async || permits.clone().acquire_owned().await.unwrap();
        assert_eq!(pages.plain(PAGE, permit().await, || panic!("provoked by a test")).await, None);
        let body = pages.plain(PAGE, permit().await, || Bytes::from_static(b"well")).await;
        assert_eq!(body.as_deref(), Some(&b"well"[..]));
        // Both permits are released.
        let _ = permits.acquire_many(2).await.unwrap();
    }
}

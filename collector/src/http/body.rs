//! The bodies that are rendered from one snapshot. Each is rendered once and compressed once, in the runtime's blocking
//! pool, and shared by all that ask for it; who asks meanwhile waits for the same. Knows nothing of what is in them.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::exposition::Format;

/// A page that is rendered from a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// Every metric.
    Metrics(Format),
    /// Every workload as JSON: a [`crate::api::workloads::Summary`].
    Workloads,
}

impl Page {
    fn index(self) -> usize {
        match self {
            Page::Metrics(Format::OpenMetrics) => 0,
            Page::Metrics(Format::Text) => 1,
            Page::Workloads => 2,
        }
    }
}

/// The bodies of one snapshot, none before somebody asks.
#[derive(Debug, Default)]
pub struct Pages {
    plain: [Once; 3],
    gzip: [Once; 3],
}

impl Pages {
    /// The body of a page, rendered by `render` unless it is already; none if rendering panicked. `turns` bounds how many
    /// are rendered at the same time.
    pub async fn plain(
        &self,
        page: Page,
        turns: &Arc<Semaphore>,
        render: impl FnOnce() -> Bytes + Send + 'static,
    ) -> Option<Bytes> {
        self.plain[page.index()].get(turns, move || Some(render())).await
    }

    /// The same body, compressed.
    pub async fn gzip(&self, page: Page, turns: &Arc<Semaphore>, plain: Bytes) -> Option<Bytes> {
        self.gzip[page.index()].get(turns, move || gzip(&plain).map(Bytes::from).ok()).await
    }
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// A body on its way, or there. The sender is dropped without a value if making it failed.
type Body = watch::Receiver<Option<Bytes>>;

/// A body that is made once.
#[derive(Debug, Default)]
struct Once(Mutex<Option<Body>>);

impl Once {
    async fn get(
        &self,
        turns: &Arc<Semaphore>,
        make: impl FnOnce() -> Option<Bytes> + Send + 'static,
    ) -> Option<Bytes> {
        let mut body = self.begin(turns, make);
        body.wait_for(Option::is_some).await.ok()?.clone()
    }

    /// The body that is there or under way, or else begins to make it. It is made to its end, whoever leaves meanwhile.
    fn begin(&self, turns: &Arc<Semaphore>, make: impl FnOnce() -> Option<Bytes> + Send + 'static) -> Body {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(body) = slot.as_ref().filter(|body| body.borrow().is_some() || body.has_changed().is_ok()) {
            return body.clone();
        }
        let (sender, body) = watch::channel(None);
        *slot = Some(body.clone());
        let turns = turns.clone();
        tokio::spawn(async move {
            let Ok(turn) = turns.acquire_owned().await else { return };
            let made = spawn_blocking(move || {
                let _turn = turn;
                sender.send_replace(make());
            });
            if made.await.is_err() {
                tracing::error!("a page could not be rendered: this is a bug in headroom");
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

    fn turns() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(2))
    }

    #[tokio::test]
    async fn who_asks_while_a_page_is_rendered_waits_for_that_and_shares_it() {
        let (pages, turns, renders) = (Arc::new(Pages::default()), turns(), Arc::new(AtomicUsize::new(0)));
        let (go_on, wait) = mpsc::channel::<()>();
        let mut wait = Some(wait);
        let mut ask = || {
            let (pages, turns, renders, wait) = (pages.clone(), turns.clone(), renders.clone(), wait.take());
            tokio::spawn(async move {
                let render = move || {
                    renders.fetch_add(1, Ordering::Relaxed);
                    let _ = wait.map(|wait| wait.recv());
                    Bytes::from(vec![b'x'; 5000])
                };
                let plain = pages.plain(PAGE, &turns, render).await.unwrap();
                let gzip = pages.gzip(PAGE, &turns, plain.clone()).await.unwrap();
                (plain, gzip)
            })
        };
        let (first, left, second) = (ask(), ask(), ask());
        tokio::task::yield_now().await;
        // Who leaves takes nothing away from the others.
        left.abort();
        go_on.send(()).unwrap();
        let ((plain, gzip), (other_plain, other_gzip)) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!((plain.as_ptr(), gzip.as_ptr()), (other_plain.as_ptr(), other_gzip.as_ptr()));
        assert!(gzip.len() < plain.len() / 10);
        assert_eq!(renders.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_panic_fails_one_request_and_the_next_tries_again() {
        let (pages, turns) = (Pages::default(), turns());
        assert_eq!(pages.plain(PAGE, &turns, || panic!("provoked by a test")).await, None);
        let body = pages.plain(PAGE, &turns, || Bytes::from_static(b"well")).await;
        assert_eq!(body.as_deref(), Some(&b"well"[..]));
        // Neither keeps its turn.
        let _ = turns.acquire_many(2).await.unwrap();
    }
}

//! Who waits for which rendering, and how many bytes of bodies there are. Requests for a page share the rendering of the present
//! snapshot, or else the next one, whose snapshot is taken when its turn comes: so however many ask and however long a rendering takes,
//! at most one rendering of each page waits, and only the one that is being rendered holds a snapshot. Knows nothing of connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::body::{Answer, Page, Pages, finished};
use super::exposition::Exposition;
use super::limit::PAGE_SHARE;
use super::turn::Turns;
use crate::mutex::lock;

/// Readers of a body have this long before another page needs its room: on a local network they are done by then.
const PROTECTED: Duration = Duration::from_secs(1);
/// How often a page that waits for room looks whether old readers have ended.
const LOOK: Duration = Duration::from_millis(100);

/// Smaller bodies fit into one packet, so compression gains nothing.
const GZIP_MIN: usize = 1024;

/// A rendered page, with the bodies of the same snapshot.
type Rendered = Result<(Arc<Pages>, Answer), Unrendered>;
type Pending = watch::Receiver<Option<Rendered>>;
/// Ends the connections that still read this body.
pub type Cut = Box<dyn Fn(Body) + Send + Sync>;

/// Which body this is: the address of its bytes, as long as they exist.
pub type Body = u64;

pub fn body_of(bytes: &Bytes) -> Body {
    bytes.as_ptr() as u64
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrendered {
    /// The agent is stopping.
    Stopping,
    /// Rendering panicked.
    Failed,
}

pub struct Renderer {
    exposition: Arc<dyn Exposition>,
    /// One is rendered at a time: while a snapshot is held, the fold goes on with a copy of its state.
    rendering: Arc<Semaphore>,
    packing: Arc<Semaphore>,
    turns: Turns,
    /// Of each page, the rendering that has not begun, if somebody waits for one.
    next: Mutex<BTreeMap<Page, Pending>>,
    shelf: Arc<Shelf>,
}

impl Renderer {
    /// `max` bounds the bytes of bodies: where the next page has no room, the readers of the oldest are cut.
    pub fn new(exposition: Arc<dyn Exposition>, max: usize, cut: Cut) -> Arc<Renderer> {
        let [rendering, packing] = [(); 2].map(|()| Arc::new(Semaphore::new(1)));
        let (next, turns, shelf) = (Mutex::default(), Turns::default(), Shelf::new(max, cut));
        Arc::new(Renderer { exposition, rendering, packing, turns, next, shelf })
    }

    /// A page as it is now or a moment later, and whether it is compressed.
    pub async fn page(self: &Arc<Renderer>, page: &Page, compress: bool) -> Result<(Answer, bool), Unrendered> {
        let snapshot = self.exposition.snapshot().await.ok_or(Unrendered::Stopping)?;
        let pages = snapshot.pages().clone();
        // A held snapshot makes the fold loop copy its state, so nobody holds one who only waits.
        drop(snapshot);
        let (pages, plain) = match pages.begun(page) {
            Some(body) => (pages, finished(body).await.ok_or(Unrendered::Failed)?),
            None => {
                drop(pages);
                let mut next = self.next(page);
                let rendered = next.wait_for(Option::is_some).await.map_err(|_| Unrendered::Failed)?;
                rendered.clone().ok_or(Unrendered::Failed)??
            }
        };
        if !compress || plain.bytes.len() <= GZIP_MIN {
            return Ok((plain, false));
        }
        let shelf = self.shelf.clone();
        let packed = pages.gzip(page, &self.packing, plain, move |packed| shelf.keep(packed)).await;
        packed.map(|packed| (packed, true)).ok_or(Unrendered::Failed)
    }

    /// The rendering of this page that has not begun.
    fn next(self: &Arc<Renderer>, page: &Page) -> Pending {
        let mut next = lock(&self.next);
        if let Some(pending) = next.get(page) {
            return pending.clone();
        }
        let (sender, pending) = watch::channel(None);
        next.insert(page.clone(), pending.clone());
        let (renderer, page) = (self.clone(), page.clone());
        tokio::spawn(async move {
            let permit = renderer.rendering.clone().acquire_owned().await;
            renderer.shelf.room().await;
            // Whoever comes from now on may want a later snapshot than this one.
            lock(&renderer.next).remove(&page);
            let Ok(permit) = permit else { return };
            // All have left. So those who ask for ever new pages and do not wait cost nothing.
            if sender.is_closed() {
                return;
            }
            let Some(snapshot) = renderer.exposition.snapshot().await else {
                sender.send_replace(Some(Err(Unrendered::Stopping)));
                return;
            };
            let pages = snapshot.pages().clone();
            let shelf = renderer.shelf.clone();
            let rendered = page.clone();
            // It takes the snapshot with it, and drops it when it is done.
            let render = move || snapshot.render(&rendered);
            let keep = move |bytes| shelf.keep(bytes);
            if let Some(plain) = pages.plain(&page, permit, render, &renderer.turns, keep).await {
                sender.send_replace(Some(Ok((pages, plain))));
            }
        });
        pending
    }
}

/// All bodies that exist, which those who read slowly keep.
struct Shelf {
    max: usize,
    cut: Cut,
    /// By age.
    kept: Mutex<(u64, BTreeMap<u64, Sort>)>,
    freed: Notify,
}

struct Sort {
    body: Body,
    bytes: usize,
    since: Instant,
}

impl Shelf {
    fn new(max: usize, cut: Cut) -> Arc<Shelf> {
        Arc::new(Shelf { max, cut, kept: Mutex::default(), freed: Notify::new() })
    }

    /// Counts this body as long as somebody has it.
    fn keep(self: &Arc<Shelf>, bytes: Bytes) -> Bytes {
        let mut kept = lock(&self.kept);
        kept.0 += 1;
        let number = kept.0;
        kept.1.insert(number, Sort { body: body_of(&bytes), bytes: bytes.len(), since: Instant::now() });
        Bytes::from_owner(Kept { bytes, number, shelf: self.clone() })
    }

    /// Waits until there is room for one more page.
    async fn room(&self) {
        loop {
            let (lacks, old) = self.surplus();
            if !lacks {
                return;
            }
            old.into_iter().for_each(|body| (self.cut)(body));
            let _ = timeout(LOOK, self.freed.notified()).await;
        }
    }

    /// Whether another page has no room, and the oldest bodies that are in its way and whose readers had their time.
    fn surplus(&self) -> (bool, Vec<Body>) {
        let kept = lock(&self.kept);
        let all: usize = kept.1.values().map(|sort| sort.bytes).sum();
        let mut over = (all + self.max / PAGE_SHARE).saturating_sub(self.max);
        let lacks = over > 0;
        let old = kept.1.values().take_while(|sort| {
            let cut = over > 0 && sort.since.elapsed() >= PROTECTED;
            over = over.saturating_sub(sort.bytes);
            cut
        });
        (lacks, old.map(|sort| sort.body).collect())
    }
}

struct Kept {
    bytes: Bytes,
    number: u64,
    shelf: Arc<Shelf>,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        lock(&self.shelf.kept).1.remove(&self.number);
        self.shelf.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    use crate::http::body::Rendering;
    use crate::http::exposition::{Snapshot, SnapshotFuture};

    fn shelf(max: usize) -> (Arc<Shelf>, Arc<Mutex<Vec<Body>>>) {
        let cut = Arc::<Mutex<Vec<Body>>>::default();
        let into = cut.clone();
        (Shelf::new(max, Box::new(move |body| into.lock().unwrap().push(body))), cut)
    }

    #[tokio::test]
    async fn the_oldest_bodies_make_room_for_the_next_page_once_their_readers_had_their_time() {
        let (shelf, cut) = shelf(90);
        let keep = |size| shelf.keep(Bytes::from(vec![0; size]));
        shelf.room().await;
        let (first, second) = (keep(30), keep(30));
        shelf.room().await;
        let third = keep(20);
        assert!(cut.lock().unwrap().is_empty(), "there is room for 30 more");
        let (waiting, began) = (shelf.clone(), Instant::now());
        let room = tokio::spawn(async move { waiting.room().await });
        sleep(PROTECTED / 2).await;
        assert!(cut.lock().unwrap().is_empty() && !room.is_finished());
        while cut.lock().unwrap().is_empty() {
            sleep(LOOK).await;
        }
        assert!(began.elapsed() >= PROTECTED);
        assert!(cut.lock().unwrap().iter().all(|body| *body == body_of(&first)), "only as many as needed");
        drop(first);
        room.await.unwrap();
        drop((second, third));
        assert!(lock(&shelf.kept).1.is_empty());
    }

    #[test]
    fn a_body_is_known_by_its_bytes_however_often_it_is_shared() {
        let (shelf, _) = shelf(100);
        let bytes = Bytes::from(vec![1; 10]);
        let kept = shelf.keep(bytes.clone());
        assert_eq!(body_of(&kept.clone()), body_of(&bytes));
    }

    /// Has one snapshot left.
    struct Ending(Mutex<Option<Arc<Pages>>>);

    struct Last(Arc<Pages>);

    impl Snapshot for Last {
        fn render(&self, _: &Page) -> Rendering {
            unreachable!("it is asked for its pages only")
        }

        fn pages(&self) -> &Arc<Pages> {
            &self.0
        }
    }

    impl Exposition for Ending {
        fn snapshot(&self) -> SnapshotFuture<'_> {
            let last = self.0.lock().unwrap().take();
            Box::pin(async { last.map(|pages| Arc::new(Last(pages)) as Arc<dyn Snapshot>) })
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }

        fn healthy(&self) -> Result<(), String> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn whoever_waits_while_the_agent_stops_hears_that() {
        let ending = Arc::new(Ending(Mutex::new(Some(Arc::default()))));
        let renderer = Renderer::new(ending, 100, Box::new(|_| {}));
        for _ in 0..2 {
            let page = Page::Api(collector_core::api::read::Read::Workloads);
            assert_eq!(renderer.page(&page, true).await, Err(Unrendered::Stopping));
        }
    }
}

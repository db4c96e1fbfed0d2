//! Who waits for which rendering, and how many bytes of bodies there are. Requests for a page share the rendering of the present
//! snapshot, or else the next one, whose snapshot is taken when its turn comes: so however many ask and however long a rendering takes,
//! at most one rendering of each page waits, and only what is being rendered holds a snapshot. Knows nothing of connections.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::body::{Page, Pages, finished};
use super::exposition::Exposition;
use super::limit::RENDERS;

/// Smaller bodies fit into one packet, so compression gains nothing.
const GZIP_MIN: usize = 1024;

/// A rendered page, with the bodies of the same snapshot.
type Rendered = (Arc<Pages>, Bytes);
type Pending = watch::Receiver<Option<Rendered>>;
/// Ends the connections that still read this body.
pub type Cut = Box<dyn Fn(Body) + Send + Sync>;

/// Which body this is: the address of its bytes, as long as they exist.
pub type Body = u64;

pub fn body_of(bytes: &Bytes) -> Body {
    bytes.as_ptr() as u64
}

#[derive(Debug, PartialEq, Eq)]
pub enum Unrendered {
    /// The agent is stopping.
    Stopping,
    /// Rendering panicked.
    Failed,
}

pub struct Renderer {
    exposition: Arc<dyn Exposition>,
    turns: Arc<Semaphore>,
    /// Of each page, the rendering that has not begun, if somebody waits for one.
    next: [Mutex<Option<Pending>>; 3],
    shelf: Arc<Shelf>,
}

impl Renderer {
    /// `max` bounds the bytes of bodies: above it, the readers of the oldest are cut.
    pub fn new(exposition: Arc<dyn Exposition>, max: usize, cut: Cut) -> Arc<Renderer> {
        let shelf = Arc::new(Shelf { max, cut, kept: Mutex::default() });
        Arc::new(Renderer { exposition, turns: Arc::new(Semaphore::new(RENDERS)), next: Default::default(), shelf })
    }

    /// The body of a page as it is now or a moment later, and whether it is compressed.
    pub async fn body(self: &Arc<Renderer>, page: Page, compress: bool) -> Result<(Bytes, bool), Unrendered> {
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
                rendered.clone().ok_or(Unrendered::Failed)?
            }
        };
        if !compress || plain.len() <= GZIP_MIN {
            return Ok((plain, false));
        }
        let (shelf, weak) = (self.shelf.clone(), Arc::downgrade(&pages));
        let keep = move |packed| shelf.keep(packed, weak);
        let packed = pages.gzip(page, &self.turns, plain, keep).await;
        packed.map(|packed| (packed, true)).ok_or(Unrendered::Failed)
    }

    /// The rendering of this page that has not begun.
    fn next(self: &Arc<Renderer>, page: Page) -> Pending {
        let mut next = lock(&self.next[page.index()]);
        if let Some(pending) = &*next {
            return pending.clone();
        }
        let (sender, pending) = watch::channel(None);
        *next = Some(pending.clone());
        let renderer = self.clone();
        tokio::spawn(async move {
            let permit = renderer.turns.clone().acquire_owned().await;
            // Whoever comes from now on may want a later snapshot than this one.
            *lock(&renderer.next[page.index()]) = None;
            let (Ok(permit), Some(snapshot)) = (permit, renderer.exposition.snapshot().await) else { return };
            let pages = snapshot.pages().clone();
            let (shelf, weak) = (renderer.shelf.clone(), Arc::downgrade(&pages));
            let render = move || {
                let plain = snapshot.render(page);
                drop(snapshot);
                shelf.keep(plain, weak)
            };
            if let Some(plain) = pages.plain(page, permit, render).await {
                sender.send_replace(Some((pages, plain)));
            }
        });
        pending
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All bodies that exist, which those who read slowly keep.
struct Shelf {
    max: usize,
    cut: Cut,
    /// By age.
    kept: Mutex<(u64, BTreeMap<u64, Sort>)>,
}

struct Sort {
    body: Body,
    bytes: usize,
    /// The bodies of the same snapshot.
    pages: Weak<Pages>,
}

impl Shelf {
    /// Counts this body as long as somebody has it.
    fn keep(self: &Arc<Shelf>, bytes: Bytes, pages: Weak<Pages>) -> Bytes {
        let number = {
            let mut kept = lock(&self.kept);
            kept.0 += 1;
            let number = kept.0;
            kept.1.insert(number, Sort { body: body_of(&bytes), bytes: bytes.len(), pages: pages.clone() });
            number
        };
        let kept = Bytes::from_owner(Kept { bytes, number, shelf: self.clone() });
        self.surplus(&pages).into_iter().for_each(|body| (self.cut)(body));
        kept
    }

    /// The oldest bodies above the bound. Those of the present snapshot stay in any case: more who read them cost nothing.
    fn surplus(&self, present: &Weak<Pages>) -> Vec<Body> {
        let kept = lock(&self.kept);
        let mut all: usize = kept.1.values().map(|sort| sort.bytes).sum();
        let old = kept.1.values().filter(|sort| !sort.pages.ptr_eq(present));
        let over = old.take_while(|sort| {
            let over = all > self.max;
            all -= sort.bytes;
            over
        });
        over.map(|sort| sort.body).collect()
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(max: usize) -> (Arc<Shelf>, Arc<Mutex<Vec<Body>>>) {
        let cut = Arc::<Mutex<Vec<Body>>>::default();
        let into = cut.clone();
        let cutting = Box::new(move |body| into.lock().unwrap().push(body));
        (Arc::new(Shelf { max, cut: cutting, kept: Mutex::default() }), cut)
    }

    #[test]
    fn the_oldest_bodies_above_the_bound_are_cut_but_none_of_the_present_snapshot() {
        let (shelf, cut) = shelf(100);
        let snapshot = || Arc::downgrade(&Arc::<Pages>::default());
        let keep = |size, pages: &Weak<Pages>| shelf.keep(Bytes::from(vec![0; size]), pages.clone());
        let (first, second, present) = (keep(40, &snapshot()), keep(40, &snapshot()), snapshot());
        assert!(cut.lock().unwrap().is_empty());
        let third = keep(40, &present);
        assert_eq!(*cut.lock().unwrap(), [body_of(&first)]);
        drop(first);
        cut.lock().unwrap().clear();
        let fourth = keep(90, &present);
        assert_eq!(*cut.lock().unwrap(), [body_of(&second)]);
        drop((second, third, fourth));
        assert!(lock(&shelf.kept).1.is_empty());
    }

    #[test]
    fn a_body_is_known_by_its_bytes_however_often_it_is_shared() {
        let (shelf, _) = shelf(100);
        let bytes = Bytes::from(vec![1; 10]);
        let kept = shelf.keep(bytes.clone(), Weak::new());
        assert_eq!(body_of(&kept.clone()), body_of(&bytes));
    }
}

//! The pages rendered from one snapshot. Each is rendered once and compressed once, in the runtime's blocking pool, and
//! shared by all requests. Knows nothing of the contents, and not who waits for them.

use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use collector_core::api::problem::Problem;
use collector_core::api::read::Read;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::turn::{Lane, Turns, blocking};
use crate::exposition::Format;
use crate::mutex::lock;

/// Pages whose parameters clients chose that are kept, and bytes of these. The oldest go first.
const CHOSEN: usize = 32;
const CHOSEN_BYTES: usize = 4 << 20;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    Metrics(Format),
    /// JSON.
    Api(Read),
}

impl Page {
    fn is_chosen(&self) -> bool {
        matches!(self, Page::Api(read) if read.is_chosen())
    }
}

/// A rendered page: its body, or what is wrong with what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub bytes: Bytes,
}

impl Answer {
    pub fn ok(bytes: impl Into<Bytes>) -> Answer {
        Answer { status: StatusCode::OK, bytes: bytes.into() }
    }

    pub fn json(answer: &impl Serialize) -> Answer {
        match serde_json::to_vec(answer) {
            Ok(bytes) => Answer::ok(bytes),
            Err(error) => Problem::new(500, format!("the answer cannot be written: {error}")).into(),
        }
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Answer {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        // Strings and numbers only: serialization cannot fail.
        Answer { status, bytes: serde_json::to_vec(&problem).unwrap_or_default().into() }
    }
}

/// What rendering a page from a snapshot comes to.
pub enum Rendering {
    Done(Answer),
    /// It also takes something that may be slow, for which no snapshot is held.
    Slow {
        lane: Lane,
        /// Completes the answer.
        complete: Box<dyn FnOnce() -> Answer + Send>,
        /// The answer if that takes too long, or too many wait for it.
        late: Box<dyn FnOnce() -> Answer + Send>,
    },
}

impl From<Answer> for Rendering {
    fn from(answer: Answer) -> Rendering {
        Rendering::Done(answer)
    }
}

/// The pages of one snapshot, each rendered on first request, by age.
#[derive(Debug, Default)]
pub struct Pages(Mutex<Vec<(Page, Arc<Forms>)>>);

/// A page, plain and compressed with gzip.
#[derive(Debug, Default)]
struct Forms {
    plain: Once,
    gzip: Once,
}

impl Pages {
    fn find(&self, page: &Page) -> Option<Arc<Forms>> {
        lock(&self.0).iter().find(|(other, _)| other == page).map(|(_, forms)| forms.clone())
    }

    fn find_or_begin(&self, page: &Page) -> Arc<Forms> {
        let mut kept = lock(&self.0);
        if let Some((_, forms)) = kept.iter().find(|(other, _)| other == page) {
            return forms.clone();
        }
        if page.is_chosen() {
            make_room(&mut kept);
        }
        let forms = Arc::<Forms>::default();
        kept.push((page.clone(), forms.clone()));
        forms
    }

    /// The body of a page, if its rendering has begun.
    pub(super) fn begun(&self, page: &Page) -> Option<Body> {
        self.find(page)?.plain.begun()
    }

    /// A page, rendered by `render` if needed, within `permit`, and then passed on by `keep`; none if rendering panicked. What
    /// is slow waits for its turn without `permit`, if there is a place to wait.
    pub async fn plain(
        &self,
        page: &Page,
        permit: OwnedSemaphorePermit,
        render: impl FnOnce() -> Rendering + Send + 'static,
        turns: &Turns,
        keep: impl FnOnce(Bytes) -> Bytes + Send + 'static,
    ) -> Option<Answer> {
        let turns = turns.clone();
        let make = async move {
            let first = move || match render() {
                Rendering::Done(answer) => Ok(answer),
                // Without a place it is answered within the permit: what waits keeps what it was rendered from.
                Rendering::Slow { lane, complete, late } => match turns.place(lane) {
                    Some(place) => Err((place, complete, late)),
                    None => {
                        drop(complete);
                        Ok(late())
                    }
                },
            };
            let Answer { status, bytes } = match blocking(permit, first).await? {
                Ok(answer) => answer,
                Err((place, complete, late)) => match place.complete(complete).await {
                    Some(answer) => answer?,
                    None => blocking((), late).await?,
                },
            };
            Some(Answer { status, bytes: keep(bytes) })
        };
        finished(self.find_or_begin(page).plain.begin(make)).await
    }

    /// The same page, compressed with gzip and then passed on by `keep`. `permits` bounds concurrent rendering.
    pub(super) async fn gzip(
        &self,
        page: &Page,
        permits: &Arc<Semaphore>,
        plain: Answer,
        keep: impl FnOnce(Bytes) -> Bytes + Send + 'static,
    ) -> Option<Answer> {
        let permit = permits.clone().acquire_owned();
        let pack = move || {
            let bytes = gzip(&plain.bytes).map(|packed| keep(packed.into())).ok()?;
            Some(Answer { status: plain.status, bytes })
        };
        let make = async { blocking(permit.await.ok()?, pack).await? };
        finished(self.find_or_begin(page).gzip.begin(make)).await
    }
}

/// Forgets the oldest pages with chosen parameters, so that there is room for another. Those who read them keep them.
fn make_room(kept: &mut Vec<(Page, Arc<Forms>)>) {
    loop {
        let chosen = || kept.iter().filter(|(page, _)| page.is_chosen());
        let bytes: usize = chosen().map(|(_, forms)| forms.plain.bytes() + forms.gzip.bytes()).sum();
        if chosen().count() < CHOSEN && bytes < CHOSEN_BYTES {
            return;
        }
        let Some(oldest) = kept.iter().position(|(page, _)| page.is_chosen()) else { return };
        kept.remove(oldest);
    }
}

pub(super) async fn finished(mut body: Body) -> Option<Answer> {
    body.wait_for(Option::is_some).await.ok()?.clone()
}

fn gzip(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

/// A finished or pending body. The sender is dropped without a value if rendering failed.
pub(super) type Body = watch::Receiver<Option<Answer>>;

/// A body that is rendered once.
#[derive(Debug, Default)]
struct Once(Mutex<Option<Body>>);

impl Once {
    fn begun(&self) -> Option<Body> {
        Once::present(&lock(&self.0))
    }

    /// The size of the finished body.
    fn bytes(&self) -> usize {
        let body = lock(&self.0).clone();
        body.and_then(|body| Some(body.borrow().as_ref()?.bytes.len())).unwrap_or(0)
    }

    fn present(slot: &Option<Body>) -> Option<Body> {
        slot.as_ref().filter(|body| body.borrow().is_some() || body.has_changed().is_ok()).cloned()
    }

    /// Returns the finished or pending body, or starts rendering. Rendering goes on even if all clients disconnect.
    fn begin(&self, make: impl Future<Output = Option<Answer>> + Send + 'static) -> Body {
        let mut slot = lock(&self.0);
        if let Some(body) = Once::present(&slot) {
            return body;
        }
        let (sender, body) = watch::channel(None);
        *slot = Some(body.clone());
        tokio::spawn(async move {
            // Without a value the sender's end says that it failed.
            if let Some(made) = make.await {
                sender.send_replace(Some(made));
            }
        });
        body
    }
}

#[cfg(test)]
mod tests {
    use super::super::turn::PLACES;
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const PAGE: &Page = &Page::Api(Read::Workloads);

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
                    Answer::ok(vec![b'x'; 5000]).into()
                };
                let permit = permits.clone().acquire_owned().await.unwrap();
                let plain = pages.plain(PAGE, permit, render, &Turns::default(), |bytes| bytes).await.unwrap();
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
        let place = |answer: &Answer| answer.bytes.as_ptr();
        assert_eq!((place(&plain), place(&gzip)), (place(&other_plain), place(&other_gzip)));
        assert!(gzip.bytes.len() < plain.bytes.len() / 10);
        assert_eq!(renders.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_panic_fails_one_request_and_the_next_tries_again() {
        let (pages, permits) = (Pages::default(), permits());
        let permit = async || permits.clone().acquire_owned().await.unwrap();
        let plain = async |render: fn() -> Rendering| {
            pages.plain(PAGE, permit().await, render, &Turns::default(), |bytes| bytes).await
        };
        assert_eq!(plain(|| panic!("provoked by a test")).await, None);
        let body = plain(|| Answer::ok("well").into()).await;
        assert_eq!(body, Some(Answer::ok("well")));
        // Both permits are released.
        let _ = permits.acquire_many(2).await.unwrap();
    }
    #[tokio::test]
    async fn what_clients_choose_takes_bounded_room_and_nobody_elses() {
        let (pages, permits) = (Pages::default(), permits());
        let render = async |page: &Page, size| {
            let permit = permits.clone().acquire_owned().await.unwrap();
            let render = move || Answer::ok(vec![b'x'; size]).into();
            pages.plain(page, permit, render, &Turns::default(), |bytes| bytes).await.unwrap()
        };
        let chosen = |number: usize| Page::Api(Read::Workload(number.to_string().into()));
        let kept = |page: &Page| pages.begun(page).is_some();
        render(PAGE, 10).await;
        for number in 0..2 * CHOSEN {
            render(&chosen(number), 10).await;
        }
        assert!(kept(PAGE) && !kept(&chosen(0)) && !kept(&chosen(CHOSEN - 1)) && kept(&chosen(CHOSEN)));
        assert_eq!(lock(&pages.0).len(), 1 + CHOSEN);
        render(&chosen(1000), CHOSEN_BYTES).await;
        assert!(kept(&chosen(1000)), "until something else needs its room");
        render(&chosen(1001), 10).await;
        assert!(kept(PAGE) && !kept(&chosen(1000)) && kept(&chosen(1001)));
        assert_eq!(lock(&pages.0).len(), 2);
    }

    /// What a page needs that is slow, until it is let go.
    fn slow(lane: Lane, answers: mpsc::Receiver<&'static str>) -> Rendering {
        Rendering::Slow {
            lane,
            complete: Box::new(move || Answer::ok(answers.recv().unwrap())),
            late: Box::new(|| Answer::ok("late")),
        }
    }

    #[tokio::test]
    async fn what_is_slow_holds_no_permit_and_has_a_bound() {
        let (one, turns) = (Arc::new(Semaphore::new(1)), Turns::default());
        let pages = Arc::new(Pages::default());
        let ask = |page: Page, render: Box<dyn FnOnce() -> Rendering + Send>| {
            let (pages, one, turns) = (pages.clone(), one.clone(), turns.clone());
            tokio::spawn(async move {
                let permit = one.acquire_owned().await.unwrap();
                pages.plain(&page, permit, render, &turns, |bytes| bytes).await.unwrap()
            })
        };
        let page = |name: &str| Page::Api(Read::Workload(name.into()));
        let (go_on, answers) = mpsc::channel();
        let hung = ask(page("hung"), Box::new(move || slow(Lane::Disk, answers)));
        let other = ask(page("other"), Box::new(|| Answer::ok("at once").into()));
        assert_eq!(other.await.unwrap(), Answer::ok("at once"));
        let (go, answers) = mpsc::channel();
        go.send("completed").unwrap();
        let aside = ask(page("aside"), Box::new(move || slow(Lane::Processes, answers)));
        assert_eq!(aside.await.unwrap(), Answer::ok("completed"));
        let (_never, answers) = mpsc::channel();
        let behind = ask(page("behind"), Box::new(move || slow(Lane::Disk, answers)));
        assert_eq!((hung.await.unwrap(), behind.await.unwrap()), (Answer::ok("late"), Answer::ok("late")));
        go_on.send("completed").unwrap();
        let (go_on, answers) = mpsc::channel();
        go_on.send("completed").unwrap();
        assert_eq!(
            ask(page("next"), Box::new(move || slow(Lane::Disk, answers))).await.unwrap(),
            Answer::ok("completed")
        );
    }

    #[tokio::test]
    async fn few_wait_for_what_is_slow_and_others_are_answered_at_once() {
        // One at a time: whoever is rendered finds those before in their places.
        let (pages, one, turns) = (Arc::new(Pages::default()), Arc::new(Semaphore::new(1)), Turns::default());
        let ask = |number: usize| {
            let (pages, one, turns) = (pages.clone(), one.clone(), turns.clone());
            let (go_on, answers) = mpsc::channel();
            let asked = tokio::spawn(async move {
                let permit = one.acquire_owned().await.unwrap();
                let page = Page::Api(Read::Workload(number.to_string().into()));
                let render = move || slow(Lane::Disk, answers);
                pages.plain(&page, permit, render, &turns, |bytes| bytes).await.unwrap()
            });
            (go_on, asked)
        };
        let waiting: Vec<_> = (0..PLACES).map(ask).collect();
        let (_never, refused) = ask(PLACES);
        assert_eq!(refused.await.unwrap(), Answer::ok("late"));
        waiting.iter().for_each(|(go_on, _)| go_on.send("completed").unwrap());
        for (_, asked) in waiting {
            assert_eq!(asked.await.unwrap(), Answer::ok("completed"), "its time is not over");
        }
        let (go_on, next) = ask(PLACES + 1);
        go_on.send("completed").unwrap();
        assert_eq!(next.await.unwrap(), Answer::ok("completed"), "there is a place again");
    }
}

//! The HTTP thread with its own runtime: sockets, TLS, rendering and compression never run on the thread that drains the rings.

use std::future::pending;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use collector_core::sample::{self, Reading, Sample};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::clock;
use crate::http::access::Access;
use crate::http::{Door, Exposition, Hosts, Limits, POOL, Tally, serve};

/// Handle of the thread. After a drop, the thread ends within its grace period.
pub struct Endpoint {
    stop: oneshot::Sender<()>,
    /// None after the thread has ended.
    ended: Option<oneshot::Receiver<Result<()>>>,
    thread: JoinHandle<()>,
    report: Report,
}

impl Endpoint {
    pub fn start(
        doors: Vec<Door>,
        access: Arc<Access>,
        hosts: Hosts,
        exposition: Arc<dyn Exposition>,
        limits: Limits,
        tally: Arc<Tally>,
    ) -> Result<Endpoint> {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().thread_name("serve-pool").max_blocking_threads(POOL);
        let runtime = builder.build().context("start the runtime that serves")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let report = Report { tally: tally.clone(), denied: [0; 3], last: None };
        let run = move || {
            let stopped = async { drop(stopped.await) };
            let served = runtime.block_on(serve(doors, access, hosts, exposition, limits, tally, stopped));
            // Do not wait for a password check or a hung disk.
            runtime.shutdown_background();
            let _ = end.send(served.context("the HTTP endpoint"));
        };
        let thread = thread::Builder::new().name("serve".into()).spawn(run).context("start the thread that serves")?;
        Ok(Endpoint { stop, ended: Some(ended), thread, report })
    }

    /// Resolves when the thread ends unexpectedly, with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        let Some(ended) = &mut self.ended else { return pending().await };
        let how = ended.await;
        self.ended = None;
        verdict(how).err().unwrap_or_else(|| anyhow!("the HTTP endpoint ended unexpectedly"))
    }

    /// Emits what changed since the last call.
    pub fn read(&mut self, fold: &mut dyn FnMut(Sample)) {
        if let Some(changed) = self.report.read() {
            fold(Sample { time: clock::unix_ns(), reading: Reading::Endpoint(changed) });
        }
    }

    /// Stops the thread. The future resolves when it has ended.
    pub fn stop(self) -> impl Future<Output = Result<()>> {
        let Endpoint { stop, ended, thread, .. } = self;
        drop(stop);
        async move {
            let how = match ended {
                Some(ended) => verdict(ended.await),
                None => Ok(()),
            };
            // The thread has finished its work, so this returns at once.
            let _ = thread.join();
            how
        }
    }
}

/// What was reported of the tally.
struct Report {
    tally: Arc<Tally>,
    /// Denials by then.
    denied: [u64; 3],
    last: Option<sample::Endpoint>,
}

impl Report {
    /// The growth, if anything is new.
    fn read(&mut self) -> Option<sample::Endpoint> {
        let [handshake, host, password] = self.tally.denials.counts();
        let [handshakes, hosts, passwords] = std::mem::replace(&mut self.denied, [handshake, host, password]);
        let open = |label| self.tally.is_open(label);
        let now = sample::Endpoint {
            handshake: handshake - handshakes,
            host: host - hosts,
            password: password - passwords,
            tcp: open("tcp"),
            socket: open("socket"),
        };
        let still = sample::Endpoint { tcp: now.tcp, socket: now.socket, ..Default::default() };
        let known = self.last.replace(still.clone());
        (now != still || known != Some(still)).then_some(now)
    }
}

fn verdict(ended: Result<Result<()>, oneshot::error::RecvError>) -> Result<()> {
    ended.unwrap_or_else(|_| Err(anyhow!("the HTTP thread panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Denial, Peer};

    #[tokio::test]
    async fn a_panic_is_reported_once_and_stop_then_returns_at_once() {
        let (stop, _stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let _end = end;
            panic!("provoked by a test");
        });
        let report = Report { tally: Arc::default(), denied: [0; 3], last: None };
        let mut endpoint = Endpoint { stop, ended: Some(ended), thread, report };
        assert!(endpoint.failed().await.to_string().contains("panicked"));
        assert!(endpoint.stop().await.is_ok());
    }

    #[test]
    fn a_report_has_the_growth_and_only_if_something_is_new() {
        let tally = Arc::<Tally>::default();
        let mut report = Report { tally: tally.clone(), denied: [0; 3], last: None };
        let state = |tcp, password| sample::Endpoint { tcp, password, ..Default::default() };
        assert_eq!(report.read(), Some(state(None, 0)), "zeros are known from the first on");
        assert_eq!(report.read(), None);
        tally.listener("tcp", false);
        assert_eq!(report.read(), Some(state(Some(false), 0)));
        (0..2).for_each(|_| tally.denials.add(Denial::Password, Peer::User(7)));
        tally.listener("tcp", true);
        assert_eq!(report.read(), Some(state(Some(true), 2)));
        assert_eq!(report.read(), None);
    }
}

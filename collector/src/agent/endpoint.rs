//! The HTTP thread with its own runtime: sockets, TLS, rendering and compression never run on the thread that drains the rings.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::http::access::Access;
use crate::http::{Exposition, Limits, Listener, POOL, serve};

/// Handle of the thread. After a drop, the thread ends within its grace period.
pub struct Endpoint {
    stop: oneshot::Sender<()>,
    /// None after the thread has ended.
    ended: Option<oneshot::Receiver<Result<()>>>,
    thread: JoinHandle<()>,
}

impl Endpoint {
    pub fn start(
        listener: Listener,
        access: Arc<Access>,
        exposition: Arc<dyn Exposition>,
        shed: Arc<AtomicU64>,
    ) -> Result<Endpoint> {
        let mut builder = Builder::new_current_thread();
        builder.enable_all().thread_name("serve-pool").max_blocking_threads(POOL);
        let runtime = builder.build().context("start the runtime that serves")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let run = move || {
            let stopped = async { drop(stopped.await) };
            let served = runtime.block_on(serve(listener, access, exposition, Limits::default(), shed, stopped));
            // Do not wait for a password check or a hung disk.
            runtime.shutdown_background();
            let _ = end.send(served.context("the HTTP endpoint"));
        };
        let thread = thread::Builder::new().name("serve".into()).spawn(run).context("start the thread that serves")?;
        Ok(Endpoint { stop, ended: Some(ended), thread })
    }

    /// Resolves when the thread ends unexpectedly, with the reason.
    pub async fn failed(&mut self) -> anyhow::Error {
        let Some(ended) = &mut self.ended else { return pending().await };
        let how = ended.await;
        self.ended = None;
        verdict(how).err().unwrap_or_else(|| anyhow!("the HTTP endpoint ended unexpectedly"))
    }

    /// Stops the thread. The future resolves when it has ended.
    pub fn stop(self) -> impl Future<Output = Result<()>> {
        let Endpoint { stop, ended, thread } = self;
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

fn verdict(ended: Result<Result<()>, oneshot::error::RecvError>) -> Result<()> {
    ended.unwrap_or_else(|_| Err(anyhow!("the HTTP thread panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_reported_once_and_stop_then_returns_at_once() {
        let (stop, _stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let _end = end;
            panic!("provoked by a test");
        });
        let mut endpoint = Endpoint { stop, ended: Some(ended), thread };
        assert!(endpoint.failed().await.to_string().contains("panicked"));
        assert!(endpoint.stop().await.is_ok());
    }
}

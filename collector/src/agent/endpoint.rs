//! The thread that serves HTTP, with a runtime of its own: sockets, TLS, rendering and compression never run where rings
//! are drained.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result, anyhow};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::http::access::Access;
use crate::http::{Exposition, Limits, Listener, POOL, serve};

/// The thread, as the fold loop sees it. Dropped, it ends after its grace.
pub struct Endpoint {
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<()>>,
    thread: JoinHandle<()>,
}

impl Endpoint {
    /// Starts to answer.
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
            // Neither a password that is being checked nor a disk that hangs is waited for.
            runtime.shutdown_background();
            let _ = end.send(served.context("the HTTP endpoint"));
        };
        let thread = thread::Builder::new().name("serve".into()).spawn(run).context("start the thread that serves")?;
        Ok(Endpoint { stop, ended, thread })
    }

    /// Waits for its end, which nobody asked for, and says why.
    pub async fn failed(&mut self) -> anyhow::Error {
        match (&mut self.ended).await {
            Ok(Ok(())) => anyhow!("the HTTP endpoint ended by itself"),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("the HTTP endpoint panicked"),
        }
    }

    /// Tells it to stop, and gives what resolves when it has.
    pub fn stop(self) -> impl Future<Output = Result<()>> {
        let Endpoint { stop, ended, thread } = self;
        drop(stop);
        async move {
            let ended = ended.await.unwrap_or_else(|_| Err(anyhow!("the HTTP endpoint panicked")));
            // There is nothing left for it to do.
            let _ = thread.join();
            ended
        }
    }
}

//! TLS handshakes on a thread of their own, one at a time: each costs up to milliseconds of CPU time before the client has shown
//! who it is. Knows nothing of what is served.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::clock;

/// Where that is allowed, the thread yields to those that read the rings and answer.
const NICE: i32 = 10;
/// More handshakes than these at the same time are a flood, and get half a CPU at most.
const FEW: usize = 4;

pub struct Handshakes {
    thread: Handle,
    present: Arc<AtomicUsize>,
    /// Ends the thread when dropped.
    _stop: oneshot::Sender<()>,
}

impl Handshakes {
    pub fn start() -> io::Result<Handshakes> {
        let runtime = Builder::new_current_thread().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("tls".into()).spawn(move || {
            // The systemd unit does not allow it. Then a flood of handshakes competes with the other threads on equal terms, with
            // half a CPU at most: no reason not to serve.
            let _ = rustix::process::setpriority_process(None, NICE);
            runtime.block_on(async { drop(stopped.await) });
        })?;
        Ok(Handshakes { thread: handle, present: Arc::default(), _stop: stop })
    }

    /// Cancelled with the future that it returns.
    pub async fn shake<S>(&self, tls: Arc<ServerConfig>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let present = Present::new(&self.present);
        let mut task = JoinSet::new();
        task.spawn_on(
            async move { Measured { shake: pin!(TlsAcceptor::from(tls).accept(stream)), present }.await },
            &self.thread,
        );
        match task.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(io::Error::other(error)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Counts a handshake as long as it lasts.
struct Present(Arc<AtomicUsize>);

impl Present {
    fn new(all: &Arc<AtomicUsize>) -> Present {
        all.fetch_add(1, Ordering::Relaxed);
        Present(all.clone())
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// In a flood the thread rests after each step for as long as that took.
struct Measured<'a, F> {
    shake: Pin<&'a mut F>,
    present: Present,
}

impl<F: Future> Future for Measured<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let begun = clock::thread_ns();
        let polled = self.shake.as_mut().poll(context);
        if self.present.0.load(Ordering::Relaxed) > FEW {
            thread::sleep(Duration::from_nanos(clock::thread_ns().saturating_sub(begun)));
        }
        polled
    }
}

//! `headroom act serve`: the socket, whom the kernel says is at its other end, and the signals that end it. Knows HTTP, no change.

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::body::Body;
use collector_core::act::{Caller, Policy};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::policy;
use super::process;
use super::route::{Desk, router};
use super::worker::{Work, Worker};
use crate::exit::{Exit, Failure};
use crate::http::{Listener, groups};
use crate::privilege;
use crate::service::Manager;

/// Connections at the same time.
const MOST: usize = 64;
/// How long one connection may take: a change, and those before it.
const LONGEST: Duration = Duration::from_secs(60);
const HEAD: Duration = Duration::from_secs(5);
const HEAD_BYTES: usize = 16 * 1024;
/// Root, and the socket's owner.
const OWNER: u32 = 0o600;
/// Members of a group, too.
const GROUP: u32 = 0o660;
const LOCK: &str = "lock";

pub struct Options {
    pub socket: PathBuf,
    pub policy: PathBuf,
    pub journal: PathBuf,
}

/// Serves until SIGTERM or SIGINT. What was changed stays changed.
pub fn serve(options: &Options) -> Result<(), Failure> {
    if !rustix::process::geteuid().is_root() {
        let error = anyhow::anyhow!("the actuator changes cgroups of all users, which only root may do");
        return Err(Failure::new(Exit::Privilege, error).hint("start it with `systemctl start headroom-act.socket`"));
    }
    crate::private::folder(&options.journal).with_context(|| format!("create {}", options.journal.display()))?;
    let _lock = privilege::lock(&options.journal.join(LOCK), None)?;
    // No file of its own is for others.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let listener = listener(options)?;
    let (work, thread, ended) = Worker::start(&options.journal, options.policy.clone())?;
    let desk: Desk = Arc::new(work);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let mut manager = Manager::new();
    let served = runtime.block_on(async {
        let socket = listener.unix().context("the socket is none")?.context("open the socket")?;
        let socket = UnixListener::from_std(socket).context("listen on the socket")?;
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        manager.round();
        tracing::info!("the actuator listens on {}", listener.address());
        let router = router(desk.clone());
        tokio::select! {
            () = accept(&socket, &router) => {}
            _ = term.recv() => {}
            _ = int.recv() => {}
            // Nothing is asked of it any more: the service manager starts another.
            _ = ended => anyhow::bail!("the thread that carries out changes has ended: this is a bug in headroom"),
        }
        manager.stopping();
        Ok::<_, anyhow::Error>(())
    });
    drop(listener);
    // Behind what is being done.
    let _ = desk.send(Work::Stop);
    let _ = thread.join();
    served.map_err(Failure::from)
}

/// The socket that the service manager opened, or one of its own.
fn listener(options: &Options) -> Result<Listener, Failure> {
    let policy = policy::read(&options.policy);
    let passed = Listener::inherited().context("take the socket of the service manager")?;
    if let Some(passed) = passed.into_iter().find(|listener| listener.unix().is_some()) {
        // Each request reads it again, and says what is wrong. To end here would take the socket away until somebody resets it.
        if let Err(error) = policy {
            tracing::error!("{error:#}: everything is refused until that is mended");
        }
        return Ok(passed);
    }
    let policy = policy.map_err(|error| {
        Failure::new(Exit::Config, error).hint("docs/act.md describes the policy; without one nothing can be allowed")
    })?;
    let path = &options.socket;
    let opened = Listener::bind_socket_for(path, OWNER).map_err(|error| Failure::new(Exit::Address, error))?;
    open_to(path, &policy).with_context(|| format!("let others connect to {}", path.display()))?;
    Ok(opened)
}

/// Root may always connect. The agent is the owner of the socket; a group may connect where the policy names one.
fn open_to(path: &Path, policy: &Policy) -> std::io::Result<()> {
    if policy.agent.is_some() || policy.group.is_some() {
        chown(path, policy.agent, policy.group)?;
    }
    match policy.group {
        Some(_) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(GROUP)),
        None => Ok(()),
    }
}

async fn accept(socket: &UnixListener, router: &Router) {
    let places = Arc::new(Semaphore::new(MOST));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("cannot accept connections: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let router = router.clone();
        tokio::spawn(async move {
            match timeout(LONGEST, connection(stream, router)).await {
                Ok(Err(error)) => tracing::debug!("connection failed: {error:#}"),
                Err(_) => tracing::debug!("connection timed out"),
                Ok(Ok(())) => {}
            }
            drop(place);
        });
    }
}

async fn connection(stream: UnixStream, router: Router) -> anyhow::Result<()> {
    let caller = caller(&stream)?;
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_else(|never| match never {}))
        }
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    Ok(served.await?)
}

/// Who connected, by the kernel's word.
fn caller(stream: &UnixStream) -> anyhow::Result<Caller> {
    let peer = stream.peer_cred().context("ask who it is")?;
    let pid = peer.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let mut gids = groups(stream.as_fd()).unwrap_or_default();
    gids.push(peer.gid());
    Ok(Caller { uid: peer.uid(), gids, pid, comm: process::comm(pid) })
}

//! The fold loop: waits for inputs and folds them, the most urgent first. Reads, folds and answers snapshot requests; it never
//! waits for a client or the journal's disk, only for the disk of a recording and the reader of the log.

use std::io;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};
use collector_core::pressure;
use collector_core::sample::{Reading, Sample};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};

use super::memory;
use super::start::Agent;
use crate::clock;

/// Runs until a signal stops the agent, or an error.
pub async fn run(agent: &mut Agent) -> Result<()> {
    let Agent {
        fold,
        round,
        health,
        history,
        asks,
        requests,
        stalls,
        restored,
        past,
        rings,
        terminate,
        interrupt,
        hangup,
        reload,
        manager,
        endpoint,
        pace,
        ..
    } = agent;
    let mut upkeep = memory::Upkeep::new();
    loop {
        // A round longer than a tick makes the next tick always due, and the arms below it would never run; so requests are answered
        // first.
        fold.answer_all(asks);
        fold.request_some(requests);
        tokio::select! {
            biased;
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            ready = readable(rings.as_ref().map(|rings| &rings.critical)) => {
                let more = round.drain_critical(&mut |sample| fold.apply(sample));
                ready.context("wait for the critical ring")?.retain_ready_if(more);
            }
            // Without triggers the channel is closed, and select disables this branch.
            Some(stall) = stalls.recv() => {
                let reading = Reading::Pressure(pressure::Reading::Stall(stall));
                fold.apply(Sample { time: clock::unix_ns(), reading });
            }
            Some(past) = restored.recv() => fold.restore(past),
            Some(change) = past.recv() => {
                let reading = Reading::Past(Box::new(change));
                fold.apply(Sample { time: clock::unix_ns(), reading });
            }
            name = round.names.next() => fold.apply(name),
            due = pace.next() => {
                due.context("wait for the next tick")?;
                fold.round(|fold| {
                    health.read(fold);
                    history.iter().for_each(|history| history.read(fold));
                    endpoint.read(fold);
                    round.read(fold);
                });
                manager.round();
                upkeep.tick();
            },
            Some(ask) = asks.recv() => fold.answer(ask),
            Some(request) = requests.recv() => fold.request(request),
            Some(()) = hangup.recv() => reload.begin(manager),
            read = reload.read() => reload.apply(read, fold, manager),
            error = endpoint.failed() => return Err(error),
            ready = readable(rings.as_ref().map(|rings| &rings.bulk)) => {
                let more = round.drain_bulk(&mut |sample| fold.apply(sample));
                ready.context("wait for the bulk ring")?.retain_ready_if(more);
            }
        }
    }
}

/// Waits until a ring has records; forever if there is none.
async fn readable(ring: Option<&AsyncFd<OwnedFd>>) -> io::Result<AsyncFdReadyGuard<'_, OwnedFd>> {
    match ring {
        Some(ring) => ring.readable().await,
        None => std::future::pending().await,
    }
}

/// Keeps a ring's readiness while it holds more records.
trait Retain {
    fn retain_ready_if(self, more: bool);
}

impl Retain for AsyncFdReadyGuard<'_, OwnedFd> {
    fn retain_ready_if(mut self, more: bool) {
        if more { self.retain_ready() } else { self.clear_ready() }
    }
}

//! The shutdown, in order: requests in flight, a last round of readings, detaching the programs, pending deliveries.

use anyhow::Result;

use super::start::Agent;

pub async fn stop(agent: Agent) -> Result<()> {
    let Agent { mut fold, mut round, mut asks, mut requests, manager, endpoint, lock, .. } = agent;
    tracing::info!("stopping");
    manager.stopping();
    fold.stopping();
    let mut stopped = std::pin::pin!(endpoint.stop());
    let served = loop {
        tokio::select! {
            biased;
            served = &mut stopped => break served,
            // Answer requests in flight, within the grace period.
            Some(ask) = asks.recv() => fold.answer(ask),
            Some(request) = requests.recv() => fold.request(request),
        }
    };
    // Record and log what happened since the last round.
    fold.round(|fold| round.read(fold));
    fold.finish();
    // Dropping the round detaches the programs.
    drop(round);
    // Waits for the journal and the receivers, for a bounded time.
    fold.close();
    // Now another instance may start.
    drop(lock);
    served
}

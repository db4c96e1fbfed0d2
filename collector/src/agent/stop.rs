//! The shutdown: a last round, then whoever is still being answered, then the programs, then what is still to be delivered.

use anyhow::Result;

use super::start::Agent;

/// Ends it in order.
pub async fn stop(agent: Agent) -> Result<()> {
    let Agent { mut fold, mut round, mut asks, manager, endpoint, lock, .. } = agent;
    tracing::info!("stopping");
    manager.stopping();
    // What came in since the last round is still worth recording and logging.
    fold.round(|fold| round.read(fold));
    fold.finish();
    let mut stopped = std::pin::pin!(endpoint.stop());
    let served = loop {
        tokio::select! {
            biased;
            served = &mut stopped => break served,
            // Requests in flight have a moment to be answered.
            Some(ask) = asks.recv() => fold.answer(ask),
        }
    };
    // Dropping the round detaches the programs.
    drop(round);
    // It waits for the journal and for receivers, though not for long; nothing else is left to do.
    fold.close();
    // From here on another instance may start.
    drop(lock);
    served
}

//! The audit of isolation over time: made whenever advice is judged, which is once a minute at most. Knows no check.

use std::sync::Arc;

use crate::audit::Audit;
use crate::isolation;
use crate::view::View;

/// At a tick, after advice.
pub(super) fn tick(view: &mut View, time: u64) {
    if view.advice.judged == time && view.audit.time != time {
        view.audit = Audit { time, checks: Arc::new(isolation::audit(view)) };
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test::engine;
    use crate::sample::{Reading, Sample};

    #[test]
    fn it_is_made_once_the_host_was_read_and_then_once_a_minute() {
        let mut engine = engine();
        let mut times = Vec::new();
        for second in 0..140 {
            engine.apply(&Sample { time: 10 + second * 1_000_000_000, reading: Reading::Tick });
            let audit = &engine.view().audit;
            times.push(audit.time / 1_000_000_000);
            assert_eq!(audit.checks.len(), if audit.time == 0 { 0 } else { crate::isolation::CHECKS.len() });
        }
        times.dedup();
        assert_eq!(times, [0, 10, 70, 130]);
    }
}

//! Whether what isolates workloads acts on this host, by check.

use super::row::{Detail, Kind, Metric, Value};

pub const STATE: Metric = Metric {
    name: "headroom_isolation_state",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "1 for the state that a check of isolation is in: holds, fails (limits, weights or protections do nothing, or do harm), not_known, \
           unused (there is nothing to judge). Judged once a minute. `/api/v1/coverage` and `headroom doctor` say for whom, and what to do.",
    labels: &["check", "state"],
    needs: &[],
    read: |view, emit| {
        let mut checks = view.audit.checks.iter();
        checks.try_for_each(|audited| emit.gauge(&[&audited.check, audited.state.label()], Value::Int(1)))
    },
};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::{Audit, Audited, State};
    use crate::metric::visit::{Part, visit};
    use crate::view::View;

    #[test]
    fn each_check_has_one_series() {
        let audited = |check: &str, state| Audited {
            check: check.to_owned(),
            state,
            is: String::new(),
            holds: 0,
            fails: Vec::new(),
            not_known: Vec::new(),
            left_out: 0,
        };
        let checks = vec![audited("a", State::Fails), audited("b", State::Unused)];
        let view = View { audit: Audit { time: 1, checks: Arc::new(checks) }, ..View::default() };
        let mut found = Vec::new();
        visit(&view, &STATE, Part::Whole, &mut |labels, number, _| found.push((labels.join(","), number)));
        assert_eq!(found, [("a,fails".to_owned(), 1.0), ("b,unused".to_owned(), 1.0)]);
    }
}

//! Circuit breakers of units that failed lately.

use super::row::{Detail, Kind, Metric, Value};

pub const STATE: Metric = Metric {
    name: "headroom_circuit_state",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Whether a unit that failed within the last ten minutes may start: 0 it may, 1 one may, to see whether it works again, or that \
           one runs, 2 it may not yet. Units of users other than root begin with user-UID/.",
    labels: &["unit"],
    needs: &[],
    read: |view, emit| {
        for seen in view.circuits.iter(view.leases.now).filter(|seen| !seen.causes.is_empty()).take(MOST) {
            let value = Value::Int(seen.state.number());
            match seen.uid {
                0 => emit.gauge(&[seen.unit], value)?,
                // Nobody's unit looks like another's.
                uid => emit.gauge(&[&format!("user-{uid}/{}", seen.unit)], value)?,
            }
        }
        Ok(())
    },
};

/// Series at most. Root's come first.
const MOST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breaker::{ended, started};
    use crate::circuit::Cause;
    use crate::metric::visit::{Part, visit};
    use crate::view::View;

    #[test]
    fn only_units_that_failed_have_a_series_and_users_are_told_apart() {
        let (mut view, time) = (View::default(), 1_000_000_000_000);
        view.leases.now = time;
        started(&mut view.circuits, time, 0, "good", 1);
        ended(&mut view.circuits, time, 0, "bad", None, Some(Cause::Oom));
        (0..3).for_each(|_| ended(&mut view.circuits, time, 1000, "bad", None, Some(Cause::Oom)));
        let mut found = Vec::new();
        visit(&view, &STATE, Part::Whole, &mut |labels, number, _| found.push((labels.join(","), number)));
        assert_eq!(found, [("bad".to_owned(), 0.0), ("user-1000/bad".to_owned(), 2.0)]);
    }
}

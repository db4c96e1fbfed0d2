//! Advice: how much of it holds, how much was followed, and how much could not be judged. What it would have saved is in the API alone: two
//! rules may save the same stalls, and a sum would count them twice.

use std::collections::BTreeMap;

use super::row::{Detail, Kind, Metric, Value};
use crate::standing::State;

pub const ADVICE: Metric = Metric {
    labels: &["rule", "confidence", "risk"],
    read: |view, emit| {
        let mut counts: BTreeMap<[&str; 3], u64> = BTreeMap::new();
        for advice in view.advice.holding().map(|standing| &standing.advice) {
            *counts.entry([&advice.rule, advice.confidence.label(), advice.risk.label()]).or_default() += 1;
        }
        counts.iter().try_for_each(|(labels, count)| emit.gauge(labels, Value::Int(*count)))
    },
    ..gauge(
        "headroom_advice",
        "Advice that holds: what to change on this host, by rule, how sure it is, and what may happen to somebody if it is followed. At \
         most 200 in all; rules that advise nothing have no series. `headroom advise` lists it with its evidence.",
    )
};

pub const FOLLOWED: Metric = Metric {
    read: |view, emit| {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        let followed = view.advice.standing.iter().filter(|standing| matches!(standing.state, State::Followed { .. }));
        followed.for_each(|standing| *counts.entry(&standing.advice.rule).or_default() += 1);
        counts.iter().try_for_each(|(rule, count)| emit.gauge(&[rule], Value::Int(*count)))
    },
    ..gauge(
        "headroom_advice_followed",
        "Advice that was followed within the last 8 days, by rule: what it advises to change was then seen at about the advised value.",
    )
};

pub const LACKING: Metric = Metric {
    read: |view, emit| {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        view.advice.lacking.iter().for_each(|lacking| *counts.entry(&lacking.rule).or_default() += 1);
        counts.iter().try_for_each(|(rule, count)| emit.gauge(&[rule], Value::Int(*count)))
    },
    ..gauge(
        "headroom_advice_lacking",
        "Workloads, GPUs and other objects that a rule for advice could not judge, because something is not known: 200 at most, 50 of one \
         user. `headroom advise --lacking` says what is missing.",
    )
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Gauge,
        unit: None,
        detail: Detail::Always,
        help,
        labels: &["rule"],
        needs: &[],
        read: |_, _| Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::action::Object;
    use crate::advice::{Confidence, Lacking};
    use crate::api::suggestions::tests::advice;
    use crate::metric::visit::{Part, visit};
    use crate::standing::Standing;
    use crate::view::View;

    fn series(view: &View, metric: &'static Metric) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        visit(view, metric, Part::Whole, &mut |labels, number, _| found.push((labels.join(","), number)));
        found
    }

    #[test]
    fn advice_that_holds_is_counted_by_rule_and_the_rest_apart() {
        let standing = [
            ("a", Confidence::High, State::Holds),
            ("b", Confidence::High, State::Holds),
            ("c", Confidence::Low, State::Holds),
            ("d", Confidence::High, State::Gone { at: 1 }),
        ];
        let standing = standing.map(|(name, sure, state)| Standing { advice: advice(name, sure), since: 1, state });
        let lacking = Lacking { rule: "r".to_owned(), object: Object::Host, missing: "a day".to_owned() };
        let mut view = View::default();
        view.advice.standing = Arc::new(standing.to_vec());
        view.advice.lacking = Arc::new(vec![lacking.clone(), lacking]);
        let of = |labels: &str, count| (labels.to_owned(), count);
        let wanted = [of("memory_limit_raise,high,low", 2.0), of("memory_limit_raise,low,low", 1.0)];
        assert_eq!(series(&view, &ADVICE), wanted);
        assert_eq!(series(&view, &FOLLOWED), []);
        assert_eq!(series(&view, &LACKING), [of("r", 2.0)]);
        assert_eq!(series(&View::default(), &ADVICE), [], "nothing was judged");
    }
}

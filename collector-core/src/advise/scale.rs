//! More or fewer instances of a model. Knows what `engine/scaling.rs` found; whoever runs them starts and stops them.

use super::{Given, Judged, Rule};
use crate::action::{Action, Kind, Object, Risk};
use crate::advice::{Advice, Confidence, Evidence, Origin, Unit};
use crate::amount::percent;

const NAME: &str = "model_scale";

pub(super) const RULES: &[Rule] = &[Rule {
    name: NAME,
    when: "The load of a model over the last minute is above scaling.above or below scaling.below, and there may be more or fewer instances.",
    needs: "A model server that tells its slots, or how full its KV cache is.",
    judge,
}];

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let limits = &given.view.scaling.limits;
    for (model, scaled) in &given.view.scaling.models {
        if scaled.desired == scaled.instances {
            continue;
        }
        let more = scaled.desired > scaled.instances;
        let (verb, bound, side) = match more {
            true => ("Start one more instance", limits.above, "above"),
            false => ("Stop one instance", limits.below, "below"),
        };
        let evidence = |what: &str, value: f64, unit, origin| Evidence { what: what.to_owned(), value, unit, origin };
        // Of one minute nobody knows whether it lasts; the cool-down is what it lasted before.
        judged.advice.push(Advice {
            id: format!("{NAME}:{model}"),
            rule: NAME.to_owned(),
            object: Object::Host,
            title: format!("{verb} of {model}: {} instead of {}", scaled.desired, scaled.instances),
            why: format!(
                "Its load was {} when it was decided or is now, {side} {} (scaling.{side}); the next change is {} s after the last one at the earliest.",
                percent(scaled.load),
                percent(bound),
                limits.cool_down_ns / 1_000_000_000
            ),
            evidence: vec![
                evidence("load of the last minute", scaled.load, Unit::Ratio, Origin::Measured),
                evidence("instances", scaled.instances as f64, Unit::Count, Origin::Measured),
                evidence("bound", bound, Unit::Ratio, Origin::Configured),
            ],
            saves: None,
            confidence: Confidence::Low,
            because: "It rests on minutes, not on days: an autoscaler that reads headroom_scaling_desired_instances does the same.".to_owned(),
            risk: if more { Risk::Medium } else { Risk::High },
            actions: vec![Action {
                kind: Kind::ByHand,
                object: Object::Host,
                key: Some("instances".to_owned()),
                before: Some(scaled.instances.to_string()),
                after: Some(scaled.desired.to_string()),
                risk: if more { Risk::Medium } else { Risk::High },
                undo: "Stop it, or start it again.".to_owned(),
                commands: Vec::new(),
            }],
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::past::Past;
    use crate::view::View;
    use crate::view::scaling::Scaled;

    #[test]
    fn it_is_said_only_while_there_are_too_few_or_too_many() {
        let of = |instances, desired| {
            let mut view = View::default();
            view.scaling.models.insert("m".into(), Scaled { instances, load: 0.9, desired, changed: 0 });
            let mut judged = Judged::default();
            judge(&Given { view: &view, past: &Past::default() }, &mut judged);
            judged.advice
        };
        assert!(of(2, 2).is_empty());
        let more = of(1, 2);
        assert!(more[0].title.starts_with("Start one more instance of m: 2 instead of 1"), "{}", more[0].title);
        assert_eq!((more[0].risk, of(2, 1)[0].risk), (Risk::Medium, Risk::High));
    }
}

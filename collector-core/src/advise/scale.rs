//! More or fewer instances of a model. Knows what `engine/scaling.rs` found; whoever runs them starts and stops them.

use super::{Given, Judged, Rule};
use crate::action::{Action, Kind, Object, Risk};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::amount::percent;

const NAME: &str = "model_scale";

pub(super) const RULES: &[Rule] = &[Rule {
    name: NAME,
    when: "The load of a model over the last minute is above scaling.above or below scaling.below, and there may be more or fewer instances; or there are fewer than scaling.least or more than scaling.most. Servers of users do not count.",
    needs: "A model server that is no user's, and tells its slots, or how full its KV cache is.",
    judge,
}];

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let limits = &given.view.scaling.limits;
    for (model, scaled) in &given.view.scaling.models {
        if scaled.desired == scaled.instances {
            continue;
        }
        let more = scaled.desired > scaled.instances;
        let most = limits.most.max(limits.least);
        // What is set decides, whatever the load is.
        let forced = match scaled.instances {
            instances if more && instances < limits.least => Some(("scaling.least", limits.least)),
            instances if !more && instances > most => Some(("scaling.most", most)),
            _ => None,
        };
        let (bound, side) = if more { (limits.above, "above") } else { (limits.below, "below") };
        let is_so = if more { scaled.load > bound } else { scaled.load < bound };
        // It was decided at another load.
        if forced.is_none() && !is_so {
            continue;
        }
        let verb = match (more, scaled.desired.abs_diff(scaled.instances)) {
            (true, 1) => "Start one more instance".to_owned(),
            (true, count) => format!("Start {count} more instances"),
            (false, 1) => "Stop one instance".to_owned(),
            (false, count) => format!("Stop {count} instances"),
        };
        let wait =
            format!("the next change is {} s after the last one at the earliest", limits.cool_down_ns / 1_000_000_000);
        let why = match forced {
            Some((name, value)) => format!("{name} is {value}, and there are {}; {wait}.", scaled.instances),
            None => {
                format!("Its load is {}, {side} {} (scaling.{side}); {wait}.", percent(scaled.load), percent(bound))
            }
        };
        let room = if more { " Whether a GPU has room for more was not checked." } else { "" };
        // Of one minute nobody knows whether it lasts; the cool-down is what it lasted before.
        judged.advice.push(Advice {
            id: format!("{NAME}:{model}"),
            rule: NAME.to_owned(),
            object: Object::Host,
            title: format!("{verb} of {model}: {} instead of {}.", scaled.desired, scaled.instances),
            why,
            evidence: vec![
                Evidence::measured("load of the last minute", scaled.load, Unit::Ratio),
                Evidence::measured("instances", scaled.instances as f64, Unit::Count),
                match forced {
                    Some((name, value)) => Evidence::configured(name, value as f64, Unit::Count),
                    None => Evidence::configured("bound", bound, Unit::Ratio),
                },
            ],
            saves: None,
            confidence: Confidence::Low,
            because: format!(
                "It rests on minutes, not on days: an autoscaler that reads headroom_scaling_desired_instances does the same.{room}"
            ),
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
        let of = |instances, desired, load| {
            let mut view = View::default();
            view.scaling.models.insert("m".into(), Scaled { instances, load, desired, changed: 0 });
            let mut judged = Judged::default();
            judge(&Given { view: &view, past: &Past::default() }, &mut judged);
            judged.advice.iter().for_each(Advice::assert_sentences);
            judged.advice
        };
        assert!(of(2, 2, 0.9).is_empty());
        assert!(of(1, 2, 0.5).is_empty() && of(2, 1, 0.9).is_empty(), "it was decided at another load");
        let more = of(1, 2, 0.9);
        assert!(more[0].title.starts_with("Start one more instance of m: 2 instead of 1"), "{}", more[0].title);
        assert!(more[0].because.contains("was not checked"), "{}", more[0].because);
        assert_eq!((more[0].risk, of(2, 1, 0.1)[0].risk), (Risk::Medium, Risk::High));
        let many = of(10, 8, 0.9);
        assert!(many[0].title.starts_with("Stop 2 instances of m: 8 instead of 10"), "{}", many[0].title);
        assert!(many[0].why.starts_with("scaling.most is 8, and there are 10;"), "{}", many[0].why);
    }
}

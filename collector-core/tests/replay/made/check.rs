//! What is advised about a host that is made up, and what is true of all advice, whatever host it is about. Knows no rule.

use std::collections::{BTreeMap, BTreeSet};

use collector_core::action::Kind;
use collector_core::advice::{Advice, Confidence};
use collector_core::advise::{Given, Judged};
use collector_core::engine::Engine;
use collector_core::recording;

use super::Host;

impl Host {
    /// What is advised. No two of them may change the same to different values, and none has the id of another.
    pub fn judged(&self) -> Judged {
        let judged = Judged::of(&Given { view: self.view(), past: &self.view().past });
        contradict_nobody(&judged);
        judged
    }

    /// What is advised where its recording is replayed.
    pub fn replayed(&self) -> Judged {
        let mut lines = Vec::new();
        for sample in &self.samples {
            serde_json::to_writer(&mut lines, sample).unwrap();
            lines.push(b'\n');
        }
        let mut engine = Engine::new();
        recording::samples(&lines[..]).for_each(|sample| drop(engine.apply(&sample.unwrap())));
        Judged::of(&Given { view: engine.view(), past: &engine.view().past })
    }

    /// These are advised with medium or high confidence, and nothing else is.
    pub fn expect(&self, ids: &[&str]) -> Judged {
        let judged = self.judged();
        let sure = judged.advice.iter().filter(|advice| advice.confidence >= Confidence::Medium);
        let found: BTreeSet<&str> = sure.map(|advice| &*advice.id).collect();
        assert_eq!(found, ids.iter().copied().collect(), "{:#?}", judged.advice);
        judged
    }
}

/// One advice, which must be there.
pub fn advice<'a>(judged: &'a Judged, id: &str) -> &'a Advice {
    let found = judged.advice.iter().find(|advice| advice.id == id);
    found.unwrap_or_else(|| panic!("no {id} in {:#?}", judged.advice))
}

/// What is true of all advice, whatever host it is about.
fn contradict_nobody(judged: &Judged) {
    let mut ids = BTreeSet::new();
    let mut changes = BTreeMap::<_, (&str, Option<String>)>::new();
    for advice in &judged.advice {
        assert!(ids.insert(&advice.id), "{} twice", advice.id);
        assert!(!advice.title.is_empty() && advice.title.ends_with('.') && advice.why.ends_with('.'), "{advice:#?}");
        assert!(advice.because.ends_with('.') && !advice.evidence.is_empty(), "{advice:#?}");
        assert!(!advice.actions.is_empty(), "{advice:#?}");
        assert!(advice.evidence.iter().all(|it| it.value.is_finite()), "{advice:#?}");
        if let Some(saves) = &advice.saves {
            let any = [saves.stall_seconds, saves.kills, saves.bytes, saves.watts];
            assert!(any.iter().any(Option::is_some) && !saves.assuming.is_empty(), "{advice:#?}");
        }
        // The first is what is advised; the others do the same in another way.
        let first = &advice.actions[0];
        if first.kind != Kind::ByHand && first.kind != Kind::Configure {
            let change = (first.object.to_string(), first.kind, first.key.clone());
            if let Some((other, after)) = changes.insert(change, (&advice.rule, first.after.clone())) {
                assert_eq!(after, first.after, "{other} and {} contradict each other", advice.rule);
            }
        }
    }
}

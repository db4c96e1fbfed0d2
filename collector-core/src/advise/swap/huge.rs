//! Transparent huge pages for which everybody has to wait.

use collector_common::histogram;

use crate::action::{Object, huge_pages_defrag};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::advise::draft::draft;
use crate::advise::{Given, Judged, Rule};
use crate::amount::duration;
use crate::statistic::host::Statistic;
use crate::view::number::{Known, Number};

pub(super) const DEFRAG: Rule = Rule {
    name: "huge_pages_defrag",
    when: "Huge pages are for everybody (enabled is always) and everybody waits until one is made (defrag is always), and tasks spent 5 s an hour or more in compaction since the agent started, an hour at least.",
    needs: "The program that sees compaction, and /sys/kernel/mm/transparent_hugepage.",
    judge,
};

const HOUR: f64 = 3600.0;
/// Seconds of all tasks in an hour.
const STALLS: f64 = 5.0;
const MANY: f64 = 60.0;
/// The numbers of [`Statistic::HugePagesEnabled`] and [`Statistic::HugePagesDefrag`].
const ALWAYS: [u64; 2] = [2, 4];

fn judge(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let settings = [Statistic::HugePagesEnabled, Statistic::HugePagesDefrag].map(|it| view.host.statistics.get(it));
    if settings != ALWAYS.map(Some) || !Known::of(&view.coverage).has(Number::CompactionStall) {
        return;
    }
    let ran = view.time.saturating_sub(view.started) as f64 / 1e9;
    let waited = view.host.compaction[histogram::SUM] as f64 / 1e9;
    if ran < HOUR {
        if waited >= STALLS {
            let missing = format!("an hour of compaction: the agent has run for {}", duration(ran));
            judged.lacks(DEFRAG.name, Object::Host, missing);
        }
        return;
    }
    let an_hour = waited / (ran / HOUR);
    if an_hour < STALLS {
        return;
    }
    let mut evidence = vec![Evidence::measured("time of tasks in compaction", waited, Unit::Seconds)];
    let held = view.host.statistics.get(Statistic::MemoryAnonHugePages);
    evidence.extend(held.map(|bytes| Evidence::measured("anonymous memory in huge pages", bytes as f64, Unit::Bytes)));
    let title = "Set transparent_hugepage/defrag from always to defer+madvise.".to_owned();
    let why = format!(
        "Tasks spent {} an hour in direct compaction. With defer+madvise only memory marked MADV_HUGEPAGE waits for it; the rest gets huge pages later, in the background.",
        duration(an_hour)
    );
    let confidence = if an_hour >= MANY { Confidence::High } else { Confidence::Medium };
    let because = "Compaction for other large allocations, of drivers and the network, goes on.".to_owned();
    let saves = Some(Saves {
        over_seconds: ran as u64,
        stall_seconds: Some(waited),
        assuming: "all of it was for huge pages of who did not ask for them".to_owned(),
        ..Saves::default()
    });
    let actions = vec![huge_pages_defrag(Some("always".to_owned()), "defer+madvise")];
    judged.advice.push(Advice {
        evidence,
        saves,
        confidence,
        because,
        ..draft(DEFRAG.name, Object::Host, actions, title, why)
    });
}

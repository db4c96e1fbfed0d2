//! Weights of IO that do nothing on the disk where they would be needed.

use super::draft::draft;
use super::{Given, Judged, Rule};
use crate::action::{self, Object};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::isolation::weight::{self, number};
use crate::past::DAY_NS;
use crate::view::View;
use crate::view::incident::{Culprit, Shared};

pub(super) const RULES: &[Rule] = &[Rule {
    name: INERT,
    when: "In the last seven days a workload waited for the IO of another, on a disk where weights of IO do nothing: its scheduler is not BFQ, and the kernel's cost model is off.",
    needs: "the disk's scheduler, and an incident whose cause names the disk",
    judge: inert,
}];

const INERT: &str = "io_weight_inert";

/// Days of incidents that count.
const WEEK_NS: u64 = 7 * DAY_NS;

fn inert(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let culprits: Vec<&Culprit> = recent(view).filter(|culprit| culprit.shared == Shared::Io).collect();
    let mut disks: Vec<&str> = culprits.iter().filter_map(|culprit| culprit.disk.as_deref()).collect();
    disks.sort_unstable();
    disks.dedup();
    for disk in disks {
        let object = Object::Disk(disk.to_owned());
        match weight::inert(view, disk) {
            Some(Ok(true)) => {}
            Some(Ok(false)) | None => continue,
            Some(Err(missing)) => {
                judged.lacks(INERT, object, missing);
                continue;
            }
        }
        let here: Vec<&&Culprit> = culprits.iter().filter(|culprit| culprit.disk.as_deref() == Some(disk)).collect();
        let Some(newest) = here.first() else { continue };
        let unified = view.workloads.memory_hierarchy() == 0;
        let Some(action) = action::io_weights(disk, number(view, disk).as_deref(), unified) else { continue };
        let title = format!("Let IO weights act on {disk}: with its scheduler they do nothing.");
        let why = format!(
            "{} slowed {} with its IO there{}. IOWeight=, io.weight and --blkio-weight act only with BFQ or the kernel's cost model.",
            newest.by,
            newest.victim,
            times(here.len()),
        );
        let evidence = vec![
            Evidence::measured(
                "incidents in 7 days in which one waited for another's IO there",
                here.len() as f64,
                Unit::Count,
            ),
            Evidence::configured("whether weights act on it (0: no)", 0.0, Unit::Count),
        ];
        let because =
            "That weights do nothing here is certain; how much they would have helped is not known.".to_owned();
        let advice = draft(INERT, object, vec![action], title, why);
        judged.advice.push(Advice { evidence, confidence: Confidence::Medium, because, ..advice });
    }
}

fn times(count: usize) -> String {
    if count == 1 { String::new() } else { format!(", and there were {} more such incidents in 7 days", count - 1) }
}

/// Culprits of the incidents of the last seven days, the newest first.
pub(super) fn recent(view: &View) -> impl Iterator<Item = &Culprit> {
    let since = view.time.saturating_sub(WEEK_NS);
    let kept = view.incidents.iter().filter(move |kept| kept.line.time >= since);
    kept.filter_map(|kept| kept.culprit.as_ref())
}

#[cfg(test)]
pub(super) mod tests;

//! Disks that fill, with when.

use super::draft::draft;
use super::{Given, Judged, Rule};
use crate::action::{self, Object, Risk};
use crate::advice::{Advice, Confidence, Evidence, Unit};
use crate::amount::{bytes, percent};
use crate::past::DAY_NS;
use crate::trend;
use crate::view::View;
use crate::view::host::used_ratio;

pub(super) const RULES: &[Rule] = &[Rule {
    name: FILLS,
    when: "By a line through its daily peaks of the last two weeks a filesystem is full within 14 days, and nothing cleaned it in that time.",
    needs: "three days of its use",
    judge: fills,
}];

const FILLS: &str = "disk_fills";

const DAY: f64 = 86_400.0;
/// Days of a filesystem's use that are needed, that count, and with which it is sure.
const LEAST_DAYS: usize = 3;
const DAYS: usize = 14;
const SURE_DAYS: usize = 7;
/// It is advised if it is full within so many days …
const WITHIN: f64 = 14.0;
/// … and the line explains so much of what its use did; or so much, to be sure.
const EXPLAINS: f64 = 0.5;
const SURE: f64 = 0.8;
/// Somebody cleans it if it fell by this share of its size from a day to the next.
const CLEANED: f64 = 0.05;
/// Of an almost empty one nothing is said, even if little is known.
const USED: f64 = 0.5;
/// The kubelet removes images from this share on, unless it is told otherwise.
const KUBELET: f64 = 0.85;

fn fills(given: &Given<'_>, judged: &mut Judged) {
    for (mountpoint, filesystem) in &given.view.host.filesystems {
        let Some(used) = filesystem.values.as_ref().and_then(used_ratio) else { continue };
        let object = Object::File(mountpoint.to_string());
        let days = given.past.disks.get(mountpoint).map(|days| &days[..]).unwrap_or_default();
        let days = &days[days.len().saturating_sub(DAYS)..];
        if days.len() < LEAST_DAYS {
            if used >= USED {
                judged.lacks(FILLS, object, format!("three days of its use: there are {}", days.len()));
            }
            continue;
        }
        let (Some(first), Some(last)) = (days.first(), days.last()) else { continue };
        let cleaned = days.windows(2).any(|pair| pair[0].used - pair[1].used >= CLEANED * last.size);
        let points: Vec<(f64, f64)> =
            days.iter().map(|day| (day.time.saturating_sub(first.time) as f64 / DAY_NS as f64, day.used)).collect();
        let Some(line) =
            trend::line(&points).filter(|line| !cleaned && line.between[0] > 0.0 && line.explains >= EXPLAINS)
        else {
            continue;
        };
        let left = (last.size - last.used).max(0.0);
        let (when, earliest) = (left / line.slope, left / line.between[1]);
        if when > WITHIN || last.size <= 0.0 {
            continue;
        }
        let (sure, known) = (days.len() >= SURE_DAYS && line.explains >= SURE, days.len());
        let kubelet = is_kubelets(given.view, mountpoint).then(|| {
            let at = (KUBELET * last.size - last.used).max(0.0) / line.slope;
            format!(
                " A kubelet removes unused images from {} on, in {}: that may help, or not.",
                percent(KUBELET),
                in_days(at)
            )
        });
        let more = line.slope * 30.0;
        let title = format!("Make room on {mountpoint}, or enlarge it: at this pace it is full in {}.", in_days(when));
        let why = format!(
            "It grew by {} a day on {known} days, and {} of {} are left.{}",
            bytes(line.slope as u64),
            bytes(left as u64),
            bytes(last.size as u64),
            kubelet.unwrap_or_default(),
        );
        let what =
            format!("{} less in use, or {} more space: a month at this pace", bytes(more as u64), bytes(more as u64));
        let mut by_hand = action::by_hand(object.clone(), what, Risk::Medium);
        by_hand.commands.extend(action::find_large(mountpoint));
        let evidence = vec![
            Evidence::measured("share in use now", used, Unit::Ratio),
            Evidence::computed("growth a day", line.slope, Unit::Bytes),
            Evidence::computed("until it is full, by the line", when * DAY, Unit::Seconds),
            Evidence::computed(
                "until it is full, at the earliest (one time in twenty sooner)",
                earliest * DAY,
                Unit::Seconds,
            ),
            Evidence::computed("share of its changes that the line explains", line.explains, Unit::Ratio),
        ];
        let (confidence, because) = match sure {
            true => (Confidence::High, format!("It grew steadily on {known} days.")),
            false => (
                Confidence::Medium,
                format!("There are {known} days, and the line explains {} of what happened.", percent(line.explains)),
            ),
        };
        judged.advice.push(Advice { evidence, confidence, because, ..draft(FILLS, object, vec![by_hand], title, why) });
    }
}

/// Whether a kubelet keeps its images there.
fn is_kubelets(view: &View, mountpoint: &str) -> bool {
    let holds =
        ["/", "/var", "/var/lib", "/var/lib/kubelet", "/var/lib/containerd", "/var/lib/docker"].contains(&mountpoint);
    holds && view.workloads.iter().any(|workload| workload.identity.pod_uid.is_some())
}

fn in_days(days: f64) -> String {
    match days {
        days if days < 1.0 => format!("{} h", (days * 24.0).round()),
        days => format!("{} days", days.round()),
    }
}

#[cfg(test)]
mod tests;

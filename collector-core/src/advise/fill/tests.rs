//! Disks that fill, that somebody cleans, and of which too little is known.

use std::sync::Arc;

use super::*;
use crate::advise::stage::{BEGAN, DAY as DAY_OF, Host};
use crate::past::disk::DiskDay;
use crate::sample::Reading;
use crate::statistic::filesystem;

const GIB: f64 = (1u64 << 30) as f64;

/// A filesystem of 100 GiB with so much in use on each day.
fn filling(used: &[f64]) -> Host {
    let mut host = Host::new(&["/system.slice/a.service"]);
    let last = used.last().copied().unwrap_or(60.0);
    let free = ((100.0 - last) * GIB) as u64;
    let values = [
        (filesystem::Statistic::Size, 100 << 30),
        (filesystem::Statistic::Free, free),
        (filesystem::Statistic::Available, free),
    ];
    let state = filesystem::State::Read(values.into_iter().collect());
    let [mountpoint, device, fstype] = ["/var", "/dev/vda1", "ext4"].map(Arc::<str>::from);
    host.apply(1, Reading::Filesystem(filesystem::Reading { mountpoint, device, fstype, owner: None, state }));
    let count = used.len() as u64;
    let days = used.iter().zip(0..).map(|(used, number)| DiskDay {
        time: BEGAN - (count - number) * DAY_OF,
        used: used * GIB,
        size: 100.0 * GIB,
    });
    host.past.disks.insert("/var".into(), days.collect());
    host
}

fn fills(used: &[f64]) -> Judged {
    filling(used).judge(&RULES[0])
}

#[test]
fn a_disk_that_fills_is_told_with_when() {
    let judged = fills(&[58.0, 62.0, 66.0, 70.0, 74.0, 78.0, 82.0, 86.0]);
    let [advice] = &judged.advice[..] else { panic!("{judged:?}") };
    assert_eq!(advice.title, "Make room on /var, or enlarge it: at this pace it is full in 4 days.");
    assert!(
        advice.why.contains("4.00 GiB a day on 8 days") && advice.why.contains("14.0 GiB of 100 GiB are left"),
        "{}",
        advice.why
    );
    assert_eq!(advice.confidence, Confidence::High);
    assert_eq!(advice.actions[0].commands[0].text, "du --one-file-system --max-depth=2 -- /var | sort -n | tail -n 20");
    let few = fills(&[70.0, 75.0, 80.0, 85.0]);
    assert_eq!(few.advice[0].confidence, Confidence::Medium);
}

#[test]
fn one_that_somebody_cleans_or_that_hardly_grows_is_left_alone() {
    for used in [
        // Log rotation, each third day.
        &[60.0, 70.0, 80.0, 62.0, 72.0, 82.0, 64.0, 74.0, 84.0][..],
        &[60.0, 60.1, 60.2, 60.3, 60.4, 60.5, 60.6, 60.7],
        &[60.0, 61.0, 59.0, 60.5, 59.5, 60.0, 61.0, 59.0],
        &[80.0, 78.0, 76.0, 74.0, 72.0],
    ] {
        let judged = fills(used);
        assert!(judged.advice.is_empty() && judged.lacking.is_empty(), "{used:?}: {judged:?}");
    }
}

#[test]
fn two_days_are_not_enough() {
    let judged = fills(&[60.0, 80.0]);
    assert!(judged.advice.is_empty());
    assert_eq!(judged.lacking[0].missing, "three days of its use: there are 2");
    assert!(fills(&[5.0, 6.0]).lacking.is_empty(), "nobody asks of an empty one");
}

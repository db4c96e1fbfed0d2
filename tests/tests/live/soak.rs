//! Half a minute under mixed load: the agent uses no more of the machine at the end than after warming up, closes what it
//! opened, and reports every cgroup and every kill or counts it as lost. Half a minute under attack: it lives, and loses nothing that is
//! honest. `cargo xtask bench soak` and `siege` do the same for longer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use collector_tests::attack::siege::Siege;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::soak::Soak;

/// Seconds until it has seen everything once.
const WARM: f64 = 15.0;
/// Allowed growth of memory after that, in bytes: allocators keep freed memory, and the load's waves differ.
const MORE: u64 = 8 << 20;

#[test]
fn half_a_minute_of_load_leaves_nothing_behind() {
    needs!(is_root(), "loading eBPF programs needs root");
    let soak = Soak::run(Duration::from_secs(30), |point| eprintln!("{point:?}"));
    let most = |warm: bool| {
        let points = soak.points.iter().filter(|point| (point.seconds < WARM) == warm);
        points.map(|point| point.resident).max().unwrap()
    };
    let (warm, late) = (most(true), most(false));
    let Soak { descriptors, cgroups, kills, lost, .. } = soak;
    eprintln!(
        "{warm}, then {late} bytes; descriptors {descriptors:?}; cgroups {cgroups:?}, kills {kills:?}, {lost} lost"
    );
    assert!(late <= warm + MORE, "{warm}, then {late}");
    assert_eq!(descriptors.0, descriptors.1, "descriptors before and after");
    assert!(cgroups.0 > 100 && kills.0 > 5, "there was hardly any load: {cgroups:?}, {kills:?}");
    // Each is created and removed; others also make cgroups, and are killed.
    assert!(cgroups.1 + lost >= 2 * cgroups.0, "{cgroups:?}, {lost} lost");
    assert!(kills.1 + lost >= kills.0, "{kills:?}, {lost} lost");
}

#[test]
fn under_all_attacks_at_once_it_lives_and_loses_nothing_honest() {
    needs!(is_root(), "loading eBPF programs needs root");
    let program = env!("CARGO_BIN_EXE_provoke");
    let siege = Siege::lay(program.as_ref(), 128 << 20, Duration::from_secs(30), |height| eprintln!("{height:?}"));
    eprintln!("{siege:#?}");
    assert_eq!(siege.own_kills, 0);
    assert_eq!(siege.lost, [""; 0], "honest series");
    assert!(siege.scrapes >= 2 && siege.refused == 0, "{} of {} scrapes refused", siege.refused, siege.scrapes);
    assert!(siege.kills.0 > 3, "there were hardly any kills");
    assert_eq!(siege.kills.0, siege.kills.1, "honest kills, and those that it told");
    assert_eq!(siege.said_no, 0, "of status --alive");
    assert!(siege.done.scrapes.load(Ordering::Relaxed) > 0 && siege.done.kills.load(Ordering::Relaxed) > 0);
}

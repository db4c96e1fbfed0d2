//! Half a minute under mixed load: the agent takes no more of the machine at the end than it did once it was warm, gives back what
//! it opened, and every cgroup and every kill was told or counted as lost. `cargo xtask bench soak` does the same for longer.

use std::time::Duration;

use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::soak::Soak;

/// Seconds until it has seen everything once.
const WARM: f64 = 15.0;
/// What memory may come on top after that, in bytes: allocators keep what they had, and the load's waves differ.
const MORE: u64 = 8 << 20;

#[test]
fn half_a_minute_of_load_leaves_it_as_it_was() {
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
    assert!(cgroups.0 > 100 && kills.0 > 5, "that was no load: {cgroups:?}, {kills:?}");
    // A birth and a death each; others make cgroups, too, and are killed.
    assert!(cgroups.1 + lost >= 2 * cgroups.0, "{cgroups:?}, {lost} lost");
    assert!(kills.1 + lost >= kills.0, "{kills:?}, {lost} lost");
}

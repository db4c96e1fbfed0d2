//! What is added up, hour by hour.

use super::*;

#[test]
fn a_day_is_what_was_in_the_last_24_hours() {
    let mut day: Day<Mean> = Day::default();
    for hour in 0..30 {
        day.hour(hour * HOUR_NS).add(Some(hour as f64), 3600.0);
    }
    let total = day.total(Mean::merge);
    assert_eq!(
        (total.seconds, total.most(), total.mean()),
        (24.0 * 3600.0, Some(29.0), Some((6..30).sum::<u64>() as f64 / 24.0))
    );
    // The clock is set back: what is later belongs to no hour.
    day.hour(10 * HOUR_NS).add(Some(100.0), 60.0);
    assert_eq!(day.total(Mean::merge).most(), Some(100.0));
    assert_eq!(day.total(Mean::merge).seconds, 5.0 * 3600.0 + 60.0);
    assert_eq!(Day::<Mean>::default().total(Mean::merge).mean(), None);
}

#[test]
fn a_mean_knows_for_how_long_it_is_known() {
    let mut mean = Mean::default();
    mean.add(None, 5.0);
    mean.add(Some(f64::NAN), 5.0);
    assert_eq!((mean.mean(), mean.most(), mean.seconds), (None, None, 0.0));
    mean.add(Some(-1.0), 1.0);
    mean.add(Some(-3.0), 3.0);
    assert_eq!((mean.mean(), mean.most()), (Some(-2.5), Some(-1.0)));
}

#[test]
fn memory_that_nobody_holds_is_counted_without_a_break_over_hours() {
    let hour = |seconds: f64, unheld: f64| GpuHours { seconds, unheld_seconds: unheld, ..GpuHours::default() };
    let of = |hours: &[GpuHours]| {
        let mut total = GpuHours::default();
        hours.iter().for_each(|hour| total.merge(hour));
        total.unheld_seconds
    };
    assert_eq!(of(&[hour(3600.0, 1200.0), hour(3600.0, 3600.0), hour(60.0, 60.0)]), 4860.0);
    assert_eq!(of(&[hour(3600.0, 1200.0), hour(3600.0, 600.0)]), 600.0);
    assert_eq!(of(&[hour(3600.0, 3600.0), hour(60.0, 0.0)]), 0.0);
}

#[test]
fn only_the_hours_count_in_which_the_one_who_has_a_gpu_last_worked() {
    let hour = |name: Option<&str>, used: f64, ran: f64, taken: f64| {
        let mut alone = Alone { workload: name.map(Arc::from), ran_seconds: ran * 3600.0, ..Alone::default() };
        alone.utilization.add(Some(used), 3600.0);
        alone.taken.add(Some(taken), 3600.0);
        GpuHours { alone, ..GpuHours::default() }
    };
    let of = |hours: &[GpuHours]| {
        let mut total = GpuHours::default();
        hours.iter().for_each(|hour| total.merge(hour));
        let Alone { workload, utilization, ran_seconds, taken } = total.alone;
        (workload.as_deref().map(str::to_owned), utilization.mean(), ran_seconds / 3600.0, taken.most())
    };
    let day = [hour(Some("a"), 0.6, 1.0, 9.0), hour(Some("a"), 0.0, 0.0, 30.0), hour(Some("a"), 0.4, 0.9, 8.0)];
    assert_eq!(of(&day), (Some("a".to_owned()), Some(0.5), 1.9, Some(30.0)), "it slept, and held its memory");
    let shared = [hour(Some("b"), 0.9, 1.0, 9.0), hour(None, 0.9, 1.0, 9.0), hour(Some("a"), 0.4, 1.0, 8.0)];
    assert_eq!(of(&shared), (Some("a".to_owned()), Some(0.4), 1.0, Some(8.0)));
}

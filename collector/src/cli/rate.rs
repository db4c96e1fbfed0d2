//! What workloads did between two answers: the rates of `headroom workloads` and `headroom top`. Knows neither where answers come from
//! nor how rates are shown.

use std::collections::HashMap;

use collector_core::api::workloads::{Line, Summary};

/// An earlier answer, and how long before the present one its numbers were read.
pub struct Before<'a> {
    lines: HashMap<&'a str, &'a Line>,
    seconds: f64,
}

impl<'a> Before<'a> {
    /// Without one, or with one of the same tick or a later one, as in a recording that goes back, nothing is known.
    pub fn of(before: Option<&'a Summary>, now: &Summary) -> Before<'a> {
        let lines = before.into_iter().flat_map(|before| &before.workloads).map(|line| (&*line.workload, line));
        let ns = before.and_then(|before| now.measured?.checked_sub(before.measured?));
        let seconds = ns.map_or(0.0, |ns| ns as f64 / 1e9);
        Before { lines: lines.collect(), seconds }
    }

    pub fn rates(&self, now: &Line) -> Rates {
        let before = self.lines.get(&*now.workload).filter(|_| self.seconds > 0.0);
        let rate = |of: fn(&Line) -> Option<f64>| {
            let growth = of(now)? - of(before?)?;
            // One that was created again has less than before.
            (growth >= 0.0).then_some(growth / self.seconds)
        };
        // The kernel updates PSI time in steps, so the growth may exceed the interval a little.
        let share = |of| rate(of).map(|share| share.min(1.0));
        Rates {
            cpu: rate(|line| line.cpu_seconds),
            memory_waiting: share(|line| line.memory_waiting_seconds),
            io_waiting: share(|line| line.io_waiting_seconds),
            stalls: rate(|line| line.reclaim_stall_seconds),
            faults: rate(|line| line.major_faults.map(|count| count as f64)),
            io: rate(|line| Some(line.block_read_bytes?.saturating_add(line.block_written_bytes?) as f64)),
        }
    }
}

/// Per second. Of what is not in both answers nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// CPUs in use.
    pub cpu: Option<f64>,
    /// Share of time in which some task waited.
    pub memory_waiting: Option<f64>,
    pub io_waiting: Option<f64>,
    pub stalls: Option<f64>,
    pub faults: Option<f64>,
    /// Bytes read and written.
    pub io: Option<f64>,
}

/// Memory as a share of its limit.
pub fn used(line: &Line) -> Option<f64> {
    let limit = line.memory_limit_bytes.filter(|limit| *limit > 0)?;
    Some(line.memory_bytes? as f64 / limit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(workload: &str, cpu: f64, waiting: f64) -> Line {
        Line {
            workload: workload.to_owned(),
            cpu_seconds: Some(cpu),
            memory_waiting_seconds: Some(waiting),
            block_read_bytes: Some(cpu as u64),
            ..Line::default()
        }
    }

    #[test]
    fn rates_are_between_two_answers_that_have_the_workload() {
        // Events move the time of an answer, also between two ticks.
        let at = |measured: u64| Summary { time: 9_500_000_000, measured: Some(measured), workloads: Vec::new() };
        let before = Summary { workloads: vec![line("a", 1.0, 1.0), line("again", 5.0, 0.0)], ..at(1_000_000_000) };
        let of = |before: Option<&Summary>, now, line: &Line| Before::of(before, &at(now)).rates(line);
        let rates = of(Some(&before), 3_000_000_000, &line("a", 2.0, 9.0));
        let known = Rates { cpu: Some(0.5), memory_waiting: Some(1.0), ..Rates::default() };
        assert_eq!(rates, known, "bytes written are not known");
        assert_eq!(of(Some(&before), 3_000_000_000, &line("again", 4.0, 0.0)).cpu, None, "it was created again");
        for (before, now, name) in [
            (Some(&before), 1_000_000_000, "a"),
            (Some(&before), 9_000_000_000, "new"),
            (Some(&before), 9, "a"),
            (None, 9, "a"),
        ] {
            assert_eq!(of(before, now, &line(name, 2.0, 2.0)), Rates::default(), "{name}");
        }
        let limited = |limit| used(&Line { memory_bytes: Some(5), memory_limit_bytes: Some(limit), ..Line::default() });
        assert_eq!((limited(10), limited(0)), (Some(0.5), None));
    }
}

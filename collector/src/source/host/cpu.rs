//! Parses `/proc/stat` and `/proc/loadavg`.

use collector_core::statistic::host::{Statistic, Values};

use crate::source::text::{fields, lines, number};
use Statistic::*;

/// Modes in the order of a line `cpu  843251 8316 …` (proc_stat(5)).
const MODES: [Statistic; 10] =
    [CpuUser, CpuNice, CpuSystem, CpuIdle, CpuIowait, CpuIrq, CpuSoftirq, CpuSteal, CpuGuest, CpuGuestNice];

/// The kernel counts guest time as user time too.
const GUESTS: [(Statistic, Statistic); 2] = [(CpuUser, CpuGuest), (CpuNice, CpuGuestNice)];

const COUNTS: &[(&[u8], Statistic)] = &[
    (b"ctxt", ContextSwitches),
    (b"processes", Forks),
    (b"procs_running", TasksRunning),
    (b"procs_blocked", TasksBlocked),
];

/// Parses `/proc/stat`. A clock tick lasts `tick_ns`.
pub fn parse(text: &[u8], tick_ns: u64, values: &mut Values) {
    for line in lines(text) {
        let mut fields = fields(line);
        let Some(key) = fields.next() else { continue };
        if key == b"cpu" {
            for mode in MODES {
                let ticks = fields.next().and_then(number);
                values.put(mode, ticks.map(|ticks| ticks.saturating_mul(tick_ns)));
            }
        } else if let Some(cpu) = key.strip_prefix(b"cpu") {
            values.add(Cpus, number(cpu).is_some().into());
        } else if key == b"btime" {
            let seconds = fields.next().and_then(number);
            values.put(BootTime, seconds.map(|seconds| seconds.saturating_mul(1_000_000_000)));
        } else if let Some((_, statistic)) = COUNTS.iter().find(|(name, _)| *name == key) {
            values.put(*statistic, fields.next().and_then(number));
        }
    }
    for (user, guest) in GUESTS {
        let own = values.get(user).map(|time| time.saturating_sub(values.get(guest).unwrap_or(0)));
        values.put(user, own);
    }
}

/// Parses `/proc/loadavg`: `3.50 1.64 1.26 5/135 24971`.
pub fn parse_load(text: &[u8], values: &mut Values) {
    for (load, field) in [Load1, Load5, Load15].into_iter().zip(fields(text)) {
        values.put(load, hundredths(field));
    }
}

fn hundredths(field: &[u8]) -> Option<u64> {
    let (whole, part) = field.split_at(field.len().checked_sub(3)?);
    let part = number(part.strip_prefix(b".")?)?;
    Some(number(whole)?.saturating_mul(100).saturating_add(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Values {
        let mut values = Values::new();
        parse(text.as_bytes(), 10_000_000, &mut values);
        values
    }

    #[test]
    fn guest_time_is_counted_once() {
        let values =
            parsed("cpu  100 20 3 4 5 6 7 8 60 9\ncpu0 1 1\ncpu1 1 1\nbtime 1795248009\nctxt 12\nintr 1 0 0\n");
        let ticks: Vec<_> = MODES.iter().map(|mode| values.get(*mode).unwrap() / 10_000_000).collect();
        assert_eq!(ticks, [40, 11, 3, 4, 5, 6, 7, 8, 60, 9]);
        assert_eq!(values.get(Cpus), Some(2));
        assert_eq!(values.get(BootTime), Some(1_795_248_009_000_000_000));
        assert_eq!(values.get(ContextSwitches), Some(12));
        assert_eq!(values.get(TasksRunning), None);
    }

    #[test]
    fn missing_modes_are_absent() {
        let values = parsed("cpu  1 2 3 4\ncpux\nctxt\nprocesses -1\n");
        assert_eq!((values.get(CpuIdle), values.get(CpuIowait)), (Some(40_000_000), None));
        assert_eq!((values.get(Cpus), values.get(ContextSwitches), values.get(Forks)), (Some(0), None, None));
        assert_eq!(parsed("cpu 1 1 1 1 1 1 1 1 7 7").get(CpuUser), Some(0), "more guest time than user time");
    }

    #[test]
    fn loads_are_parsed_in_hundredths() {
        let load = |text: &str| {
            let mut values = Values::new();
            parse_load(text.as_bytes(), &mut values);
            [Load1, Load5, Load15].map(|load| values.get(load))
        };
        assert_eq!(load("3.50 1.04 126.00 5/135 24971\n"), [Some(350), Some(104), Some(12600)]);
        assert_eq!(load("3.5 x 1\n"), [None, None, None]);
        assert_eq!(load(""), [None; 3]);
    }
}

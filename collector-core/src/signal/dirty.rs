//! dirty: time that the kernel made tasks sleep because too many dirty pages waited to be written.

use collector_common::dirty::word;
use serde::{Deserialize, Serialize};

use super::counted::Count;
use super::{Context, Need, row};
use crate::count::grow;

/// For waits and their time.
pub const WAITS: Need = &[&["dirty_wait"]];

/// The waits of one cgroup's tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Times that a task was made to sleep.
    pub waits: u64,
    /// Time that tasks were made to sleep, in nanoseconds.
    pub ns: u64,
}

impl Count for Counts {
    fn from_row(growth: &[u64], context: &Context) -> Option<Counts> {
        let words: &[u64; word::COUNT] = row(growth)?;
        Some(Counts { waits: words[word::WAITS], ns: words[word::JIFFIES].saturating_mul(context.jiffy_ns) })
    }

    fn add(&mut self, more: &Counts) {
        grow(&mut self.waits, more.waits);
        grow(&mut self.ns, more.ns);
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::test::{ID, counters, engine};
    use crate::sample::Sample;
    use crate::signal::RowKey;

    use super::*;

    #[test]
    fn jiffies_become_nanoseconds_and_add_up_in_the_workload() {
        let mut engine = engine();
        for _ in 0..2 {
            for reading in counters("DIRTY", RowKey::Cgroup(Some(ID)), &[3, 50]) {
                let line = serde_json::to_string(&reading).unwrap();
                assert_eq!(serde_json::from_str::<crate::sample::Reading>(&line).unwrap(), reading);
                engine.apply(&Sample { time: 20, reading });
            }
        }
        let sums = engine.view().workloads.of(ID).unwrap().amounts.counted;
        assert_eq!(sums.dirty, Counts { waits: 6, ns: 400_000_000 });
    }
}

//! Removes what operations leave behind whose end was never seen: the thread died inside, or the kernel skipped the program's
//! run. Without that the maps of operations in progress would fill up.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use collector_common::transfer;

use super::bpf::{self, Rows};

/// Maps of operations in progress. A value begins with the time of the begin.
const MAPS: [&str; 2] = ["STOPWATCH", transfer::CALLS];
/// Time between two sweeps, in nanoseconds.
const INTERVAL_NS: u64 = 60_000_000_000;
/// No operation takes this long, in nanoseconds. Should one, its end counts as lost.
const AGE_NS: u64 = 600_000_000_000;
/// Maximum number of rows per system call.
const CHUNK: usize = 256;

pub struct Sweep {
    maps: Vec<(MapData, Rows)>,
    last: u64,
}

impl Sweep {
    /// Takes the maps out of the loaded object. The first sweep is due one interval after `now` (CLOCK_MONOTONIC).
    pub fn new(ebpf: &mut Ebpf, now: u64) -> Result<Sweep> {
        let take = |name| {
            let Some(Map::HashMap(map)) = ebpf.take_map(name) else { anyhow::bail!("the object has no map {name}") };
            let info = map.info().with_context(|| format!("describe map {name}"))?;
            let rows = Rows::new(info.key_size() as usize, info.value_size() as usize, CHUNK);
            Ok((map, rows))
        };
        Ok(Sweep { maps: MAPS.into_iter().map(take).collect::<Result<_>>()?, last: now })
    }

    pub fn run(&mut self, now: u64) -> Result<()> {
        if now.saturating_sub(self.last) < INTERVAL_NS {
            return Ok(());
        }
        self.last = now;
        for (map, rows) in &mut self.maps {
            let mut old = Vec::new();
            let read = rows.each(map.fd().as_fd(), |key, value| {
                if is_old(value, now) {
                    old.push(key.to_vec());
                }
            });
            read.context("read operations in progress")?;
            for key in old {
                // It may have ended just now.
                let _ = bpf::delete(map.fd().as_fd(), &key);
            }
        }
        Ok(())
    }
}

fn is_old(value: &[u8], now: u64) -> bool {
    let begin = value.first_chunk().copied().map(u64::from_ne_bytes);
    begin.is_some_and(|begin| now.saturating_sub(begin) > AGE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_began_long_ago_is_removed() {
        let value = |begin: u64| [begin.to_ne_bytes(), [7; 8]].concat();
        let now = 2 * AGE_NS;
        assert!(is_old(&value(AGE_NS - 1), now));
        assert!(!is_old(&value(AGE_NS), now));
        assert!(!is_old(&value(now + 5), now), "it began after the clock was read");
        assert!(!is_old(&value(0)[..7], now), "too short");
    }
}

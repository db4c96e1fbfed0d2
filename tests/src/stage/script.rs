//! The random numbers of a scenario, new in each run so that no rule can be tuned to them, and its scripts.

use std::path::Path;
use std::time::Duration;

use crate::require::own_machine;

const MIB: u64 = 1 << 20;
/// Kernel memory of an empty file in a tmpfs with a long name: inode, directory entry and name, in bytes; roughly.
const NAME: u64 = 1200;

/// Numbers that follow from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Different for each name.
    pub fn new(seed: u64, name: &str) -> Numbers {
        Numbers(name.bytes().fold(seed, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.number() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What one staging of a scenario uses.
#[derive(Clone, Debug)]
pub struct Scale {
    /// 100 %, in bytes: whole pages.
    size: u64,
    /// Factors of times and of rates.
    time: f64,
    rate: f64,
    /// 64 hexadecimal digits for the ids of containers and pods.
    pub id: String,
}

impl Scale {
    /// Of an attempt to stage what has this name.
    pub fn of(seed: u64, attempt: u64, name: &str) -> Scale {
        Scale::draw(&mut Numbers::new(seed.wrapping_add(attempt << 32), name))
    }

    pub fn draw(numbers: &mut Numbers) -> Scale {
        // A machine for tests has little memory.
        let most = if own_machine() { 56.0 } else { 96.0 };
        let size = numbers.between(most / 2.0 * MIB as f64, most * MIB as f64) as u64 & !4095;
        let (time, rate) = (numbers.between(0.95, 1.15), numbers.between(0.85, 1.15));
        let id = (0..4).map(|_| format!("{:016x}", numbers.number())).collect();
        Scale { size, time, rate, id }
    }

    /// Bytes of a percentage.
    pub fn bytes(&self, percent: f64) -> u64 {
        (self.size as f64 * percent / 100.0) as u64 & !4095
    }

    pub fn time(&self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds * self.time)
    }

    /// Replaces `{id}`, `{id12}` (its first digits), `{uid}` and `{two}` (another id) in a name.
    pub fn name(&self, name: &str) -> String {
        let uid = format!(
            "{}-{}-4{}-8{}-{}",
            &self.id[..8],
            &self.id[8..12],
            &self.id[13..16],
            &self.id[17..20],
            &self.id[20..32]
        );
        let two: String = self.id.chars().rev().collect();
        let name = name.replace("{id12}", &self.id[..12]).replace("{id}", &self.id).replace("{uid}", &uid);
        name.replace("{two12}", &two[..12]).replace("{two}", &two)
    }

    /// The arguments of `provoke act` for a script. In it, `shm/` is a folder in memory, `disk/` one on a disk.
    pub fn steps(&self, script: &str, shm: &Path, disk: &Path) -> Vec<String> {
        script.split(';').map(|step| self.step(step.trim(), shm, disk)).collect()
    }

    fn step(&self, step: &str, shm: &Path, disk: &Path) -> String {
        let words: Vec<&str> = step.split_whitespace().collect();
        let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{step}: {text} is not a number"));
        let size = |text: &str| self.bytes(number(text));
        let rate = |text: Option<&&str>| {
            text.map_or(0, |text| (self.size as f64 * number(text.trim_start_matches('@')) * self.rate / 100.0) as u64)
        };
        let path = |text: &str| match text.split_once('/') {
            Some(("shm", name)) => shm.join(name).display().to_string(),
            Some(("disk", name)) => disk.join(name).display().to_string(),
            _ => panic!("{step}: not in shm/ or disk/"),
        };
        let time = |text: &str| format!("{:.3}", self.time(number(text)).as_secs_f64());
        match words[..] {
            [verb @ ("anon" | "shared" | "pipe" | "socket"), bytes, ..] => {
                format!("{verb}:{}:{}", size(bytes), rate(words.get(2)))
            }
            ["file", name, bytes, ..] => format!("file:{}:{}:{}", path(name), size(bytes), rate(words.get(3))),
            ["hold", name, bytes] => format!("hold:{}:{}", path(name), size(bytes)),
            ["read", name, seconds, threads] => format!("read:{}:{}:{threads}", path(name), time(seconds)),
            ["write", name, seconds, threads] => format!("write:{}:{}:{threads}", path(name), time(seconds)),
            ["again", bytes, seconds] => format!("again:{}:{}", size(bytes), time(seconds)),
            ["name", folder, bytes, ..] => {
                format!("name:{}:{}:{}", path(folder), size(bytes) / NAME, rate(words.get(3)) / NAME)
            }
            ["swarm", count, bytes, each] => format!("swarm:{count}:{}:{each}", size(bytes)),
            ["wait", seconds] => format!("wait:{}", time(seconds)),
            _ => words.join(":"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed_and_differ_between_scenarios() {
        let draw = |seed, name| Numbers::new(seed, name).number();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert!(draw(1, "a") != draw(2, "a") && draw(1, "a") != draw(1, "b"));
        let scale = Scale::draw(&mut Numbers::new(7, "a"));
        assert!((48 * MIB..=96 * MIB).contains(&scale.size) && scale.size.is_multiple_of(4096));
        assert_eq!((scale.id.len(), scale.name("pod{uid}").len(), scale.name("{id12}").len()), (64, 39, 12));
    }

    #[test]
    fn a_script_has_bytes_and_seconds() {
        let scale = Scale { size: 1 << 20, time: 2.0, rate: 0.5, id: "0".repeat(64) };
        let steps = scale.steps("anon 50; file shm/a 100 @10; wait 1.5; thread 3; stay", "/s".as_ref(), "/d".as_ref());
        assert_eq!(steps, ["anon:524288:0", "file:/s/a:1048576:52428", "wait:3.000", "thread:3", "stay"]);
    }
}

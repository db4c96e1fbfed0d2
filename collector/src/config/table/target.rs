//! `[[level.target]]`: its keys. Does not know which target fits this host: the core does.

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::{Error, Place};
use crate::config::kind::Kind;
use crate::config::section::Config;
use crate::config::target::Wanted;

/// `[[level.target]]`
pub const TARGET: Table<Config, Wanted> = Table {
    name: "level.target",
    doc: "How much of its memory a host of some size should use: above it, work of background and low priority waits. The first table \
          that fits the host counts, those of the file before those of a profile.",
    example: "\
[[level.target]]
gpu = false
memory = 0.5

[[level.target]]
from = \"96GB\"
memory = 0.65
",
    keys: &[
        Key {
            name: "from",
            kind: Kind::Size(|target| &mut target.from),
            required: false,
            doc: "For hosts with so much memory or more. Unless set, for all.",
        },
        Key {
            name: "gpu",
            kind: Kind::OptionalSwitch(|target| &mut target.gpu),
            required: false,
            doc: "For hosts with an NVIDIA GPU that the agent can read, or for those without. Unless set, for both.",
        },
        Key {
            name: "memory",
            kind: Kind::Share(|target| &mut target.memory, 0.01, 1.0),
            required: true,
            doc: "Share of the host's memory.",
        },
    ],
    field: |config| &mut config.level.target,
    check,
};

/// What comes after a table that fits as many hosts never counts.
fn check(entries: &[Entry<Wanted>]) -> Vec<Error> {
    let covers = |one: &Wanted, other: &Wanted| {
        one.from.unwrap_or(0) <= other.from.unwrap_or(0) && (one.gpu.is_none() || one.gpu == other.gpu)
    };
    // A profile may have one that the file replaces.
    let together = |one: &Place, other: &Place| match (one, other) {
        (Place::Line(one, ..), Place::Line(other, ..)) => one == other,
        _ => false,
    };
    let vain = entries.iter().enumerate().filter_map(|(index, entry)| {
        let mut before = entries[..index].iter().filter(|one| together(&one.place, &entry.place));
        let before = before.find(|one| covers(&one.value, &entry.value))?;
        let text = format!("never counts: the one at {} fits each such host already", before.place);
        Some(Error { place: entry.place.clone(), key: Some("level.target".into()), text })
    });
    vain.collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::catalogue;
    use crate::config::file::apply;

    fn read(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        assert_eq!(errors, [], "{text}");
        let wrong = catalogue::check(&config).err().unwrap_or_default();
        (config, wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_example_is_what_hosts_get() {
        let (config, errors) = read(TARGET.example);
        assert_eq!(errors, [""; 0]);
        let limits = config.level.limits();
        let of = |gigabytes: u64, gpu| limits.target(gigabytes * 1_000_000_000, gpu);
        assert_eq!([of(96, true), of(95, true), of(512, false)], [Some(0.65), None, Some(0.5)]);
    }

    #[test]
    fn what_never_counts_is_a_mistake() {
        let (_, errors) = read("[[level.target]]\nmemory = 0.5\n[[level.target]]\ngpu = true\nmemory = 0.6\n");
        let wanted = "a.toml:3:1: level.target: never counts: the one at a.toml:1:1 fits each such host already";
        assert_eq!(errors, [wanted]);
    }
}

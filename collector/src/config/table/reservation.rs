//! `[[reservation]]`: its keys, and which tables are right together.

use std::time::Duration;

use collector_core::schedule::{LONGEST, MOST};

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::Error;
use crate::config::kind::Kind;
use crate::config::reservation::{PRIORITIES, Reservation};
use crate::config::section::Config;

/// `[[reservation]]`
pub const RESERVATION: Table<Config, Reservation> = Table {
    name: "reservation",
    doc: "Reserves ahead, again and again: from a time of day on, room is kept for the start of a unit. The agent makes the next reservation a day \
          before it begins; the first claim of the same user and unit takes it up, from an hour before its begin on (headroom guard --unit NAME, \
          headroom reserve --unit NAME). Up to 64 tables. [admission.md](admission.md#by-the-configuration) has more.",
    example: EXAMPLE,
    keys: &[
        Key {
            name: "name",
            kind: Kind::Text(|it| &mut it.name),
            required: true,
            doc: "The unit whose start takes it up. Several tables may have the same name, at different times.",
        },
        Key {
            name: "user",
            kind: Kind::Text(|it| &mut it.user),
            required: false,
            doc: "The user, by name or number, who starts it.",
        },
        Key {
            name: "days",
            kind: Kind::Text(|it| &mut it.days),
            required: false,
            doc: "Days of the week on which it begins, such as Mon-Fri or Sat,Sun.",
        },
        Key {
            name: "at",
            kind: Kind::Text(|it| &mut it.at),
            required: true,
            doc: "When it begins, such as 08:30, in local time of the host as it was when the agent started.",
        },
        Key {
            name: "for",
            kind: Kind::Duration(|it| &mut it.lasts, Duration::from_secs(60), Duration::from_secs(LONGEST)),
            required: true,
            doc: "How long it lasts. If nobody takes it up, it ends an hour after its begin.",
        },
        Key {
            name: "memory",
            kind: Kind::Text(|it| &mut it.memory),
            required: false,
            doc: "Host memory, such as 6G (GiB) or 6GB.",
        },
        Key {
            name: "vram",
            kind: Kind::Text(|it| &mut it.vram),
            required: false,
            doc: "VRAM, such as 12G; for two GPUs 12G,12G.",
        },
        Key { name: "cpu", kind: Kind::Text(|it| &mut it.cpu), required: false, doc: "CPUs, such as 4 or 0.5." },
        Key {
            name: "disk",
            kind: Kind::Text(|it| &mut it.disk),
            required: false,
            doc: "Room on a filesystem, such as 50G:/data.",
        },
        Key {
            name: "gpus",
            kind: Kind::Names(|it| &mut it.gpus),
            required: false,
            doc: "Numbers of the GPUs that it may be on, in the order of vram. Unless set, those with most room.",
        },
        Key {
            name: "priority",
            kind: Kind::Choice(|it| &mut it.priority, &PRIORITIES),
            required: false,
            doc: "How much it matters.",
        },
    ],
    field: |config| &mut config.reservation,
    check,
};

const EXAMPLE: &str = r#"[[reservation]]
name = "chat"
days = "Mon-Fri"
at = "07:45"
for = "10h"
memory = "8G"
vram = "20G"

[[reservation]]
name = "nightly-training"
user = "ml"
at = "22:00"
for = "8h"
vram = "70G,70G"
gpus = ["0", "1"]
priority = "low"
"#;

fn check(entries: &[Entry<Reservation>]) -> Vec<Error> {
    let wrong = |(number, entry): (usize, &Entry<Reservation>)| {
        let at = |key: &'static str, text: String| {
            Some(Error { place: entry.place(key).clone(), key: Some(format!("reservation.{key}")), text })
        };
        if number > MOST {
            return None;
        }
        if number == MOST {
            return at("name", format!("there are more than {MOST} tables [[reservation]]"));
        }
        let reserved = match entry.value.entry(0) {
            Ok(reserved) => reserved,
            Err((key, text)) => return at(key, text),
        };
        // Users that are written alike: who has which number is looked up later.
        let is_twice = |earlier: &&Entry<Reservation>| {
            earlier.value.user == entry.value.user
                && earlier.value.entry(0).is_ok_and(|earlier| earlier.is_twice(&reserved))
        };
        entries.iter().take(number).find(is_twice).and_then(|earlier| {
            let name = &entry.value.name;
            at("at", format!("{name:?} is reserved at this time already, by the table at {}", earlier.place))
        })
    };
    entries.iter().enumerate().filter_map(wrong).collect()
}

/// The reservations of a configuration.
pub fn reservations(config: &Config) -> impl Iterator<Item = &Reservation> {
    config.reservation.iter().map(|entry| &entry.value)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use collector_core::lease::Priority;

    use super::*;
    use crate::config::catalogue;
    use crate::config::file::apply;

    fn read(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        let wrong = catalogue::check(&config).err().unwrap_or_default();
        (config, errors.iter().chain(&wrong).map(ToString::to_string).collect())
    }

    #[test]
    fn the_example_is_read() {
        let (config, errors) = read(EXAMPLE);
        assert_eq!(errors, [""; 0]);
        let entries: Vec<_> = reservations(&config).map(|it| it.entry(7).unwrap()).collect();
        let [chat, training] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((chat.unit.as_str(), chat.to_string().as_str(), chat.seconds), ("chat", "Mon-Fri at 07:45", 36_000));
        assert_eq!(
            (chat.want.hard.peak, chat.want.vram[&0].peak, chat.priority),
            (8 << 30, 20 << 30, Priority::Normal)
        );
        assert_eq!((training.to_string().as_str(), training.gpus.len()), ("every day at 22:00", 2));
        assert_eq!((training.priority, training.want.vram[&1].peak), (Priority::Low, 70 << 30));
        assert!(PRIORITIES.iter().zip(Priority::ALL).all(|(text, it)| text.parse() == Ok(it)));
    }

    #[test]
    fn a_mistake_is_reported_at_its_key() {
        let table = |keys: &str| format!("[[reservation]]\nname = \"a\"\nat = \"08:30\"\nfor = \"1h\"\n{keys}\n");
        let cpu = "cpu = \"1\"\n";
        let many = table(cpu).repeat(MOST + 1);
        for (text, wanted) in [
            (table(""), "a.toml:2:8: reservation.name: nothing is reserved: set memory"),
            (
                table("days = \"Mo-Fr\"\ncpu = \"1\""),
                "a.toml:5:8: reservation.days: \"Mo\" is no day: expected Mon, Tue",
            ),
            (table(cpu).replace("08:30", "8.30"), "a.toml:3:6: reservation.at: \"8.30\" is not a time of day"),
            (
                table(cpu).replace("1h", "25h"),
                "a.toml:4:7: reservation.for: \"25h\" is not a duration from \"1m\" to \"1day\"",
            ),
            (table(cpu).replace("for = \"1h\"\n", ""), "a.toml:1:1: reservation.for: is missing"),
            (table("memory = \"6X\""), "a.toml:5:10: reservation.memory: 6X: unknown unit"),
            (table("disk = \"6G:data\""), "a.toml:5:8: reservation.disk: 6G:data: expected an amount"),
            (table("vram = \"1G,1G\"\ngpus = [\"0\"]"), "a.toml:6:8: reservation.gpus: 1 are named, and vram is for 2"),
            (table("cpu = \"1\"\ngpus = [\"0\"]"), "a.toml:6:8: reservation.gpus: nothing is reserved on them"),
            (table("vram = \"1G\"\ngpus = [\"0\", \"0\"]"), "a.toml:6:8: reservation.gpus: gpus has 64 numbers"),
            (table("cpu = \"1\"\npriority = \"urgent\""), "reservation.priority: \"urgent\" is not background, low"),
            (table("cpu = \"1\"\nunit = \"b\""), "a.toml:6:1: reservation.unit: unknown key"),
            (
                table(cpu).replace("\"a\"", &format!("{:?}", "a".repeat(129))),
                "reservation.name: unit has 128 bytes at most",
            ),
            (
                table(cpu) + &table("days = \"Sun\"\ncpu = \"2\""),
                "reservation.at: \"a\" is reserved at this time already",
            ),
        ] {
            let (_, errors) = read(&text);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{text}: {errors:?}");
        }
        let errors = read(&many).1;
        assert!(errors.iter().any(|error| error.contains("more than 64 tables [[reservation]]")), "{errors:?}");
        let other = table(cpu) + &table(cpu).replace("08:30", "12:00");
        let days = table("cpu = \"1\"\ndays = \"Mon-Fri\"") + &table("cpu = \"1\"\ndays = \"Sat\"");
        assert_eq!([read(&other).1, read(&days).1], [[""; 0], [""; 0]], "the same unit at other times");
    }
}

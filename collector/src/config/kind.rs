//! [`Kind`]: what a setting's value may be, how it is read and how it is written. Knows no key and no layer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use collector_common::SIGNALS;

use super::Config;
use super::raw::Raw;

/// The field that a value goes to; its type is how the value is read and written.
type Field<C, T> = fn(&mut C) -> &mut T;

/// What a value may be, and where in a `C` it goes: in [`Config`], or in one table of an array of them.
#[derive(Debug)]
pub enum Kind<C = Config> {
    /// An IP address and a port.
    Address(Field<C, SocketAddr>),
    /// A length of time, within bounds.
    Duration(Field<C, Duration>, Duration, Duration),
    /// A path.
    Path(Field<C, PathBuf>),
    /// A path, or nothing.
    OptionalPath(Field<C, Option<PathBuf>>),
    /// An integer, within bounds.
    Integer(Field<C, i32>, i32, i32),
    /// A number of things, within bounds.
    Count(Field<C, usize>, usize, usize),
    /// Bytes of a ring: a power of two, within bounds.
    Ring(Field<C, u32>, u32, u32),
    /// True or false.
    Switch(Field<C, bool>),
    /// One of a few words.
    Choice(Field<C, String>, &'static [&'static str]),
    /// Names with `*` for any text.
    Patterns(Field<C, Vec<String>>),
    /// Names of signals and of programs.
    Probes(Field<C, Vec<String>>),
    /// Any text but the empty one, which is nothing.
    Text(Field<C, String>),
    /// The same, and not to be shown.
    Secret(Field<C, String>),
    /// One of a few words, or nothing.
    OptionalChoice(Field<C, Option<String>>, &'static [&'static str]),
    /// A number, or nothing.
    Number(Field<C, Option<f64>>),
    /// A length of time within bounds, or nothing.
    OptionalDuration(Field<C, Option<Duration>>, Duration, Duration),
    /// True, false or nothing.
    OptionalSwitch(Field<C, Option<bool>>),
    /// Texts by name.
    Texts(Field<C, BTreeMap<String, String>>),
}

impl<C: Clone> Kind<C> {
    /// Reads the value into its field; if it is not one, says why and leaves the field alone.
    pub fn set(&self, config: &mut C, raw: Raw<'_>) -> Result<(), String> {
        let wanted = self.describe();
        match *self {
            Kind::Address(field) => {
                *field(config) = raw.text(&wanted)?.parse().map_err(|_| raw.mistaken(&wanted))?;
            }
            Kind::Duration(field, min, max) => *field(config) = raw.duration(min, max, &wanted)?,
            Kind::OptionalDuration(field, min, max) => *field(config) = Some(raw.duration(min, max, &wanted)?),
            Kind::Path(field) => *field(config) = path(raw.text(&wanted)?).ok_or_else(|| raw.mistaken(&wanted))?,
            // An empty variable takes back what the file says.
            Kind::OptionalPath(field) => *field(config) = path(raw.text(&wanted)?),
            Kind::Integer(field, min, max) => *field(config) = raw.integer(min, max, &wanted)?,
            Kind::Count(field, min, max) => *field(config) = raw.integer(min, max, &wanted)?,
            Kind::Ring(field, min, max) => {
                let bytes = raw.integer(min, max, &wanted)?;
                *field(config) = Some(bytes).filter(|n| n.is_power_of_two()).ok_or_else(|| raw.mistaken(&wanted))?;
            }
            Kind::Switch(field) => *field(config) = raw.switch(&wanted)?,
            Kind::Choice(field, words) => *field(config) = raw.word(words, &wanted)?,
            Kind::OptionalChoice(field, words) => *field(config) = Some(raw.word(words, &wanted)?),
            Kind::OptionalSwitch(field) => *field(config) = Some(raw.switch(&wanted)?),
            Kind::Number(field) => *field(config) = Some(raw.number(&wanted)?),
            Kind::Text(field) | Kind::Secret(field) => {
                let text = raw.text(&wanted)?;
                *field(config) = Some(text).filter(|it| !it.is_empty()).ok_or_else(|| raw.mistaken(&wanted))?.into();
            }
            Kind::Texts(field) => *field(config) = raw.texts(&wanted)?,
            Kind::Patterns(field) => {
                let names = raw.list(&wanted)?;
                if names.iter().any(String::is_empty) {
                    return Err(Raw::Text("").mistaken("a name"));
                }
                *field(config) = names;
            }
            Kind::Probes(field) => {
                let names = raw.list(&wanted)?;
                if let Some(name) = names.iter().find(|name| !probes().any(|known| known == name.as_str())) {
                    return Err(Raw::Text(name).unknown("the name of a signal or a program", probes()));
                }
                *field(config) = names;
            }
        }
        Ok(())
    }

    /// Gives one the value of another.
    pub fn copy(&self, to: &mut C, from: &C) {
        let from = &mut from.clone();
        match *self {
            Kind::Address(field) => *field(to) = *field(from),
            Kind::Duration(field, ..) => *field(to) = *field(from),
            Kind::Path(field) => *field(to) = field(from).clone(),
            Kind::OptionalPath(field) => *field(to) = field(from).clone(),
            Kind::Integer(field, ..) => *field(to) = *field(from),
            Kind::Count(field, ..) => *field(to) = *field(from),
            Kind::Ring(field, ..) => *field(to) = *field(from),
            Kind::Switch(field) => *field(to) = *field(from),
            Kind::Choice(field, _) | Kind::Text(field) | Kind::Secret(field) => *field(to) = field(from).clone(),
            Kind::Patterns(field) | Kind::Probes(field) => *field(to) = field(from).clone(),
            Kind::OptionalChoice(field, _) => *field(to) = field(from).clone(),
            Kind::Number(field) => *field(to) = *field(from),
            Kind::OptionalDuration(field, ..) => *field(to) = *field(from),
            Kind::OptionalSwitch(field) => *field(to) = *field(from),
            Kind::Texts(field) => *field(to) = field(from).clone(),
        }
    }

    /// The value in this configuration, as TOML; `None` where it is absent.
    pub fn show(&self, config: &C) -> Option<String> {
        // The fields are reached through `&mut`, so that one function a row serves both directions.
        let config = &mut config.clone();
        Some(match *self {
            Kind::Address(field) => quoted(&field(config).to_string()),
            Kind::Duration(field, ..) => quoted(&humantime::format_duration(*field(config)).to_string()),
            Kind::Path(field) => quoted(&field(config).display().to_string()),
            Kind::OptionalPath(field) => quoted(&field(config).as_ref()?.display().to_string()),
            Kind::Integer(field, ..) => field(config).to_string(),
            Kind::Count(field, ..) => field(config).to_string(),
            Kind::Ring(field, ..) => field(config).to_string(),
            Kind::Switch(field) => field(config).to_string(),
            Kind::Choice(field, _) => quoted(field(config)),
            Kind::Patterns(field) | Kind::Probes(field) => {
                format!("[{}]", field(config).iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
            }
            Kind::Secret(field) => Some("\"…\"").filter(|_| !field(config).is_empty())?.to_owned(),
            Kind::Text(field) => Some(&*field(config)).filter(|it| !it.is_empty()).map(|it| quoted(it))?,
            Kind::OptionalChoice(field, _) => quoted(field(config).as_ref()?),
            Kind::Number(field) => format!("{:?}", (*field(config))?),
            Kind::OptionalDuration(field, ..) => quoted(&humantime::format_duration((*field(config))?).to_string()),
            Kind::OptionalSwitch(field) => (*field(config))?.to_string(),
            Kind::Texts(field) => {
                let texts = Some(&*field(config)).filter(|texts| !texts.is_empty())?;
                toml::Value::from(texts.clone()).to_string()
            }
        })
    }

    /// What a value must be, in words that go after "not".
    pub fn describe(&self) -> String {
        match self {
            Kind::Address(_) => "an IP address and a port, such as 127.0.0.1:9843".into(),
            Kind::Duration(_, min, max) | Kind::OptionalDuration(_, min, max) => {
                format!(
                    "a duration from \"{}\" to \"{}\"",
                    humantime::format_duration(*min),
                    humantime::format_duration(*max)
                )
            }
            Kind::Path(_) | Kind::OptionalPath(_) => "a path".into(),
            Kind::Integer(_, min, max) => format!("an integer from {min} to {max}"),
            Kind::Count(_, min, max) => format!("an integer from {min} to {max}"),
            Kind::Ring(_, min, max) => format!("a power of two from {min} to {max}"),
            Kind::Switch(_) | Kind::OptionalSwitch(_) => "true or false".into(),
            Kind::Choice(_, words) | Kind::OptionalChoice(_, words) => match words {
                [words @ .., last] => format!("{} or {last}", words.join(", ")),
                [] => "a word".into(),
            },
            Kind::Text(_) | Kind::Secret(_) => "a text".into(),
            Kind::Number(_) => "a number".into(),
            Kind::Texts(_) => "a table of texts, such as { name = \"text\" }".into(),
            Kind::Patterns(_) => "a list of names, * for any text".into(),
            Kind::Probes(_) => "a list of signals or programs".into(),
        }
    }

    /// What stands for the value in a flag's help.
    pub fn placeholder(&self) -> &'static str {
        match self {
            Kind::Address(_) => "ADDRESS",
            Kind::Duration(..) | Kind::OptionalDuration(..) => "DURATION",
            Kind::Path(_) | Kind::OptionalPath(_) => "FILE",
            Kind::Integer(..) | Kind::Count(..) | Kind::Number(_) => "NUMBER",
            Kind::Ring(..) => "BYTES",
            Kind::Switch(_) | Kind::OptionalSwitch(_) => "BOOL",
            Kind::Choice(..) | Kind::OptionalChoice(..) => "WORD",
            Kind::Text(_) | Kind::Secret(_) => "TEXT",
            Kind::Texts(_) => "TABLE",
            Kind::Patterns(_) | Kind::Probes(_) => "NAMES",
        }
    }
}

/// Every name that `kernel.disable` understands.
fn probes() -> impl Iterator<Item = &'static str> {
    SIGNALS
        .iter()
        .flat_map(|signal| std::iter::once(signal.name).chain(signal.probes.iter().map(|probe| probe.program)))
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::setting::find;
    use toml::de::DeValue;

    fn refusal(key: &str, raw: Raw<'_>) -> String {
        let mut config = Config::default();
        let refusal = find(key).unwrap().kind.set(&mut config, raw).expect_err(key);
        assert_eq!(config, Config::default(), "{key} was refused, and set");
        refusal
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        for (key, text, wanted) in [
            ("listen", "9843", "\"9843\" is not an IP address and a port, such as 127.0.0.1:9843"),
            ("listen", "127.0.0.1:65536", "\"127.0.0.1:65536\" is not an IP"),
            ("listen", "localhost:9843", "\"localhost:9843\" is not an IP"),
            ("tick", "", "\"\" is not a duration from \"10ms\" to \"1m\""),
            ("tick", "0s", "\"0s\" is not a duration"),
            ("tick", "61s", "\"61s\" is not a duration"),
            ("tick", "-1s", "\"-1s\" is not a duration"),
            ("tick", "soon", "\"soon\" is not a duration"),
            ("tick", "99999999999999999999y", "is not a duration"),
            ("lock", "", "\"\" is not a path"),
            ("oom_score_adj", "-1001", "\"-1001\" is not an integer from -1000 to 1000"),
            ("workload.max", "0", "\"0\" is not an integer from 1 to 100000"),
            ("workload.max", "1e3", "\"1e3\" is not an integer"),
            ("metrics.max_series", "-1", "\"-1\" is not an integer"),
            ("kernel.bulk_ring", "4097", "\"4097\" is not a power of two from 4096 to 1073741824"),
            ("kernel.bulk_ring", "2048", "\"2048\" is not a power of two"),
            ("kernel.critical_ring", "4294967296", "\"4294967296\" is not a power of two"),
            ("kernel.debug", "yes", "\"yes\" is not true or false"),
            ("log.level", "wran", "\"wran\" is not error, warn, info, debug or trace; did you mean \"warn\"?"),
            ("log.level", "INFO", "did you mean \"info\"?"),
            ("log.format", "xml", "\"xml\" is not auto, pretty or json"),
            ("disk.exclude", "loop*,,ram*", "\"\" is not a name"),
            ("pressure.memory_window", "11s", "\"11s\" is not a duration from \"500ms\" to \"10s\""),
            ("kernel.disable", "fault,,block", "\"\" is not the name of a signal or a program"),
            ("kernel.disable", "fualt", "\"fualt\" is not the name of a signal or a program; did you mean \"fault\"?"),
        ] {
            let refusal = refusal(key, Raw::Text(text));
            assert!(refusal.contains(wanted), "{key}: {refusal}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        for (key, toml, wanted) in [
            ("tick", "1", "1 is not a duration from \"10ms\" to \"1m\", in quotes"),
            ("lock", "true", "true is not a path, in quotes"),
            ("listen", "{}", "a section is not"),
            ("log.level", "[]", "a list is not"),
            ("workload.max", "\"7\"", "\"7\" is not an integer"),
            ("workload.max", "7.5", "7.5 is not an integer"),
            ("workload.max", "0xffffffffffffffffffff", "is not an integer"),
            ("kernel.debug", "1", "1 is not true or false"),
            ("kernel.disable", "\"fault\"", "\"fault\" is not a list of signals or programs"),
            ("kernel.disable", "[1]", "1 is not a name, in quotes"),
            ("kernel.btf", "1979-05-27", "1979-05-27 is not a path"),
        ] {
            let value = DeValue::parse(toml).unwrap();
            let refusal = refusal(key, Raw::Toml(value.get_ref()));
            assert!(refusal.contains(wanted), "{key}: {refusal}");
        }
    }

    #[test]
    fn the_empty_text_takes_back_a_list_and_an_optional_path() {
        let mut config = Config::default();
        config.kernel.btf = Some("/a".into());
        config.kernel.disable = vec!["fault".into()];
        for key in ["kernel.btf", "kernel.disable"] {
            find(key).unwrap().kind.set(&mut config, Raw::Text("")).unwrap();
        }
        assert_eq!(config, Config::default());
    }
}

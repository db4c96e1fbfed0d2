//! [`Kind`]: which values a setting may have, and how they are read and written. Knows no keys and no layers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use collector_common::SIGNALS;
use collector_core::amount;

use super::secret::{Secret, SecretUrl};
use super::value::Value;

/// The field of a value; its type decides how the value is read and written.
type Field<C, T> = fn(&mut C) -> &mut T;

/// What a value may be, and where in a `C` it goes: the whole configuration, or one table of an array.
#[derive(Debug)]
pub enum Kind<C> {
    /// An IP address and a port.
    Address(Field<C, SocketAddr>),
    /// A duration, within bounds.
    Duration(Field<C, Duration>, Duration, Duration),
    /// A path.
    Path(Field<C, PathBuf>),
    /// A path, or nothing.
    OptionalPath(Field<C, Option<PathBuf>>),
    /// An integer, within bounds.
    Integer(Field<C, i32>, i32, i32),
    /// A number of things, within bounds.
    Count(Field<C, usize>, usize, usize),
    /// A share of a whole, from one to another.
    Share(Field<C, f64>, f64, f64),
    /// Bytes, or nothing.
    Size(Field<C, Option<u64>>),
    /// Bytes of a ring: a power of two, within bounds.
    Ring(Field<C, u32>, u32, u32),
    /// True or false.
    Switch(Field<C, bool>),
    /// One of a few words.
    Choice(Field<C, String>, &'static [&'static str]),
    /// Names with `*` for any text.
    Patterns(Field<C, Vec<String>>),
    /// Names, of which each stands for itself.
    Names(Field<C, Vec<String>>),
    /// Slots with their places: `NAME`, or `NAME=PLACES`.
    Slots(Field<C, BTreeMap<String, u64>>),
    /// Mount points.
    Mounts(Field<C, Vec<String>>),
    /// Names of signals and of programs.
    Probes(Field<C, Vec<String>>),
    /// A string. The empty string means that it is not set.
    Text(Field<C, String>),
    /// A string, or nothing. The empty string takes back what a lower layer says.
    OptionalText(Field<C, String>),
    /// A string that is never shown.
    Secret(Field<C, Secret>),
    /// A URL, shown without its password. The table checks that it is a URL.
    Url(Field<C, SecretUrl>),
    /// One of a few words, or nothing.
    OptionalChoice(Field<C, Option<String>>, &'static [&'static str]),
    /// A number, or nothing.
    Number(Field<C, Option<f64>>),
    /// A duration within bounds, or nothing.
    OptionalDuration(Field<C, Option<Duration>>, Duration, Duration),
    /// True, false or nothing.
    OptionalSwitch(Field<C, Option<bool>>),
    /// Strings by name, or nothing.
    Texts(Field<C, Option<BTreeMap<String, String>>>),
}

impl<C: Clone> Kind<C> {
    /// Reads the value into its field.
    ///
    /// # Errors
    /// Why it is refused; the field keeps its value.
    pub fn set(&self, config: &mut C, value: Value<'_>) -> Result<(), String> {
        let wanted = self.describe();
        match *self {
            Kind::Address(field) => {
                *field(config) = value.text(&wanted)?.parse().map_err(|_| value.mistaken(&wanted))?;
            }
            Kind::Duration(field, min, max) => *field(config) = value.duration(min, max, &wanted)?,
            Kind::OptionalDuration(field, min, max) => *field(config) = Some(value.duration(min, max, &wanted)?),
            Kind::Path(field) => *field(config) = path(value.text(&wanted)?).ok_or_else(|| value.mistaken(&wanted))?,
            // An empty variable takes back what the file says.
            Kind::OptionalPath(field) => *field(config) = path(value.text(&wanted)?),
            Kind::Integer(field, min, max) => *field(config) = value.integer(min, max, &wanted)?,
            Kind::Count(field, min, max) => *field(config) = value.integer(min, max, &wanted)?,
            Kind::Ring(field, min, max) => {
                let bytes = value.integer(min, max, &wanted)?;
                *field(config) = Some(bytes).filter(|n| n.is_power_of_two()).ok_or_else(|| value.mistaken(&wanted))?;
            }
            Kind::Share(field, min, max) => *field(config) = value.share(min, max, &wanted)?,
            Kind::Size(field) => *field(config) = value.size(&wanted)?,
            Kind::Switch(field) => *field(config) = value.switch(&wanted)?,
            Kind::Choice(field, words) => *field(config) = value.word(words, &wanted)?,
            Kind::OptionalChoice(field, words) => *field(config) = Some(value.word(words, &wanted)?),
            Kind::OptionalSwitch(field) => *field(config) = Some(value.switch(&wanted)?),
            Kind::Number(field) => *field(config) = Some(value.number(&wanted)?),
            Kind::Text(field) => *field(config) = some_text(value, &wanted)?,
            Kind::OptionalText(field) => *field(config) = value.text(&wanted)?.to_owned(),
            // The error must not show the value: it is secret, or may contain a password.
            Kind::Secret(field) => {
                *field(config) = some_text(value, &wanted).map_err(|_| format!("is not {wanted}"))?.into();
            }
            Kind::Url(field) => {
                *field(config) = some_text(value, &wanted).map_err(|_| format!("is not {wanted}"))?.into()
            }
            Kind::Texts(field) => *field(config) = Some(value.texts(&wanted)?),
            Kind::Patterns(field) => {
                let names = value.list(&wanted)?;
                if names.iter().any(String::is_empty) {
                    return Err(Value::Text("").mistaken("a name"));
                }
                *field(config) = names;
            }
            Kind::Names(field) => *field(config) = names(value.list(&wanted)?)?,
            Kind::Slots(field) => *field(config) = slots(names(value.list(&wanted)?)?)?,
            Kind::Mounts(field) => {
                let paths = value.list(&wanted)?;
                if let Some(path) = paths.iter().find(|path| !path.starts_with('/')) {
                    return Err(Value::Text(path).mistaken("an absolute path"));
                }
                *field(config) = paths;
            }
            Kind::Probes(field) => {
                let names = value.list(&wanted)?;
                if let Some(name) = names.iter().find(|name| !probes().any(|known| known == name.as_str())) {
                    return Err(Value::Text(name).unknown("the name of a signal or a program", probes()));
                }
                *field(config) = names;
            }
        }
        Ok(())
    }

    /// The value in this configuration, as TOML; `None` where it is absent.
    pub fn show(&self, config: &C) -> Option<String> {
        // The fields are reached through `&mut`, so that one function a row serves both directions.
        let config = &mut config.clone();
        Some(match *self {
            Kind::Address(field) => quoted(&field(config).to_string()),
            Kind::Duration(field, ..) => quoted(&humantime::format_duration(*field(config)).to_string()),
            Kind::Path(field) if field(config).as_os_str().is_empty() => return None,
            Kind::Path(field) => quoted(&field(config).display().to_string()),
            Kind::OptionalPath(field) => quoted(&field(config).as_ref()?.display().to_string()),
            Kind::Integer(field, ..) => field(config).to_string(),
            Kind::Count(field, ..) => field(config).to_string(),
            Kind::Ring(field, ..) => field(config).to_string(),
            Kind::Share(field, ..) => format!("{:?}", *field(config)),
            Kind::Size(field) => quoted(&amount::exact_bytes((*field(config))?)),
            Kind::Switch(field) => field(config).to_string(),
            Kind::Choice(field, _) => quoted(field(config)),
            Kind::Patterns(field) | Kind::Names(field) | Kind::Mounts(field) | Kind::Probes(field) => {
                list(field(config).iter().map(|name| quoted(name)))
            }
            Kind::Slots(field) => list(field(config).iter().map(|(name, places)| match places {
                1 => quoted(name),
                _ => quoted(&format!("{name}={places}")),
            })),
            Kind::Secret(field) => Some("\"…\"").filter(|_| !field(config).is_empty())?.to_owned(),
            Kind::Text(field) | Kind::OptionalText(field) => {
                Some(&*field(config)).filter(|it| !it.is_empty()).map(|it| quoted(it))?
            }
            Kind::Url(field) => Some(field(config).masked()).filter(|it| !it.is_empty()).map(|it| quoted(&it))?,
            Kind::OptionalChoice(field, _) => quoted(field(config).as_ref()?),
            Kind::Number(field) => format!("{:?}", (*field(config))?),
            Kind::OptionalDuration(field, ..) => quoted(&humantime::format_duration((*field(config))?).to_string()),
            Kind::OptionalSwitch(field) => (*field(config))?.to_string(),
            Kind::Texts(field) => toml::Value::from(field(config).clone()?).to_string(),
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
            Kind::Share(_, min, max) => format!("a number from {min} to {max}"),
            Kind::Size(_) => "a size, such as 16G or 512MiB".into(),
            Kind::Ring(_, min, max) => format!("a power of two from {min} to {max}"),
            Kind::Switch(_) | Kind::OptionalSwitch(_) => "true or false".into(),
            Kind::Choice(_, words) | Kind::OptionalChoice(_, words) => match words {
                [words @ .., last] => format!("{} or {last}", words.join(", ")),
                [] => "a word".into(),
            },
            Kind::Text(_) | Kind::Secret(_) | Kind::Url(_) => "a non-empty string".into(),
            Kind::OptionalText(_) => "a string".into(),
            Kind::Number(_) => "a number".into(),
            Kind::Texts(_) => "a table of strings, such as { name = \"value\" }".into(),
            Kind::Patterns(_) => "a list of names, * for any text".into(),
            Kind::Names(_) => "a list of names".into(),
            Kind::Slots(_) => "a list of slots, NAME or NAME=PLACES".into(),
            Kind::Mounts(_) => "a list of mount points".into(),
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
            Kind::Share(..) => "SHARE",
            Kind::Size(_) => "SIZE",
            Kind::Ring(..) => "BYTES",
            Kind::Switch(_) | Kind::OptionalSwitch(_) => "BOOL",
            Kind::Choice(..) | Kind::OptionalChoice(..) => "WORD",
            Kind::Text(_) | Kind::OptionalText(_) | Kind::Secret(_) | Kind::Url(_) => "TEXT",
            Kind::Texts(_) => "TABLE",
            Kind::Mounts(_) => "PATHS",
            Kind::Slots(_) => "SLOTS",
            Kind::Patterns(_) | Kind::Names(_) | Kind::Probes(_) => "NAMES",
        }
    }
}

/// Every name that `kernel.disable` understands.
fn probes() -> impl Iterator<Item = &'static str> {
    SIGNALS
        .iter()
        .flat_map(|signal| std::iter::once(signal.name).chain(signal.probes.iter().map(|probe| probe.program)))
}

/// Names that each stand for themselves.
fn names(names: Vec<String>) -> Result<Vec<String>, String> {
    match names.iter().find(|name| name.is_empty() || name.contains('*')) {
        Some(star) if star.contains('*') => Err(Value::Text(star).mistaken("a name: * has no meaning here")),
        Some(_) => Err(Value::Text("").mistaken("a name")),
        None => Ok(names),
    }
}

/// A slot that is named alone has one place.
fn slots(names: Vec<String>) -> Result<BTreeMap<String, u64>, String> {
    let mut slots = BTreeMap::new();
    for text in &names {
        let (name, places) = text.split_once('=').unwrap_or((text, "1"));
        let (name, places) = (name.trim(), places.trim().parse().ok());
        let Some(places) = places.filter(|_| !name.is_empty()) else {
            return Err(Value::Text(text).mistaken("a slot: NAME or NAME=PLACES"));
        };
        if slots.insert(name.to_owned(), places).is_some() {
            return Err(format!("{name:?} is named twice"));
        }
    }
    Ok(slots)
}

fn list(values: impl Iterator<Item = String>) -> String {
    format!("[{}]", values.collect::<Vec<_>>().join(", "))
}

fn some_text(value: Value<'_>, wanted: &str) -> Result<String, String> {
    let text = value.text(wanted)?;
    if text.is_empty() { Err(value.mistaken(wanted)) } else { Ok(text.to_owned()) }
}

fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

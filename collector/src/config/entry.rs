//! [`Table`]: declares an array of tables, key by key. Parsing, the check for unknown and missing keys, `check-config` and
//! `docs/config.md` use the declaration. Only the file can have such tables, not the environment or flags. Knows no concrete
//! table, nor the configuration `C` that it belongs to.

use std::fmt::Write as _;

use collector_core::spelling::closest;
use toml::Spanned;
use toml::de::DeValue;

use super::error::{Error, Place};
use super::kind::Kind;
use super::value::Value;

/// One array of tables; each of its tables becomes a `T`.
#[derive(Debug)]
pub struct Table<C: 'static, T: 'static> {
    /// `rule` for `[[rule]]`, `sink.webhook` for `[[sink.webhook]]`.
    pub name: &'static str,
    /// Full sentences for the documentation.
    pub doc: &'static str,
    /// Part of a file, for the documentation.
    pub example: &'static str,
    /// A key that is not set keeps its value of `T::default()`.
    pub keys: &'static [Key<T>],
    /// The field of the configuration that takes the tables.
    pub field: fn(&mut C) -> &mut Vec<Entry<T>>,
    /// Finds mistakes that involve several keys or tables. Called with all tables, only if each was read without error.
    pub check: fn(&[Entry<T>]) -> Vec<Error>,
}

#[derive(Debug)]
pub struct Key<T: 'static> {
    pub name: &'static str,
    /// Type and bounds of the value.
    pub kind: Kind<T>,
    pub required: bool,
    /// Full sentences for the documentation.
    pub doc: &'static str,
}

/// One table of an array, with the place of each value.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Entry<T> {
    #[cfg_attr(test, serde(skip))]
    pub value: T,
    /// Where the table begins.
    #[cfg_attr(test, serde(skip))]
    pub place: Place,
    /// The keys that are set, in the order of the file.
    #[cfg_attr(test, serde(skip))]
    pub set: Vec<(&'static str, Place)>,
}

/// Compares values only, not places.
impl<T: PartialEq> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Entry<T> {
    /// Where this key is set; the table's own place if it is not.
    pub fn place(&self, key: &str) -> &Place {
        self.set.iter().find(|(name, _)| *name == key).map_or(&self.place, |(_, place)| place)
    }
}

/// A [`Table`] with its type erased.
pub trait AnyTable<C>: Sync {
    fn name(&self) -> &'static str;
    fn doc(&self) -> &'static str;
    fn example(&self) -> &'static str;
    /// The keys, for the documentation.
    fn columns(&self) -> Vec<Column>;
    /// Adds one table to the configuration if it has no mistakes.
    fn read(&self, config: &mut C, entry: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Vec<Error>;
    /// See [`Table::check`].
    fn check(&self, config: &C) -> Vec<Error>;
    /// The tables of this configuration as TOML, each value with its origin.
    fn show(&self, config: &C) -> String;
}

/// A key, for the documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// Describes a valid value.
    pub wanted: String,
    /// As TOML.
    pub default: Option<String>,
    pub required: bool,
    pub doc: &'static str,
}

impl<C: Clone, T: Clone + Default> AnyTable<C> for Table<C, T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn example(&self) -> &'static str {
        self.example
    }

    fn columns(&self) -> Vec<Column> {
        let column = |key: &Key<T>| Column {
            name: key.name,
            wanted: key.kind.describe(),
            default: key.kind.show(&T::default()).filter(|_| !key.required),
            required: key.required,
            doc: key.doc,
        };
        self.keys.iter().map(column).collect()
    }

    fn read(&self, config: &mut C, entry: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Vec<Error> {
        let begin = place(entry.span().start);
        let DeValue::Table(table) = entry.get_ref() else {
            let text = Value::Toml(entry.get_ref()).mistaken(&format!("a table [[{}]]", self.name));
            return vec![Error { place: begin, key: Some(self.name.into()), text }];
        };
        let mut read = Entry { value: T::default(), place: begin, set: Vec::new() };
        let mut errors = Vec::new();
        let mut values: Vec<_> = table.iter().collect();
        values.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in values {
            let full = Some(format!("{}.{}", self.name, name.get_ref()));
            match self.keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => match key.kind.set(&mut read.value, Value::Toml(value.get_ref())) {
                    Ok(()) => read.set.push((key.name, place(value.span().start))),
                    Err(text) => errors.push(Error { place: place(value.span().start), key: full, text }),
                },
                None => {
                    let hint = closest(name.get_ref(), self.keys.iter().map(|key| key.name));
                    let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
                    let text = format!("unknown key{hint}");
                    errors.push(Error { place: place(name.span().start), key: full, text });
                }
            }
        }
        let missing = self.keys.iter().filter(|key| key.required && !table.contains_key(key.name));
        errors.extend(missing.map(|key| Error {
            place: read.place.clone(),
            key: Some(format!("{}.{}", self.name, key.name)),
            text: "is missing".into(),
        }));
        if errors.is_empty() {
            (self.field)(config).push(read);
        }
        errors
    }

    fn check(&self, config: &C) -> Vec<Error> {
        // `field` needs `&mut`; the clone lets one function serve reading and writing.
        (self.check)((self.field)(&mut config.clone()))
    }

    fn show(&self, config: &C) -> String {
        let mut text = String::new();
        for entry in (self.field)(&mut config.clone()) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "\n[[{}]]", self.name);
            for key in self.keys {
                let Some(value) = key.kind.show(&entry.value) else { continue };
                let origin = entry.set.iter().find(|(name, _)| *name == key.name).map(|(_, place)| place.to_string());
                let _ = writeln!(
                    text,
                    "{:<40} # {}",
                    format!("{} = {value}", key.name),
                    origin.as_deref().unwrap_or("default"),
                );
            }
        }
        text
    }
}

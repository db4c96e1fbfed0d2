//! [`Table`]: how an array of tables is declared, key by key: reading, the check for unknown and missing keys,
//! `check-config` and `docs/config.md` come from it. Only the file has such tables: no variable and no flag sets them.
//! Knows no table, and not the configuration `C` that they are part of.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Error, Place};
use super::kind::Kind;
use super::value::Value;
use crate::spelling::closest;

/// One array of tables; each of its tables becomes a `T`.
#[derive(Debug)]
pub struct Table<C: 'static, T: 'static> {
    /// Its name in the file: `rule` is `[[rule]]`, `sink.webhook` is `[[sink.webhook]]`.
    pub name: &'static str,
    /// What one table is: whole sentences for the documentation.
    pub doc: &'static str,
    /// A piece of a file, for the documentation.
    pub example: &'static str,
    /// Its keys; what is not set keeps the value of `T::default()`.
    pub keys: &'static [Key<T>],
    /// Where they go.
    pub field: fn(&mut C) -> &mut Vec<Entry<T>>,
    /// Finds what is wrong between keys and between tables. Called with all tables, and only if each could be read.
    pub check: fn(&[Entry<T>]) -> Vec<Error>,
}

/// One key of such a table.
#[derive(Debug)]
pub struct Key<T: 'static> {
    /// Its name.
    pub name: &'static str,
    /// What may be set.
    pub kind: Kind<T>,
    /// Whether a table without it is refused.
    pub required: bool,
    /// What it does: whole sentences for the documentation.
    pub doc: &'static str,
}

/// One table of an array, and where its values stand.
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Entry<T> {
    /// Its values.
    #[cfg_attr(test, serde(skip))]
    pub value: T,
    /// Where the table begins.
    #[cfg_attr(test, serde(skip))]
    pub place: Place,
    /// The keys that are set, in the order of the file.
    #[cfg_attr(test, serde(skip))]
    pub set: Vec<(&'static str, Place)>,
}

/// Two tables are equal if their values are, wherever they are set.
impl<T: PartialEq> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Entry<T> {
    /// Where this key is set; the table itself, if it is not.
    pub fn place(&self, key: &str) -> &Place {
        self.set.iter().find(|(name, _)| *name == key).map_or(&self.place, |(_, place)| place)
    }
}

/// A [`Table`] of any type.
pub trait AnyTable<C>: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What one table is.
    fn doc(&self) -> &'static str;
    /// A piece of a file.
    fn example(&self) -> &'static str;
    /// Its keys, for the documentation.
    fn columns(&self) -> Vec<Column>;
    /// Adds one table to the configuration, unless something is wrong with it.
    fn read(&self, config: &mut C, entry: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Vec<Error>;
    /// What is wrong between the tables.
    fn check(&self, config: &C) -> Vec<Error>;
    /// The tables of this configuration, as TOML, each value with its place.
    fn show(&self, config: &C) -> String;
}

/// A key as the documentation has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What a value must be.
    pub wanted: String,
    /// Its default, as TOML.
    pub default: Option<String>,
    /// Whether a table without it is refused.
    pub required: bool,
    /// What it does.
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
            default: key.kind.show(&T::default()),
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
                    let text = format!("there is no such key{hint}");
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
        // The field is reached through `&mut`, so that one function serves both directions.
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

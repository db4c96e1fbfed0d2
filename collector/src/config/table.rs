//! Arrays of tables: `[[rule]]`, and whatever else there can be several of. [`TABLES`] declares each once, key by key, as
//! [`SETTINGS`](super::setting::SETTINGS) does for what there is one of: reading, the check of unknown and of missing keys,
//! `check-config` and `docs/config.md` come from it. They are in the file alone: no variable and no flag sets them.

use std::fmt::Write as _;

use toml::Spanned;
use toml::de::DeValue;

use super::error::{Error, Place};
use super::kind::Kind;
use super::raw::Raw;
use super::{Config, rule, sink};
use crate::spelling::closest;

/// Every array of tables.
pub const TABLES: &[&dyn AnyTable] = &[&rule::RULE, &sink::WEBHOOK, &sink::ALERTMANAGER];

/// One array of tables; each of its tables becomes a `T`.
#[derive(Debug)]
pub struct Table<T: 'static> {
    /// Its name in the file: `rule` is `[[rule]]`, `sink.webhook` is `[[sink.webhook]]`.
    pub name: &'static str,
    /// What one table is: whole sentences for the documentation.
    pub doc: &'static str,
    /// A piece of a file, for the documentation.
    pub example: &'static str,
    /// Its keys; what is not set keeps the value of `T::default()`.
    pub keys: &'static [Key<T>],
    /// Where they go.
    pub field: fn(&mut Config) -> &mut Vec<Entry<T>>,
    /// What is wrong although each key has a value that it can have. Called with all tables, or none.
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
    /// What it says.
    pub value: T,
    /// Where it begins.
    #[cfg_attr(test, serde(skip))]
    pub place: Place,
    /// The keys that are set, in the order of the file.
    #[cfg_attr(test, serde(skip))]
    pub set: Vec<(&'static str, Place)>,
}

/// Two tables are the same if they say the same, wherever they stand.
impl<T: PartialEq> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T> Entry<T> {
    /// Where the value of a key stands; the table itself, if the key is not set.
    pub fn place(&self, key: &str) -> &Place {
        self.set.iter().find(|(name, _)| *name == key).map_or(&self.place, |(_, place)| place)
    }

    /// Whether the table sets it.
    pub fn sets(&self, key: &str) -> bool {
        self.set.iter().any(|(name, _)| *name == key)
    }
}

/// A [`Table`], whatever it is of.
pub trait AnyTable: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// What one table is.
    fn doc(&self) -> &'static str;
    /// A piece of a file.
    fn example(&self) -> &'static str;
    /// Its keys, for the documentation.
    fn columns(&self) -> Vec<Column>;
    /// Adds one table to the configuration, unless something is wrong with it.
    fn read(&self, config: &mut Config, entry: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Vec<Error>;
    /// What is wrong between the tables.
    fn check(&self, config: &Config) -> Vec<Error>;
    /// The tables of this configuration, as TOML, each value with its place.
    fn show(&self, config: &Config) -> String;
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

impl<T: Clone + Default> AnyTable for Table<T> {
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

    fn read(&self, config: &mut Config, entry: &Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Vec<Error> {
        let begin = place(entry.span().start);
        let DeValue::Table(table) = entry.get_ref() else {
            let text = Raw::Toml(entry.get_ref()).mistaken(&format!("a table [[{}]]", self.name));
            return vec![Error { place: begin, key: Some(self.name.into()), text }];
        };
        let mut read = Entry { value: T::default(), place: begin, set: Vec::new() };
        let mut errors = Vec::new();
        let mut values: Vec<_> = table.iter().collect();
        values.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in values {
            let full = Some(format!("{}.{}", self.name, name.get_ref()));
            match self.keys.iter().find(|key| key.name == name.get_ref()) {
                Some(key) => match key.kind.set(&mut read.value, Raw::Toml(value.get_ref())) {
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

    fn check(&self, config: &Config) -> Vec<Error> {
        // The field is reached through `&mut`, so that one function serves both directions.
        (self.check)((self.field)(&mut config.clone()))
    }

    fn show(&self, config: &Config) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::apply;
    use std::path::Path;

    /// The configuration of a text, and all that is wrong with it.
    fn read(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        (config, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tables_come_in_the_order_of_the_file_with_the_place_of_each_value() {
        let text = "[[rule]]\nalert = \"B\"\nabove = 1\n\n[[rule]]\nmatch.device = \"x\"\nalert = \"A\"\n[log]\nlevel = \"warn\"\n";
        let (config, errors) = read(text);
        assert_eq!(errors, [""; 0]);
        let names: Vec<_> = config.rule.iter().map(|entry| &*entry.value.alert).collect();
        assert_eq!(names, ["B", "A"]);
        let [b, a] = &config.rule[..] else { panic!() };
        assert_eq!((b.value.above, b.place("above").to_string()), (Some(1.0), "a.toml:3:9".into()));
        assert_eq!((a.sets("above"), a.value.labels["device"].as_str()), (false, "x"));
        assert_eq!(a.place("above"), &a.place);
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn each_error_names_line_column_and_key() {
        for (text, wanted) in [
            ("[[rule]]\nabove = 1\n", "a.toml:1:1: rule.alert: is missing"),
            (
                "[[rule]]\nalert = \"A\"\nabvoe = 1\n",
                "a.toml:3:1: rule.abvoe: there is no such key; did you mean above?",
            ),
            ("[[rule]]\nalert = \"A\"\nabove = \"1\"\n", "a.toml:3:9: rule.above: \"1\" is not a number"),
            ("[[rule]]\nalert = \"A\"\nabove = nan\n", "a.toml:3:9: rule.above: nan is not a number"),
            ("[[rule]]\nalert = \"\"\n", "a.toml:2:9: rule.alert: \"\" is not a text"),
            ("[[rule]]\nalert = \"A\"\nfor = \"soon\"\n", "a.toml:3:7: rule.for: \"soon\" is not a duration from"),
            ("[[rule]]\nalert = \"A\"\nfor = \"2days\"\n", "a.toml:3:7: rule.for: \"2days\" is not a duration from"),
            ("[[rule]]\nalert = \"A\"\nrate = \"0s\"\n", "a.toml:3:8: rule.rate: \"0s\" is not a duration from"),
            ("[[rule]]\nalert = \"A\"\nseverity = \"warn\"\n", "severity: \"warn\" is not info, warning or critical"),
            ("[[rule]]\nalert = \"A\"\nevent = \"oom_kill\"\n", "rule.event: \"oom_kill\" is not oom, memory_pressure"),
            ("[[rule]]\nalert = \"A\"\nenabled = 1\n", "a.toml:3:11: rule.enabled: 1 is not true or false"),
            ("[[rule]]\nalert = \"A\"\nmatch = \"x\"\n", "a.toml:3:9: rule.match: \"x\" is not a table of texts"),
            ("[[rule]]\nalert = \"A\"\n[rule.match]\ngpu = 1\n", "rule.match: gpu: 1 is not a text, in quotes"),
            ("[rule]\nalert = \"A\"\n", "a.toml:1:2: rule: is a list of tables: write [[rule]] and its keys below"),
            ("rule = [1]", "a.toml:1:9: rule: 1 is not a table [[rule]]"),
            (
                "[[rules]]\nalert = \"A\"\n",
                "a.toml:1:3: rules: there is no such list of tables; did you mean [[rule]]?",
            ),
            ("[log]\n[[log.rule]]\nalert = \"A\"\n", "a.toml:2:7: log.rule: there is no such list of tables"),
        ] {
            let (config, errors) = read(text);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{text:?}: {errors:#?}");
            assert_eq!(config, Config::default(), "{text:?} was refused, and taken");
        }
    }

    #[test]
    fn what_is_shown_is_read_back() {
        let (config, errors) = read(rule::RULE.example);
        assert_eq!(errors, [""; 0]);
        let text: String = TABLES.iter().map(|table| table.show(&config)).collect();
        assert_eq!(read(&text).0, config, "{text}");
        assert!(text.contains("above = 0.92 ") && text.contains("# a.toml:3:9\n"), "{text}");
    }

    #[test]
    fn names_differ_and_are_no_settings() {
        for (index, table) in TABLES.iter().enumerate() {
            assert!(TABLES[..index].iter().all(|other| other.name() != table.name()));
            assert!(crate::config::setting::find(table.name()).is_none(), "{}", table.name());
            assert!(table.doc().ends_with('.'), "{}", table.name());
            for (index, column) in table.columns().iter().enumerate() {
                assert!(table.columns()[..index].iter().all(|other| other.name != column.name), "{}", column.name);
                assert!(column.doc.ends_with('.') && !column.doc.contains('|'), "{}", column.name);
            }
        }
    }

    #[test]
    fn one_takes_the_values_of_another_key_by_key() {
        let (config, _) = read(rule::RULE.example);
        let mut copy = rule::Rule::default();
        rule::RULE.keys.iter().for_each(|key| key.kind.copy(&mut copy, &config.rule[1].value));
        assert_eq!(copy, config.rule[1].value);
    }
}

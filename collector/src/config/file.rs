//! The file layer: parses TOML text into settings, each with its place. Knows nothing of the other layers.

use std::ops::Range;
use std::path::Path;

use collector_core::spelling::closest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalogue::TABLES;
use super::entry::AnyTable;
use super::error::{Error, Place};
use super::section::Config;
use super::setting::{SETTINGS, Setting, find};
use super::value::Value;

/// Section of profiles that a later version will use.
pub const RESERVED: &str = "isolation";

/// A text as TOML.
pub struct Parsed<'a> {
    path: &'a Path,
    text: &'a str,
    table: Result<Spanned<DeTable<'a>>, Error>,
}

/// What a file sets.
pub struct Applied {
    pub set: Vec<(&'static Setting, Place)>,
    pub errors: Vec<Error>,
    /// It has the section [`RESERVED`], which has no effect.
    pub reserved: bool,
}

impl<'a> Parsed<'a> {
    pub fn new(path: &'a Path, text: &'a str) -> Parsed<'a> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        // After a syntax error the parser's recovery produces misleading errors: report the first only.
        let table = match errors.iter().min_by_key(|error| start(error)) {
            Some(error) => {
                let (place, text) = (place(path, text, start(error)), format!("not valid TOML: {}", error.message()));
                Err(Error { place, key: None, text })
            }
            None => Ok(table),
        };
        Parsed { path, text, table }
    }

    /// The profile that it names, and where.
    pub fn profile(&self) -> Option<(String, Place)> {
        let value = self.table.as_ref().ok()?.get_ref().get("profile")?;
        let DeValue::String(name) = value.get_ref() else { return None };
        Some((name.to_string(), place(self.path, self.text, value.span().start)))
    }

    /// Sets in `config` what it sets.
    pub fn apply(self, config: &mut Config) -> Applied {
        self.layer(config, false)
    }

    /// The same of a profile.
    pub fn apply_profile(self, config: &mut Config) -> Applied {
        self.layer(config, true)
    }

    fn layer(self, config: &mut Config, profile: bool) -> Applied {
        let Parsed { path, text, table } = self;
        let mut layer = Layer { path, text, config, profile, reserved: false, set: Vec::new(), errors: Vec::new() };
        match &table {
            Ok(table) => layer.table(None, table.get_ref()),
            Err(error) => layer.errors.push(error.clone()),
        }
        Applied { set: layer.set, errors: layer.errors, reserved: layer.reserved }
    }
}

/// Sets in `config` what the text sets: every setting with its place, and all mistakes.
#[cfg(test)]
pub fn apply(path: &Path, text: &str, config: &mut Config) -> (Vec<(&'static Setting, Place)>, Vec<Error>) {
    let Applied { set, errors, .. } = Parsed::new(path, text).apply(config);
    (set, errors)
}

struct Layer<'a> {
    path: &'a Path,
    text: &'a str,
    config: &'a mut Config,
    /// The file is a profile.
    profile: bool,
    reserved: bool,
    set: Vec<(&'static Setting, Place)>,
    errors: Vec<Error>,
}

impl Layer<'_> {
    fn table(&mut self, section: Option<&str>, table: &DeTable<'_>) {
        // Report errors in file order; the parser sorts keys by name.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let key = match section {
                Some(section) => format!("{section}.{}", name.get_ref()),
                None => name.get_ref().to_string(),
            };
            // `"kernel.stall" = …` is one key with a dot in its name, not a key in a section.
            let setting = find(&key).filter(|_| !name.get_ref().contains('.'));
            match (setting, value.get_ref()) {
                (None, DeValue::Table(_)) if key == RESERVED && self.profile => self.reserved = true,
                (None, _) if key == RESERVED => {
                    let text = "only a profile may have it, and it has no effect in this version";
                    self.error(name.span(), Some(RESERVED), text.into());
                }
                (Some(setting), _) if setting.key == "profile" && self.profile => {
                    self.error(name.span(), Some("profile"), "a profile cannot name another".into());
                }
                (Some(setting), _) => self.value(setting, value),
                (None, DeValue::Table(table)) if sections().any(|section| section == key) => {
                    self.table(Some(&key), table);
                }
                (None, inner) => match TABLES.iter().find(|table| table.name() == key) {
                    Some(table) => self.entries(*table, name.span(), value),
                    None => self.unknown(name.span(), &key, inner),
                },
            }
        }
    }

    fn entries(&mut self, table: &dyn AnyTable<Config>, at: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let name = table.name();
        let DeValue::Array(entries) = value.get_ref() else {
            return self.error(at, Some(name), format!("is an array of tables: write [[{name}]], then its keys"));
        };
        let place = |offset| place(self.path, self.text, offset);
        for entry in entries.iter() {
            self.errors.extend(table.read(self.config, entry, &place));
        }
    }

    fn value(&mut self, setting: &'static Setting, value: &Spanned<DeValue<'_>>) {
        match setting.kind.set(self.config, Value::Toml(value.get_ref())) {
            Ok(()) => self.set.push((setting, place(self.path, self.text, value.span().start))),
            Err(text) => self.error(value.span(), Some(setting.key), text),
        }
    }

    fn unknown(&mut self, at: Range<usize>, key: &str, value: &DeValue<'_>) {
        if sections().any(|section| section == key) {
            return self.error(at, Some(key), format!("is a section: write [{key}], then its keys"));
        }
        let (what, hint) = match value {
            DeValue::Table(_) => ("section", closest(key, sections()).map(|section| format!("[{section}]"))),
            DeValue::Array(array) if array.iter().any(|entry| matches!(entry.get_ref(), DeValue::Table(_))) => {
                let tables = TABLES.iter().map(|table| table.name());
                ("array of tables", closest(key, tables).map(|table| format!("[[{table}]]")))
            }
            _ => ("key", closest_key(key).map(|found| placed(key, found))),
        };
        let hint = hint.map(|hint| format!("; did you mean {hint}?")).unwrap_or_default();
        self.error(at, Some(key), format!("unknown {what}{hint}"));
    }

    fn error(&mut self, at: Range<usize>, key: Option<&str>, text: String) {
        let place = place(self.path, self.text, at.start);
        self.errors.push(Error { place, key: key.map(str::to_owned), text });
    }
}

/// Every section, including those with arrays of tables only.
fn sections() -> impl Iterator<Item = &'static str> {
    let tables = TABLES.iter().filter_map(|table| table.name().split_once('.').map(|(section, _)| section));
    SETTINGS.iter().filter_map(|setting| setting.section().0).chain(tables)
}

/// What is appended to a file belongs to its last section, also if it was meant for none.
fn placed(key: &str, found: &str) -> String {
    match key.contains('.') && !found.contains('.') {
        true => format!("{found}, which belongs above the first section"),
        false => found.to_owned(),
    }
}

/// The key that was probably meant: the same name in another section, or else a similar name.
fn closest_key(key: &str) -> Option<&'static str> {
    let name = key.rsplit('.').next();
    let elsewhere = SETTINGS.iter().map(|setting| setting.key).find(|other| other.rsplit('.').next() == name);
    elsewhere.or_else(|| closest(key, SETTINGS.iter().map(|setting| setting.key)))
}

pub(super) fn place(path: &Path, text: &str, offset: usize) -> Place {
    // Editors do not count the byte order mark as a column.
    let before = text.get(..offset).unwrap_or(text).trim_start_matches('\u{feff}');
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place::Line(path.to_owned(), before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn errors(text: &str) -> Vec<String> {
        let (_, errors) = apply(Path::new("a.toml"), text, &mut Config::default());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_error_names_line_column_and_key() {
        for (text, wanted) in [
            ("tick = \"0s\"", "a.toml:1:8: tick: \"0s\" is not a duration from \"10ms\" to \"1m\""),
            ("\n[kernel]\n  slow_io = 5\n", "a.toml:3:13: kernel.slow_io: 5 is not a duration"),
            ("kernel = { slow_oi = \"1s\" }", "a.toml:1:12: kernel.slow_oi: unknown key; did you mean kernel.slow_io?"),
            (
                "[log]\ntick = \"1s\"",
                "log.tick: unknown key; did you mean tick, which belongs above the first section?",
            ),
            ("slow_io = \"1s\"", "a.toml:1:1: slow_io: unknown key; did you mean kernel.slow_io?"),
            ("\"kernel.stall\" = \"1s\"", "a.toml:1:1: kernel.stall: unknown key"),
            ("[kernal]\nstall = \"1s\"", "a.toml:1:2: kernal: unknown section; did you mean [kernel]?"),
            ("[gnu]", "a.toml:1:2: gnu: unknown section"),
            ("kernel = 1", "a.toml:1:1: kernel: is a section"),
            ("[[kernel]]", "a.toml:1:3: kernel: is a section"),
            ("[tick]\nfast = true", "tick: a section is not a duration"),
            ("# ünï\n\"ü\" = 1", "a.toml:2:1: ü: unknown key"),
            ("tick = \"1s\" # ü\n[log]\r\nlevel = \"ü\"\r\n", "a.toml:3:9: log.level: \"ü\" is not"),
            ("\u{feff}tick = 1", "a.toml:1:8: tick: 1 is not"),
            ("tick = ", "a.toml:1:8: not valid TOML: "),
            ("tick = \"1s\"\ntick = \"2s\"", "a.toml:2:1: not valid TOML: duplicate key"),
            ("tick = \"1s", "not valid TOML"),
            ("\0", "a.toml:1:1: not valid TOML"),
        ] {
            let errors = errors(text);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{text:?}: {errors:#?}");
        }
    }

    #[test]
    fn all_errors_are_reported_in_the_order_of_the_file() {
        let errors = errors("tick = 1\nlisten = 2\n[zzz]\n[kernel]\nstall = 3\nfoo = 4\n");
        let places: Vec<_> = errors.iter().map(|error| error.split(": ").next().unwrap()).collect();
        assert_eq!(places, ["a.toml:1:8", "a.toml:2:10", "a.toml:3:2", "a.toml:5:9", "a.toml:6:1"]);
    }

    #[test]
    fn a_byte_order_mark_and_carriage_returns_are_accepted() {
        let mut config = Config::default();
        let text = "\u{feff}tick = \"2s\"\r\n[kernel]\r\ndisable = [\r\n  \"fault\",\r\n]\r\n";
        let (set, errors) = apply(Path::new("a.toml"), text, &mut config);
        assert_eq!(errors, []);
        assert_eq!(config.tick, Duration::from_secs(2));
        assert_eq!(config.kernel.disable, ["fault"]);
        let places: Vec<_> = set.iter().map(|(setting, place)| format!("{} {place}", setting.key)).collect();
        assert_eq!(places, ["tick a.toml:1:8", "kernel.disable a.toml:3:11"]);
    }

    #[test]
    fn a_text_may_be_empty() {
        assert_eq!(errors(""), [""; 0]);
        assert_eq!(errors("\n\r\n# nothing\n"), [""; 0]);
    }
}

//! Combines the layers: defaults, file, `HEADROOM_*` variables, flags. The only file in `config` that does IO.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use collector_core::rule::Rules;

use super::environment::{is_foreign, unknown};
use super::error::{Error, Errors, Place};
use super::section::Config;
use super::setting::{SETTINGS, Setting, find};
use super::value::Value;
use super::{catalogue, file, profile, threshold, trigger};

/// Read if no other file is named; it need not exist.
pub const DEFAULT_FILE: &str = "/etc/headroom/headroom.toml";

pub use super::environment::FILE_VARIABLE;

/// The layers above the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that `--config` names: it must exist.
    pub file: Option<PathBuf>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    pub flags: Vec<(&'static Setting, String)>,
}

/// The combined configuration.
#[derive(Clone, Debug)]
pub struct Effective {
    /// Every value, defaults included.
    pub config: Config,
    /// The built-in rules with the changes and additions of the file, checked.
    pub rules: Arc<Rules>,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// What the operator should know of it, each a sentence.
    pub notes: Vec<String>,
    /// Origins of values that are not defaults; the last entry for a setting is the effective one.
    origins: Vec<(&'static Setting, Place)>,
}

impl Effective {
    /// Origin of the setting's value; `None` means the default.
    pub fn origin(&self, setting: &Setting) -> Option<&Place> {
        self.origins.iter().rev().find(|(other, _)| other.key == setting.key).map(|(_, place)| place)
    }
}

/// Combines the layers, or returns all mistakes in them.
pub fn load(layers: &Layers) -> Result<Effective, Errors> {
    load_from(layers, Path::new(DEFAULT_FILE))
}

fn load_from(layers: &Layers, default_file: &Path) -> Result<Effective, Errors> {
    let mut effective = Effective {
        config: Config::default(),
        rules: Arc::default(),
        file: None,
        notes: Vec::new(),
        origins: Vec::new(),
    };
    let mut errors = Vec::new();

    let variables = layers.environment.iter().filter_map(|(name, value)| {
        // A name that is not UTF-8 is no setting, but it may be a mistake to report.
        let name = name.to_string_lossy().into_owned();
        name.starts_with("HEADROOM_").then_some((name, value))
    });
    let variables: Vec<_> = variables.collect();
    let named = variables.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());

    let (path, required) = match layers.file.as_deref().or(named.map(|(_, value)| Path::new(value))) {
        Some(path) => (path, true),
        None => (default_file, false),
    };
    let text = effective.read(path, required, &mut errors);
    let parsed = text.as_deref().map(|text| file::Parsed::new(path, text));
    if let Some((name, place)) = chosen(layers, &variables, parsed.as_ref()) {
        effective.profile(&name, &place, &mut errors);
    }
    let beneath = profile::Beneath::take(&mut effective.config);
    if let Some(parsed) = parsed {
        let file::Applied { set, errors: mut wrong, .. } = parsed.apply(&mut effective.config);
        effective.origins.extend(set);
        errors.append(&mut wrong);
    }
    beneath.put(&mut effective.config);
    for (name, value) in &variables {
        match SETTINGS.iter().find(|setting| setting.variable() == *name) {
            Some(setting) => match value.to_str() {
                Some(value) => effective.set(setting, value, Place::Variable(name.clone()), &mut errors),
                None => errors.push(Error {
                    place: Place::Variable(name.clone()),
                    key: Some(setting.key.into()),
                    text: "is not UTF-8".into(),
                }),
            },
            None if threshold::is_threshold(name) => {}
            None if name == FILE_VARIABLE || is_foreign(name, &value.to_string_lossy()) => {}
            None => errors.push(unknown(name)),
        }
    }
    for (setting, value) in &layers.flags {
        let flag = format!("--{}", setting.flag.unwrap_or(setting.key));
        effective.set(setting, value, Place::Flag(flag), &mut errors);
    }
    if errors.is_empty() {
        match catalogue::check(&effective.config) {
            Ok(rules) => effective.rules = Arc::new(rules),
            Err(wrong) => errors = wrong,
        }
    }
    if errors.is_empty() {
        errors.extend(effective.triggers());
    }
    if errors.is_empty() {
        effective.thresholds(&variables, &mut errors);
    }
    if errors.is_empty() { Ok(effective) } else { Err(Errors(errors)) }
}

/// The profile that a layer names, and where; the highest layer wins, also if it says that there is none.
fn chosen(
    layers: &Layers,
    variables: &[(String, &OsString)],
    parsed: Option<&file::Parsed<'_>>,
) -> Option<(String, Place)> {
    let setting = find("profile")?;
    let flag = layers.flags.iter().rev().find(|(other, _)| other.key == setting.key);
    let flag = flag.map(|(_, value)| (value.clone(), Place::Flag("--profile".into())));
    let variable = || {
        let (name, value) = variables.iter().find(|(name, _)| *name == setting.variable())?;
        Some((value.to_str()?.to_owned(), Place::Variable(name.clone())))
    };
    flag.or_else(variable).or_else(|| parsed?.profile()).filter(|(name, _)| !name.is_empty())
}

impl Effective {
    /// The text of the file, if there is one.
    fn read(&mut self, path: &Path, required: bool, errors: &mut Vec<Error>) -> Option<String> {
        match read(path) {
            Ok(Some(text)) => {
                self.file = Some(path.to_owned());
                return Some(text);
            }
            Ok(None) if !required => {}
            Ok(None) => {
                let text = "file not found".into();
                errors.push(Error { place: Place::File(path.to_owned()), key: None, text });
            }
            Err(error) => errors.push(error),
        }
        None
    }

    /// Reads a profile; `place` names it.
    fn profile(&mut self, name: &str, place: &Place, errors: &mut Vec<Error>) {
        let text = match profile::is_path(name) {
            true => read(Path::new(name)).and_then(|text| {
                let error = || Error {
                    place: place.clone(),
                    key: Some("profile".into()),
                    text: format!("{name}: file not found"),
                };
                text.ok_or_else(error)
            }),
            false => profile::shipped(name).map(str::to_owned).map_err(|text| Error {
                place: place.clone(),
                key: Some("profile".into()),
                text,
            }),
        };
        let path = if profile::is_path(name) { PathBuf::from(name) } else { PathBuf::from(format!("profile {name}")) };
        match text {
            Ok(text) => {
                let file::Applied { set, errors: mut wrong, reserved } =
                    file::Parsed::new(&path, &text).apply_profile(&mut self.config);
                self.origins.extend(set);
                errors.append(&mut wrong);
                if reserved {
                    let section = file::RESERVED;
                    self.notes
                        .push(format!("[{section}] of {} has no effect in this version of Headroom", path.display()));
                }
            }
            Err(error) => errors.push(error),
        }
    }

    /// Triggers that no kernel takes.
    fn triggers(&self) -> Vec<Error> {
        let set = |key: &str| find(key).and_then(|setting| self.origin(setting)).cloned();
        let place = |it: &trigger::Impossible| set(it.threshold).or_else(|| set(it.window));
        let wrong = trigger::impossible(&self.config).into_iter();
        wrong
            .map(|it| Error {
                place: place(&it).unwrap_or_else(|| Place::File(DEFAULT_FILE.into())),
                key: Some(it.threshold.into()),
                text: it.text,
            })
            .collect()
    }

    /// Sets the thresholds of rules that variables name.
    fn thresholds(&mut self, variables: &[(String, &OsString)], errors: &mut Vec<Error>) {
        let all = variables.iter().filter(|(name, _)| threshold::is_threshold(name));
        let mut any = false;
        for (name, value) in all {
            any = true;
            let set = threshold::set(&mut self.config.rule, &self.rules, name, &value.to_string_lossy());
            errors.extend(set.err());
        }
        if any && errors.is_empty() {
            match catalogue::check(&self.config) {
                Ok(rules) => self.rules = Arc::new(rules),
                Err(wrong) => *errors = wrong,
            }
        }
    }

    fn set(&mut self, setting: &'static Setting, value: &str, place: Place, errors: &mut Vec<Error>) {
        match setting.kind.set(&mut self.config, Value::Text(value)) {
            Ok(()) => self.origins.push((setting, place)),
            Err(text) => errors.push(Error { place, key: Some(setting.key.into()), text }),
        }
    }
}

/// Maximum size of the file in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The text of a file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<String>, Error> {
    let error = |text: String| Error { place: Place::File(path.to_owned()), key: None, text };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(absent) if absent.kind() == ErrorKind::NotFound => return Ok(None),
        Err(other) => return Err(error(format!("cannot be opened: {other}"))),
    };
    let mut bytes = Vec::new();
    // The file's length is no bound: pipes and devices report zero.
    match file.take(MAX_FILE + 1).read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(directory) if directory.kind() == ErrorKind::IsADirectory => {
            return Err(error("is a directory, not a TOML file".into()));
        }
        Err(other) => return Err(error(format!("cannot be read: {other}"))),
    }
    if bytes.len() as u64 > MAX_FILE {
        return Err(error(format!("is larger than {MAX_FILE} bytes")));
    }
    String::from_utf8(bytes).map(Some).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        Error { place: file::place(path, &before, valid), key: None, text: "is not UTF-8 from here on".into() }
    })
}

#[cfg(test)]
mod tests;

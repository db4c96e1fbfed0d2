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
use super::setting::{SETTINGS, Setting};
use super::value::Value;
use super::{catalogue, file};

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
    let mut effective = Effective { config: Config::default(), rules: Arc::default(), file: None, origins: Vec::new() };
    let mut errors = Vec::new();

    let variables = layers.environment.iter().filter_map(|(name, value)| {
        // A name that is not UTF-8 is no setting, but it may be a mistake to report.
        let name = name.to_string_lossy().into_owned();
        name.starts_with("HEADROOM_").then_some((name, value))
    });
    let variables: Vec<_> = variables.collect();
    let named = variables.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());

    match layers.file.as_deref().or(named.map(|(_, value)| Path::new(value))) {
        Some(path) => effective.read(path, true, &mut errors),
        None => effective.read(default_file, false, &mut errors),
    }
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
    if errors.is_empty() { Ok(effective) } else { Err(Errors(errors)) }
}

impl Effective {
    fn read(&mut self, path: &Path, required: bool, errors: &mut Vec<Error>) {
        match read(path) {
            Ok(Some(text)) => {
                let (set, mut wrong) = file::apply(path, &text, &mut self.config);
                self.file = Some(path.to_owned());
                self.origins.extend(set);
                errors.append(&mut wrong);
            }
            Ok(None) if !required => {}
            Ok(None) => {
                let text = "file not found".into();
                errors.push(Error { place: Place::File(path.to_owned()), key: None, text });
            }
            Err(error) => errors.push(error),
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
mod tests {
    use super::*;
    use crate::config::setting::find;
    use std::os::unix::ffi::OsStringExt;

    fn layers(environment: &[(&str, &str)]) -> Layers {
        let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Layers { environment, ..Layers::default() }
    }

    fn without_file(layers: &Layers) -> Result<Effective, Errors> {
        load_from(layers, Path::new("/nowhere/headroom.toml"))
    }

    fn refusal(layers: &Layers) -> String {
        without_file(layers).unwrap_err().to_string()
    }

    #[test]
    fn without_layers_the_defaults_apply() {
        let effective = without_file(&layers(&[("PATH", "/bin"), ("HEADROOMX", "1")])).unwrap();
        assert_eq!(effective.config, Config::default());
        assert_eq!(effective.file, None);
        assert!(SETTINGS.iter().all(|setting| effective.origin(setting).is_none()));
    }

    #[test]
    fn every_variable_is_applied_and_a_flag_overrides_it() {
        for setting in SETTINGS {
            let shown = |effective: &Effective| setting.kind.show(&effective.config);
            let (low, high) = match setting.kind.placeholder() {
                "ADDRESS" => ("127.0.0.1:1", "127.0.0.1:2"),
                "DURATION" => ("3s", "4s"),
                "FILE" => ("/a", "/b"),
                "NUMBER" => ("7", "8"),
                "BYTES" => ("4096", "8192"),
                "BOOL" if setting.kind.show(&Config::default()).as_deref() == Some("true") => ("false", "true"),
                "BOOL" => ("true", "false"),
                "NAMES" => ("fault", "block"),
                _ => match setting.key {
                    "log.level" => ("warn", "error"),
                    "gpu.enabled" => ("on", "off"),
                    // Its default is one of the two.
                    "metrics.detail" => ("full", "usual"),
                    _ => ("json", "pretty"),
                },
            };
            let variable = setting.variable();
            let mut layers = layers(&[(&variable, low)]);
            let effective = without_file(&layers).unwrap();
            assert_ne!(shown(&effective), setting.kind.show(&Config::default()), "{}", setting.key);
            assert_eq!(effective.origin(setting), Some(&Place::Variable(variable)));

            layers.flags.push((setting, high.to_owned()));
            let above = without_file(&layers).unwrap();
            assert_ne!(shown(&above), shown(&effective), "{}", setting.key);
            assert!(matches!(above.origin(setting), Some(Place::Flag(_))));
        }
    }

    #[test]
    fn all_wrong_variables_are_reported_together() {
        let refusal =
            refusal(&layers(&[("HEADROOM_TICK", "0s"), ("HEADROOM_KERNEL_SLOWIO", "1s"), ("HEADROOM_FOO", "")]));
        assert_eq!(
            refusal,
            "3 errors in the configuration
  HEADROOM_TICK: tick: \"0s\" is not a duration from \"10ms\" to \"1m\"
  HEADROOM_KERNEL_SLOWIO: unknown variable; did you mean HEADROOM_KERNEL_SLOW_IO?
  HEADROOM_FOO: unknown variable"
        );
    }

    #[test]
    fn a_variable_that_is_not_utf8_is_rejected() {
        let mut layers = layers(&[]);
        layers.environment.push(("HEADROOM_LOCK".into(), OsString::from_vec(b"/run/\xff".to_vec())));
        assert_eq!(refusal(&layers), "HEADROOM_LOCK: lock: is not UTF-8");
        layers.environment[0] = (OsString::from_vec(b"HEADROOM_\xff".to_vec()), "1".into());
        assert!(refusal(&layers).contains("unknown variable"));
    }

    #[test]
    fn variables_of_tests_and_of_kubernetes_are_ignored() {
        let mine = [("HEADROOM_BIN", "/bin/headroom"), ("HEADROOM_REQUIRE", "1")];
        let links = [
            ("HEADROOM_SERVICE_HOST", "10.0.0.7"),
            ("HEADROOM_SERVICE_PORT", "9843"),
            ("HEADROOM_SERVICE_PORT_METRICS", "9843"),
            ("HEADROOM_PORT", "tcp://10.0.0.7:9843"),
            ("HEADROOM_PORT_9843_TCP", "tcp://10.0.0.7:9843"),
            ("HEADROOM_PORT_9843_TCP_PROTO", "tcp"),
            ("HEADROOM_PORT_9843_TCP_PORT", "9843"),
            ("HEADROOM_PORT_9843_TCP_ADDR", "10.0.0.7"),
            ("HEADROOM_METRICS_SERVICE_HOST", "10.0.0.7"),
        ];
        assert_eq!(without_file(&layers(&[&mine[..], &links[..]].concat())).unwrap().config, Config::default());
        for wrong in [("HEADROOM_PORT", "9843"), ("HEADROOM_PORT_X_TCP", "1"), ("HEADROOM_PORT_1_TCP_FOO", "1")] {
            assert!(refusal(&layers(&[wrong])).contains("unknown variable"), "{wrong:?}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_the_flag_overrides_the_variable() {
        let mut layers = layers(&[(FILE_VARIABLE, "/nowhere/a.toml")]);
        assert_eq!(refusal(&layers), "/nowhere/a.toml: file not found");
        layers.file = Some("/nowhere/b.toml".into());
        assert_eq!(refusal(&layers), "/nowhere/b.toml: file not found");
        layers.file = Some("/dev/null".into());
        assert_eq!(without_file(&layers).unwrap().file, Some("/dev/null".into()));
        layers.file = None;
        layers.environment[0].1 = "".into();
        assert_eq!(without_file(&layers).unwrap().file, None);
    }

    #[test]
    fn the_default_file_is_optional_but_must_be_readable() {
        assert_eq!(load_from(&layers(&[]), Path::new("/dev/null")).unwrap().file, Some("/dev/null".into()));
        assert!(load_from(&layers(&[]), Path::new("/")).unwrap_err().to_string().starts_with("/: is a directory"));
    }

    #[test]
    fn a_wrong_value_is_rejected_even_if_overridden() {
        let mut layers = layers(&[("HEADROOM_TICK", "never")]);
        layers.flags.push((find("tick").unwrap(), "1s".into()));
        assert!(refusal(&layers).starts_with("HEADROOM_TICK: tick: "));
    }

    #[test]
    fn unreadable_files_are_rejected() {
        let refusal = |path: &str| read(Path::new(path)).unwrap_err().to_string();
        assert_eq!(refusal("/"), "/: is a directory, not a TOML file");
        // Endless, with a reported length of zero.
        assert_eq!(refusal("/dev/zero"), "/dev/zero: is larger than 1048576 bytes");
        // Can be opened but not read.
        assert!(refusal("/proc/self/mem").starts_with("/proc/self/mem: cannot be read: "));
        assert!(refusal("/dev/null/a").starts_with("/dev/null/a: cannot be opened: "));
        assert!(refusal("/a\0b").contains("cannot be opened"));
        assert_eq!(read(Path::new("/nowhere/headroom.toml")).unwrap(), None);
        assert_eq!(read(Path::new("/dev/null")).unwrap().as_deref(), Some(""));
    }
}

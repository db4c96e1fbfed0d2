//! Puts the layers on top of each other: defaults, the file, `HEADROOM_*`, flags.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error::{Error, Errors, Place};
use super::raw::Raw;
use super::setting::{SETTINGS, Setting};
use super::table::TABLES;
use super::{Config, file};
use crate::spelling::closest;

/// The file that is read if no other is named, and that need not exist.
pub const DEFAULT_FILE: &str = "/etc/headroom/headroom.toml";

/// The variable that names the file, where no flag does.
pub const FILE_VARIABLE: &str = "HEADROOM_CONFIG";

/// Variables that begin like ours and are for the project's own tests.
const TEST_VARIABLES: &[&str] = &["HEADROOM_BIN", "HEADROOM_REQUIRE"];

/// What is put over the defaults.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that `--config` names: it must exist.
    pub file: Option<PathBuf>,
    /// The environment, all of it.
    pub environment: Vec<(OsString, OsString)>,
    /// Values of flags.
    pub flags: Vec<(&'static Setting, String)>,
}

/// The outcome of all layers.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The values.
    pub config: Config,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// Where the values that are not defaults come from; the last word on a setting is the last in the list.
    origins: Vec<(&'static Setting, Place)>,
}

impl Effective {
    /// Where the value of this setting comes from; `None` is the default.
    pub fn origin(&self, setting: &Setting) -> Option<&Place> {
        self.origins.iter().rev().find(|(other, _)| other.key == setting.key).map(|(_, place)| place)
    }
}

/// Puts the layers on top of each other, and says all that is wrong with them.
pub fn load(layers: &Layers) -> Result<Effective, Errors> {
    load_from(layers, Path::new(DEFAULT_FILE))
}

fn load_from(layers: &Layers, default_file: &Path) -> Result<Effective, Errors> {
    let mut effective = Effective { config: Config::default(), file: None, origins: Vec::new() };
    let mut errors = Vec::new();

    let variables = layers.environment.iter().filter_map(|(name, value)| {
        // A name that is not UTF-8 cannot be one of ours, but it can be a mistake.
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
            None if name == FILE_VARIABLE || TEST_VARIABLES.contains(&name.as_str()) => {}
            None if service_link(name, &value.to_string_lossy()) => {}
            None => errors.push(unknown(name)),
        }
    }
    for (setting, value) in &layers.flags {
        let flag = format!("--{}", setting.flag.unwrap_or(setting.key));
        effective.set(setting, value, Place::Flag(flag), &mut errors);
    }
    if errors.is_empty() {
        // What is wrong between tables that are each right; half-read ones would seem wrong in more ways than they are.
        errors.extend(TABLES.iter().flat_map(|table| table.check(&effective.config)));
    }
    if errors.is_empty() { Ok(effective) } else { Err(Errors(errors)) }
}

impl Effective {
    fn read(&mut self, path: &Path, required: bool, errors: &mut Vec<Error>) {
        match file::read(path) {
            Ok(Some(text)) => {
                let (set, mut wrong) = file::apply(path, &text, &mut self.config);
                self.file = Some(path.to_owned());
                self.origins.extend(set);
                errors.append(&mut wrong);
            }
            Ok(None) if !required => {}
            Ok(None) => {
                let text = "there is no such file".into();
                errors.push(Error { place: Place::File(path.to_owned()), key: None, text });
            }
            Err(error) => errors.push(error),
        }
    }

    fn set(&mut self, setting: &'static Setting, value: &str, place: Place, errors: &mut Vec<Error>) {
        match setting.kind.set(&mut self.config, Raw::Text(value)) {
            Ok(()) => self.origins.push((setting, place)),
            Err(text) => errors.push(Error { place, key: Some(setting.key.into()), text }),
        }
    }
}

fn unknown(name: &str) -> Error {
    let known: Vec<_> = SETTINGS.iter().map(Setting::variable).chain([FILE_VARIABLE.to_owned()]).collect();
    let prefix = |name: &str| name.trim_start_matches("HEADROOM_").to_lowercase();
    let bare: Vec<_> = known.iter().map(|name| prefix(name)).collect();
    // Compared without the prefix: nine letters that are always right would make everything look close.
    let hint = closest(&prefix(name), bare.iter().map(String::as_str))
        .map(|name| format!("; did you mean HEADROOM_{}?", name.to_uppercase()))
        .unwrap_or_default();
    Error { place: Place::Variable(name.to_owned()), key: None, text: format!("there is no such variable{hint}") }
}

/// Whether this variable comes from Kubernetes, which puts the address of every Service of the namespace into every
/// container: a Service named `headroom` must not keep the agent from starting.
fn service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let port = ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
        let parts = name.split_once("_PORT_").and_then(|(_, rest)| rest.split_once(protocol));
        parts.is_some_and(|(number, rest)| {
            number.parse::<u16>().is_ok() && ["", "_PROTO", "_PORT", "_ADDR"].contains(&rest)
        })
    });
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || (name.ends_with("_PORT") && is_url) || port
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
    fn nothing_set_is_the_defaults() {
        let effective = without_file(&layers(&[("PATH", "/bin"), ("HEADROOMX", "1")])).unwrap();
        assert_eq!(effective.config, Config::default());
        assert_eq!(effective.file, None);
        assert!(SETTINGS.iter().all(|setting| effective.origin(setting).is_none()));
    }

    #[test]
    fn every_variable_arrives_and_a_flag_is_above_it() {
        for setting in SETTINGS {
            let shown = |effective: &Effective| setting.kind.show(&effective.config);
            let (low, high) = match setting.kind.placeholder() {
                "ADDRESS" => ("127.0.0.1:1", "127.0.0.1:2"),
                "DURATION" => ("3s", "4s"),
                "FILE" => ("/a", "/b"),
                "NUMBER" => ("7", "8"),
                "BYTES" => ("4096", "8192"),
                "BOOL" => ("true", "false"),
                "NAMES" => ("fault", "block"),
                _ => match setting.key {
                    "log.level" => ("warn", "error"),
                    "gpu.enabled" => ("on", "off"),
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
    fn variables_that_are_wrong_are_refused_together() {
        let refusal =
            refusal(&layers(&[("HEADROOM_TICK", "0s"), ("HEADROOM_KERNEL_SLOWIO", "1s"), ("HEADROOM_FOO", "")]));
        assert_eq!(
            refusal,
            "3 errors in the configuration
  HEADROOM_TICK: tick: \"0s\" is not a duration from \"10ms\" to \"1m\"
  HEADROOM_KERNEL_SLOWIO: there is no such variable; did you mean HEADROOM_KERNEL_SLOW_IO?
  HEADROOM_FOO: there is no such variable"
        );
    }

    #[test]
    fn a_variable_that_is_not_text_is_refused() {
        let mut layers = layers(&[]);
        layers.environment.push(("HEADROOM_LOCK".into(), OsString::from_vec(b"/run/\xff".to_vec())));
        assert_eq!(refusal(&layers), "HEADROOM_LOCK: lock: is not UTF-8");
        layers.environment[0] = (OsString::from_vec(b"HEADROOM_\xff".to_vec()), "1".into());
        assert!(refusal(&layers).contains("there is no such variable"));
    }

    #[test]
    fn the_tests_own_variables_and_those_of_kubernetes_are_none_of_ours() {
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
            assert!(refusal(&layers(&[wrong])).contains("there is no such variable"), "{wrong:?}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_the_flag_is_above_the_variable() {
        let mut layers = layers(&[(FILE_VARIABLE, "/nowhere/a.toml")]);
        assert_eq!(refusal(&layers), "/nowhere/a.toml: there is no such file");
        layers.file = Some("/nowhere/b.toml".into());
        assert_eq!(refusal(&layers), "/nowhere/b.toml: there is no such file");
        layers.file = Some("/dev/null".into());
        assert_eq!(without_file(&layers).unwrap().file, Some("/dev/null".into()));
        layers.file = None;
        layers.environment[0].1 = "".into();
        assert_eq!(without_file(&layers).unwrap().file, None);
    }

    #[test]
    fn the_default_file_is_read_if_it_is_there_and_refused_if_it_cannot_be_read() {
        assert_eq!(load_from(&layers(&[]), Path::new("/dev/null")).unwrap().file, Some("/dev/null".into()));
        assert!(load_from(&layers(&[]), Path::new("/")).unwrap_err().to_string().starts_with("/: is a directory"));
    }

    #[test]
    fn a_value_that_is_wrong_is_refused_though_another_layer_is_above_it() {
        let mut layers = layers(&[("HEADROOM_TICK", "never")]);
        layers.flags.push((find("tick").unwrap(), "1s".into()));
        assert!(refusal(&layers).starts_with("HEADROOM_TICK: tick: "));
    }
}

//! Configuration flags that the verbs share. All but `--config` come from `SETTINGS`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, ValueHint};

use crate::config::Config;
use crate::config::kind::Kind;
use crate::config::load::{DEFAULT_FILE, Effective, FILE_VARIABLE, Layers, load};
use crate::config::setting::{SETTINGS, Setting};
use crate::config::value::Value;
use crate::exit::{Exit, Failure};

const FILE: &str = "config";
/// The heading of these flags in a help text.
pub const HEADING: &str = "Settings";

/// Settings from the command line.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    file: Option<PathBuf>,
    flags: Vec<(&'static Setting, String)>,
}

impl Settings {
    /// Loads the configuration: the file, then the environment, then these flags.
    pub fn load(&self) -> Result<Effective, Failure> {
        let layers =
            Layers { file: self.file.clone(), environment: std::env::vars_os().collect(), flags: self.flags.clone() };
        load(&layers).map_err(|errors| Failure::new(Exit::Config, errors))
    }
}

impl clap::Args for Settings {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new(FILE)
            .long(FILE)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .value_hint(ValueHint::FilePath)
            .help(format!("TOML file to read [default: {DEFAULT_FILE}, if it exists] [env: {FILE_VARIABLE}]"));
        // Only once the verb is known: for all verbs together this takes longer than what most of them do.
        command.arg(file.help_heading(HEADING)).defer(shown)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Settings::augment_args(command)
    }
}

impl clap::FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Settings, clap::Error> {
        let mut settings = Settings::default();
        settings.update_from_arg_matches(matches)?;
        Ok(settings)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.file = matches.get_one::<PathBuf>(FILE).cloned();
        let given = |setting: &'static Setting| Some((setting, matches.get_one::<String>(setting.flag?)?.clone()));
        self.flags = SETTINGS.iter().filter_map(given).collect();
        Ok(())
    }
}

/// Whether a verb takes settings, of which its own arguments show only the file so far.
pub fn has_settings(verb: &Command) -> bool {
    verb.get_arguments().any(|arg| arg.get_id() == FILE)
}

/// Adds the flags of all settings.
fn shown(verb: Command) -> Command {
    let defaults = Config::default();
    SETTINGS.iter().filter_map(|setting| arg(setting, &defaults)).fold(verb, Command::arg)
}

/// Adds them too, and the help text leaves them out.
pub fn hidden(verb: Command) -> Command {
    let defaults = Config::default();
    let flags = SETTINGS.iter().filter_map(|setting| arg(setting, &defaults));
    flags.fold(verb, |verb, flag| verb.arg(flag.hide(true)))
}

/// The flag of a setting, if it has one. clap rejects an invalid value, with exit code 2.
fn arg(setting: &'static Setting, defaults: &Config) -> Option<Arg> {
    let flag = setting.flag?;
    let default = match setting.kind.show(defaults) {
        Some(default) => format!("[default: {}] ", default.trim_matches('"')),
        None => String::new(),
    };
    let arg = Arg::new(flag)
        .long(flag)
        .value_name(setting.kind.placeholder())
        .help_heading(HEADING)
        .help(format!("{} {default}[env: {}]", setting.doc, setting.variable()))
        .value_parser(|text: &str| {
            setting.kind.set(&mut Config::default(), Value::Text(text)).map(|()| text.to_owned())
        });
    Some(match setting.kind {
        Kind::Path(_) | Kind::OptionalPath(_) => arg.value_hint(ValueHint::FilePath),
        // Shell completions offer these.
        Kind::Choice(_, words) => arg.value_parser(PossibleValuesParser::new(words)),
        Kind::Switch(_) => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    })
}

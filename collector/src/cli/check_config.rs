//! `headroom check-config`: validates the configuration that `run` would use and prints each value with its origin.

use super::settings::Settings;
use crate::config::catalogue::TABLES;
use crate::config::load::{DEFAULT_FILE, Effective};
use crate::config::setting::SETTINGS;
use crate::exit::{Exit, Failure};
use crate::review::Review;

/// Check the configuration and print every value with its origin
///
/// Reads the file, the environment, the flags and all files that they name (of `web_config` and of receivers), as `run` does.
/// Attaches nothing, binds nothing and writes nothing. The output is itself a valid configuration file. What contradicts itself, or
/// this host, is a warning.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Check before a restart:
    headroom check-config && systemctl restart headroom
  Check a file before you install it:
    headroom check-config --config new.toml
  Print every key with its default, as a start for your own file:
    env -i headroom check-config --config /dev/null

Exits with 3 if anything is wrong. The message names file, line, column and key of every mistake.
")]
pub struct CheckConfigArgs {
    #[command(flatten)]
    pub settings: Settings,
}

pub fn text(effective: &Effective) -> String {
    let mut text = match &effective.file {
        Some(path) => format!("# OK: {}\n", path.display()),
        None => format!("# OK: no file ({DEFAULT_FILE} does not exist)\n"),
    };
    let mut current = None;
    for setting in SETTINGS {
        let (section, name) = setting.section();
        if let Some(section) = section.filter(|_| section != current) {
            text += &format!("\n[{section}]\n");
        }
        current = section;
        let line = match setting.kind.show(&effective.config) {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} is not set"),
        };
        // Its values are below.
        let line = if setting.key == "profile" { format!("# {line}") } else { line };
        let origin = effective.origin(setting).map_or("default".to_owned(), ToString::to_string);
        text += &format!("{line:<40} # {origin}\n");
    }
    TABLES.iter().fold(text, |text, table| text + &table.show(&effective.config))
}

pub fn run(args: &CheckConfigArgs) -> Result<(), Failure> {
    let effective = args.settings.load()?;
    let access = crate::agent::access(&effective.config)?;
    let Review { warnings, notes, .. } =
        Review::of(&effective, &access).map_err(|error| Failure::new(Exit::Config, error))?;
    let warnings: String = warnings.iter().chain(&notes).map(|warning| format!("# WARNING: {warning}\n")).collect();
    super::print(&(warnings + &text(&effective)))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::file::apply;
    use crate::config::load::{Layers, load};
    use crate::config::setting::SETTINGS;
    use std::path::Path;

    #[test]
    fn the_output_is_a_file_with_the_same_configuration() {
        let layers = Layers {
            file: Some("/dev/null".into()),
            environment: vec![
                ("HEADROOM_LOCK".into(), "/run/\"a\"\\\n#'".into()),
                ("HEADROOM_KERNEL_DISABLE".into(), "fault,oom".into()),
                ("HEADROOM_KERNEL_BTF".into(), "/b".into()),
                ("HEADROOM_GPU_LIBRARY".into(), "/c".into()),
                ("HEADROOM_WEB_CONFIG".into(), "/d".into()),
                ("HEADROOM_TICK".into(), "1500ms".into()),
                ("HEADROOM_HOST".into(), "node1".into()),
                ("HEADROOM_NEED_MEMORY".into(), "2G".into()),
                ("HEADROOM_NEED_RESERVED".into(), "1500M".into()),
                ("HEADROOM_PROFILE".into(), "ringrift".into()),
            ],
            flags: Vec::new(),
        };
        let effective = load(&layers).unwrap();
        let text = super::text(&effective);
        assert!(text.contains("\nmemory_limit = 0.8 ") && text.contains("# profile ringrift:"), "{text}");
        let mut again = Config { profile: "ringrift".into(), ..Config::default() };
        let (set, errors) = apply(Path::new("printed.toml"), &text, &mut again);
        assert_eq!(errors, [], "{text}");
        assert_eq!(again, effective.config, "{text}");
        assert_eq!(set.len() + 1, SETTINGS.len(), "all but the profile");
        assert!(text.lines().any(|line| line.starts_with("tick = \"1s 500ms\" ") && line.ends_with("# HEADROOM_TICK")));
    }
}

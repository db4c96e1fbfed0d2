//! `headroom check-config`: the configuration as `run` would take it, and where each value is from.

use super::settings::Settings;
use crate::config::catalogue::TABLES;
use crate::config::load::{DEFAULT_FILE, Effective};
use crate::config::setting::SETTINGS;
use crate::exit::Failure;

/// Check the configuration and show every value with its origin
///
/// Reads the file, the environment and the flags as `run` does, and the files that `web_config` names; touches nothing
/// else. What is printed is itself a valid file.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Before a restart:
    headroom check-config && systemctl restart headroom
  A file that is not in place yet:
    headroom check-config --config new.toml
  Every key with its default, to start a file from:
    env -i headroom check-config --config /dev/null

Exits with 3 if anything is wrong, after naming file, line, column and key of everything that is.
")]
pub struct CheckConfigArgs {
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// The text that is printed for a good configuration.
pub fn text(effective: &Effective) -> String {
    let mut text = match &effective.file {
        Some(path) => format!("# OK: {}\n", path.display()),
        None => format!("# OK: there is no {DEFAULT_FILE}\n"),
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
        let origin = effective.origin(setting).map_or("default".to_owned(), ToString::to_string);
        text += &format!("{line:<40} # {origin}\n");
    }
    TABLES.iter().fold(text, |text, table| text + &table.show(&effective.config))
}

/// Checks the configuration.
pub fn run(args: &CheckConfigArgs) -> Result<(), Failure> {
    let effective = args.settings.load()?;
    crate::agent::access(&effective.config)?;
    super::print(&text(&effective))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::file::apply;
    use crate::config::load::{Layers, load};
    use crate::config::setting::SETTINGS;
    use std::path::Path;

    #[test]
    fn what_is_printed_is_a_file_with_the_same_configuration() {
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
            ],
            flags: Vec::new(),
        };
        let effective = load(&layers).unwrap();
        let text = super::text(&effective);
        let mut again = Config::default();
        let (set, errors) = apply(Path::new("printed.toml"), &text, &mut again);
        assert_eq!(errors, [], "{text}");
        assert_eq!(again, effective.config, "{text}");
        assert_eq!(set.len(), SETTINGS.len());
        assert!(text.lines().any(|line| line.starts_with("tick = \"1s 500ms\" ") && line.ends_with("# HEADROOM_TICK")));
    }
}

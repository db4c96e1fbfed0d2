//! Help texts: a verb's own options in `--help`, and every setting that it takes in `--help-all`. Knows clap's commands, no verb.

use std::ffi::OsString;

use clap::Command;

use super::settings::{has_settings, hidden};

/// Shows the settings, too.
const ALL: &str = "--help-all";

/// The arguments and the command that they are for: with [`ALL`] the help with all settings, else one without them. `arguments` are those
/// of the process, its name first.
pub fn asked(command: Command, mut arguments: Vec<OsString>) -> (Command, Vec<OsString>) {
    // What comes after the first word that is no flag may be the line of another program.
    let own = arguments.iter().skip(1).take(2).position(|argument| argument == ALL);
    match own {
        Some(at) => {
            arguments[at + 1] = "--help".into();
            (command, arguments)
        }
        None => (command.mut_subcommands(short), arguments),
    }
}

/// A verb whose help leaves out settings; they are flags all the same.
fn short(verb: Command) -> Command {
    if !has_settings(&verb) {
        return verb;
    }
    let name = verb.get_name().to_owned();
    let more = format!("Settings: headroom {name} {ALL} lists all; docs/config.md describes them.");
    let after = match verb.get_after_long_help().or_else(|| verb.get_after_help()) {
        Some(after) => format!("{more}\n\n{after}"),
        None => more,
    };
    verb.defer(hidden).after_help(after.clone()).after_long_help(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(arguments: &[&str]) -> String {
        let arguments = ["headroom"].iter().chain(arguments).map(OsString::from).collect();
        let (command, arguments) = asked(super::super::command(), arguments);
        command.try_get_matches_from(arguments).unwrap_err().to_string()
    }

    #[test]
    fn settings_are_left_out_unless_all_is_asked_for() {
        for verb in ["status", "run", "admit", "events"] {
            let (few, all) = (help(&[verb, "--help"]), help(&[verb, "--help-all"]));
            assert!(!few.contains("--kernel-debug") && few.contains("--config"), "{few}");
            assert!(few.contains(&format!("headroom {verb} --help-all lists all")), "{few}");
            assert!(all.contains("--kernel-debug") && all.contains("--listen"), "{all}");
        }
        assert!(help(&["events", "--help"]).contains("Examples:"));
        assert!(help(&["--help-all"]).contains("First steps:"));
    }

    #[test]
    fn another_programs_line_is_left_alone_and_a_hidden_setting_is_a_flag() {
        let arguments = ["headroom", "guard", "vllm", "serve", "--help-all"].map(OsString::from).to_vec();
        let (command, kept) = asked(super::super::command(), arguments.clone());
        assert_eq!(kept, arguments);
        let matches = command.try_get_matches_from(kept).unwrap();
        let guard = matches.subcommand_matches("guard").unwrap();
        let command: Vec<&String> = guard.get_many("command").unwrap().collect();
        assert_eq!(command, ["vllm", "serve", "--help-all"]);
        let (command, kept) =
            asked(super::super::command(), ["headroom", "status", "--tick", "2s"].map(OsString::from).to_vec());
        assert!(command.try_get_matches_from(kept).is_ok());
    }
}

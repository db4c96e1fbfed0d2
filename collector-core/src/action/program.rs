//! A program that is started with other flags or variables, as an action. Knows how these are written, and not which are wrong.

use super::{Action, Command, Kind, Object, Owner, Tool, quote};
use crate::program::{Flags, Program};

/// A flag or variable, and its value; none for a flag that has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    pub name: &'static str,
    pub value: Option<String>,
}

impl Setting {
    pub fn new(name: &'static str, value: impl ToString) -> Setting {
        Setting { name, value: Some(value.to_string()) }
    }

    /// A flag without a value.
    pub fn flag(name: &'static str) -> Setting {
        Setting { name, value: None }
    }
}

const fn tool(program: Program) -> (Tool, &'static str) {
    match program {
        Program::Ollama => (Tool::Ollama, "ollama serve"),
        Program::LlamaCpp => (Tool::LlamaCpp, "llama-server"),
        Program::Vllm => (Tool::Vllm, "vllm serve"),
        Program::Sglang => (Tool::Sglang, "sglang.launch_server"),
    }
}

/// Starts a program with other settings: as a file for whoever starts it, where that is known, and as the flags or variables alone. `None` if
/// a setting is none of the program's, or a value cannot be pasted safely.
/// `given` are the flags that it has now, as far as they are known.
pub fn configure(
    object: Object,
    owner: Option<&Owner>,
    program: Program,
    settings: &[Setting],
    given: &Flags,
) -> Option<Action> {
    if settings.is_empty() || settings.iter().any(|setting| !program.names().contains(&setting.name)) {
        return None;
    }
    let assigned = |setting: &Setting| match &setting.value {
        Some(value) => format!("{}={value}", setting.name),
        None => setting.name.to_owned(),
    };
    let words: Vec<String> = match program {
        Program::Ollama => settings.iter().map(assigned).collect(),
        _ => settings.iter().flat_map(|it| [Some(it.name.to_owned()), it.value.clone()]).flatten().collect(),
    };
    let text = quote::line(words.iter().map(String::as_str))?;
    let (tool, name) = tool(program);
    let note = match program {
        Program::Ollama => format!("In the environment of {name}; then restart it."),
        _ => format!("In the command line of {name}, in place of a flag that is there; then restart it."),
    };
    let mut commands = Vec::new();
    if program == Program::Ollama {
        commands.extend(owner.and_then(|owner| environment(owner, settings)));
    }
    commands.push(Command::new(tool, text.clone()).note(note));
    let kind = Kind::Configure;
    let key = settings.iter().map(|setting| setting.name).collect::<Vec<_>>().join(" ");
    let before = before(settings, given);
    let (risk, undo) = (kind.risk(true), kind.undo(before.as_deref()));
    Some(Action { kind, object, key: Some(key), before, after: Some(text), risk, undo, commands })
}

/// Which of these it was given, and how. `None` if it was given none, or if a value cannot be pasted safely.
fn before(settings: &[Setting], given: &Flags) -> Option<String> {
    let words = settings.iter().filter_map(|setting| {
        let value = given.get(setting.name)?;
        Some([setting.name, &**value].into_iter().filter(|word| !word.is_empty()))
    });
    quote::line(words.flatten()).filter(|line| !line.is_empty())
}

/// The variables as a file of whoever starts it.
fn environment(owner: &Owner, settings: &[Setting]) -> Option<Command> {
    let pairs = || settings.iter().filter_map(|setting| Some((setting.name, setting.value.as_deref()?)));
    match owner {
        Owner::Unit { unit, transient: false, user } if unit.ends_with(".service") => {
            // systemd replaces % by specifiers, and undoes backslashes within quotes.
            let line = |(name, value): (&str, &str)| {
                format!("Environment={}\n", quote::quoted(&format!("{name}={value}")).replace('%', "%%"))
            };
            let text = format!("[Service]\n{}", pairs().map(line).collect::<String>());
            let (folder, then) = match user {
                None => (
                    "/etc/systemd/system".to_owned(),
                    format!("systemctl daemon-reload && systemctl restart {}", quote::line([&**unit])?),
                ),
                Some(uid) => {
                    let unit = quote::line([&**unit])?;
                    let then =
                        format!("as uid {uid}: systemctl --user daemon-reload && systemctl --user restart {unit}");
                    ("~/.config/systemd/user".to_owned(), then)
                }
            };
            let gpus = "A reload of systemd can take GPUs from running containers that have them without CDI.";
            let command = Command::new(Tool::Systemd, text).file(format!("{folder}/{unit}.d/60-headroom.conf"));
            Some(command.note(format!("Then: {then}. {gpus}")))
        }
        Owner::Kubernetes { .. } | Owner::Docker { .. } => {
            let lines: String =
                pairs().map(|(name, value)| format!("      {name}: {}\n", quote::quoted(value))).collect();
            let docker = matches!(owner, Owner::Docker { .. });
            let text = format!("services:\n  SERVICE:\n    environment:\n{lines}");
            let note = "In place of SERVICE: its name in your file. Then: docker compose up -d, which recreates the container. Without Compose: \
                docker run with --env.";
            docker.then(|| Command::new(Tool::Compose, text).file("compose.override.yaml").note(note))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_exist_are_advised() {
        let unit = Owner::Unit { unit: "ollama.service".to_owned(), transient: false, user: None };
        let configure =
            |program, settings: &[Setting]| configure(Object::Host, Some(&unit), program, settings, &Flags::new());
        assert_eq!(configure(Program::Vllm, &[Setting::new("--swap-space", 4)]), None, "it is gone");
        assert_eq!(configure(Program::Vllm, &[]), None);
        let action =
            configure(Program::Vllm, &[Setting::new("--kv-offloading-size", 8), Setting::flag("--enable-sleep-mode")])
                .unwrap();
        assert_eq!(action.commands.len(), 1);
        assert_eq!(action.commands[0].text, "--kv-offloading-size 8 --enable-sleep-mode");
        let action = configure(Program::Ollama, &[Setting::new("LLAMA_ARG_CACHE_RAM", 2048)]).unwrap();
        assert_eq!(action.commands[0].text, "[Service]\nEnvironment=\"LLAMA_ARG_CACHE_RAM=2048\"\n");
        assert_eq!(action.commands[0].file.as_deref(), Some("/etc/systemd/system/ollama.service.d/60-headroom.conf"));
        assert_eq!(action.commands[1].text, "LLAMA_ARG_CACHE_RAM=2048");
        assert_eq!((action.before, &*action.undo), (None, "Start it as before."));
    }

    #[test]
    fn what_it_was_given_is_how_it_is_undone() {
        let given: Flags = [("--parallel", "4"), ("--mlock", ""), ("--threads", "8"), ("--cache-ram", "$(x)\n")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        let of = |settings: &[Setting]| {
            let action = configure(Object::Host, None, Program::LlamaCpp, settings, &given).unwrap();
            (action.before.unwrap_or_default(), action.undo)
        };
        let (before, undo) =
            of(&[Setting::new("--parallel", 2), Setting::flag("--mlock"), Setting::new("--ctx-size", 9)]);
        assert_eq!((&*before, &*undo), ("--parallel 4 --mlock", "Start it with --parallel 4 --mlock again."));
        assert_eq!(of(&[Setting::new("--ctx-size", 9)]), (String::new(), "Start it as before.".to_owned()));
        assert_eq!(of(&[Setting::new("--cache-ram", 9)]).0, "", "nobody can paste that");
    }
}

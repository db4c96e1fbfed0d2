//! Programs that are started with other flags or variables: Ollama, llama.cpp, vLLM, SGLang. Knows their flags, and not which are wrong.

use super::{Action, Command, Kind, Object, Owner, Tool, quote};

/// A program whose flags are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Variables of `ollama serve`. What begins with `LLAMA_ARG_` it hands on to the servers that it starts.
    Ollama,
    LlamaCpp,
    Vllm,
    Sglang,
}

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

/// Names that exist, so that none is made up: llama.cpp b11434 (of older versions `--mlock` and `--no-mmap`, in place of `--load-mode`), vLLM
/// 0.33, SGLang 0.5.23, Ollama 0.33.
const OLLAMA: &[&str] = &[
    "OLLAMA_CONTEXT_LENGTH",
    "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_GPU_OVERHEAD",
    "OLLAMA_KEEP_ALIVE",
    "OLLAMA_KV_CACHE_TYPE",
    "OLLAMA_MAX_LOADED_MODELS",
    "OLLAMA_MAX_QUEUE",
    "OLLAMA_NUM_PARALLEL",
    "LLAMA_ARG_CACHE_RAM",
];
const LLAMA_CPP: &[&str] = &[
    "--batch-size",
    "--cache-ram",
    "--cache-type-k",
    "--cache-type-v",
    "--ctx-checkpoints",
    "--ctx-size",
    "--fit-target",
    "--gpu-layers",
    "--load-mode",
    "--mlock",
    "--models-max",
    "--n-cpu-moe",
    "--no-mmap",
    "--numa",
    "--parallel",
    "--sleep-idle-seconds",
    "--threads",
    "--threads-batch",
    "--ubatch-size",
];
const VLLM: &[&str] = &[
    "--cpu-offload-gb",
    "--enable-prefix-caching",
    "--enable-sleep-mode",
    "--gpu-memory-utilization",
    "--kv-cache-dtype",
    "--kv-cache-memory-bytes",
    "--kv-offloading-backend",
    "--kv-offloading-size",
    "--max-model-len",
    "--max-num-batched-tokens",
    "--max-num-seqs",
];
const SGLANG: &[&str] = &[
    "--chunked-prefill-size",
    "--context-length",
    "--cpu-offload-gb",
    "--enable-hierarchical-cache",
    "--hicache-ratio",
    "--hicache-size",
    "--kv-cache-dtype",
    "--max-running-requests",
    "--mem-fraction-static",
];

impl Program {
    pub const ALL: [Program; 4] = [Program::Ollama, Program::LlamaCpp, Program::Vllm, Program::Sglang];

    /// The names of its settings that can be advised.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Program::Ollama => OLLAMA,
            Program::LlamaCpp => LLAMA_CPP,
            Program::Vllm => VLLM,
            Program::Sglang => SGLANG,
        }
    }

    const fn tool(self) -> (Tool, &'static str) {
        match self {
            Program::Ollama => (Tool::Ollama, "ollama serve"),
            Program::LlamaCpp => (Tool::LlamaCpp, "llama-server"),
            Program::Vllm => (Tool::Vllm, "vllm serve"),
            Program::Sglang => (Tool::Sglang, "sglang.launch_server"),
        }
    }
}

/// Starts a program with other settings: as a file for whoever starts it, where that is known, and as the flags or variables alone. `None` if
/// a setting is none of the program's, or a value cannot be pasted safely.
pub fn configure(object: Object, owner: Option<&Owner>, program: Program, settings: &[Setting]) -> Option<Action> {
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
    let (tool, name) = program.tool();
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
    let (risk, undo) = (kind.risk(true), kind.undo(None));
    Some(Action { kind, object, key: Some(key), before: None, after: Some(text), risk, undo, commands })
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
        let configure = |program, settings: &[Setting]| configure(Object::Host, Some(&unit), program, settings);
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
    }

    #[test]
    fn names_are_sorted_and_each_is_one_word() {
        for program in Program::ALL {
            let names = program.names();
            let valid = |name: &&str| match program {
                Program::Ollama => name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'),
                _ => name.starts_with("--") && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            };
            assert!(names.iter().all(valid), "{program:?}");
        }
    }
}

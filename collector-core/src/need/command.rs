//! Which program a command line starts, as far as its needs are known. Knows names of programs, not their flags.

use std::fmt;

/// The program is none whose needs are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown(pub String);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: what this program needs is not known, only what llama-server, vLLM, SGLang, text-generation-launcher and Ollama do",
            self.0
        )
    }
}

impl std::error::Error for Unknown {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Llama,
    Vllm,
    Sglang,
    Tgi,
    /// `ollama run`, whose first argument that is no flag is a model.
    Ollama,
}

/// A program, and the arguments that are its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a, T> {
    pub program: Program,
    pub arguments: &'a [T],
}

impl<'a, T: AsRef<str>> Command<'a, T> {
    pub fn of(line: &'a [T]) -> Result<Command<'a, T>, Unknown> {
        let unknown =
            || Unknown(split_environment(line).1.first().map_or("an empty command", AsRef::as_ref).to_owned());
        let (name, rest) = split_program(line).ok_or_else(unknown)?;
        by_name(name, rest).ok_or_else(unknown)
    }
}

/// The program that a command line starts, and its arguments: the name of its file; for Python, that of the script or the module.
pub fn split_program<T: AsRef<str>>(line: &[T]) -> Option<(&str, &[T])> {
    let (program, rest) = split_environment(line).1.split_first()?;
    let name = file_name(program.as_ref());
    if is_python(name) { python(rest) } else { Some((name, rest)) }
}

fn by_name<'a, T: AsRef<str>>(name: &str, rest: &'a [T]) -> Option<Command<'a, T>> {
    let verb = rest.first().map(AsRef::as_ref);
    let after_verb = rest.get(1..).unwrap_or_default();
    let (program, arguments) = match (name, verb) {
        ("llama-server" | "llama-cpp-server", _) => (Program::Llama, rest),
        ("llama", Some("serve")) => (Program::Llama, after_verb),
        ("vllm.entrypoints.openai.api_server" | "vllm.entrypoints.api_server", _) => (Program::Vllm, rest),
        ("vllm" | "vllm.entrypoints.cli.main", Some("serve")) => (Program::Vllm, after_verb),
        ("sglang.launch_server", _) => (Program::Sglang, rest),
        ("sglang", Some("serve")) => (Program::Sglang, after_verb),
        ("text-generation-launcher", _) => (Program::Tgi, rest),
        ("ollama", Some("run")) => (Program::Ollama, after_verb),
        _ => return None,
    };
    Some(Command { program, arguments })
}

/// `python [flags] -m MODULE …` or `python [flags] SCRIPT …`.
fn python<T: AsRef<str>>(mut rest: &[T]) -> Option<(&str, &[T])> {
    while let [first, after @ ..] = rest {
        match first.as_ref() {
            "-m" => {
                let (module, arguments) = after.split_first()?;
                return Some((module.as_ref(), arguments));
            }
            // A value follows.
            "-X" | "-W" => rest = after.get(1..)?,
            "-c" | "-" => return None,
            flag if flag.starts_with('-') => rest = after,
            script => return Some((file_name(script), after)),
        }
    }
    None
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_python(name: &str) -> bool {
    name.strip_prefix("python").is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
}

/// `env NAME=VALUE… COMMAND`: its assignments, and the command.
pub fn split_environment<T: AsRef<str>>(line: &[T]) -> (&[T], &[T]) {
    match line {
        [env, rest @ ..] if file_name(env.as_ref()) == "env" => {
            let assignment = |argument: &T| !argument.as_ref().starts_with('-') && argument.as_ref().contains('=');
            rest.split_at(rest.iter().take_while(|argument| assignment(argument)).count())
        }
        line => line.split_at(0),
    }
}

/// The model of `ollama run`: its first argument that is no flag.
pub fn ollama_model<T: AsRef<str>>(arguments: &[T]) -> Option<&str> {
    const VALUES: [&str; 4] = ["--format", "--keepalive", "--think", "--dimensions"];
    let mut arguments = arguments.iter().map(AsRef::as_ref);
    while let Some(argument) = arguments.next() {
        if VALUES.contains(&argument) {
            arguments.next();
        } else if !argument.starts_with('-') {
            return Some(argument);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<(Program, String)> {
        let line: Vec<&str> = line.split_whitespace().collect();
        Command::of(&line).ok().map(|command| (command.program, command.arguments.join(" ")))
    }

    #[test]
    fn programs_are_told_by_their_names() {
        for (line, program, arguments) in [
            ("/opt/bin/llama-server -m x", Program::Llama, "-m x"),
            ("llama serve -m", Program::Llama, "-m"),
            ("vllm serve dir --tp 2", Program::Vllm, "dir --tp 2"),
            ("python -m vllm.entrypoints.openai.api_server --model dir", Program::Vllm, "--model dir"),
            ("/usr/bin/python3.12 -u -X dev /opt/bin/vllm serve dir", Program::Vllm, "dir"),
            ("python3 -m sglang.launch_server --model-path dir", Program::Sglang, "--model-path dir"),
            ("sglang serve --model-path dir", Program::Sglang, "--model-path dir"),
            ("text-generation-launcher --model-id dir", Program::Tgi, "--model-id dir"),
            ("ollama run llama3.2 hello", Program::Ollama, "llama3.2 hello"),
            ("/usr/bin/env A=1 B= vllm serve dir", Program::Vllm, "dir"),
        ] {
            assert_eq!(of(line), Some((program, arguments.to_owned())), "{line}");
        }
    }

    #[test]
    fn assignments_come_before_the_command() {
        assert_eq!(split_environment(&["env", "A=1", "B=", "x", "C=2"]), (&["A=1", "B="][..], &["x", "C=2"][..]));
        assert_eq!(split_environment(&["x", "A=1"]).0, [""; 0]);
    }

    #[test]
    fn other_programs_are_not_known() {
        for line in [
            "",
            "llama run",
            "bash",
            "vllm bench",
            "python",
            "python -c vllm",
            "python -m torch.run",
            "python -m",
            "ollama serve",
            "pythonic -m vllm",
            "env",
            "env A=1",
            "python -X",
            "python train.py",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
        assert!(
            Command::of(&["bash"]).unwrap_err().to_string().starts_with("bash: what this program needs is not known")
        );
    }

    #[test]
    fn the_model_of_ollama_is_no_flag() {
        assert_eq!(ollama_model(&["--verbose", "--keepalive", "5m", "llama3.2:3b", "hello"]), Some("llama3.2:3b"));
        assert_eq!(ollama_model(&["--verbose"]), None);
    }
}

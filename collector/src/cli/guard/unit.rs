//! The name by which failures and starts of a command are counted, unless it has another. Never an argument that could be a secret.

use std::path::Path;

/// Programs that run a script or a module: that one's name says more than theirs.
const INTERPRETERS: [&str; 10] = ["python", "sh", "bash", "dash", "zsh", "perl", "ruby", "node", "torchrun", "uv"];

/// The name of the program, and of its script.
pub fn name(command: &[String]) -> String {
    let [program, arguments @ ..] = command else { return String::new() };
    let program = file_name(program);
    match script(program, arguments) {
        Some(script) => format!("{program} {script}"),
        None => program.to_owned(),
    }
}

fn script<'a>(program: &str, arguments: &'a [String]) -> Option<&'a str> {
    let stem = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    if !INTERPRETERS.contains(&stem) {
        return None;
    }
    match arguments {
        [flag, module, ..] if flag == "-m" => Some(module),
        // A flag may have a value: what comes after it need not be a script.
        [script, ..] if !script.starts_with('-') => Some(file_name(script)),
        _ => None,
    }
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_script_is_named_and_arguments_are_not() {
        let name = |line: &str| super::name(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(name("/usr/bin/llama-server -m /models/x.gguf --api-key secret"), "llama-server");
        assert_eq!(name("python3.12 /srv/train.py --token secret"), "python3.12 train.py");
        assert_eq!(
            name("python3 -m vllm.entrypoints.openai.api_server --api-key s"),
            "python3 vllm.entrypoints.openai.api_server"
        );
        assert_eq!(name("bash -c secret"), "bash");
        assert_eq!(name("curl secret"), "curl");
        assert_eq!(super::name(&[]), "");
    }
}

//! Models that are unloaded while nobody uses them. Knows nothing of which, and of when that is allowed.

use serde_json::{Value, json};

use super::{Action, Command, Kind, Object, Risk, Tool, quote};
use crate::statistic::model::Kind as Server;

/// Has a server let a model go, and load it again when it is asked for. `None` for servers that cannot, or that would have to be told to
/// load it again: vLLM, SGLang, a single llama-server.
pub fn unload_model(object: Object, server: Server, url: &str, model: &str) -> Option<Action> {
    let post = |path: &str, body: Value| post(url, path, &body);
    let commands = match server {
        Server::Ollama => {
            let body = json!({ "model": model, "keep_alive": 0 });
            let own = quote::argument(model).and_then(|model| quote::line(["ollama", "stop", model]));
            let own = own.map(|text| Command::new(Tool::Ollama, text));
            own.into_iter().chain(post("/api/generate", body)).collect::<Vec<_>>()
        }
        Server::LlamaRouter => post("/models/unload", json!({ "model": model })).into_iter().collect(),
        Server::Triton => {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            let name =
                Some(model).filter(|model| !model.is_empty() && model.bytes().all(is_name) && !model.starts_with('.'));
            let unload = name.and_then(|model| post(&format!("/v2/repository/models/{model}/unload"), json!({})));
            let note = "Only with --model-control-mode=explicit. Nobody loads it again by asking for it.";
            unload.map(|command| command.note(note)).into_iter().collect()
        }
        _ => Vec::new(),
    };
    let kind = Kind::UnloadModel;
    let (risk, undo) = match server {
        Server::Triton => (Risk::High, "Load it again: asking for it does not.".to_owned()),
        _ => (kind.risk(true), kind.undo(None)),
    };
    (!commands.is_empty()).then(|| Action {
        kind,
        object,
        key: Some("model".to_owned()),
        before: Some(model.to_owned()),
        after: None,
        risk,
        undo,
        commands,
    })
}

/// Has Ollama load a model without making anything, and keep it for so long: `2h`.
pub fn load_model(url: &str, model: &str, keep: &str) -> Option<Command> {
    post(url, "/api/generate", &json!({ "model": model, "keep_alive": keep }))
}

fn post(url: &str, path: &str, body: &Value) -> Option<Command> {
    let url = format!("{}{path}", url.trim_end_matches('/'));
    quote::argument(&url)?;
    let json = "Content-Type: application/json";
    let words =
        ["curl", "--fail", "--silent", "--show-error", "--header", json, "--data", &body.to_string(), "--", &url];
    Some(Command::new(Tool::Shell, quote::line(words)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_and_never_more() {
        let unload = |server, model: &str| unload_model(Object::Host, server, "http://127.0.0.1:11434/", model);
        let ollama = unload(Server::Ollama, "llama3.2:latest").unwrap();
        assert_eq!(ollama.commands[0].text, "ollama stop llama3.2:latest");
        let words = shlex::split(&ollama.commands[1].text).unwrap();
        assert_eq!(words.last().unwrap(), "http://127.0.0.1:11434/api/generate");
        let body: serde_json::Value = serde_json::from_str(&words[7]).unwrap();
        assert_eq!(body, json!({ "model": "llama3.2:latest", "keep_alive": 0 }));

        let hostile = "a' ; reboot \"";
        let words = shlex::split(&unload(Server::LlamaRouter, hostile).unwrap().commands[0].text).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&words[7]).unwrap()["model"], hostile);
        assert_eq!(unload(Server::Triton, "m").unwrap().risk, Risk::High, "nobody loads it by asking");
        assert_eq!(unload(Server::Triton, "../x"), None);
        assert_eq!(unload(Server::Triton, "a/b?c"), None);
        assert_eq!(unload(Server::Vllm, "m"), None);
        assert_eq!(unload(Server::Ollama, "--help").unwrap().commands.len(), 1, "no argument, but a string in JSON");
    }
}

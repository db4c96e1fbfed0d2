//! `[[model_server]]`: model servers that cannot be found. Reads no token.

use std::time::Duration;

use collector_core::statistic::model::Kind as Program;
use reqwest::Url;

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::Error;
use crate::config::kind::Kind;
use crate::config::model_server::ModelServer;
use crate::config::section::Config;

/// The words of [`Program::label`].
const KINDS: [&str; Program::ALL.len()] = {
    let mut words = [""; Program::ALL.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = Program::ALL[at].label();
        at += 1;
    }
    words
};

/// `[[model_server]]`
pub const MODEL_SERVER: Table<Config, ModelServer> = Table {
    name: "model_server",
    doc: "Model server that cannot be found: one on another host, behind a proxy, within a process of another name, or one that wants a \
          token. It is named by host and port of its URL. With a URL of the loopback it takes the place of a server that is found on that port. \
          [models.md](models.md) says what is asked, and what never is.",
    example: EXAMPLE,
    keys: &[
        Key {
            name: "url",
            kind: Kind::Url(|server| &mut server.url),
            required: true,
            doc: "http or https URL, with the path that a proxy has it under, if any. Of Triton, that of its metrics (port 8002). \
                  Redirects are not followed, and no proxy of the environment is used.",
        },
        Key {
            name: "kind",
            kind: Kind::OptionalChoice(|server| &mut server.kind, &KINDS),
            required: false,
            doc: "Which program it is. Unless set, it is recognised by what it answers.",
        },
        Key {
            name: "token_file",
            kind: Kind::OptionalPath(|server| &mut server.token_file),
            required: false,
            doc: "File with the token that is sent as `Authorization: Bearer`; a line break at its end is ignored. A file that other \
                  users can read or write is refused. The token goes to whatever listens at the URL.",
        },
        Key {
            name: "workload",
            kind: Kind::Text(|server| &mut server.workload),
            required: false,
            doc: "Name of the workload that it belongs to, as `headroom workloads` has it. Unless set, that of the process that \
                  listens on the port, if it is found.",
        },
        Key {
            name: "sleep",
            kind: Kind::OptionalDuration(
                |server| &mut server.sleep,
                Duration::from_secs(1),
                Duration::from_secs(86400),
            ),
            required: false,
            doc: "Of llama.cpp with --sleep-idle-seconds, that time: a question would keep it awake, so it is asked less. Of a server \
                  that is found, its command line says so.",
        },
    ],
    field: |config| &mut config.model_server,
    check,
};

const EXAMPLE: &str = r#"[[model_server]]
url = "http://127.0.0.1:8000"

[[model_server]]
url = "https://gpu7.example.com/llama"
kind = "llama_cpp"
token_file = "/etc/headroom/llama.token"
"#;

fn check(entries: &[Entry<ModelServer>]) -> Vec<Error> {
    let mut errors = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let earlier = entries[..index].iter().map(|entry| entry.value.url.reveal()).filter_map(name);
        if let Err(text) = judge(&entry.value, earlier) {
            errors.push(Error { place: entry.place("url").clone(), key: Some("url".to_owned()), text });
        }
        let relative = entry.value.token_file.as_ref().filter(|path| path.is_relative());
        errors.extend(relative.map(|path| Error {
            place: entry.place("token_file").clone(),
            key: Some("token_file".to_owned()),
            text: format!("{:?} is not an absolute path", path.display().to_string()),
        }));
    }
    errors
}

/// Does not show the URL: it may contain a password.
fn judge(server: &ModelServer, mut earlier: impl Iterator<Item = String>) -> Result<(), String> {
    let url =
        Url::parse(server.url.reveal()).map_err(|why| format!("is not a URL, such as http://127.0.0.1:8000: {why}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{:?} is not http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password: put the token into a file, and name it by token_file".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query or a fragment, which would be lost".to_owned());
    }
    let name = name(server.url.reveal());
    match name.filter(|name| earlier.any(|other| other == *name)) {
        Some(name) => Err(format!("{name} is asked already by an earlier [[model_server]]")),
        None => Ok(()),
    }
}

/// Host and port of a URL: the name of the server.
pub fn name(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::catalogue;
    use crate::config::file::apply;

    fn errors(text: &str) -> Vec<String> {
        let mut config = Config::default();
        let (_, mut errors) = apply(Path::new("a.toml"), text, &mut config);
        errors.extend(catalogue::check(&config).err().unwrap_or_default());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_url_is_enough_and_the_example_is_right() {
        assert_eq!(errors(EXAMPLE), [""; 0]);
        assert_eq!(errors("[[model_server]]\nurl = \"http://gpu7\"\n"), [""; 0]);
        assert_eq!(name("http://gpu7").as_deref(), Some("gpu7:80"));
        assert_eq!(name("https://[::1]/a").as_deref(), Some("[::1]:443"));
    }

    #[test]
    fn a_mistake_is_reported_at_its_key_and_shows_no_secret() {
        for (text, wanted) in [
            ("kind = \"vllm\"", "a.toml:1:1: model_server.url: is missing"),
            ("url = \"127.0.0.1\"", "a.toml:2:7: url: is not a URL"),
            ("url = \"file:///etc/passwd\"", "a.toml:2:7: url: \"file\" is not http or https"),
            ("url = \"http://me:hush@a:1\"", "a.toml:2:7: url: has a user or a password"),
            ("url = \"http://a:1/?key=hush\"", "a.toml:2:7: url: has a query"),
            ("url = \"http://a:1\"\nkind = \"vlm\"", "a.toml:3:8: model_server.kind: \"vlm\" is not vllm, sglang,"),
            ("url = \"http://a:1\"\ntoken_file = \"b\"", "a.toml:3:14: token_file: \"b\" is not an absolute path"),
            ("url = \"http://a\"\n[[model_server]]\nurl = \"http://a:80/b\"", "a.toml:4:7: url: a:80 is asked already"),
        ] {
            let errors = errors(&format!("[[model_server]]\n{text}\n"));
            assert!(errors.len() == 1 && errors[0].starts_with(wanted), "{text}: {errors:?}");
            assert!(!errors[0].contains("hush"), "{errors:?}");
        }
    }
}

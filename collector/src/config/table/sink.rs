//! `[[sink.webhook]]`, `[[sink.alertmanager]]` and `[[sink.file]]`: the receivers of alerts.

use std::time::Duration;

use collector_core::alert::Severity;
use reqwest::Url;

use crate::config::entry::{Entry, Key, Table};
use crate::config::error::Error;
use crate::config::kind::Kind;
use crate::config::section::Config;
use crate::config::sink::{FileSink, Sink};

const TIMEOUT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(300));

const NAME: Key<Sink> = Key {
    name: "name",
    kind: Kind::Text(|sink| &mut sink.name),
    required: false,
    doc: "Name of the receiver in metrics, journal and log. Unless set, host and port of the URL. \
          Alerts that were not delivered when the agent stopped are delivered after its restart, to the receiver of the \
          same name.",
};
const TIMEOUT_KEY: Key<Sink> = Key {
    name: "timeout",
    kind: Kind::Duration(|sink| &mut sink.timeout, TIMEOUT.0, TIMEOUT.1),
    required: false,
    doc: "Timeout of one request. After a timeout or any other failure the alert is sent again later.",
};
const SEVERITY: Key<Sink> = Key {
    name: "severity",
    kind: Kind::Choice(|sink| &mut sink.severity, &Severity::LABELS),
    required: false,
    doc: "Send alerts of this severity and above.",
};
const CA: Key<Sink> = Key {
    name: "ca",
    kind: Kind::OptionalPath(|sink| &mut sink.ca),
    required: false,
    doc: "PEM file with the certificates to trust, instead of the system's.",
};

/// `[[sink.webhook]]`
pub const WEBHOOK: Table<Config, Sink> = Table {
    name: "sink.webhook",
    doc: "Receiver of alerts as JSON. [sinks.md](sinks.md) describes the requests.",
    example: "\
[[sink.webhook]]
url = \"https://hooks.example.com/headroom\"
secret_file = \"/etc/headroom/secret\"
severity = \"warning\"
",
    keys: &[
        Key {
            name: "url",
            kind: Kind::Url(|sink| &mut sink.url),
            required: true,
            doc: "http or https URL for the POST requests. Redirects are not followed.",
        },
        NAME,
        Key {
            name: "secret",
            kind: Kind::Secret(|sink| &mut sink.secret),
            required: false,
            doc: "Key that signs each body, in the headers X-Headroom-Signature and X-Headroom-Signature-2, which \
                  [sinks.md](sinks.md) describes. Unless set, bodies are not signed.",
        },
        Key {
            name: "secret_file",
            kind: Kind::OptionalPath(|sink| &mut sink.secret_file),
            required: false,
            doc: "File with the secret; a line break at its end is ignored.",
        },
        Key {
            name: "evictions",
            kind: Kind::Switch(|sink| &mut sink.evictions),
            required: false,
            doc: "Also send which reservations their owners are asked to give up.",
        },
        SEVERITY,
        TIMEOUT_KEY,
        CA,
    ],
    field: |config| &mut config.sink.webhook,
    check,
};

/// `[[sink.alertmanager]]`
pub const ALERTMANAGER: Table<Config, Sink> = Table {
    name: "sink.alertmanager",
    doc: "Alertmanager with API version 2. For a cluster, write one table for each member.",
    example: "\
[[sink.alertmanager]]
url = \"http://alertmanager.example.com:9093/\"
",
    keys: &[
        Key {
            name: "url",
            kind: Kind::Url(|sink| &mut sink.url),
            required: true,
            doc: "http or https URL of Alertmanager, without `api/v2/alerts`.",
        },
        NAME,
        SEVERITY,
        TIMEOUT_KEY,
        CA,
    ],
    field: |config| &mut config.sink.alertmanager,
    check,
};

/// `[[sink.file]]`
pub const FILE: Table<Config, FileSink> = Table {
    name: "sink.file",
    doc: "File that gets a line for each alert. [sinks.md](sinks.md) describes the lines, and what rotating the file takes.",
    example: "\
[[sink.file]]
path = \"/var/log/headroom/alerts.log\"
severity = \"warning\"
",
    keys: &[
        Key {
            name: "path",
            kind: Kind::Path(|sink| &mut sink.path),
            required: true,
            doc: "Path of the file. Its folder exists already, and the agent's user may write in it.",
        },
        Key {
            name: "name",
            kind: Kind::Text(|sink| &mut sink.name),
            required: false,
            doc: "Name of the receiver in metrics, journal and log. Unless set, the path.",
        },
        Key {
            name: "severity",
            kind: Kind::Choice(|sink| &mut sink.severity, &Severity::LABELS),
            required: false,
            doc: "Write alerts of this severity and above.",
        },
        Key {
            name: "time",
            kind: Kind::Choice(|sink| &mut sink.time, &FileSink::TIMES),
            required: false,
            doc: "Whose time a line begins with: this host's time zone (local), or UTC.",
        },
    ],
    field: |config| &mut config.sink.file,
    check: check_files,
};

fn check_files(sinks: &[Entry<FileSink>]) -> Vec<Error> {
    let relative = sinks.iter().filter(|sink| !sink.value.path.as_os_str().is_empty() && sink.value.path.is_relative());
    let error = |sink: &Entry<FileSink>| Error {
        place: sink.place("path").clone(),
        key: Some("path".to_owned()),
        text: format!("{:?} is not an absolute path", sink.value.path.display().to_string()),
    };
    relative.map(error).collect()
}

fn check(sinks: &[Entry<Sink>]) -> Vec<Error> {
    let mut errors = Vec::new();
    for sink in sinks {
        let mut error = |key: &str, text: String| {
            errors.push(Error { place: sink.place(key).clone(), key: Some(key.to_owned()), text });
        };
        let value = &sink.value;
        match Url::parse(value.url.reveal()) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => {}
            Ok(url) => error("url", format!("{:?} is not http or https", url.scheme())),
            // Do not show the value: it may contain a password.
            Err(why) => error("url", format!("is not a URL, such as https://example.com/path: {why}")),
        }
        if !value.secret.is_empty() && value.secret_file.is_some() {
            error("secret_file", "conflicts with secret: set only one of them".into());
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::catalogue::{TABLES, check};
    use crate::config::file::apply;
    use std::path::Path;

    /// The mistakes in a file.
    fn errors(text: &str) -> Vec<String> {
        let mut config = Config::default();
        let (_, mut errors) = apply(Path::new("a.toml"), text, &mut config);
        errors.extend(check(&config).err().unwrap_or_default());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_error_names_line_and_key() {
        let good = "url = \"http://a.example.com/\"\n";
        for (text, wanted) in [
            ("[[sink.webhook]]\nname = \"a\"".to_owned(), "a.toml:1:1: sink.webhook.url: is missing"),
            ("[[sink.webhook]]\nurl = \"/path\"".to_owned(), "a.toml:2:7: url: is not a URL"),
            ("[[sink.webhook]]\nurl = \"ftp://a/\"".to_owned(), "a.toml:2:7: url: \"ftp\" is not http or https"),
            (
                format!("[[sink.webhook]]\n{good}severity = \"high\""),
                "a.toml:3:12: sink.webhook.severity: \"high\" is not",
            ),
            (format!("[[sink.webhook]]\n{good}timeout = \"0s\""), "a.toml:3:11: sink.webhook.timeout: \"0s\" is not"),
            (
                format!("[[sink.webhook]]\n{good}[[sink.webhook]]\n{good}"),
                "a.toml:3:1: name: \"a.example.com\" is used twice",
            ),
            (
                format!("[[sink.webhook]]\n{good}[[sink.alertmanager]]\n{good}"),
                "a.toml:3:1: name: \"a.example.com\" is used twice",
            ),
            ("[[sink.webhook]]\nurl = 12345678".to_owned(), "a.toml:2:7: sink.webhook.url: is not a non-empty string"),
            (
                format!("[[sink.webhook]]\n{good}secret = 12345678"),
                "a.toml:3:10: sink.webhook.secret: is not a non-empty string",
            ),
            (
                format!("[[sink.webhook]]\n{good}secret = \"x\"\nsecret_file = \"/y\""),
                "a.toml:4:15: secret_file: conflicts",
            ),
            ("[[sink.file]]\nname = \"a\"".to_owned(), "a.toml:1:1: sink.file.path: is missing"),
            ("[[sink.file]]\npath = \"a.log\"".to_owned(), "a.toml:2:8: path: \"a.log\" is not an absolute path"),
            (
                "[[sink.file]]\npath = \"/a\"\ntime = \"CET\"".to_owned(),
                "a.toml:3:8: sink.file.time: \"CET\" is not local or utc",
            ),
            (
                "[[sink.file]]\npath = \"/a\"\n[[sink.file]]\npath = \"/a\"".to_owned(),
                "a.toml:3:1: name: \"/a\" is used twice",
            ),
            (
                format!("[[sink.alertmanager]]\n{good}secret = \"x\""),
                "a.toml:3:1: sink.alertmanager.secret: unknown key",
            ),
        ] {
            let errors = errors(&text);
            assert!(errors.len() == 1 && errors[0].starts_with(wanted), "{text:?}: {errors:?}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let mut config = Config::default();
        let text = "[[sink.webhook]]\nurl = \"http://me:hush@a.example.com/\"\nsecret = \"hush hush\"";
        apply(Path::new("a.toml"), text, &mut config);
        let shown: String = TABLES.iter().map(|table| table.show(&config)).collect();
        let shown = format!("{shown}{config:?}");
        assert!(
            shown.contains("a.example.com") && shown.contains("secret = \"…\"") && !shown.contains("hush"),
            "{shown}"
        );
        let webhook = &config.sink.webhook[0].value;
        assert_eq!((webhook.secret.reveal(), webhook.url.reveal()), ("hush hush", "http://me:hush@a.example.com/"));
        assert_eq!(webhook.name(), "a.example.com");
    }
}

//! The configured receivers of alerts.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use collector_core::alert::Severity;
use reqwest::Url;

use super::alertmanager;
use super::file::Lines;
use super::post::Post;
use crate::config::Config;
use crate::config::secret::Secret;
use crate::config::sink::Sink;

pub struct Target {
    pub name: String,
    /// Less severe alerts are not sent.
    pub severity: Severity,
    /// It also hears which leases are to be given up.
    pub evictions: bool,
    pub protocol: Protocol,
}

pub enum Protocol {
    /// Bodies are signed with this secret unless it is empty.
    Webhook(Post, Secret),
    Alertmanager(Post),
    File(Lines),
}

/// This host, as receivers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    /// URL of its metrics.
    pub url: String,
}

impl Host {
    /// Uses the configured name, or else the host name.
    pub fn of(config: &Config, scheme: &str, listens: SocketAddr) -> Host {
        let name = config.host_name();
        // An unspecified address is no use in a URL; use the host name.
        let authority = match listens.ip().is_unspecified() {
            true => format!("{name}:{}", listens.port()),
            false => listens.to_string(),
        };
        Host { name, url: format!("{scheme}://{authority}/metrics") }
    }
}

/// All configured receivers.
///
/// # Errors
/// If a file that it names cannot be used.
pub fn targets(config: &Config) -> Result<Vec<Target>> {
    let webhooks = config.sink.webhook.iter().map(|sink| (&sink.value, false));
    let alertmanagers = config.sink.alertmanager.iter().map(|sink| (&sink.value, true));
    let mut targets: Vec<Target> = Vec::new();
    for (sink, alertmanager) in webhooks.chain(alertmanagers) {
        let name = sink.name();
        targets.push(target(sink, name.clone(), alertmanager).with_context(|| format!("receiver {name}"))?);
    }
    for sink in config.sink.file.iter().map(|sink| &sink.value) {
        let name = sink.name();
        let lines = Lines::new(sink).with_context(|| format!("receiver {name}"))?;
        let protocol = Protocol::File(lines);
        targets.push(Target { name, severity: severity(&sink.severity), evictions: false, protocol });
    }
    Ok(targets)
}

/// The configuration accepts no other words.
fn severity(word: &str) -> Severity {
    Severity::of(word).unwrap_or(Severity::Info)
}

fn target(sink: &Sink, name: String, alertmanager: bool) -> Result<Target> {
    let mut url = Url::parse(sink.url.reveal()).context("url")?;
    if alertmanager {
        let path = format!("{}/{}", url.path().trim_end_matches('/'), alertmanager::PATH);
        url.set_path(&path);
    }
    let post = Post::new(url, sink.timeout, sink.ca.as_deref())?;
    let protocol = match (alertmanager, &sink.secret_file) {
        (true, _) => Protocol::Alertmanager(post),
        (false, None) => Protocol::Webhook(post, sink.secret.clone()),
        (false, Some(path)) => {
            let secret = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            let secret = secret.trim_end_matches(['\n', '\r']);
            anyhow::ensure!(!secret.is_empty(), "{} is empty", path.display());
            Protocol::Webhook(post, secret.to_owned().into())
        }
    };
    Ok(Target { name, severity: severity(&sink.severity), evictions: sink.evictions, protocol })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::apply;
    use std::path::Path;

    fn read(text: &str) -> Result<Vec<Target>> {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        assert_eq!(errors, []);
        targets(&config)
    }

    #[test]
    fn a_receiver_has_its_own_name_or_that_of_its_host() {
        let text = "
            [[sink.webhook]]
            url = \"http://user:secret@hooks.example.com/path\"
            secret = \"hush\"
            severity = \"critical\"
            [[sink.webhook]]
            name = \"second\"
            url = \"http://hooks.example.com:8080/\"
            [[sink.alertmanager]]
            url = \"http://[::1]:9093/prefix/\"
            [[sink.file]]
            path = \"/tmp/alerts.log\"
            severity = \"warning\"
        ";
        let targets = read(text).unwrap();
        let shown = |protocol: &Protocol| match protocol {
            Protocol::Webhook(post, secret) => format!("webhook {} {}", post.url(), secret.reveal()),
            Protocol::Alertmanager(post) => format!("alertmanager {}", post.url()),
            Protocol::File(_) => "file".to_owned(),
        };
        let found: Vec<_> = targets.iter().map(|it| (it.name.as_str(), it.severity, shown(&it.protocol))).collect();
        let found: Vec<_> = found.iter().map(|(name, severity, shown)| (*name, *severity, shown.as_str())).collect();
        assert_eq!(
            found,
            [
                ("hooks.example.com", Severity::Critical, "webhook http://user:secret@hooks.example.com/path hush"),
                ("second", Severity::Info, "webhook http://hooks.example.com:8080/ "),
                ("[::1]:9093", Severity::Info, "alertmanager http://[::1]:9093/prefix/api/v2/alerts"),
                ("/tmp/alerts.log", Severity::Warning, "file"),
            ]
        );
    }

    #[test]
    fn an_error_names_the_receiver() {
        let error = |text: &str| format!("{:#}", read(text).err().unwrap());
        let url = "url = \"http://a.example.com/\"";
        let text = format!("[[sink.webhook]]\n{url}\nsecret_file = \"/nowhere/secret\"");
        assert!(error(&text).starts_with("receiver a.example.com: read /nowhere/secret: "), "{}", error(&text));
        let text = "[[sink.file]]\npath = \"/nowhere/alerts.log\"";
        assert_eq!(error(text), "receiver /nowhere/alerts.log: the folder /nowhere does not exist");
    }

    #[test]
    fn an_unspecified_address_becomes_the_host_name() {
        let config = Config { host: "node1".into(), ..Config::default() };
        let url = |listens: &str| Host::of(&config, "http", listens.parse().unwrap()).url;
        assert_eq!(url("0.0.0.0:9843"), "http://node1:9843/metrics");
        assert_eq!(url("127.0.0.1:9843"), "http://127.0.0.1:9843/metrics");
        assert!(!Host::of(&Config::default(), "https", config.listen).name.is_empty());
    }
}

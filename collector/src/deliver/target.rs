//! The configured receivers of alerts.

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context as _, Result, bail};
use reqwest::Url;

use super::alertmanager;
use super::post::Post;
use crate::alert::Severity;
use crate::config::Config;
use crate::config::secret::Secret;
use crate::config::sink::Sink;

/// A configured receiver.
pub struct Target {
    pub name: String,
    /// It gets no alerts less urgent than this.
    pub severity: Severity,
    /// Where alerts are posted to.
    pub post: Post,
    pub protocol: Protocol,
}

/// What a receiver speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A webhook, signed with this secret unless that is empty.
    Webhook(Secret),
    Alertmanager,
}

/// This host, as receivers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Where its metrics are.
    pub url: String,
}

impl Host {
    /// The name that is configured, or else what the host calls itself.
    pub fn of(config: &Config, scheme: &str, listens: SocketAddr) -> Host {
        let name = match config.host.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            name => name.to_owned(),
        };
        // Who listens everywhere is found by name, if at all.
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
/// If a file that it names cannot be used, or two have one name.
pub fn targets(config: &Config) -> Result<Vec<Target>> {
    let webhooks = config.sink.webhook.iter().map(|sink| (&sink.value, false));
    let alertmanagers = config.sink.alertmanager.iter().map(|sink| (&sink.value, true));
    let mut targets: Vec<Target> = Vec::new();
    for (sink, alertmanager) in webhooks.chain(alertmanagers) {
        let name = sink.name();
        if targets.iter().any(|other| other.name == name) {
            bail!("two receivers of alerts are called {name}: give each a `name` of its own");
        }
        targets.push(target(sink, name.clone(), alertmanager).with_context(|| format!("the receiver {name}"))?);
    }
    Ok(targets)
}

fn target(sink: &Sink, name: String, alertmanager: bool) -> Result<Target> {
    let mut url = Url::parse(sink.url.reveal()).context("its url")?;
    if alertmanager {
        let path = format!("{}/{}", url.path().trim_end_matches('/'), alertmanager::PATH);
        url.set_path(&path);
    }
    let protocol = match (alertmanager, &sink.secret_file) {
        (true, _) => Protocol::Alertmanager,
        (false, None) => Protocol::Webhook(sink.secret.clone()),
        (false, Some(path)) => {
            let secret = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            let secret = secret.trim_end_matches(['\n', '\r']);
            anyhow::ensure!(!secret.is_empty(), "{} is empty", path.display());
            Protocol::Webhook(secret.to_owned().into())
        }
    };
    let severity = match sink.severity.as_str() {
        "critical" => Severity::Critical,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    };
    Ok(Target { name, severity, post: Post::new(url, sink.timeout, sink.ca.as_deref())?, protocol })
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
    fn a_receiver_is_called_after_its_host_or_as_it_is_named() {
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
        ";
        let targets = read(text).unwrap();
        let told: Vec<_> = targets.iter().map(|it| (it.name.as_str(), it.severity, it.protocol.clone())).collect();
        assert_eq!(
            told,
            [
                ("hooks.example.com", Severity::Critical, Protocol::Webhook("hush".to_owned().into())),
                ("second", Severity::Info, Protocol::Webhook(Secret::default())),
                ("[::1]:9093", Severity::Info, Protocol::Alertmanager),
            ]
        );
        assert_eq!(targets[2].post.url(), "http://[::1]:9093/prefix/api/v2/alerts");
    }

    #[test]
    fn what_cannot_be_used_is_an_error_that_names_the_receiver() {
        let error = |text: &str| format!("{:#}", read(text).err().unwrap());
        let url = "url = \"http://a.example.com/\"";
        let text = format!("[[sink.webhook]]\n{url}\nsecret_file = \"/nowhere/secret\"");
        assert!(error(&text).starts_with("the receiver a.example.com: read /nowhere/secret: "), "{}", error(&text));
        let text = format!("[[sink.webhook]]\n{url}\n[[sink.alertmanager]]\n{url}");
        assert!(error(&text).contains("two receivers of alerts are called a.example.com"), "{}", error(&text));
    }

    #[test]
    fn who_listens_everywhere_is_found_by_name() {
        let config = Config { host: "node1".into(), ..Config::default() };
        let url = |listens: &str| Host::of(&config, "http", listens.parse().unwrap()).url;
        assert_eq!(url("0.0.0.0:9843"), "http://node1:9843/metrics");
        assert_eq!(url("127.0.0.1:9843"), "http://127.0.0.1:9843/metrics");
        assert!(!Host::of(&Config::default(), "https", config.listen).name.is_empty());
    }
}

//! [`Sink`]: one receiver of alerts, as the file has it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::secret::Secret;

/// One receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// What it is called; empty is after its host.
    pub name: String,
    /// Where alerts are posted to.
    pub url: String,
    /// What bodies are signed with; empty is not at all. Of webhooks alone.
    pub secret: Secret,
    /// A file with that, in place of it.
    pub secret_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Less urgent alerts are not for it.
    pub severity: String,
    /// The certificates that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
}

impl Default for Sink {
    fn default() -> Sink {
        Sink {
            name: String::new(),
            url: String::new(),
            secret: Secret::default(),
            secret_file: None,
            timeout: Duration::from_secs(10),
            severity: "info".into(),
            ca: None,
        }
    }
}

impl Sink {
    /// What it is called: its name, or else the host that it is on.
    pub fn name(&self) -> String {
        match Url::parse(&self.url) {
            Ok(url) if self.name.is_empty() => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}{port}", url.host_str().unwrap_or_default())
            }
            _ => self.name.clone(),
        }
    }
}

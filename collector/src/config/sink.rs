//! [`Sink`] and [`FileSink`]: one receiver of alerts, as the file has it.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::secret::{Secret, SecretUrl};

/// One receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Sink {
    /// Empty: named after its host.
    pub name: String,
    /// Where alerts are posted to.
    pub url: SecretUrl,
    /// The key that signs bodies; empty: they are not signed. Only webhooks have one.
    pub secret: Secret,
    /// A file with the secret, instead of `secret`.
    pub secret_file: Option<PathBuf>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Less urgent alerts are not sent to it.
    pub severity: String,
    /// It also hears which leases are to be given up. Only webhooks do.
    pub evictions: bool,
    /// Certificates to trust, instead of the system's.
    pub ca: Option<PathBuf>,
}

impl Default for Sink {
    fn default() -> Sink {
        Sink {
            name: String::new(),
            url: SecretUrl::default(),
            secret: Secret::default(),
            secret_file: None,
            timeout: Duration::from_secs(10),
            severity: "info".into(),
            evictions: false,
            ca: None,
        }
    }
}

impl Sink {
    /// Its name, or else the host and port of its URL.
    pub fn name(&self) -> String {
        match Url::parse(self.url.reveal()) {
            Ok(url) if self.name.is_empty() => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}{port}", url.host_str().unwrap_or_default())
            }
            _ => self.name.clone(),
        }
    }
}

/// One file that alerts are appended to.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSink {
    /// Empty: named after its path.
    pub name: String,
    pub path: PathBuf,
    /// Less urgent alerts are not written.
    pub severity: String,
    /// One of [`FileSink::TIMES`].
    pub time: String,
}

impl Default for FileSink {
    fn default() -> FileSink {
        let [local, _] = FileSink::TIMES;
        FileSink { name: String::new(), path: PathBuf::new(), severity: "info".into(), time: local.into() }
    }
}

impl FileSink {
    /// Whose time the lines have.
    pub const TIMES: [&str; 2] = ["local", "utc"];

    /// Its name, or else its path.
    pub fn name(&self) -> String {
        if self.name.is_empty() { self.path.display().to_string() } else { self.name.clone() }
    }
}

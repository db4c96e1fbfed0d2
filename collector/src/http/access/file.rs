//! The web configuration file, in the format of Prometheus exporters. Knows the format and its mistakes; nothing of
//! certificates, passwords or sockets.
//!
//! The format: <https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md>

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bcrypt::HashParts;
use serde::Deserialize;
use serde_norway::Mapping;

use crate::config::error::{Error, Errors, Place};

/// The headers that can be set, as in other exporters, with the allowed values; an empty list allows any.
const HEADERS: &[(&str, &[&str])] = &[
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// Keys and values that other exporters accept and this agent does not, with the reason or the alternative.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("cert", "name a file in cert_file"),
    ("key", "name a file in key_file"),
    ("client_ca", "name a file in client_ca_file"),
    ("cipher_suites", "the agent offers only secure cipher suites of TLS 1.2 and 1.3"),
    ("prefer_server_cipher_suites", "the agent offers only secure cipher suites"),
    ("curve_preferences", "the agent offers only secure curves"),
    ("rate_limit", "the agent always limits concurrent requests"),
    ("TLS10", "it is insecure"),
    ("TLS11", "it is insecure"),
    ("RequestClientCert", "it accepts any certificate; use RequireAndVerifyClientCert"),
    ("RequireAnyClientCert", "it accepts any certificate; use RequireAndVerifyClientCert"),
    ("RequireClientCert", "it accepts any certificate; use RequireAndVerifyClientCert"),
];

/// Maximum bcrypt cost. Each step doubles the time of a check; at this cost it takes some seconds.
const MAX_COST: u32 = 16;

/// The parsed file.
#[derive(Clone, PartialEq)]
pub struct File {
    path: PathBuf,
    text: String,
    /// `tls_server_config`, with resolved paths.
    pub tls: Option<Tls>,
    /// `http_server_config.headers`: added to every response.
    pub headers: HeaderMap,
    /// `basic_auth_users`: the bcrypt hash of each user's password.
    pub users: BTreeMap<String, String>,
}

/// `tls_server_config`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys with values")]
pub struct Tls {
    /// The server's certificate chain.
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
    pub client_auth_type: ClientAuth,
    /// CAs for client certificates.
    pub client_ca_file: Option<PathBuf>,
    /// The client certificate must have one of these subject alternative names.
    pub client_allowed_sans: Option<Vec<String>>,
    pub min_version: Option<Version>,
    pub max_version: Option<Version>,
}

/// Client certificate policy, in order of strictness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "the names of the file format")]
pub enum ClientAuth {
    #[default]
    NoClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Version {
    TLS12,
    TLS13,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys with values")]
struct Document {
    tls_server_config: Option<Tls>,
    http_server_config: Option<Http>,
    basic_auth_users: Option<Mapping>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys with values")]
struct Http {
    http2: Option<bool>,
    headers: Option<Mapping>,
}

impl File {
    /// # Errors
    /// All mistakes, with file, and with line, column and key where known.
    pub fn read(path: &Path) -> Result<File, Errors> {
        let text = fs::read_to_string(path).map_err(|error| {
            let text = format!("cannot be read: {error}");
            Errors(vec![Error { place: Place::File(path.to_owned()), key: None, text }])
        })?;
        File::parse(path, text)
    }

    /// # Errors
    /// As [`File::read`].
    pub fn parse(path: &Path, text: String) -> Result<File, Errors> {
        // The parser rejects a file of comments only.
        let empty = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
        let document: Option<Document> = match empty {
            true => None,
            false => serde_norway::from_str(&text).map_err(|error| Errors(vec![malformed(path, &error)]))?,
        };
        let Document { tls_server_config, http_server_config, basic_auth_users } = document.unwrap_or_default();
        let mut file =
            File { path: path.to_owned(), text, tls: None, headers: HeaderMap::new(), users: BTreeMap::new() };
        let http = http_server_config.unwrap_or_default();
        let mut errors = Vec::new();
        if http.http2 == Some(true) {
            let text = "only HTTP/1.1 is supported: set this to false, or remove it";
            errors.push(file.error("http_server_config.http2", text));
        }
        errors.extend(file.take_headers(&http.headers.unwrap_or_default()));
        errors.extend(file.take_users(&basic_auth_users.unwrap_or_default()));
        if let Some(tls) = tls_server_config {
            errors.extend(file.take_tls(tls));
        }
        if errors.is_empty() { Ok(file) } else { Err(Errors(errors)) }
    }

    /// A mistake in the value of a key. Its place is the first line that begins with the last part of the key, if any.
    pub fn error(&self, key: &str, text: impl Into<String>) -> Error {
        let name = key.rsplit('.').next().unwrap_or(key);
        let is_it = |line: &str| {
            let line = line.trim_start();
            let line = line.strip_prefix(['"', '\'']).unwrap_or(line);
            line.strip_prefix(name).is_some_and(|rest| rest.trim_start_matches(['"', '\'', ' ']).starts_with(':'))
        };
        let found = self.text.lines().zip(1..).find(|(line, _)| is_it(line));
        let place = match found {
            Some((line, number)) => Place::Line(self.path.clone(), number, line.len() - line.trim_start().len() + 1),
            None => Place::File(self.path.clone()),
        };
        Error { place, key: Some(key.to_owned()), text: text.into() }
    }

    fn take_headers(&mut self, headers: &Mapping) -> Vec<Error> {
        let mut errors = Vec::new();
        for (name, value) in texts(headers) {
            let key = format!("http_server_config.headers.{name}");
            let Some((_, allowed)) = HEADERS.iter().find(|(known, _)| *known == name) else {
                let known: Vec<_> = HEADERS.iter().map(|(known, _)| *known).collect();
                errors.push(self.error(&key, format!("this header cannot be set; allowed are {}", known.join(", "))));
                continue;
            };
            match value.map(|value| (value, HeaderValue::from_str(value))) {
                Some(("", _)) => {}
                Some((value, Ok(header))) if allowed.is_empty() || allowed.contains(&value) => {
                    // Names in `HEADERS` are valid.
                    if let Ok(name) = HeaderName::from_str(&name) {
                        self.headers.insert(name, header);
                    }
                }
                Some((_, Ok(_))) => errors.push(self.error(&key, format!("is not {}", allowed.join(" or ")))),
                _ => errors.push(self.error(&key, "is not a valid header value")),
            }
        }
        errors
    }

    /// Messages never contain a hash, or the text in its place.
    fn take_users(&mut self, users: &Mapping) -> Vec<Error> {
        let mut errors = Vec::new();
        for (name, hash) in texts(users) {
            let key = format!("basic_auth_users.{name}");
            let cost = hash.and_then(|hash| HashParts::from_str(hash).ok()).map(|parts| parts.get_cost());
            match (hash, cost) {
                _ if name.is_empty() || name.contains(':') => {
                    errors.push(self.error(&key, "is not a valid user name: it is empty, or contains a colon"));
                }
                (Some(hash), Some(4..=MAX_COST)) => drop(self.users.insert(name, hash.to_owned())),
                (_, Some(cost)) => {
                    errors
                        .push(self.error(&key, format!("the bcrypt cost is {cost}, but must be from 4 to {MAX_COST}")));
                }
                _ => {
                    let text = "is not a bcrypt hash; create one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`";
                    errors.push(self.error(&key, text));
                }
            }
        }
        errors
    }

    fn take_tls(&mut self, mut tls: Tls) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, text: &str| errors.push(self.error(&format!("tls_server_config.{key}"), text));
        for (key, path) in [("cert_file", &tls.cert_file), ("key_file", &tls.key_file)] {
            if path.as_os_str().is_empty() {
                wrong(key, "is missing: TLS needs a certificate and its key");
            }
        }
        match (tls.client_auth_type, &tls.client_ca_file) {
            (ClientAuth::NoClientCert, Some(_)) => {
                wrong("client_ca_file", "has no effect without client_auth_type: RequireAndVerifyClientCert");
            }
            (ClientAuth::NoClientCert, None) | (_, Some(_)) => {}
            (_, None) => wrong("client_auth_type", "needs client_ca_file: the CAs to trust"),
        }
        if tls.client_allowed_sans.is_some() && tls.client_auth_type != ClientAuth::RequireAndVerifyClientCert {
            wrong("client_allowed_sans", "needs client_auth_type: RequireAndVerifyClientCert");
        }
        if let (Some(min), Some(max)) = (tls.min_version, tls.max_version)
            && min > max
        {
            wrong("min_version", "is higher than max_version");
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        for path in [Some(&mut tls.cert_file), Some(&mut tls.key_file), tls.client_ca_file.as_mut()] {
            path.into_iter().for_each(|path| *path = folder.join(&*path));
        }
        self.tls = Some(tls);
        errors
    }
}

/// Names with their values; None for a value that is not text.
fn texts(mapping: &Mapping) -> impl Iterator<Item = (String, Option<&str>)> {
    mapping.iter().map(|(name, value)| {
        let name = name.as_str().map_or_else(|| format!("{name:?}"), str::to_owned);
        (name, value.as_str())
    })
}

/// Converts a parser error into a configuration error.
fn malformed(path: &Path, error: &serde_norway::Error) -> Error {
    let place = match error.location() {
        Some(at) => Place::Line(path.to_owned(), at.line(), at.column()),
        None => Place::File(path.to_owned()),
    };
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
    let known = UNSUPPORTED.iter().find_map(|(name, why)| {
        let (before, _) =
            ["field", "variant"].iter().find_map(|what| text.split_once(&format!("unknown {what} `{name}`")))?;
        Some(format!("{before}{name} is not supported: {why}"))
    });
    Error { place, key: None, text: known.unwrap_or_else(|| text.to_owned()) }
}

#[cfg(test)]
mod tests;

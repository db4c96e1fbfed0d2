//! The file that says on which terms is answered: the one that Prometheus' exporters call their web configuration. Knows
//! its format and what can be wrong with it; nothing of certificates, passwords or sockets.
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

/// The headers that can be set, as other exporters allow them, and their values where not any will do.
const HEADERS: &[(&str, &[&str])] = &[
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

/// What other exporters take and this agent does not, and why.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("cert", "name a file in cert_file"),
    ("key", "name a file in key_file"),
    ("client_ca", "name a file in client_ca_file"),
    ("cipher_suites", "those of TLS 1.2 and 1.3 that are held safe are offered"),
    ("prefer_server_cipher_suites", "all that are offered are good"),
    ("curve_preferences", "those that are held safe are offered"),
    ("rate_limit", "how much is answered at once is limited in any case"),
    ("TLS10", "it is not safe"),
    ("TLS11", "it is not safe"),
    ("RequestClientCert", "it asks for a certificate and takes any; see RequireAndVerifyClientCert"),
    ("RequireAnyClientCert", "it takes any certificate; see RequireAndVerifyClientCert"),
    ("RequireClientCert", "it takes any certificate; see RequireAndVerifyClientCert"),
];

/// The highest cost of a hash. Each step doubles the time that a password takes: at this one, it is some seconds.
const MAX_COST: u32 = 16;

/// The file as it was read.
#[derive(Clone, PartialEq)]
pub struct File {
    path: PathBuf,
    text: String,
    /// `tls_server_config`, with paths as they are to be opened.
    pub tls: Option<Tls>,
    /// `http_server_config.headers`: what every response has.
    pub headers: HeaderMap,
    /// `basic_auth_users`: the bcrypt hash of each user's password.
    pub users: BTreeMap<String, String>,
}

/// `tls_server_config`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys with their values")]
pub struct Tls {
    /// The server's certificate, and those that vouch for it.
    pub cert_file: PathBuf,
    /// Its private key.
    pub key_file: PathBuf,
    /// Whether clients show certificates.
    pub client_auth_type: ClientAuth,
    /// The authorities whose certificates clients may show.
    pub client_ca_file: Option<PathBuf>,
    /// Names of which a client's certificate must have one.
    pub client_allowed_sans: Option<Vec<String>>,
    /// The lowest version of TLS.
    pub min_version: Option<Version>,
    /// The highest.
    pub max_version: Option<Version>,
}

/// Whether clients show certificates; the more the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[allow(clippy::enum_variant_names, reason = "they are called so in the file")]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    NoClientCert,
    /// One that is shown must be good.
    VerifyClientCertIfGiven,
    /// A good one must be shown.
    RequireAndVerifyClientCert,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Version {
    /// 1.2
    TLS12,
    /// 1.3
    TLS13,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys with their values")]
struct Document {
    tls_server_config: Option<Tls>,
    http_server_config: Option<Http>,
    basic_auth_users: Option<Mapping>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "keys with their values")]
struct Http {
    http2: Option<bool>,
    headers: Option<Mapping>,
}

impl File {
    /// Reads it.
    ///
    /// # Errors
    /// With the file, and line, column and key as far as it is about them.
    pub fn read(path: &Path) -> Result<File, Errors> {
        let text = fs::read_to_string(path).map_err(|error| {
            let text = format!("cannot be read: {error}");
            Errors(vec![Error { place: Place::File(path.to_owned()), key: None, text }])
        })?;
        File::parse(path, text)
    }

    /// Makes sense of its text.
    ///
    /// # Errors
    /// As of [`File::read`], but for those of reading.
    pub fn parse(path: &Path, text: String) -> Result<File, Errors> {
        // Of nothing but comments, the parser says that the file ends too soon.
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
            let text = "Headroom speaks HTTP/1.1 alone: set this to false, or leave it out";
            errors.push(file.error("http_server_config.http2", text));
        }
        errors.extend(file.take_headers(&http.headers.unwrap_or_default()));
        errors.extend(file.take_users(&basic_auth_users.unwrap_or_default()));
        if let Some(tls) = tls_server_config {
            errors.extend(file.take_tls(tls));
        }
        if errors.is_empty() { Ok(file) } else { Err(Errors(errors)) }
    }

    /// Something that is wrong with what a key says: where the last word of its name begins a line, if it does.
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
                errors.push(self.error(&key, format!("this header cannot be set; {} can", known.join(", "))));
                continue;
            };
            match value.map(|value| (value, HeaderValue::from_str(value))) {
                Some(("", _)) => {}
                Some((value, Ok(header))) if allowed.is_empty() || allowed.contains(&value) => {
                    // The names of the table are good ones.
                    if let Ok(name) = HeaderName::from_str(&name) {
                        self.headers.insert(name, header);
                    }
                }
                Some((_, Ok(_))) => errors.push(self.error(&key, format!("is not {}", allowed.join(" or ")))),
                _ => errors.push(self.error(&key, "is not a text that a header can have")),
            }
        }
        errors
    }

    /// No message has anything of a hash, or of what stands in the place of one, in it.
    fn take_users(&mut self, users: &Mapping) -> Vec<Error> {
        let mut errors = Vec::new();
        for (name, hash) in texts(users) {
            let key = format!("basic_auth_users.{name}");
            let cost = hash.and_then(|hash| HashParts::from_str(hash).ok()).map(|parts| parts.get_cost());
            match (hash, cost) {
                _ if name.is_empty() || name.contains(':') => {
                    errors.push(self.error(&key, "is no name of a user: it is empty, or has a colon"));
                }
                (Some(hash), Some(4..=MAX_COST)) => drop(self.users.insert(name, hash.to_owned())),
                (_, Some(cost)) => {
                    errors.push(self.error(&key, format!("the hash's cost is {cost}, and not from 4 to {MAX_COST}")));
                }
                _ => {
                    let text = "is not a bcrypt hash, such as `htpasswd -nBC 10 \"\" | tr -d ':\\n'` makes";
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
                wrong(key, "is missing: TLS takes a certificate and its key");
            }
        }
        match (tls.client_auth_type, &tls.client_ca_file) {
            (ClientAuth::NoClientCert, Some(_)) => {
                wrong("client_ca_file", "is of no use without client_auth_type: RequireAndVerifyClientCert");
            }
            (ClientAuth::NoClientCert, None) | (_, Some(_)) => {}
            (_, None) => wrong("client_auth_type", "takes client_ca_file: whose certificates are good"),
        }
        if tls.client_allowed_sans.is_some() && tls.client_auth_type != ClientAuth::RequireAndVerifyClientCert {
            wrong("client_allowed_sans", "takes client_auth_type: RequireAndVerifyClientCert");
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

/// Names with what they are given, if that is a text.
fn texts(mapping: &Mapping) -> impl Iterator<Item = (String, Option<&str>)> {
    mapping.iter().map(|(name, value)| {
        let name = name.as_str().map_or_else(|| format!("{name:?}"), str::to_owned);
        (name, value.as_str())
    })
}

/// What the parser says, in the form of all errors of the configuration.
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

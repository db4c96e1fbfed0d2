//! One HTTP POST, and the classification of its result. Knows nothing of alerts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, StatusCode, Url, redirect};

/// Bytes of an error response to log.
const EXCERPT: usize = 200;

/// Why a POST failed. The text never contains the URL, which may include a password.
#[derive(Debug, PartialEq)]
pub enum Failure {
    /// Permanent: the receiver rejected the message itself.
    Refused(String),
    /// Temporary: a retry may succeed.
    Later(String),
}

impl Failure {
    pub fn text(&self) -> &str {
        match self {
            Failure::Refused(text) | Failure::Later(text) => text,
        }
    }
}

/// An HTTP client with its URL.
#[derive(Clone, Debug)]
pub struct Post {
    client: Client,
    url: Url,
}

impl Post {
    /// Trusts the certificates in `ca` instead of the system's, if given.
    ///
    /// # Errors
    /// If the certificates cannot be read, or the system's are needed and missing.
    pub fn new(url: Url, timeout: Duration, ca: Option<&Path>) -> Result<Post> {
        // Succeeds once per process; an installed provider is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("headroom/", env!("CARGO_PKG_VERSION")))
            // A redirect could lead anywhere, and turns a POST into a GET.
            .redirect(redirect::Policy::none())
            .timeout(timeout)
            .pool_max_idle_per_host(1);
        let client = match ca {
            Some(path) => {
                let pem = fs::read(path).with_context(|| format!("read {}", path.display()))?;
                let certificates = Certificate::from_pem_bundle(&pem);
                let certificates = certificates.with_context(|| format!("read {}", path.display()))?;
                anyhow::ensure!(!certificates.is_empty(), "{} holds no certificate", path.display());
                client.tls_certs_only(certificates)
            }
            // Plain HTTP needs no certificates, and the system may have none.
            None if url.scheme() == "http" => client.tls_certs_only([]),
            None => client,
        };
        Ok(Post { client: client.build().context("make an HTTP client")?, url })
    }

    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Posts a JSON body. Any 2xx status is success.
    pub async fn json(&self, body: Vec<u8>, headers: &[(&'static str, String)]) -> Result<(), Failure> {
        let mut map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| Failure::Refused(error.to_string()))?;
            map.insert(HeaderName::from_static(name), value);
        }
        let sent = self.client.post(self.url.clone()).headers(map).body(body).send().await;
        let response = sent.map_err(|error| {
            let error = error.without_url();
            Failure::Later(chain(&error) + protocol_hint(&error))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = format!("HTTP status {status}{}", excerpt(response).await);
        Err(judge(status, text))
    }
}

/// Classifies an error status as permanent or temporary.
fn judge(status: StatusCode, text: String) -> Failure {
    match status {
        // These statuses are about the message itself. Others may come from a proxy, or from a fault that gets repaired.
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Failure::Refused(text),
        status if status.is_redirection() => Failure::Later(format!("{text}; redirects are not followed")),
        _ => Failure::Later(text),
    }
}

/// The beginning of the response body, without control characters.
async fn excerpt(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(EXCERPT - bytes.len())]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text = text.replace(['\r', '\n', '\t'], " ");
    let text = collector_core::text::shown(&text);
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}

/// An error with its causes; its own text says little more than that the request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// A hint if one side uses TLS and the other does not; the library's message does not explain that.
fn protocol_hint(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return "; the server does not answer with HTTP: should the URL be https://?";
        }
        // The inner error of an IO error is not among its sources.
        let mut inner = error;
        while let Some(within) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            inner = within;
        }
        if let Some(rustls::Error::InvalidMessage(_)) = inner.downcast_ref() {
            return "; the server does not use TLS: should the URL be http://?";
        }
        cause = error.source();
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_about_the_message_are_permanent() {
        for code in [400, 413, 415, 422] {
            assert!(matches!(judge(StatusCode::from_u16(code).unwrap(), String::new()), Failure::Refused(_)), "{code}");
        }
        for code in [301, 307, 401, 403, 404, 408, 429, 500, 502, 503] {
            assert!(matches!(judge(StatusCode::from_u16(code).unwrap(), String::new()), Failure::Later(_)), "{code}");
        }
    }

    #[test]
    fn invalid_certificates_are_an_error_that_names_the_file() {
        let path = std::env::temp_dir().join(format!("headroom-ca-{}", std::process::id()));
        fs::write(&path, "nothing of the sort").unwrap();
        let url = Url::parse("https://localhost/").unwrap();
        let error = |path: &Path| Post::new(url.clone(), Duration::from_secs(1), Some(path)).err().unwrap();
        assert!(format!("{:#}", error(&path)).contains(path.to_str().unwrap()));
        fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", error(&path)).contains("No such file"));
    }
}

//! One HTTP POST: made safely, and judged. Knows nothing of alerts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, StatusCode, Url, redirect};

/// Bytes of a refusal that are worth logging.
const EXCERPT: usize = 200;

/// Why something did not arrive, in words that say nothing of the URL: it may have a password in it.
#[derive(Debug, PartialEq)]
pub enum Failure {
    /// The same again would be refused again.
    Refused(String),
    /// Another time it may arrive.
    Later(String),
}

impl Failure {
    /// The words.
    pub fn text(&self) -> &str {
        match self {
            Failure::Refused(text) | Failure::Later(text) => text,
        }
    }
}

/// Where something is posted to, and how.
pub struct Post {
    client: Client,
    url: Url,
}

impl Post {
    /// With an answer expected in time; the certificates in `ca` are trusted in place of the system's.
    ///
    /// # Errors
    /// If the certificates cannot be read, or the system's are wanted and there are none.
    pub fn new(url: Url, timeout: Duration, ca: Option<&Path>) -> Result<Post> {
        // Once a process; another one is as good.
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
            // The system's are not looked for where nobody needs them: there may be none.
            None if url.scheme() == "http" => client.tls_certs_only([]),
            None => client,
        };
        Ok(Post { client: client.build().context("make an HTTP client")?, url })
    }

    /// Where to.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Posts this JSON. It has arrived if the answer says so (2xx).
    pub async fn json(&self, body: Vec<u8>, headers: &[(&'static str, String)]) -> Result<(), Failure> {
        let mut map = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).map_err(|error| Failure::Refused(error.to_string()))?;
            map.insert(HeaderName::from_static(name), value);
        }
        let sent = self.client.post(self.url.clone()).headers(map).body(body).send().await;
        let response = sent.map_err(|error| {
            let error = error.without_url();
            Failure::Later(chain(&error) + misspoken(&error))
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let text = format!("it answers {status}{}", excerpt(response).await);
        Err(judge(status, text))
    }
}

/// What an answer other than success means for what was posted.
fn judge(status: StatusCode, text: String) -> Failure {
    match status {
        // These speak of the message itself. All others may be the fault of something on the way, or be put right.
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Failure::Refused(text),
        status if status.is_redirection() => Failure::Later(format!("{text}; redirects are not followed")),
        _ => Failure::Later(text),
    }
}

/// The beginning of what it says, made harmless for a log.
async fn excerpt(mut response: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < EXCERPT {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk[..chunk.len().min(EXCERPT - bytes.len())]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().is_empty() { String::new() } else { format!(": {}", text.trim()) }
}

/// An error with its causes: of itself it says little more than that the request failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What two who speak different protocols say of each other helps nobody: this does.
fn misspoken(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return "; it does not speak plain HTTP: is its URL https://?";
        }
        // What an IO error was made of is not among its causes.
        let mut inner = error;
        while let Some(within) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            inner = within;
        }
        if let Some(rustls::Error::InvalidMessage(_)) = inner.downcast_ref() {
            return "; it does not speak TLS: is its URL http://?";
        }
        cause = error.source();
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_message_itself_is_final() {
        for code in [400, 413, 415, 422] {
            assert!(matches!(judge(StatusCode::from_u16(code).unwrap(), String::new()), Failure::Refused(_)), "{code}");
        }
        for code in [301, 307, 401, 403, 404, 408, 429, 500, 502, 503] {
            assert!(matches!(judge(StatusCode::from_u16(code).unwrap(), String::new()), Failure::Later(_)), "{code}");
        }
    }

    #[test]
    fn certificates_that_are_none_are_an_error_that_names_the_file() {
        let path = std::env::temp_dir().join(format!("headroom-ca-{}", std::process::id()));
        fs::write(&path, "nothing of the sort").unwrap();
        let url = Url::parse("https://localhost/").unwrap();
        let error = |path: &Path| Post::new(url.clone(), Duration::from_secs(1), Some(path)).err().unwrap();
        assert!(format!("{:#}", error(&path)).contains(path.to_str().unwrap()));
        fs::remove_file(&path).unwrap();
        assert!(format!("{:#}", error(&path)).contains("No such file"));
    }
}

//! GETs to the URL of a configured server. No redirects, no proxies of the environment, a bounded answer.

use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::header::ACCEPT;
use reqwest::{Client, Url, redirect};

use super::http::{AGENT, Answer, redirects};
use super::room::Room;
use super::wanted::Configured;
use crate::config::secret::Secret;

/// How long connecting may take, with the lookup of a name and a handshake.
const CONNECT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Remote {
    client: Client,
    url: Url,
    token: Secret,
}

impl Remote {
    /// # Errors
    /// If the system's certificates are needed and missing.
    pub fn new(server: &Configured) -> Result<Remote> {
        // Succeeds once per process; an installed provider is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            // A connection that stays open may hold one of the few threads of a server.
            .pool_max_idle_per_host(0);
        // Plain HTTP needs no certificates, and the system may have none.
        let client = if server.url.scheme() == "http" { client.tls_certs_only([]) } else { client };
        let client = client.build().context("make an HTTP client")?;
        Ok(Remote { client, url: server.url.clone(), token: server.token.clone() })
    }

    /// Whether it would be made the same again.
    pub fn is_for(&self, server: &Configured) -> bool {
        self.url == server.url && self.token == server.token
    }

    /// The answer to a GET of this path, below that of the URL.
    ///
    /// # Errors
    /// Why there is none that can be used. The text has no URL.
    pub async fn get(&self, path: &str, room: &Room) -> Result<Answer, String> {
        let mut request = self.client.get(join(&self.url, path)).header(ACCEPT, "*/*");
        if !self.token.is_empty() {
            request = request.bearer_auth(self.token.reveal());
        }
        let mut response = request.send().await.map_err(said)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(redirects(status.as_u16()));
        }
        let (mut body, mut hold) = (Vec::new(), room.hold());
        while let Some(data) = response.chunk().await.map_err(said)? {
            hold.grow(data.len())?;
            body.extend_from_slice(&data);
        }
        Ok(Answer { status: status.as_u16(), body, _hold: hold })
    }
}

fn join(url: &Url, path: &str) -> Url {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut whole = url.clone();
    whole.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
    whole.set_query(query);
    whole
}

/// An error with its causes, without the URL; its own text says little more than that the request failed.
fn said(error: reqwest::Error) -> String {
    format!("{:#}", anyhow::Error::new(error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_that_of_the_url() {
        let joined = |url: &str, path: &str| join(&Url::parse(url).unwrap(), path).to_string();
        assert_eq!(joined("http://a:1", "/metrics"), "http://a:1/metrics");
        assert_eq!(joined("http://a:1/b/", "/metrics"), "http://a:1/b/metrics");
        assert_eq!(
            joined("http://a:1/b", "/v1/loads?include=core,memory"),
            "http://a:1/b/v1/loads?include=core,memory"
        );
    }
}

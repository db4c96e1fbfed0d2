//! [`Secret`] and [`SecretUrl`]: strings that must never appear in a log, an error or a dump.

use std::fmt;

use reqwest::Url;

/// A secret; empty is none. It has neither `Display` nor `Serialize`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for whoever signs with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

/// A URL that may have a password in it, or a token in the user's place. It has neither `Display` nor `Serialize`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The URL itself, for whoever sends to it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether something of it is not shown.
    pub fn is_secret(&self) -> bool {
        self.masked().contains('…')
    }

    /// Fit to be shown: scheme, host and port, and the user if there is a password too. The rest is `…`, since the path or the
    /// query of a webhook is often all that its sender has to know; so is all of what is no URL.
    pub fn masked(&self) -> String {
        let Ok(url) = Url::parse(&self.0) else {
            return if self.0.is_empty() { String::new() } else { "…".into() };
        };
        let Some(host) = url.host_str() else { return "…".into() };
        let user = match (url.username(), url.password()) {
            ("", None) => String::new(),
            (_, None) => "…@".into(),
            (user, Some(_)) => format!("{user}:…@"),
        };
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let rest = match (url.path(), url.query(), url.fragment()) {
            ("" | "/", None, None) => "/",
            _ => "/…",
        };
        format!("{}://{user}{host}{port}{rest}", url.scheme())
    }
}

impl From<String> for SecretUrl {
    fn from(text: String) -> SecretUrl {
        SecretUrl(text)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.masked(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_tells_whether_there_is_a_secret_and_not_which() {
        let secret = Secret::from("hush hush".to_owned());
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "\"…\" Some(\"…\")");
        assert_eq!(format!("{:?}", Secret::default()), "\"\"");
        assert_eq!(secret.reveal(), "hush hush");
    }

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        for (text, wanted) in [
            ("https://a.example.com", "https://a.example.com/"),
            ("https://a.example.com/services/T0/B0/hush", "https://a.example.com/…"),
            ("https://a.example.com/?token=hush", "https://a.example.com/…"),
            ("https://[::1]:81/#hush", "https://[::1]:81/…"),
            ("data:hush", "…"),
            ("http://me:hush@a.example.com:81/b@c", "http://me:…@a.example.com:81/…"),
            ("http://:hush@a.example.com/", "http://:…@a.example.com/"),
            ("https://hush@a.example.com", "https://…@a.example.com/"),
            ("http:me:hush@a.example.com", "http://me:…@a.example.com/"),
            ("http://me:hu/sh@a.example.com/", "…"),
            ("", ""),
        ] {
            let url = SecretUrl::from(text.to_owned());
            assert_eq!((url.masked().as_str(), url.reveal()), (wanted, text));
            assert_eq!(format!("{url:?}"), format!("{wanted:?}"));
        }
    }
}

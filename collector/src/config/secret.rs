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

    /// Fit to be shown: a password, or a user without one, is `…`; so is all of what is no URL.
    pub fn masked(&self) -> String {
        let Ok(mut url) = Url::parse(&self.0) else {
            return if self.0.is_empty() { String::new() } else { "…".into() };
        };
        let user = match (url.username(), url.password()) {
            ("", None) => return self.0.clone(),
            (_, None) => "…".to_owned(),
            (user, Some(_)) => format!("{user}:…"),
        };
        let bare = url.set_username("").and_then(|()| url.set_password(None));
        bare.map_or("…".into(), |()| url.as_str().replacen("://", &format!("://{user}@"), 1))
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
    fn a_url_is_shown_without_its_password() {
        for (text, wanted) in [
            ("https://a.example.com/@b?c", "https://a.example.com/@b?c"),
            ("http://me:hush@a.example.com:81/b@c", "http://me:…@a.example.com:81/b@c"),
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

//! Which names of the agent a request on the loopback address may use. A page in a browser on this host could otherwise read the
//! endpoint, once the DNS of its own name says 127.0.0.1 (DNS rebinding). Knows no sockets.

use std::net::IpAddr;

use axum::http::header::HOST;
use axum::http::{HeaderMap, Uri};

use collector_core::pattern::Patterns;

#[derive(Debug, Default)]
pub struct Hosts {
    /// Names of this host, which /etc/hosts may map to the loopback address.
    own: Vec<String>,
    allowed: Patterns,
}

impl Hosts {
    pub fn new(own: Vec<String>, allowed: &[String]) -> Hosts {
        Hosts { own, allowed: Patterns::new(allowed) }
    }

    /// The name in the request that is none of the agent's, if there is one. A request without a name is no browser's.
    pub fn foreign(&self, uri: &Uri, headers: &HeaderMap) -> Option<String> {
        let written =
            headers.get_all(HOST).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut names = uri.authority().map(|authority| authority.as_str().to_owned()).into_iter().chain(written);
        names.find(|name| !self.is_own(name))
    }

    fn is_own(&self, name: &str) -> bool {
        let name = without_port(name.trim());
        // What an address names needs no DNS.
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        address.parse::<IpAddr>().is_ok()
            || name.is_empty()
            || name == "localhost"
            // Never asked of a DNS server (RFC 6761, section 6.3).
            || name.ends_with(".localhost")
            || self.own.iter().any(|own| own.eq_ignore_ascii_case(&name))
            || self.allowed.matches(&name)
    }
}

fn without_port(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(names: &[&str]) -> Option<String> {
        let hosts = Hosts::new(vec!["node1".into()], &["*.example.com".into()]);
        let headers = names.iter().map(|name| (HOST, name.parse().unwrap())).collect();
        hosts.foreign(&Uri::from_static("/metrics"), &headers)
    }

    #[test]
    fn addresses_and_own_names_pass_and_others_do_not() {
        for name in ["localhost", "LOCALHOST:9843", "a.localhost", "localhost.", "127.0.0.1:9843", "[::1]:9843", "::1"]
        {
            assert_eq!(foreign(&[name]), None, "{name}");
        }
        for name in ["node1:9843", "NODE1", "a.example.com", "10.0.0.7", ""] {
            assert_eq!(foreign(&[name]), None, "{name}");
        }
        for name in [
            "evil.example",
            "evil.example:9843",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "node1.evil.example",
        ] {
            assert_eq!(foreign(&[name]).as_deref(), Some(name));
        }
        assert_eq!(foreign(&["example.com"]).as_deref(), Some("example.com"), "the pattern asks for a part before it");
        assert_eq!(foreign(&["localhost", "evil.example"]).as_deref(), Some("evil.example"), "all of several count");
        assert_eq!(foreign(&[]), None);
    }

    #[test]
    fn the_name_in_the_first_line_counts_too() {
        let headers = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        let uri = Uri::from_static("http://evil.example/metrics");
        assert_eq!(Hosts::default().foreign(&uri, &headers).as_deref(), Some("evil.example"));
    }
}

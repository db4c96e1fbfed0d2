//! The page for people, at `/`: one document with its script and its styles, which asks no other host. Without them it is a list of
//! what else there is. Knows nothing of what the page shows.

use std::fmt::Write as _;
use std::io::Write as _;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use collector_core::api::read::{ROOT, ROUTES, Route};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::negotiation;

/// Paths outside the API, with what they answer.
pub type Paths = &'static [(&'static str, &'static str)];

/// What the build script bundled; empty if it could not.
const SCRIPT: &str = include_str!(concat!(env!("OUT_DIR"), "/page.js"));
const STYLE: &str = include_str!(concat!(env!("OUT_DIR"), "/page.css"));

/// Why there is no page.
const LEFT_OUT: &str = "This build has no page to look at: <code>cargo xtask setup</code> installs what it is made of, with Node.js \
    and npm, and the next build has it.";

/// The page, made when somebody asks for it first.
#[derive(Debug)]
pub struct Site {
    paths: Paths,
    document: OnceCell<Document>,
}

#[derive(Debug)]
struct Document {
    plain: Bytes,
    gzip: Bytes,
    policy: HeaderValue,
    /// Validators of both forms.
    tags: [HeaderValue; 2],
}

impl Site {
    /// As it was built. It names these paths besides the API.
    pub fn new(paths: Paths) -> Site {
        Site { paths, document: OnceCell::new() }
    }

    pub async fn answer(&self, headers: &HeaderMap) -> Response {
        let paths = self.paths;
        // Hashing and compressing take milliseconds.
        let make = || spawn_blocking(move || Document::of(SCRIPT, STYLE, paths));
        let document = self.document.get_or_try_init(make).await;
        let Ok(document) = document else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        document.answer(headers)
    }
}

impl Document {
    fn of(script: &str, style: &str, paths: Paths) -> Document {
        let text = html(script, style, paths);
        let tag: String = Sha256::digest(&text).iter().take(12).fold(String::new(), |mut tag, byte| {
            let _ = write!(tag, "{byte:02x}");
            tag
        });
        let gzip = compress(text.as_bytes());
        Document {
            plain: text.into(),
            gzip: gzip.into(),
            policy: header(policy(script, style)),
            tags: [format!("\"{tag}\""), format!("\"{tag}-gzip\"")].map(header),
        }
    }

    fn answer(&self, headers: &HeaderMap) -> Response {
        let packed = negotiation::gzip(headers) && !self.gzip.is_empty();
        let fixed = [
            (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            // A newer agent has another page: browsers ask each time, and get 304 if it is the same.
            (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (VARY, HeaderValue::from_static("accept-encoding")),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (CONTENT_SECURITY_POLICY, self.policy.clone()),
            (ETAG, self.tags[usize::from(packed)].clone()),
        ];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, fixed).into_response();
        }
        let body = if packed { &self.gzip } else { &self.plain };
        let mut response = (fixed, body.clone()).into_response();
        if packed {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// Whether the client has it (RFC 9110, section 13.1.2: tags are compared weakly).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let lines = headers.get_all(IF_NONE_MATCH).into_iter().filter_map(|line| line.to_str().ok());
        let mut tags = lines.flat_map(|line| line.split(',')).map(|tag| tag.trim());
        tags.any(|tag| tag == "*" || self.tags.iter().any(|own| own == tag.strip_prefix("W/").unwrap_or(tag)))
    }
}

/// The document. Its links are relative, so it works below any path.
fn html(script: &str, style: &str, paths: Paths) -> String {
    let list = index(paths);
    let body = match script.is_empty() {
        true => format!("<main>\n<h1>Headroom</h1>\n<p>{LEFT_OUT}</p>\n{list}</main>\n"),
        false => format!("<div id=\"page\"></div>\n<noscript>\n<h1>Headroom</h1>\n{list}</noscript>\n"),
    };
    let head = match script.is_empty() {
        true => String::new(),
        false => format!("<style>{style}</style>\n<script>{script}</script>\n"),
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Headroom</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"{ICON}\">\n{head}</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

/// Bars below a limit. As data, so that a browser asks for no other file.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
    %3Cpath fill='%23c2410c' d='M1 2h14v1.5H1z'/%3E%3Cpath fill='%232563eb' d='M2 9h3v6H2zM6.5 6h3v9h-3zM11 11h3v4h-3z'/%3E%3C/svg%3E";

/// What there is besides the page.
fn index(paths: Paths) -> String {
    let mut list = format!("<p>Version {}</p>\n<ul>\n", env!("CARGO_PKG_VERSION"));
    for (path, what) in paths {
        let _ = writeln!(list, "<li><a href=\"{}\">{path}</a>: {what}</li>", path.trim_start_matches('/'));
    }
    list.push_str("</ul>\n<h2>API, in JSON</h2>\n<ul>\n");
    for Route { path, help, .. } in ROUTES {
        let address = format!("{ROOT}{path}");
        // One that takes a part of its path has no address of its own.
        let _ = match path.contains('{') {
            true => writeln!(list, "<li>{address}: {help}</li>"),
            false => writeln!(list, "<li><a href=\"{}\">{address}</a>: {help}</li>", address.trim_start_matches('/')),
        };
    }
    list.push_str("</ul>\n");
    list
}

/// Nothing runs and nothing is loaded but what the document itself has, and its requests go where it came from.
fn policy(script: &str, style: &str) -> String {
    let source = |text: &str| match text.is_empty() {
        true => "'none'".to_owned(),
        false => format!("'sha256-{}'", BASE64.encode(Sha256::digest(text))),
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source(script),
        source(style)
    )
}

/// Empty if it fails.
fn compress(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).unwrap_or_default()
}

/// Of text that has visible ASCII alone.
fn header(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(document: &Document, name: axum::http::HeaderName, value: &str) -> Response {
        document.answer(&HeaderMap::from_iter([(name, value.parse().unwrap())]))
    }

    #[test]
    fn a_page_that_the_browser_has_is_not_sent_again() {
        let document = Document::of("s()", "a{}", &[]);
        let tag = document.answer(&HeaderMap::new()).headers()[ETAG].to_str().unwrap().to_owned();
        for (known, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"x\", {tag}"), 304),
            (tag.replace("\"", "").clone(), 200),
            (format!("{}-gzip\"", tag.trim_end_matches('"')), 304),
            ("*".to_owned(), 304),
            ("\"x\"".to_owned(), 200),
            (String::new(), 200),
        ] {
            assert_eq!(asked(&document, IF_NONE_MATCH, &known).status(), status, "{known}");
        }
        let other = Document::of("t()", "a{}", &[]);
        assert_eq!(asked(&other, IF_NONE_MATCH, &tag).status(), 200);
    }

    #[test]
    fn only_the_documents_own_script_and_style_run() {
        // The digests are those of `printf %s TEXT | openssl dgst -sha256 -binary | base64`.
        let policy = policy("s()", "a{}");
        assert!(policy.contains("script-src 'sha256-DUQvyBW3cp321tqiTMq5r0hc4ZZBR1LgXRjYIlCoW8A='"), "{policy}");
        assert!(policy.contains("style-src 'sha256-X1RutGBrXCt9KkSaXMK7tHftWiRscFHOhxsS8tv8hBk='"), "{policy}");
        assert!(!policy.contains("unsafe"));
        assert!(super::policy("", "").contains("script-src 'none'; style-src 'none'"));
    }

    #[test]
    fn without_a_bundle_the_page_says_so_and_lists_the_rest() {
        let text = html("", "", &[("/metrics", "all metrics"), ("/-/ready", "readiness")]);
        for part in ["cargo xtask setup", "Node.js", "href=\"metrics\"", "href=\"api/v1/status\"", "href=\"-/ready\""] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<script") && !text.contains("href=\"/"));
    }

    /// What would end the script before its end.
    #[test]
    fn the_bundle_can_stand_in_a_document() {
        for end in ["</script", "<!--"] {
            assert!(!SCRIPT.to_lowercase().contains(end), "{end}");
        }
        assert!(!STYLE.to_lowercase().contains("</style"));
    }
}

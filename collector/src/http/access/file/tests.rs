//! Valid files, and the error message for each mistake.

use super::*;

const HASH: &str = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

fn parse(text: &str) -> Result<File, String> {
    File::parse(Path::new("/etc/web.yml"), text.to_owned()).map_err(|errors| errors.to_string())
}

#[test]
fn a_full_file_is_parsed_with_paths_relative_to_it() {
    let file = parse(&format!(
        "tls_server_config:\n  cert_file: a.crt\n  key_file: /k/a.key\n  client_auth_type: RequireAndVerifyClientCert\n  \
         client_ca_file: ca.crt\n  client_allowed_sans: [prometheus, 10.0.0.1]\n  min_version: TLS12\n  \
         max_version: TLS13\nhttp_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n    \
         Content-Security-Policy: ''\nbasic_auth_users:\n  alice: {HASH}\n  bob: '{HASH}'\n"
    ))
    .unwrap();
    let tls = file.tls.unwrap();
    assert_eq!(tls.cert_file, Path::new("/etc/a.crt"));
    assert_eq!(tls.key_file, Path::new("/k/a.key"));
    assert_eq!(tls.client_ca_file.as_deref(), Some(Path::new("/etc/ca.crt")));
    assert_eq!(tls.client_auth_type, ClientAuth::RequireAndVerifyClientCert);
    assert_eq!(tls.client_allowed_sans.unwrap(), ["prometheus", "10.0.0.1"]);
    assert_eq!((tls.min_version, tls.max_version), (Some(Version::TLS12), Some(Version::TLS13)));
    assert_eq!(file.headers.len(), 1);
    assert_eq!(file.headers["x-frame-options"], "deny");
    assert_eq!(file.users.keys().collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn an_empty_file_is_valid() {
    for text in ["", "# nothing\n\n", "{}", "---\n", "tls_server_config:\nbasic_auth_users:\nhttp_server_config:\n"] {
        let file = parse(text).unwrap_or_else(|errors| panic!("{text:?}: {errors}"));
        assert!(file.tls.is_none() && file.headers.is_empty() && file.users.is_empty(), "{text:?}");
    }
}

#[test]
fn a_mistake_is_reported_with_its_place_and_key() {
    let pair = "cert_file: a\n  key_file: b";
    for (text, wanted) in [
        ("tls_server_confg: {}", "/etc/web.yml:1:1: unknown field `tls_server_confg`"),
        ("tls_server_config:\n  cert_fle: a", "/etc/web.yml:2:3: tls_server_config: unknown field `cert_fle`"),
        ("tls_server_config:\n  key_file: b", "/etc/web.yml: tls_server_config.cert_file: is missing"),
        ("tls_server_config: {}", "tls_server_config.key_file: is missing"),
        ("tls_server_config:\n  cert: x", "/etc/web.yml:2:3: tls_server_config: cert is not supported: name a file"),
        ("rate_limit:\n  burst: 1", "/etc/web.yml:1:1: rate_limit is not supported"),
        ("a: b: c", "/etc/web.yml:1:"),
        ("- 1", "/etc/web.yml:1:1: "),
        (
            &format!("tls_server_config:\n  {pair}\n  min_version: TLS10"),
            "/etc/web.yml:4:16: tls_server_config.min_version: TLS10 is not supported: it is insecure",
        ),
        (
            &format!("tls_server_config:\n  {pair}\n  min_version: TLS9"),
            ":4:16: tls_server_config.min_version: unknown variant `TLS9`",
        ),
        (
            &format!("tls_server_config:\n  {pair}\n  min_version: TLS13\n  max_version: TLS12"),
            ":4:3: tls_server_config.min_version: is higher",
        ),
        (
            &format!("tls_server_config:\n  {pair}\n  client_auth_type: RequireAnyClientCert"),
            "RequireAnyClientCert is not supported: it accepts any",
        ),
        (
            &format!("tls_server_config:\n  {pair}\n  client_auth_type: RequireAndVerifyClientCert"),
            ":4:3: tls_server_config.client_auth_type: needs client_ca_file",
        ),
        (
            &format!("tls_server_config:\n  {pair}\n  client_ca_file: c"),
            ":4:3: tls_server_config.client_ca_file: has no effect",
        ),
        (
            &format!("tls_server_config:\n  {pair}\n  client_allowed_sans: [c]"),
            ":4:3: tls_server_config.client_allowed_sans: needs",
        ),
        (
            "http_server_config:\n  http2: true",
            "/etc/web.yml:2:3: http_server_config.http2: only HTTP/1.1 is supported",
        ),
        (
            "http_server_config:\n  headers:\n    Server: x",
            "/etc/web.yml:3:5: http_server_config.headers.Server: this header cannot be set",
        ),
        (
            "http_server_config:\n  headers:\n    X-Frame-Options: allow",
            ":3:5: http_server_config.headers.X-Frame-Options: is not deny or sameorigin",
        ),
        ("http_server_config:\n  headers:\n    X-XSS-Protection: \"a\\nb\"", "is not a valid header value"),
        ("basic_auth_users:\n  alice: hunter2", "/etc/web.yml:2:3: basic_auth_users.alice: is not a bcrypt hash"),
        ("basic_auth_users:\n  alice: 31337", "/etc/web.yml:2:3: basic_auth_users.alice: is not a bcrypt hash"),
        ("basic_auth_users: {\"a:b\": x}", "is not a valid user name"),
        (
            &format!("basic_auth_users:\n  a: {}", HASH.replace("$10$", "$20$")),
            "the bcrypt cost is 20, but must be from 4 to 16",
        ),
        (&format!("basic_auth_users:\n  a: {HASH}\n  a: {HASH}"), "duplicate entry"),
    ] {
        let errors = parse(text).err().unwrap_or_else(|| panic!("{text:?} is accepted"));
        assert!(errors.contains(wanted), "{text:?}: {errors}");
        for secret in ["hunter2", "31337", "$2y$"] {
            assert!(!errors.contains(secret), "{errors}");
        }
    }
}

#[test]
fn all_mistakes_are_reported_together() {
    let errors = parse("http_server_config:\n  http2: true\nbasic_auth_users:\n  a: b\n  c: d\n").err().unwrap();
    assert!(errors.starts_with("3 errors in the configuration"), "{errors}");
}

//! The page at `/` as a browser gets it: compressed or not, again or not, and with what keeps others out of it.

use std::io::Read as _;

use collector_tests::needs;
use collector_tests::require::tools;
use flate2::read::GzDecoder;

use crate::endpoint::{LOOSE, Page, Reply, Server};

fn get(server: &Server, header: &str) -> Reply {
    server.ask(&format!("GET / HTTP/1.1\r\nhost: x\r\n{header}\r\n"))
}

/// Headers of a page that must not run what others write, be shown within another page, or be guessed to be something else.
fn is_guarded(reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|it| it == part), "{part}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
}

#[test]
fn the_page_comes_compressed_or_not_and_once() {
    let server = Server::start(LOOSE, Page::small());
    let plain = get(&server, "");
    assert_eq!((plain.status, plain.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("accept-encoding")));
    is_guarded(&plain);
    let packed = get(&server, "accept-encoding: br, gzip\r\n");
    assert_eq!((packed.status, packed.header("content-encoding")), (200, Some("gzip")));
    is_guarded(&packed);
    let mut text = Vec::new();
    GzDecoder::new(&packed.body[..]).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
    // Two forms are two validators, and either says that the page is known.
    let tags = [&plain, &packed].map(|reply| reply.header("etag").unwrap().to_owned());
    assert_ne!(tags[0], tags[1]);
    for tag in &tags {
        let again = get(&server, &format!("accept-encoding: gzip\r\nif-none-match: W/\"other\", {tag}\r\n"));
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(&*tags[1])));
        is_guarded(&again);
    }
    assert_eq!(get(&server, "if-none-match: \"other\"\r\n").status, 200);
    server.stop();
}

#[test]
fn the_head_of_the_page_is_that_of_the_page() {
    let server = Server::start(LOOSE, Page::small());
    let plain = get(&server, "");
    let head = server.ask("HEAD / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    for header in ["content-length", "etag", "content-security-policy", "content-type"] {
        assert_eq!(head.header(header), plain.header(header), "{header}");
    }
    server.stop();
}

/// Its links lead on below whatever path a proxy puts in front.
#[test]
fn the_page_names_what_else_there_is_without_a_script() {
    let server = Server::start(LOOSE, Page::small());
    let reply = get(&server, "");
    let text = reply.text();
    for part in ["href=\"metrics\"", "href=\"api/v1/report\"", "href=\"api/v1/openapi.json\"", "/api/v1/incidents/{id}"]
    {
        assert!(text.contains(part), "{part}");
    }
    for part in ["href=\"/", "src=\"", "http://", "https://"] {
        let own = text.replace("xmlns='http://www.w3.org/2000/svg'", "").replace("\"http://www.w3.org/", "");
        assert!(!own.contains(part), "{part}");
    }
    server.stop();
}

#[test]
fn the_page_is_small() {
    needs!(tools().join("page/installed").is_file(), "the page is not part of this build");
    let server = Server::start(LOOSE, Page::small());
    let reply = get(&server, "accept-encoding: gzip\r\n");
    let size = reply.body.len();
    assert!((20 * 1024..=150 * 1024).contains(&size), "{size} bytes: without a page, or a large one");
    server.stop();
}

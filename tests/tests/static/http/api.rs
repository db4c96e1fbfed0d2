//! The API with real sockets: each read, its errors, and what many who poll it cost.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use collector_core::api::change::{CHANGES, Change};
use collector_core::api::problem::Problem;
use collector_core::api::read::ROUTES;
use collector_core::api::workloads::{Detail, Summary};
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::incident::{Incident, Kind};
use collector_core::sample::{Reading, Sample, Start};
use collector_core::signal::cgroup;
use serde_json::Value;

use crate::endpoint::{LOOSE, Page, Reply, Server};

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// Cgroups whose names have everything that has a meaning in a path, in JSON or in HTML.
const NAMES: [&str; 7] = [
    "/plain",
    "/deep/er/still",
    "/50%25 off",
    "/a+b&c=d?e#f",
    "/<img src=x onerror=alert(1)>",
    "/quote\"back\\slash",
    "/…/ünï",
];

/// A page whose view has these cgroups.
fn page() -> Arc<Page> {
    let page = Page::small();
    let mut engine = Engine::new();
    let mut apply = |reading| _ = engine.apply(&Sample { time: 10, reading });
    apply(Reading::Start(Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: 50,
        workload_grace: 60_000_000_000,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    }));
    for (id, path) in (1..).zip(NAMES) {
        let id = Id { hierarchy: 0, id };
        apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.into() }));
    }
    apply(Reading::Tick);
    engine.remember(&[Incident::new(Kind::Oom, "1764208800-oom-7".to_owned(), 5)]);
    *page.view.lock().unwrap() = engine.view().as_ref().clone();
    page
}

/// Everything but letters and digits as `%XX`, slashes too if `all`.
fn encoded(name: &str, all: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || (byte == b'/' && !all);
    name.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// What is wrong, in an answer with this status.
fn problem(reply: &Reply, status: u16) -> String {
    let problem: Problem =
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.text()));
    assert_eq!((reply.status, reply.header("content-type"), problem.status), (status, Some(PROBLEM), status));
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
    problem.detail
}

/// The same answer at both addresses.
fn both(server: &Server, path: &str) -> Reply {
    let (reply, there) = (server.get(path), server.get_there(path));
    assert_eq!((reply.status, reply.text()), (there.status, there.text()), "{path}");
    reply
}

#[test]
fn what_has_a_name_is_found_by_it_however_that_is_written() {
    let server = Server::start(LOOSE, page());
    let reply = both(&server, "/api/v1/workloads");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(JSON)));
    let Summary { time, workloads, .. } = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(time, 10);
    for name in NAMES {
        let line = workloads.iter().find(|line| line.cgroup == name).unwrap_or_else(|| panic!("{name}: {workloads:?}"));
        for all in [false, true] {
            let reply = both(&server, &format!("/api/v1/workloads/{}", encoded(&line.workload, all)));
            assert_eq!((reply.status, reply.header("content-type")), (200, Some(JSON)), "{name}: {}", reply.text());
            let detail: Detail = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(detail, Detail { time, workload: line.clone(), alerts: Vec::new(), processes: None });
        }
    }
    let reply = both(&server, "/api/v1/incidents/1764208800%2Doom-7");
    let incident: Incident = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, incident.time), (200, 5));
    for id in ["1764208800%2Doom-7", "last"] {
        let page = both(&server, &format!("/api/v1/explain/{id}"));
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/plain; charset=utf-8")), "{id}");
        for part in ["incident 1764208800-oom-7", "\nWhy\n", "\nHow to check\n  headroom incidents\n"] {
            assert!(page.text().contains(part), "{part}: {}", page.text());
        }
    }
    let unknown = both(&server, "/api/v1/incidents/1764208800-oom");
    assert!(problem(&unknown, 404).starts_with("there is no incident \"1764208800-oom\" among the 1 newest"));
    let unknown = both(&server, "/api/v1/workloads/%3Cscript%3E%22");
    assert_eq!(problem(&unknown, 404), "there is no workload \"<script>\\\"\"");
    server.stop();
}

#[test]
fn every_read_is_there_at_both_addresses_under_both_of_its_paths() {
    let page = page();
    page.keep();
    let server = Server::start(LOOSE, page);
    // Some take a part of their path, one has no end, and one needs a history on disk.
    let forecast = both(&server, "/api/v1/forecast");
    assert!(problem(&forecast, 503).contains("history"), "{}", forecast.text());
    let others = ["events", "forecast"];
    for route in ROUTES.iter().filter(|route| !route.path.contains('{') && !others.contains(&route.path)) {
        let reply = both(&server, &format!("/api/v1/{}", route.path));
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(JSON)), "{}", route.path);
        assert!(serde_json::from_slice::<Value>(&reply.body).unwrap().is_object(), "{}", route.path);
        if let Some(alias) = route.alias {
            assert_eq!(both(&server, &format!("/api/v1/{alias}")).body, reply.body, "{alias}");
        }
    }
    let of = |path: &str| serde_json::from_slice::<Value>(&server.get(path).body).unwrap();
    let (status, report) = (of("/api/v1/monitoring/status"), of("/api/v1/monitoring/report"));
    for (name, value) in status.as_object().unwrap() {
        assert_eq!(&report[name], value, "{name}");
    }
    assert_eq!(report["workloads"], of("/api/v1/workloads")["workloads"]);
    server.stop();
}

#[test]
fn what_is_wrong_below_the_api_is_a_problem_and_elsewhere_text() {
    let server = Server::start(LOOSE, page());
    for (path, status, detail) in [
        ("/api/v1", 404, "there is nothing at this path: /api/v1/openapi.json lists what there is"),
        ("/api/v1/", 404, "there is nothing at this path: /api/v1/openapi.json lists what there is"),
        ("/api/v1/nothing", 404, "there is nothing at this path: /api/v1/openapi.json lists what there is"),
        ("/api/v1/workloads/", 404, "there is nothing at this path: /api/v1/openapi.json lists what there is"),
        ("/api/v1/%77orkloads", 404, "there is nothing at this path: /api/v1/openapi.json lists what there is"),
        ("/api/v1/workloads?nme=a", 400, "there is no parameter \"nme\" here; there is none at all"),
        ("/api/v1/alerts?severity=grave", 400, "severity=\"grave\": one of info, warning, critical"),
        ("/api/v1/monitoring/alerts?severity=", 400, "severity=\"\": one of info, warning, critical"),
        (
            "/api/v1/history?window_seconds=1000000000",
            400,
            "window_seconds=\"1000000000\": a whole number from 1 to 7776000",
        ),
        ("/api/v1/monitoring/history?workload=%3Cb%3E", 404, "there is no workload \"<b>\""),
        ("/api/v1/monitoring", 404, "there is nothing at this path: /api/v1/openapi.json lists what there is"),
        ("/api/v1/workloads/%ff", 400, "what the percent signs stand for is not UTF-8"),
    ] {
        assert_eq!(problem(&both(&server, path), status), detail, "{path}");
    }
    for path in ["/api", "/api/", "/api/v2/workloads", "/api/v1x"] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.header("content-type")), (404, Some("text/plain; charset=utf-8")), "{path}");
    }
    // A name that is none of the agent's: refused before any path is looked at.
    let of = |path: &str| server.ask(&format!("GET {path} HTTP/1.1\r\nhost: evil.example\r\n\r\n"));
    assert!(problem(&of("/api/v1/workloads"), 421).starts_with("\"evil.example\" is no name of this host"));
    assert_eq!(of("/metrics").header("content-type"), Some("text/plain; charset=utf-8"));
    server.stop();
}

#[test]
fn only_get_and_head_are_answered() {
    let server = Server::start(LOOSE, page());
    let reads = ROUTES.iter().filter(|route| !Change::is_at(route.path));
    let every = reads.map(|route| format!("/api/v1/{}", route.path.replace(['{', '}'], "")));
    for path in every.chain(["/api/v1/workloads?nme=a".to_owned()]) {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
            let mut socket = server.connect_socket();
            socket.write_all(request.as_bytes()).unwrap();
            for reply in [server.ask(&request), Reply::read(socket).unwrap()] {
                assert_eq!(problem(&reply, 405), "nothing can be changed here: use GET or HEAD", "{method} {path}");
                assert_eq!(reply.header("allow"), Some("GET,HEAD"), "{method} {path}");
            }
        }
    }
    // What changes something is asked on the socket, where the kernel says who asks; this server decides nothing.
    for change in CHANGES {
        let path = format!("/api/v1/{}", change.path.replace("{id}", "7"));
        let of =
            |method: &str| server.ask(&format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"));
        assert!(problem(&of(change.method), 403).contains("on the socket alone"), "{path}");
        let other = of("PUT");
        assert!(problem(&other, 405).starts_with("nothing can be changed here"), "{path}");
        assert!(other.header("allow").unwrap().contains(change.method), "{path}");
    }
    for path in ["/api/v1/workloads", "/api/v1/workloads/none", "/api/v1/none", "/api/v1/workloads?x"] {
        let head = server.ask(&format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\n"));
        let get = server.get(path);
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        for header in ["content-type", "content-length"] {
            assert_eq!(head.header(header), get.header(header), "{path}: {header}");
        }
    }
    server.stop();
}

#[test]
fn a_hundred_who_poll_the_same_cost_one_rendering_a_snapshot() {
    let page = page();
    let server = Server::start(LOOSE, page.clone());
    let path = format!("/api/v1/workloads/{}", encoded(NAMES[1], true));
    for round in 1..=2 {
        page.keep();
        let mut clients: Vec<_> = (0..100).map(|_| server.connect_socket()).collect();
        for client in &mut clients {
            client.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).unwrap();
        }
        for client in clients {
            let reply = Reply::read(client).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&reply.body).unwrap()["workload"]["cgroup"], NAMES[1]);
        }
        assert_eq!(page.renders.load(Ordering::Relaxed), round);
    }
    server.stop();
}

#[test]
fn the_index_lists_every_read() {
    let server = Server::start(LOOSE, page());
    let index = server.get("/");
    for route in ROUTES {
        assert!(index.text().contains(&format!("/api/v1/{}", route.path)), "{}", route.path);
        assert!(index.text().contains(route.help), "{}", route.path);
    }
    server.stop();
}

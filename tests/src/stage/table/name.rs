//! Names that are unusual.

use super::SPIKE;
use crate::stage::scenario::Knob::Limit;
use crate::stage::scenario::Scenario;

fn named(name: &'static str, what: &'static str, group: &'static str, told: &'static str) -> Scenario {
    Scenario::new(name, what)
        .group("", &[])
        .group(group, &[Limit(100.0)])
        .run("app", group, "anon 20; wait 11; anon 120")
        .dies("app")
        .oom(told, SPIKE)
        .limit(told, 100.0)
}

pub fn scenarios() -> Vec<Scenario> {
    vec![
        named(
            "odd_name",
            "a cgroup whose name has blanks, quotes, a tab and letters beyond ASCII",
            "odd \"n\u{e4}me\"\t%s $(x) <b>",
            "={root}/odd \"n\u{e4}me\"\\x09%s $(x) <b>",
        ),
        named("docker", "a container of Docker", "docker-{id}.scope", "=docker/{id12}").slice(),
        named(
            "escaped_unit",
            "a service whose name systemd escapes",
            "llama\\x2d{id12}.service",
            "=llama-{id12}.service",
        )
        .slice(),
    ]
}

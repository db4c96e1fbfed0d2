//! Podman: `podman update`, of version 4.3 and newer, as whoever runs the container.

use super::{as_user, docker, line};
use crate::action::{Change, Command, Known, Tool};

pub(super) fn update(container: &str, user: Option<u32>, known: &Known, change: &Change) -> Option<Command> {
    match change {
        Change::Freeze => return verb("pause", container, user),
        Change::Thaw => return verb("unpause", container, user),
        _ => {}
    }
    let mut words = as_user(user);
    words.extend(["podman", "update"].map(str::to_owned));
    words.extend(docker::options(known, change)?);
    words.push(container.to_owned());
    let note = "It acts at once and survives restarts of the container, but not its recreation: change what creates it, too (a quadlet: \
        PodmanArgs).";
    line(Tool::Podman, &words).map(|command| command.note(note))
}

pub(super) fn verb(verb: &str, container: &str, user: Option<u32>) -> Option<Command> {
    let mut words = as_user(user);
    words.extend(["podman", verb, container].map(str::to_owned));
    line(Tool::Podman, &words)
}

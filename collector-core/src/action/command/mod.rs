//! What a person types for a change of a cgroup, by who owns it: the first command fits best. A file for each tool.

mod above;
mod cgroup;
mod compose;
mod docker;
mod kubernetes;
mod podman;
mod slurm;
mod systemd;

use super::{Change, Command, Owner, Target, Tool, quote};

/// Commands for a change of a workload. Empty if there is none: then only its owner knows how.
pub(super) fn of(target: &Target, change: &Change) -> Vec<Command> {
    let mut commands = own(target, change);
    let (known, note) = above::first(target, change);
    for command in commands.iter_mut().filter(|command| command.file.is_none()) {
        let all = known.iter().chain([&command.text]).map(String::as_str);
        command.text = all.collect::<Vec<_>>().join(" && ");
        command.note =
            command.note.take().into_iter().chain(note.clone()).reduce(|note, more| format!("{note} {more}"));
    }
    commands
}

fn own(target: &Target, change: &Change) -> Vec<Command> {
    let mut commands = Vec::new();
    match &target.owner {
        Owner::Unit { unit, transient, user } => {
            commands.extend(systemd::of_unit(unit, *transient, *user, change, target.unified));
            if commands.is_empty() {
                commands.extend(cgroup::of(target, change));
            }
        }
        Owner::Docker { container, scope } => {
            commands.extend(docker::update(container, &target.known, change));
            commands.extend(compose::fragment(container, change));
            behind(&mut commands, scope.as_deref(), target, change);
        }
        Owner::Podman { container, scope, user } => {
            commands.extend(podman::update(container, *user, &target.known, change));
            if user.is_none() {
                behind(&mut commands, scope.as_deref(), target, change);
            }
        }
        Owner::Kubernetes { namespace, pod, container } => {
            let [namespace, pod, container] = [namespace, pod, container].map(Option::as_deref);
            commands.extend(kubernetes::patches(namespace, pod, container, change));
        }
        Owner::Slurm => commands.extend(slurm::directive(change)),
        Owner::Other(owner) => {
            let note = format!(
                "{owner} owns this cgroup: the lasting place is its own configuration, and it may set this back."
            );
            commands.extend(cgroup::of(target, change).map(|command| command.note(note)));
        }
        Owner::Cgroup => commands.extend(cgroup::of(target, change)),
        // What is below a user or a node has an owner that is not seen from here.
        Owner::Below(_) => {}
    }
    commands
}

/// Commands that start a workload again.
pub(super) fn restart(target: &Target) -> Vec<Command> {
    match &target.owner {
        Owner::Unit { unit, transient: false, user } => systemd::verb("restart", unit, *user).into_iter().collect(),
        Owner::Docker { container, .. } => docker::verb("restart", container).into_iter().collect(),
        Owner::Podman { container, user, .. } => podman::verb("restart", container, *user).into_iter().collect(),
        Owner::Kubernetes { namespace, pod, .. } => kubernetes::restart(namespace.as_deref(), pod.as_deref()),
        _ => Vec::new(),
    }
}

/// What an engine has no option for, through the unit that it made, or the cgroup's file: until the container starts again.
fn behind(commands: &mut Vec<Command>, scope: Option<&str>, target: &Target, change: &Change) {
    if !commands.is_empty() {
        return;
    }
    let unit = scope.and_then(|scope| systemd::of_unit(scope, true, None, change, target.unified));
    let note = "The engine has no option for it. It lasts until the container starts again.";
    commands.extend(unit.or_else(|| cgroup::of(target, change)).map(|command| command.note(note)));
}

/// A user's command, typed by root.
fn as_user(user: Option<u32>) -> Vec<String> {
    user.map_or_else(Vec::new, |uid| {
        vec!["sudo".to_owned(), "-u".to_owned(), format!("#{uid}"), format!("XDG_RUNTIME_DIR=/run/user/{uid}")]
    })
}

/// A command line of these words.
fn line(tool: Tool, words: &[String]) -> Option<Command> {
    Some(Command::new(tool, quote::line(words.iter().map(String::as_str))?))
}

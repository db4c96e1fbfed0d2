//! Files of models that are deleted or moved, and the agent's own. Knows nothing of which are.

use super::{Action, Command, Kind, Object, Tool, quote};

/// Deletes a model: a file or a directory, by its whole path. `None` if the path cannot be pasted safely: then its name says why.
pub fn delete_model(path: &str, is_directory: bool) -> Option<Action> {
    let words = if is_directory { &["rm", "--recursive", "--"][..] } else { &["rm", "--"] };
    let text = quote::line(words.iter().copied().chain([deep(path)?]))?;
    let note = "Check that no process has it open: fuser -v, or headroom models. The space comes back when the last one closes it.";
    Some(of(Kind::DeleteModel, path, None, Command::new(Tool::Shell, text).note(note)))
}

/// Moves a model into another directory.
pub fn move_model(path: &str, directory: &str) -> Option<Action> {
    let text = quote::line(["mv", "--no-clobber", "--", deep(path)?, absolute(directory)?])?;
    let note = "Then start what reads it with its new path, or leave a symbolic link in its place.";
    Some(of(Kind::MoveModel, path, Some(directory.to_owned()), Command::new(Tool::Shell, text).note(note)))
}

/// Deletes a file of the agent's own, such as a recording.
pub fn delete_own_files(path: &str) -> Option<Action> {
    let text = quote::line(["rm", "--", deep(path)?])?;
    Some(of(Kind::DeleteOwnFiles, path, None, Command::new(Tool::Shell, text)))
}

/// Lists what is largest in a filesystem: it changes nothing.
pub fn find_large(mountpoint: &str) -> Option<Command> {
    let list = quote::line([
        "du",
        "--one-file-system",
        "--max-depth=2",
        "--",
        absolute(mountpoint).or((mountpoint == "/").then_some("/"))?,
    ])?;
    Some(
        Command::new(Tool::Shell, format!("{list} | sort -n | tail -n 20"))
            .note("It lists what is largest, and changes nothing."),
    )
}

fn of(kind: Kind, path: &str, after: Option<String>, command: Command) -> Action {
    let (object, risk, undo) = (Object::File(path.to_owned()), kind.risk(true), kind.undo(None));
    Action { kind, object, key: None, before: Some(path.to_owned()), after, risk, undo, commands: vec![command] }
}

/// A whole path without detours.
fn absolute(path: &str) -> Option<&str> {
    let mut parts = path.strip_prefix('/')?.split('/');
    parts.all(|part| !matches!(part, "" | "." | "..")).then_some(path)
}

/// The same, of nothing that stands at the top of the host.
fn deep(path: &str) -> Option<&str> {
    absolute(path).filter(|path| path.matches('/').count() >= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_and_never_the_top_of_the_host() {
        let text = |path: &str| delete_model(path, true).map(|action| action.commands[0].text.clone());
        assert_eq!(text("/models/a b.gguf").as_deref(), Some("rm --recursive -- '/models/a b.gguf'"));
        assert_eq!(text("/models/$(reboot)").as_deref(), Some("rm --recursive -- '/models/$(reboot)'"));
        for path in ["/", "/models", "models/a", "/models/../etc", "/models//a", "/models/", r"/models/caf\xe9"] {
            assert_eq!(text(path), None, "{path}");
        }
        let moved = move_model("/models/a.gguf", "/slow/models").unwrap();
        assert_eq!(moved.commands[0].text, "mv --no-clobber -- /models/a.gguf /slow/models");
    }
}

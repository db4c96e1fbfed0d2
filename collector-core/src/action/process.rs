//! The end of a process. Knows nothing of who should end.

use super::{Action, Command, Kind, Object, Tool};

/// Asks a process to end, or kills it.
pub fn end(pid: u32, kill: bool) -> Action {
    let (kind, signal) = if kill { (Kind::Kill, "KILL") } else { (Kind::Terminate, "TERM") };
    let command = Command::new(Tool::Shell, format!("kill -{signal} {pid}"));
    let note = "Check first that the number is still the same process: it may have ended since.";
    let (object, risk, undo) = (Object::Process(pid), kind.risk(true), kind.undo(None));
    Action { kind, object, key: None, before: None, after: None, risk, undo, commands: vec![command.note(note)] }
}

//! What a start does with a journal whose actuator ended before it had written everything down: reads what the kernel shows, and says which it
//! was.

use anyhow::Result;
use collector_core::act::{Object, Record, State, settle, settle_ending};

use super::carry::look;
use super::cgroup::Cgroup;
use super::journal::Journal;
use super::process::is_alive;
use super::tree::Tree;

/// Settles everything that is half made or half undone. `boot` is this start of the host.
pub fn settle_all(journal: &Journal, tree: &Tree, boot: &str, page: u64) -> Result<()> {
    for mut record in journal.pending()? {
        let before = record.clone();
        one(&mut record, tree, boot, page);
        if record != before {
            tracing::warn!(
                "change {} ({}) is {}: {}",
                record.id,
                record.object,
                record.state.label(),
                record.note.as_deref().unwrap_or_default()
            );
            journal.put(&record)?;
        }
    }
    Ok(())
}

fn one(record: &mut Record, tree: &Tree, boot: &str, page: u64) {
    if record.boot != boot {
        // Neither cgroups nor processes outlive that.
        let state = if record.state == State::Intended { State::Failed } else { State::SteppedAside };
        (record.state, record.note) =
            (state, Some("the host has started again since: what was changed is gone".to_owned()));
        return;
    }
    if record.state == State::Done && record.ending.is_none() {
        // It is made, and ends at its time.
        return;
    }
    let (now, alive) = match &record.object {
        Object::Cgroup { path, .. } => (look(tree, path, &record.steps), is_full(tree, record, page)),
        Object::Process { pid, started } => (Vec::new(), Some(is_alive(*pid, *started))),
    };
    if record.state == State::Intended {
        let settled = settle(record, &now, alive, page);
        for (step, value) in record.steps.iter_mut().zip(settled.read_back) {
            step.read_back = Some(value);
        }
        (record.state, record.note) = (settled.state, Some(settled.note));
    } else if let Some(ending) = record.ending.clone() {
        match settle_ending(record, &now, page) {
            Some(state) => {
                let note = "the actuator ended before it wrote this down; found at its next start: it was undone";
                (record.state, record.note) = (state, Some(note.to_owned()));
            }
            // One whose time is over is undone as soon as the actuator runs.
            None if ending.who.is_none() => record.ending = None,
            None => {
                record.ending = None;
                record.note = Some("the actuator ended before it was undone: ask for it again".to_owned());
            }
        }
    }
}

/// Whether processes are in a cgroup that was to be ended; `None` if that is not known, or it was about nothing of that kind.
fn is_full(tree: &Tree, record: &Record, page: u64) -> Option<bool> {
    let Object::Cgroup { path, id } = &record.object else { return None };
    match Cgroup::identified(tree, path, *id, page) {
        Ok(cgroup) => Some(!cgroup.pids("memory").ok()?.is_empty()),
        // With the last process the cgroup often goes, too.
        Err(_) => Some(false),
    }
}

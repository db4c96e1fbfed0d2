//! Ends changes: an undo that somebody asks for, and one whose time has come. Each is written down first, and nothing is written over what
//! somebody else wrote.

use anyhow::Result;
use collector_core::act::{
    Answer, Ending, Object, Preview, Record, State, Step, Undo, Who, beneath, bytes, danger_of_undo, undo,
};
use collector_core::action::Change;

use super::carry::{look, restore};
use super::cgroup::Cgroup;
use super::journal::Journal;
use super::tree::Tree;
use crate::clock;

/// How much later an undo that failed is tried again, in milliseconds.
const AGAIN: u64 = 10_000;

/// What an undo works with.
pub struct Undoing<'a> {
    pub tree: &'a Tree,
    pub journal: &'a Journal,
    pub page: u64,
    /// Milliseconds since the epoch.
    pub now: u64,
}

impl Undoing<'_> {
    /// Undoes a change that is done, for somebody or because its time is over, and gives what it is then.
    ///
    /// # Errors
    /// If the journal cannot be written: then nothing was changed.
    pub fn end(&self, mut record: Record, who: Option<Who>) -> Result<Record> {
        let Object::Cgroup { path, .. } = record.object.clone() else { return Ok(record) };
        let ending = Ending { time: self.now, who };
        let state = ending.state();
        record.ending = Some(ending);
        self.journal.put(&record)?;
        if let Some(record) = self.lead_back(&record, state)? {
            return Ok(record);
        }
        let seen = look(self.tree, &path, &record.steps);
        match undo(&record, &seen, self.page) {
            Undo::Restore(order) => {
                let cgroup = Cgroup::new(self.tree, &path, self.page);
                let harmless = self.harmless(&cgroup, &record.steps, &order);
                match harmless.and_then(|()| restore(&cgroup, &record.steps, &order, self.page)) {
                    Ok(()) => record.state = state,
                    Err(why) => {
                        // It holds still. An undo that somebody asked for is asked for again.
                        record.ending = None;
                        record.note = Some(format!("its undo failed: {why}"));
                        let now = clock::boot_ns() / 1_000_000;
                        record.until_boot = record.until_boot.map(|_| now.saturating_add(AGAIN));
                    }
                }
            }
            Undo::Already(note) => (record.state, record.note) = (state, Some(note)),
            Undo::Aside(note) => (record.state, record.note) = (State::SteppedAside, Some(note)),
        }
        self.journal.put(&record)?;
        Ok(record)
    }

    /// What an undo would write.
    ///
    /// # Errors
    /// Why it would write nothing.
    pub fn preview(&self, record: &Record) -> Result<Answer, String> {
        let Object::Cgroup { path, .. } = &record.object else { return Err("this has no undo".to_owned()) };
        let seen = look(self.tree, path, &record.steps);
        let order = match undo(record, &seen, self.page) {
            Undo::Restore(order) => order,
            Undo::Already(sentence) => return Ok(Answer::Unchanged { sentence }),
            Undo::Aside(why) => return Err(why),
        };
        let back = |at: &usize| {
            let step = record.steps.get(*at)?.clone();
            let now = seen.get(*at).cloned().flatten()?;
            Some(Step { after: step.before.clone(), before: now, read_back: None, ..step })
        };
        Ok(Answer::Preview(Box::new(Preview {
            kind: record.kind,
            object: record.object.to_string(),
            rule: record.rule.clone(),
            risk: record.risk,
            steps: order.iter().filter_map(back).collect(),
            for_seconds: None,
            notes: vec![format!("this is the undo of change {}", record.id)],
        })))
    }

    /// What keeps an undo from harming whom it concerns.
    fn harmless(&self, cgroup: &Cgroup<'_>, steps: &[Step], order: &[usize]) -> Result<(), String> {
        for step in order.iter().filter_map(|at| steps.get(*at)) {
            let (readings, _) = cgroup.readings(&Change::Thaw);
            if let Some(why) = danger_of_undo(&step.file, bytes(&step.before, self.page), &readings) {
                return Err(why);
            }
        }
        Ok(())
    }

    /// A later change of ours began from what this one wrote, and holds still: that one leads back to what this one found, and nothing is
    /// written. `None` if there is none.
    fn lead_back(&self, record: &Record, state: State) -> Result<Option<Record>> {
        let mut later = self.journal.after(record.id)?;
        let above = beneath(record, &later, self.page);
        let Some((first, ..)) = above.first().cloned() else { return Ok(None) };
        let note = format!("change {} wrote over it: that one now leads back to what was before both", later[first].id);
        let record = Record { state, note: Some(note), ..record.clone() };
        for (at, step, before) in &above {
            later[*at].steps[*step].before.clone_from(before);
        }
        let mut all: Vec<&Record> = above.iter().map(|(at, ..)| &later[*at]).collect();
        all.push(&record);
        self.journal.put_all(&all)?;
        Ok(Some(record))
    }
}

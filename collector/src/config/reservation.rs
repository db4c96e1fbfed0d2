//! `[[reservation]]`: a repeated reservation, as the file has it, and what that comes to. Looks up no users.

use std::time::Duration;

use collector_core::lease::{Claim, Want};
use collector_core::need::declared::Declared;
use collector_core::schedule::Entry;

/// Texts as they stand in the file; empty: not set.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Reservation {
    pub name: String,
    pub user: String,
    pub days: String,
    pub at: String,
    pub lasts: Duration,
    pub memory: String,
    pub vram: String,
    pub cpu: String,
    pub disk: String,
    pub gpus: Vec<String>,
    /// Of [`PRIORITIES`].
    pub priority: String,
}

pub const PRIORITIES: [&str; 5] = ["background", "low", "normal", "high", "critical"];

/// A key, and what is wrong with it.
pub type Wrong = (&'static str, String);

impl Default for Reservation {
    fn default() -> Reservation {
        let none = String::new;
        Reservation {
            name: none(),
            user: "root".to_owned(),
            days: "Mon-Sun".to_owned(),
            at: none(),
            lasts: Duration::ZERO,
            memory: none(),
            vram: none(),
            cpu: none(),
            disk: none(),
            gpus: Vec::new(),
            priority: "normal".to_owned(),
        }
    }
}

impl Reservation {
    /// For the user with this number.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn entry(&self, uid: u32) -> Result<Entry, Wrong> {
        let days = self.days.parse().map_err(|text| ("days", text))?;
        let at = self.at.parse().map_err(|text| ("at", text))?;
        let priority = self.priority.parse().map_err(|text| ("priority", text))?;
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let declared = Declared {
            memory: some(&self.memory),
            vram: some(&self.vram),
            disk: some(&self.disk).into_iter().collect(),
            cpu: some(&self.cpu),
            ..Declared::default()
        };
        let need = declared
            .need()
            .map_err(|error| (error.flag.trim_start_matches('-'), format!("{}: {}", error.text, error.why())))?;
        let want = Want::of(&need);
        if want.is_nothing() {
            return Err(("name", "nothing is reserved: set memory, vram, disk or cpu".to_owned()));
        }
        let cards = want.vram.keys().last().map_or(0, |last| *last as usize + 1);
        if !self.gpus.is_empty() && self.gpus.len() < cards {
            return Err(("gpus", format!("{} are named, and vram is for {cards}", self.gpus.len())));
        }
        if !self.gpus.is_empty() && cards == 0 {
            return Err(("gpus", "nothing is reserved on them: set vram".to_owned()));
        }
        let (unit, gpus, seconds) = (self.name.clone(), self.gpus.clone(), self.lasts.as_secs());
        let claim =
            Claim { need, unit: Some(unit.clone()), gpus: gpus.clone(), seconds: Some(seconds), ..Claim::default() };
        claim.check().map_err(|text| (key(&text), text))?;
        Ok(Entry { unit, uid, days, at, seconds, want, gpus, priority })
    }
}

/// The key that a claim's mistake is about.
fn key(text: &str) -> &'static str {
    match () {
        () if text.contains("GPU") => "gpus",
        () if text.contains("disk") => "disk",
        () => "name",
    }
}

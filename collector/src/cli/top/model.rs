//! What the screen shows, and what an event changes about it. Pure: it reads no key, asks no agent and draws nothing.

use collector_core::api::incidents::IncidentLine;
use collector_core::api::models::Models;
use collector_core::api::suggestions::{AdviceLine, Suggestions};
use collector_core::lease::Reservation;
use ratatui::layout::{Position, Rect};

use super::answer::{Answers, Wish};
use super::column::Column;
use super::feed::{Kind, News, Silence};
use super::row::{self, Order, Row};
use crate::cli::models::table::rows;

/// For how long it is said that the agent restarted, in nanoseconds of the agent's time.
const FRESH: u64 = 15_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pane {
    Table,
    Workload(String),
    Incidents,
    Alerts,
    Reservations,
    /// Model servers.
    Models,
    /// What to change.
    Advice,
    /// One advice, with everything.
    Advised(String),
    /// One incident, explained.
    Incident(String),
    Help,
}

/// A pane: the row that is chosen, or the first line of a text; and the first row that is shown.
#[derive(Clone, Debug)]
pub struct Open {
    pub pane: Pane,
    pub at: usize,
    pub first: usize,
}

/// Where things were drawn, for the mouse and for pages.
#[derive(Clone, Debug, Default)]
pub struct Hits {
    /// The rows of a list, or the lines of a text.
    pub rows: Rect,
    /// The number of the first of them, and how many there are.
    pub first: usize,
    pub count: usize,
    pub heads: Vec<(Rect, Column)>,
}

pub struct Model {
    pub host: String,
    pub colour: bool,
    /// Times are shown in UTC.
    pub utc: bool,
    /// A recording is shown, not an agent.
    pub replay: bool,
    /// Absent before the first answer.
    pub answers: Option<Box<Answers>>,
    pub silence: Option<Silence>,
    /// When the agent was seen to have restarted, in nanoseconds since the Unix epoch.
    restarted: Option<u64>,
    pub order: Order,
    /// Keys go to the filter.
    pub typing: bool,
    /// The workload chosen in the table.
    pub chosen: Option<String>,
    /// The table, and what was opened since.
    panes: Vec<Open>,
    top: Open,
    pub hits: Hits,
}

impl Model {
    pub fn new(host: String, by: Column, replay: bool, colour: bool) -> Model {
        Model {
            host,
            colour,
            utc: false,
            replay,
            answers: None,
            silence: None,
            restarted: None,
            order: Order { by, reversed: false, tree: false, all: false, filter: String::new() },
            typing: false,
            chosen: None,
            panes: Vec::new(),
            top: Open { pane: Pane::Table, at: 0, first: 0 },
            hits: Hits::default(),
        }
    }

    pub fn open(&self) -> &Open {
        self.panes.last().unwrap_or(&self.top)
    }

    fn open_mut(&mut self) -> &mut Open {
        self.panes.last_mut().unwrap_or(&mut self.top)
    }

    pub fn rows(&self) -> Vec<Row<'_>> {
        self.answers.as_deref().map(|answers| row::rows(answers, &self.order)).unwrap_or_default()
    }

    /// The chosen row: that of the chosen workload, or where it was.
    pub fn place(&self, rows: &[Row]) -> usize {
        let named = self.chosen.as_ref().and_then(|name| rows.iter().position(|row| row.name() == name));
        named.unwrap_or(self.top.at).min(rows.len().saturating_sub(1))
    }

    /// The first row to show, so that the one at `at` is seen on a page of this height.
    pub fn first(&self, at: usize, height: usize, count: usize) -> usize {
        let least = (at + 1).saturating_sub(height);
        self.open().first.clamp(least, at.max(least)).min(count.saturating_sub(height))
    }

    /// What is reserved, and who waits after it.
    pub fn reservations(&self) -> Vec<&Reservation> {
        let found = self.answers.as_deref().and_then(|answers| answers.reservations.as_ref()?.as_ref().ok());
        found.map_or_else(Vec::new, |found| found.reservations.iter().chain(&found.waiting).collect())
    }

    pub fn models(&self) -> Option<&Models> {
        self.answers.as_deref()?.models.as_ref()?.as_ref().ok()
    }

    pub fn suggestions(&self) -> Option<&Suggestions> {
        self.answers.as_deref()?.advice.as_ref()?.as_ref().ok()
    }

    /// The chosen advice.
    pub fn advice(&self) -> Option<&AdviceLine> {
        let all = &self.suggestions()?.advice;
        all.get(self.open().at.min(all.len().saturating_sub(1)))
    }

    /// The workload of the chosen model server.
    pub fn served(&self) -> Option<String> {
        let rows = rows(self.models()?);
        rows.get(self.open().at)?.server.workload.clone()
    }

    pub fn incidents(&self) -> &[IncidentLine] {
        self.answers.as_deref().map_or(&[], |answers| &answers.incidents)
    }

    /// What is looked at.
    pub fn wish(&self) -> Wish {
        let find = |of: fn(&Pane) -> Option<&String>| self.panes.iter().rev().find_map(|open| of(&open.pane)).cloned();
        Wish {
            workload: find(|pane| if let Pane::Workload(name) = pane { Some(name) } else { None }),
            incident: find(|pane| if let Pane::Incident(id) = pane { Some(id) } else { None }),
            reservations: self.open().pane == Pane::Reservations,
            models: self.open().pane == Pane::Models,
            advice: matches!(self.open().pane, Pane::Advice | Pane::Advised(_)),
        }
    }

    pub fn hear(&mut self, news: News) {
        match news {
            News::Silent(silence) => self.silence = Some(silence),
            News::Answers(answers) => {
                let before = self.answers.as_ref().map_or(answers.status.started, |before| before.status.started);
                if before != answers.status.started && !self.replay {
                    self.restarted = Some(answers.status.time);
                }
                self.restarted = self.restarted.filter(|then| answers.status.time.saturating_sub(*then) < FRESH);
                self.silence = None;
                self.answers = Some(answers);
            }
        }
    }

    /// What is wrong with the feed, in one line.
    pub fn trouble(&self) -> Option<String> {
        if let Some(Silence { kind, why, lasting }) = &self.silence {
            let what = match kind {
                Kind::Absent => "no agent",
                Kind::Forbidden => "the agent may not be asked",
                Kind::Failing => "the agent does not answer",
            };
            let old = if self.answers.is_some() {
                format!(", figures are {} s old", lasting.as_secs())
            } else {
                String::new()
            };
            return Some(format!("{what} (trying again{old}): {why}"));
        }
        let answers = self.answers.as_deref()?;
        let broken = || answers.played.as_ref().and_then(|played| played.trouble.clone());
        self.restarted.map(|_| "the agent restarted".to_owned()).or_else(broken)
    }

    pub fn enter(&mut self, pane: Pane) {
        if self.open().pane != pane {
            self.panes.retain(|open| open.pane != pane);
            self.panes.push(Open { pane, at: 0, first: 0 });
        }
    }

    /// Closes the newest pane; `false` if there is only the table.
    pub fn back(&mut self) -> bool {
        self.panes.pop().is_some()
    }

    /// Chooses the row, or scrolls to the line, that is so many further.
    pub fn go(&mut self, by: isize) {
        let rows = matches!(self.open().pane, Pane::Table).then(|| self.place(&self.rows()));
        let at = rows.unwrap_or(self.open().at).saturating_add_signed(by);
        self.choose(at);
    }

    pub fn choose(&mut self, at: usize) {
        let (height, shown) = (usize::from(self.hits.rows.height), self.hits.count);
        let at = match self.open().pane {
            Pane::Table => {
                let rows = self.rows();
                let at = at.min(rows.len().saturating_sub(1));
                let name = rows.get(at).map(|row| row.name().to_owned());
                self.chosen = name;
                at
            }
            Pane::Incidents | Pane::Alerts | Pane::Reservations | Pane::Models | Pane::Advice => {
                at.min(shown.saturating_sub(1))
            }
            Pane::Workload(_) | Pane::Incident(_) | Pane::Advised(_) | Pane::Help => {
                at.min(shown.saturating_sub(height))
            }
        };
        self.open_mut().at = at;
    }

    /// Keeps what was drawn.
    pub fn drawn(&mut self, hits: Hits) {
        self.open_mut().first = hits.first;
        self.hits = hits;
    }

    /// The row at this place of the screen.
    pub fn row_at(&self, place: Position) -> Option<usize> {
        let Hits { rows, first, count, .. } = &self.hits;
        let at = first + usize::from(place.y.saturating_sub(rows.y));
        (rows.contains(place) && at < *count).then_some(at)
    }

    pub fn sort(&mut self, by: Column) {
        let reversed = self.order.by == by && !self.order.reversed;
        (self.order.by, self.order.reversed) = (by, reversed);
    }

    /// The incident to explain from here.
    pub fn incident(&self) -> Option<String> {
        let answers = self.answers.as_deref()?;
        let newest = |of: Option<&str>| {
            let about =
                |it: &&IncidentLine| of.is_none_or(|name| it.labels.get("workload").is_some_and(|it| it == name));
            answers.incidents.iter().find(about).map(|it| it.id.clone())
        };
        match &self.open().pane {
            Pane::Table => newest(self.chosen.as_deref()).or_else(|| newest(None)),
            Pane::Workload(name) => newest(Some(name)),
            Pane::Models => newest(Some(&self.served()?)),
            Pane::Incidents => answers.incidents.get(self.open().at).map(|it| it.id.clone()),
            Pane::Alerts => answers.status.alerts.get(self.open().at)?.incident.clone(),
            Pane::Advice => newest(Some(self.advice()?.workload.as_deref()?)),
            Pane::Reservations | Pane::Incident(_) | Pane::Advised(_) | Pane::Help => None,
        }
    }
}

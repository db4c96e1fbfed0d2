//! From the series of an exposition to the numbers of models, as the rows of a table say. Several engines and replicas of a model are
//! added up; ranks that tell the same are not. A number that cannot be is absent, as one that nobody told. Knows no server.

mod cell;
mod timed;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::exposition::{Labels, series};
use super::name;
use crate::statistic::model::{MODELS, Model, Stage, Statistic, Values, WHOLE};
use cell::Cells;
use timed::Timed;

/// What one series says.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The series; of a histogram its name without `_bucket`.
    pub name: &'static str,
    pub to: To,
    /// One of its unit in ours.
    pub scale: f64,
    /// Only series whose label has one of these values.
    pub only: Option<(&'static str, &'static [&'static str])>,
    pub from: From,
    /// Only if no row before it told this of the model.
    pub otherwise: bool,
}

/// Where the number stands.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Value,
    /// In a label of an info metric.
    Label(&'static str),
    /// The product of two labels.
    Product(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The sum over all engines.
    Sum(Statistic),
    /// A share (0 to 1): the mean of all engines.
    Share(Statistic),
    /// 1 if an engine says 0.
    Lacks(Statistic),
    Time(Stage),
    /// What the server's file makes something of.
    Part(usize),
}

/// How many numbers a server's file may make something of.
pub const PARTS: usize = 4;

/// A row that adds values up.
pub const fn sum(name: &'static str, statistic: Statistic) -> Row {
    row(name, To::Sum(statistic))
}

pub const fn share(name: &'static str, statistic: Statistic) -> Row {
    Row { scale: WHOLE as f64, ..row(name, To::Share(statistic)) }
}

/// A histogram, or no more than a sum and a count, in seconds.
pub const fn time(name: &'static str, stage: Stage) -> Row {
    Row { scale: 1e9, ..row(name, To::Time(stage)) }
}

pub const fn part(name: &'static str, part: usize) -> Row {
    row(name, To::Part(part))
}

const fn row(name: &'static str, to: To) -> Row {
    Row { name, to, scale: 1.0, only: None, from: From::Value, otherwise: false }
}

impl Row {
    pub const fn only(self, label: &'static str, values: &'static [&'static str]) -> Row {
        Row { only: Some((label, values)), ..self }
    }

    pub const fn label(self, label: &'static str) -> Row {
        Row { from: From::Label(label), ..self }
    }

    pub const fn times(self, scale: f64) -> Row {
        Row { scale, ..self }
    }

    /// Only if no row before it told this: an older name.
    pub const fn or(self) -> Row {
        Row { otherwise: true, ..self }
    }

    pub const fn product(self, one: &'static str, other: &'static str) -> Row {
        Row { from: From::Product(one, other), ..self }
    }

    pub const fn lacks(name: &'static str, statistic: Statistic) -> Row {
        row(name, To::Lacks(statistic))
    }

    fn wants(&self, labels: Labels<'_>) -> bool {
        let Some((label, values)) = self.only else { return true };
        labels.raw(label).is_some_and(|value| values.contains(&value))
    }

    fn read(&self, labels: Labels<'_>, value: f64) -> Option<f64> {
        let number = |label| labels.raw(label)?.parse::<f64>().ok();
        match self.from {
            From::Value => Some(value),
            From::Label(label) => number(label),
            From::Product(one, other) => Some(number(one)? * number(other)?),
        }
    }
}

/// What an exposition says of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gathered {
    pub model: Model,
    pub parts: [Option<f64>; PARTS],
}

/// What an exposition says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct All {
    /// At most [`MODELS`] with a name, in the order in which they come, and one without a name for what is said of the whole server.
    pub models: Vec<Gathered>,
    /// How many models it tells of.
    pub told: usize,
}

/// Numbers of one model, by row.
struct Numbers<'a> {
    name: Arc<str>,
    cells: Vec<Option<Cells<'a>>>,
    timed: Vec<Option<Timed>>,
}

/// The label of the model is one of these.
const MODEL: [&str; 3] = ["model_name", "model", "model_id"];

/// Gathers what the rows say.
pub fn gather(text: &[u8], rows: &[Row]) -> All {
    let mut numbers: Vec<Numbers<'_>> = Vec::new();
    // By what stands in the label: several may have the same base name. Without a place if there were too many before it.
    let mut places: BTreeMap<&str, Option<usize>> = BTreeMap::new();
    for it in series(text) {
        for (index, row) in rows.iter().enumerate() {
            let Some(part) = timed::part(it.name, row) else { continue };
            // Of requests of one priority beside those of all.
            if !row.wants(it.labels) || it.labels.raw("priority").is_some_and(|priority| !priority.is_empty()) {
                continue;
            }
            let raw = MODEL.iter().find_map(|label| it.labels.raw(label)).unwrap_or_default();
            let full = places.len() > 4 * MODELS;
            let place = match places.get(raw) {
                Some(place) => *place,
                None if full => None,
                None => *places.entry(raw).or_insert_with(|| place(&mut numbers, it.labels, rows.len())),
            };
            let Some(place) = place else { continue };
            let Numbers { cells, timed, .. } = &mut numbers[place];
            match row.to {
                To::Time(_) => {
                    timed[index].get_or_insert_default().take(part, it.labels, it.value, row.scale);
                }
                _ => {
                    let value = row.read(it.labels, it.value);
                    // "None" in a label is nothing, not a wrong number.
                    if let Some(value) = value {
                        cells[index].get_or_insert_default().take(it.labels, value);
                    }
                }
            }
        }
    }
    let told = places.keys().filter(|name| !name.is_empty()).count();
    All { models: numbers.into_iter().map(|numbers| numbers.finish(rows)).collect(), told }
}

fn place(numbers: &mut Vec<Numbers<'_>>, labels: Labels<'_>, rows: usize) -> Option<usize> {
    let name = MODEL.iter().find_map(|label| labels.get(label)).unwrap_or_default();
    let name = name::base(&name);
    if let Some(place) = numbers.iter().position(|numbers| numbers.name == name) {
        return Some(place);
    }
    let named = numbers.iter().filter(|numbers| !numbers.name.is_empty()).count();
    if !name.is_empty() && named == MODELS {
        return None;
    }
    let none = |_| None;
    numbers.push(Numbers { name, cells: (0..rows).map(none).collect(), timed: (0..rows).map(|_| None).collect() });
    Some(numbers.len() - 1)
}

impl Numbers<'_> {
    fn finish(self, rows: &[Row]) -> Gathered {
        let mut gathered = Gathered::default();
        let Gathered { model, parts } = &mut gathered;
        model.name = self.name;
        // What a row before told, by its target: a number that cannot be stays absent.
        let mut told: Vec<To> = Vec::new();
        for ((row, cells), timed) in rows.iter().zip(self.cells).zip(self.timed) {
            let again = told.contains(&row.to);
            if (cells.is_none() && timed.is_none()) || (again && row.otherwise) {
                continue;
            }
            match (row.to, cells, timed) {
                (To::Time(stage), _, Some(timed)) => model.latency.extend(timed.finish(stage).filter(|_| !again)),
                (To::Sum(statistic), Some(cells), _) => {
                    let more = cells.sum().and_then(|sum| whole(sum * row.scale));
                    put(&mut model.values, statistic, more, again);
                }
                (To::Share(statistic), Some(cells), _) => {
                    let share = cells.mean().filter(|share| *share <= 1.01).map(|share| share.min(1.0));
                    model.values.put(statistic, share.and_then(|share| whole(share * row.scale)));
                }
                (To::Lacks(statistic), Some(cells), _) => {
                    model.values.put(statistic, cells.least().map(|least| u64::from(least < 0.5)));
                }
                (To::Part(part), Some(cells), _) => parts[part] = cells.sum(),
                _ => {}
            }
            told.push(row.to);
        }
        gathered
    }
}

/// Adds to what other rows told of it; unknown if one of them could not be.
fn put(values: &mut Values, statistic: Statistic, more: Option<u64>, again: bool) {
    match (again, values.get(statistic), more) {
        (false, _, more) => values.put(statistic, more),
        (true, Some(_), Some(more)) => values.add(statistic, more),
        (true, ..) => values.put(statistic, None),
    }
}

/// A number that can be: not negative, and no more than 2⁶² of anything.
pub fn whole(number: f64) -> Option<u64> {
    (number.is_finite() && (0.0..=4.6e18).contains(&number)).then(|| number.round() as u64)
}

#[cfg(test)]
mod tests;

//! `headroom guard --status`: the units that failed or started lately, and whether they may start.

use anyhow::Context as _;
use collector_core::api::circuits::{Circuits, UnitLine};
use collector_core::circuit::State;
use collector_core::incident::page::text::Paint;
use collector_core::text::shown_json;

use crate::cli::claim;
use crate::cli::sheet::{Line, left};
use crate::cli::terminal::{colour, room};
use crate::client::Client;
use crate::exit::Failure;

pub fn run(client: &Client, json: bool) -> Result<(), Failure> {
    let body = client.page(&claim::path(claim::CIRCUITS))?;
    let circuits: Circuits =
        serde_json::from_slice(&body).context("the answer is not from an agent of this version")?;
    if json {
        let json = serde_json::to_string_pretty(&circuits).context("write JSON")?;
        return crate::cli::print(&(shown_json(&json).into_owned() + "\n"));
    }
    crate::cli::print(&page(&circuits, room(), colour()))
}

fn page(circuits: &Circuits, width: usize, colour: bool) -> String {
    if circuits.units.is_empty() {
        return "no unit was started within the last minute, and none failed within the last ten\n".to_owned();
    }
    let widest = circuits.units.iter().map(|unit| unit.unit.chars().count()).max().unwrap_or(0).max(4);
    let head = Line::new(
        Paint::Dim,
        format!("{}  {:>6}  {:8}  {:>6}  FAILURES", left("UNIT", widest), "USER", "STATE", "STARTS"),
    );
    let lines = circuits.units.iter().map(|unit| {
        let paint = match unit.state {
            State::Closed => Paint::Plain,
            State::Probing => Paint::Yellow,
            State::Open => Paint::Red,
        };
        let UnitLine { uid, starts, .. } = unit;
        Line::new(Paint::Plain, format!("{}  {uid:>6}  ", left(&unit.unit, widest)))
            .and(paint, left(unit.state.name(), 8))
            .and(Paint::Plain, format!("  {starts:>6}  {}", failures(unit)))
    });
    std::iter::once(head).chain(lines).map(|line| line.render(width, colour) + "\n").collect()
}

fn failures(unit: &UnitLine) -> String {
    let causes = unit.causes.iter().map(|line| {
        let last = format!("{} {} s ago", line.cause, line.failed_seconds_ago);
        match (line.open_seconds, line.state) {
            (Some(seconds), _) => format!("{last}, may start in {seconds} s"),
            (None, State::Probing) => format!("{last}, one may start or runs as a probe"),
            (None, _) => last,
        }
    });
    causes.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::api::circuits::CauseLine;
    use collector_core::circuit::Cause;

    #[test]
    fn the_page_says_which_unit_may_not_start_and_until_when() {
        let cause =
            |cause, state, open_seconds| CauseLine { cause, state, failed_seconds_ago: 10, open_seconds, opened: 1 };
        let bad = UnitLine {
            unit: "python3 train.py".to_owned(),
            uid: 1000,
            state: State::Open,
            starts: 3,
            causes: vec![cause(Cause::Oom, State::Open, Some(50)), cause(Cause::Exit(1), State::Closed, None)],
        };
        let good = UnitLine { unit: "good".to_owned(), starts: 1, ..UnitLine::default() };
        let page = page(&Circuits { time: 0, units: vec![good, bad] }, 200, false);
        let lines: Vec<String> =
            page.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "UNIT USER STATE STARTS FAILURES",
                "good 0 closed 1",
                "python3 train.py 1000 open 3 OOM kill 10 s ago, may start in 50 s; exit code 1 10 s ago",
            ]
        );
    }
}

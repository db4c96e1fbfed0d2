//! A table of the configuration that reserves room for a model ahead, on each of its days: in local time of the host, as the configuration
//! has it. What is known of use is in UTC.

use crate::action::{Command, Tool};
use crate::past::HOURS;
use crate::schedule::{Clock, Days};
use crate::view::View;

const FILE: &str = "/etc/headroom/headroom.toml";
/// So long before the hour in which it is used, in minutes.
const BEFORE: i64 = 15;
const DAY: i64 = 24 * 60;

/// `slots`: hours of the week (UTC) from which on it is used, all at the same time of day. The name is one that needs no quoting.
pub(super) fn table(view: &View, model: &str, slots: &[usize]) -> Command {
    let zone = &view.schedule.schedule.zone;
    let ahead = zone.ahead(view.time) / 60;
    let minute = |slot: &usize| (*slot as i64 * 60 - BEFORE + ahead).rem_euclid(HOURS as i64 * 60);
    let days = Days::of(slots.iter().map(|slot| (minute(slot) / DAY) as usize));
    let days = match days {
        Days::ALL => String::new(),
        some => format!("days = \"{some}\"\n"),
    };
    let at = Clock::new(slots.first().map_or(0, |slot| (minute(slot) % DAY) as u16));
    let text = format!(
        "[[reservation]]\nname = \"{model}\"\n{days}at = \"{at}\"\nfor = \"2h\"\nmemory = \"SIZE\"\nvram = \"SIZE\"\n"
    );
    let note = format!(
        "In place of the line before, for every week: on each of these days the agent reserves it ahead, in local time ({}). Then: systemctl reload \
         headroom.",
        zone.name(view.time, view.time)
    );
    Command { tool: Tool::Headroom, text, file: Some(FILE.to_owned()), note: Some(note) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::schedule::Schedule;
    use crate::zone::Zone;

    /// From eight on, UTC, on these days.
    fn written(ahead: i64, hour: usize, days: &[usize]) -> String {
        let zone = Zone::new([(0, ahead, "X".to_owned())]);
        let mut view = View { time: 5, ..View::default() };
        view.schedule.schedule = Arc::new(Schedule { entries: Vec::new(), zone });
        let slots: Vec<usize> = days.iter().map(|day| day * 24 + hour).collect();
        let command = table(&view, "llama3:8b", &slots);
        assert!(command.note.unwrap().contains("X (UTC"), "the zone is named");
        command.text
    }

    #[test]
    fn days_and_time_are_local() {
        let working = [0, 1, 2, 3, 4];
        let text = written(7200, 8, &working);
        let wanted = "[[reservation]]\nname = \"llama3:8b\"\ndays = \"Mon-Fri\"\nat = \"09:45\"\nfor = \"2h\"\n";
        assert!(text.starts_with(wanted), "{text}");
        // On the other side of midnight it is another day.
        assert!(written(0, 0, &working).contains("days = \"Mon-Thu,Sun\"\nat = \"23:45\"\n"));
        assert!(written(3600, 0, &working).contains("days = \"Mon-Fri\"\nat = \"00:45\"\n"));
        assert!(written(-12_600, 3, &working).contains("days = \"Mon-Thu,Sun\"\nat = \"23:15\"\n"));
        assert!(
            written(19_800, 22, &[0, 1, 2, 3, 4, 5, 6]).contains("8b\"\nat = \"03:15\"\n"),
            "every day needs no days"
        );
    }
}

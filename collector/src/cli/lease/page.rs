//! A verdict and reservations as tables.

use collector_core::admission::{amount_of, name};
use collector_core::api::reservations::Scheduled;
use collector_core::lease::answer::Part;
use collector_core::lease::{Decision, HeldKind, Line as Row, Owner, Reservation, State, Verdict};
use collector_core::text::shown;

use crate::cli::sheet::{Column, Line, Paint, table};
use crate::zone;

pub fn verdict(verdict: &Verdict, width: usize, colour: bool) -> String {
    let head = Line::new(paint(verdict.verdict), verdict.verdict.label())
        .and(Paint::Plain, ": ")
        .and(Paint::Plain, &verdict.reason);
    let mut text = head.render(usize::MAX, colour) + "\n";
    if !verdict.resources.is_empty() {
        let rows = &verdict.resources;
        let columns = [
            Column::text("RESOURCE", rows, |row| (Paint::Plain, name(row))),
            Column::number("NEED", rows, |row| Some(amount_of(row, row.need))),
            Column::number("AVAILABLE", rows, |row| row.available.map(|amount| amount_of(row, amount))),
            Column::number("SHORT", rows, |row| (row.short > 0).then(|| amount_of(row, row.short))),
            Column::text("VERDICT", rows, |row| (paint(row.verdict), row.verdict.label().to_owned())),
            Column::text("LIMITED BY", rows, |row| (Paint::Plain, row.limited_by.clone().unwrap_or_default())),
        ];
        text.push('\n');
        table(&columns, width).iter().for_each(|line| text += &(line.render(width, colour) + "\n"));
    }
    for row in verdict.resources.iter().filter(|row| !row.holders.is_empty()) {
        text += &format!("\nWho holds most of {}:\n", shown(&name(row)));
        row.holders.iter().for_each(|held| text += &holder(row, held));
    }
    let learned = verdict.learned.as_ref().map(|lesson| lesson.sentences()).unwrap_or_default();
    list(&mut text, "When it ran here before", learned.iter());
    list(&mut text, "What would make room", verdict.room.iter().map(|way| &way.sentence));
    list(&mut text, "Not known", verdict.not_known.iter());
    if !verdict.gpus.is_empty() && verdict.verdict.fits() {
        text += &format!("\nGPUs: {}\n", shown(&verdict.gpus.join(", ")));
    }
    if let Some(seconds) = verdict.retry_after_seconds {
        text += &format!("\nAsk again in {seconds} s.\n");
    }
    if let Some(delay) = verdict.delay_milliseconds {
        let delay = humantime::format_duration(std::time::Duration::from_millis(delay));
        text += &format!("Suggested delay for work that paces itself: {delay}.\n");
    }
    text
}

fn holder(row: &Row, held: &collector_core::lease::Held) -> String {
    let amount = amount_of(row, held.amount);
    let how = match (held.kind, held.id) {
        (HeldKind::Use, _) => String::new(),
        (HeldKind::Reservation, Some(id)) => format!(", reservation {id}, not used yet"),
        (HeldKind::Reservation, None) => ", for a claim that comes first".to_owned(),
    };
    format!("  - {} {amount}{how}\n", shown(&held.workload))
}

fn list<'a>(text: &mut String, name: &str, sentences: impl Iterator<Item = &'a String>) {
    for (number, sentence) in sentences.enumerate() {
        if number == 0 {
            *text += &format!("\n{name}:\n");
        }
        *text += &format!("  - {}\n", shown(sentence));
    }
}

fn paint(decision: Decision) -> Paint {
    match decision {
        Decision::Yes => Paint::Green,
        Decision::Tight | Decision::Wait | Decision::Unknown => Paint::Yellow,
        Decision::No => Paint::Red,
    }
}

pub fn reservations(all: &[Reservation], width: usize, colour: bool) -> String {
    if all.is_empty() {
        return "nothing is reserved\n".to_owned();
    }
    let columns = [
        Column::text("ID", all, |one| (Paint::Plain, one.id.to_string())),
        Column::text("WORKLOAD", all, |one| (Paint::Plain, one.workload.clone())),
        Column::text("STATE", all, |one| (if one.orphans.is_empty() { Paint::Plain } else { Paint::Red }, state(one))),
        Column::text("PRIORITY", all, |one| (Paint::Plain, one.priority.label().to_owned())),
        Column::number("AGE", all, |one| Some(time(one.age_seconds))),
        Column::number("ENDS IN", all, |one| one.ends_in_seconds.map(time)),
        Column::text("OWNER", all, |one| {
            (
                Paint::Plain,
                match &one.owner {
                    None => "another user's".to_owned(),
                    Some(_) if one.state == State::Planned => "nobody yet".to_owned(),
                    Some(found) => owner(found),
                },
            )
        }),
        Column::text("USED OF RESERVED", all, |one| {
            (Paint::Plain, one.resources.iter().map(part).collect::<Vec<_>>().join(", "))
        }),
    ];
    let mut text: String = table(&columns, width).iter().map(|line| line.render(width, colour) + "\n").collect();
    for one in all {
        if let Some(asked) = &one.asked {
            text += &format!(
                "reservation {}: its owner is asked to give it up for claim {}; again in {}\n",
                one.id,
                asked.claim,
                time(asked.again_in_seconds)
            );
        }
        if !one.waits_for.is_empty() {
            let ids = one.waits_for.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
            text += &format!("claim {}: waits until the owners of {ids} give them up, who were asked to\n", one.id);
        }
    }
    for one in all.iter().filter(|one| !one.orphans.is_empty()) {
        for orphan in &one.orphans {
            let bytes = orphan.bytes.map_or_else(|| "memory".to_owned(), collector_core::amount::bytes);
            let cgroup = orphan.cgroup.as_deref().map(|path| format!(" in {path}")).unwrap_or_default();
            let said = format!(
                "reservation {}: its owner is gone, but process {}{cgroup} still holds {bytes} of GPU {}",
                one.id, orphan.pid, orphan.gpu
            );
            text += &(shown(&said).into_owned() + "\n");
        }
    }
    text
}

/// What the configuration reserves ahead, and what became of the next time.
pub fn scheduled(all: &[Scheduled], width: usize, colour: bool) -> String {
    let columns = [
        Column::text("UNIT", all, |one| (Paint::Plain, one.unit.clone())),
        Column::text("USER", all, |one| (Paint::Plain, one.uid.to_string())),
        Column::text("WHEN", all, |one| (Paint::Plain, one.when.clone())),
        Column::text("NEXT", all, |one| {
            (Paint::Plain, one.begins.map(|ns| zone::named(ns, false)).unwrap_or_default())
        }),
        Column::text("STATE", all, |one| match (one.state.as_deref(), one.reservation) {
            (Some("reserved"), Some(id)) => (Paint::Plain, format!("reservation {id}")),
            (Some("later"), _) => (Paint::Plain, "later: it is made a day ahead".to_owned()),
            (Some("over"), _) => (Paint::Plain, "taken up, or given back".to_owned()),
            (Some("refused"), _) => (Paint::Red, "no room for it".to_owned()),
            (state, _) => (Paint::Plain, state.unwrap_or("not looked at yet").to_owned()),
        }),
    ];
    let mut text: String = table(&columns, width).iter().map(|line| line.render(width, colour) + "\n").collect();
    for one in all {
        if let Some(why) = &one.why {
            text += &(shown(&format!("{}: {why}", one.unit)).into_owned() + "\n");
        }
    }
    text
}

fn state(one: &Reservation) -> String {
    let state = match one.state {
        State::Waiting => "waiting",
        State::Planned => return format!("planned, in {}", time(one.begins_in_seconds.unwrap_or(0))),
        State::Starting => "starting",
        State::Settled => "settled",
        State::Ending if one.orphans.is_empty() => "ending",
        State::Ending => "orphaned",
    };
    state.to_owned()
}

fn owner(owner: &Owner) -> String {
    match owner {
        Owner::Process { pid, .. } => format!("pid {pid}"),
        Owner::Cgroup { path } => path.clone(),
    }
}

fn part(part: &Part) -> String {
    let row = Row { resource: part.resource.clone(), of: part.of.clone(), ..Row::default() };
    let amount = amount_of(&row, part.amount);
    match part.used {
        Some(used) => format!("{} {} of {amount}", name(&row), amount_of(&row, used.min(part.amount))),
        None => format!("{} {amount}", name(&row)),
    }
}

fn time(seconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::lease::{AskedFor, Held, Orphan, Priority, Way};

    #[test]
    fn a_verdict_says_what_is_short_who_has_it_and_what_is_not_known() {
        let row = Row {
            resource: "VRAM".into(),
            of: Some("0".into()),
            need: 20 << 30,
            available: Some(15 << 30),
            short: 5 << 30,
            verdict: Decision::No,
            limited_by: None,
            holders: vec![
                Held { workload: "docker/vllm".into(), amount: 60 << 30, kind: HeldKind::Use, id: None },
                Held { workload: "a\x1b[2J".into(), amount: 1 << 30, kind: HeldKind::Reservation, id: Some(7) },
            ],
        };
        let verdict_ = Verdict {
            verdict: Decision::No,
            reason: "it does not fit".into(),
            resources: vec![row],
            room: vec![Way::said("docker/vllm holds 60 GiB of GPU 0")],
            delay_milliseconds: Some(1250),
            not_known: vec!["the weather".into()],
            ..Verdict::default()
        };
        let expected = "no: it does not fit

RESOURCE             NEED  AVAILABLE     SHORT  VERDICT  LIMITED BY
memory of GPU 0  20.0 GiB   15.0 GiB  5.00 GiB  no

Who holds most of memory of GPU 0:
  - docker/vllm 60.0 GiB
  - a\\x1b[2J 1.00 GiB, reservation 7, not used yet

What would make room:
  - docker/vllm holds 60 GiB of GPU 0

Not known:
  - the weather
Suggested delay for work that paces itself: 1s 250ms.
";
        assert_eq!(verdict(&verdict_, 100, false), expected);
    }

    #[test]
    fn a_reservation_says_how_much_of_it_is_used_and_what_is_left_behind() {
        let one = Reservation {
            id: 7,
            state: State::Ending,
            workload: "a".into(),
            uid: Some(7),
            owner: Some(Owner::Process { pid: 4, started: 1 }),
            unit: None,
            priority: Priority::High,
            evictable: true,
            anyone: false,
            asked: Some(AskedFor { claim: 9, wanted: Vec::new(), again_in_seconds: 30, times: 1 }),
            waits_for: Vec::new(),
            resources: vec![
                Part { resource: "host memory".into(), of: None, amount: 2 << 30, used: Some(1 << 30) },
                Part { resource: "slot".into(), of: Some("x".into()), amount: 1, used: None },
            ],
            age_seconds: 61,
            ends_in_seconds: None,
            begins_in_seconds: None,
            idle_seconds: 1,
            orphans: vec![Orphan { pid: 9, cgroup: Some("/a".into()), gpu: "0".into(), bytes: Some(1 << 30) }],
        };
        let text = reservations(&[one], 200, false);
        let expected = "ID  WORKLOAD  STATE     PRIORITY    AGE  ENDS IN  OWNER  USED OF RESERVED
7   a         orphaned  high      1m 1s        –  pid 4  host memory 1.00 GiB of 2.00 GiB, slot x 1 place
reservation 7: its owner is asked to give it up for claim 9; again in 30s
reservation 7: its owner is gone, but process 9 in /a still holds 1.00 GiB of GPU 0
";
        assert_eq!(text, expected);
        assert_eq!(reservations(&[], 100, false), "nothing is reserved\n");
    }
    #[test]
    fn what_the_configuration_reserves_says_when_and_why_not() {
        let of = |unit: &str, state: &str| Scheduled {
            unit: unit.into(),
            uid: 0,
            when: "Mon-Fri at 07:45".into(),
            begins: None,
            state: Some(state.into()),
            reservation: (state == "reserved").then_some(7),
            why: (state == "refused").then(|| "host memory: needs 1.00 TiB".into()),
        };
        let text = scheduled(&[of("chat", "reserved"), of("a\x1b", "refused")], 200, false);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert!(lines[0].starts_with("UNIT") && lines[1].ends_with("reservation 7"), "{text}");
        assert!(lines[2].ends_with("no room for it") && lines[3] == "a\\x1b: host memory: needs 1.00 TiB", "{text}");
    }
}

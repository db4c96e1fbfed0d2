//! Memory that leaks on the page of an incident: how fast, until when it fits, and which process grew.

use super::text::{Paint, Text};
use crate::amount::{bytes, percent, seconds};
use crate::incident::Leak;

pub(super) fn rises(page: &mut Text, leak: &Leak) {
    page.head("Leak");
    let [least, most] = leak.between_bytes_per_hour.map(|pace| bytes(pace.max(0.0) as u64));
    page.paragraph(Paint::Plain, &format!("{} (between {least} and {most})", leak.pace()));
    let left = leak.left().filter(|_| !leak.over).map_or(String::new(), |left| format!("; {left}"));
    page.paragraph(Paint::Plain, &format!("{} of {}{left}", bytes(leak.held_bytes), bytes(leak.of_bytes)));
    let Some(process) = &leak.process else { return };
    let comm = if process.comm.is_empty() { "a process" } else { process.comm.as_str() };
    page.paragraph(
        Paint::Plain,
        &format!(
            "{comm} ({}): {} → {} in {}, {} of all growth",
            process.pid,
            bytes(process.before_bytes),
            bytes(process.now_bytes),
            seconds(process.seconds),
            percent(process.share)
        ),
    );
    if let Some([before, now]) = process.processes {
        page.paragraph(Paint::Dim, &format!("processes: {before} → {now}"));
    }
}

//! What took longer than usual on the page of an incident, and how much there was to do.

use super::text::{Paint, Text};
use crate::amount::{fixed, seconds};
use crate::incident::{Slowdown, duration};

pub(super) fn slower(page: &mut Text, slowdown: &Slowdown) {
    let kind = slowdown.kind.as_deref().map_or(String::new(), |kind| format!(" ({kind})"));
    let model = if slowdown.model.is_empty() { String::new() } else { format!(", model {}", slowdown.model) };
    page.head(&format!("Server {}{kind}{model}", slowdown.server));
    for slower in &slowdown.measures {
        let (now, usual) = (duration(slower.now_seconds), duration(slower.usual_seconds));
        page.paragraph(
            Paint::Plain,
            &format!("{}: {now}, usually {usual}, by {} windows at like load", slower.what(), slower.windows),
        );
    }
    let lasted = seconds(slowdown.until.saturating_sub(slowdown.since) as f64 / 1e9);
    page.paragraph(Paint::Plain, &format!("slower for {lasted}{}", if slowdown.over { "" } else { " so far" }));
    let load = [
        (slowdown.running, "requests running"),
        (slowdown.waiting, "waiting"),
        (slowdown.prompt_tokens, "tokens in a prompt"),
        (slowdown.output_tokens, "tokens in an answer"),
    ];
    let known: Vec<String> = load
        .into_iter()
        .filter_map(|(number, what)| {
            number.map(|number| format!("{} {what}", fixed(number, usize::from(number < 10.0))))
        })
        .collect();
    if !known.is_empty() {
        page.paragraph(Paint::Plain, &format!("on average {}", known.join(", ")));
    }
}

//! The line of the screen that says how degraded the host is. At level 0 there is none.

use super::picture::{Part, Picture};
use crate::cli::level;
use crate::cli::sheet::{Line, Paint};

pub fn degraded(picture: &Picture, _: usize) -> Part {
    let standing = picture.status.level.as_ref().filter(|standing| standing.level != Some(0));
    let lines: Vec<Line> = standing
        .map(|standing| {
            let line = level::after(Line::new(Paint::Dim, "Level   "), standing);
            let reason = standing.reasons.first().map(|reason| format!(": {reason}"));
            line.and(Paint::Plain, reason.unwrap_or_default())
        })
        .into_iter()
        .collect();
    Part { least: lines.len(), lines, order: 0, apart: false }
}

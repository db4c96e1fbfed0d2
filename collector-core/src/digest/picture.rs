//! Pictures as SVG. They stretch with the page; what is written beside them does not.

use std::fmt::Write as _;

use super::block::{Line, Picture, Stroke};

/// The coordinates of a picture, whatever its size on the page.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// At most so many points of a curve: a picture is no wider on paper or on a screen.
const POINTS: usize = 1500;

/// Where a moment is, from the left edge, in hundredths.
pub fn across((from, to): (u64, u64), time: u64) -> f64 {
    time.saturating_sub(from) as f64 / to.saturating_sub(from).max(1) as f64 * 100.0
}

/// `heights`: values at which there is a line across. `what`: what it shows, for those who cannot see it.
pub fn svg(picture: &Picture, heights: &[f64], what: &str) -> String {
    let mut parts = String::new();
    let y = |value: f64| HEIGHT - (value / picture.top.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0) * HEIGHT;
    for height in heights {
        let _ = write!(parts, "<path class=\"grid\" d=\"M0 {0:.1}H{WIDTH}\"/>", y(*height));
    }
    for curve in &picture.curves {
        let class = match curve.stroke {
            Stroke::Solid => "solid",
            Stroke::Thin => "thin",
            Stroke::Dashed => "dashed",
        };
        let thinned = thinned(&curve.line);
        for part in thinned.split(|(_, value)| value.is_none()).filter(|part| !part.is_empty()) {
            let mut path = String::new();
            for (index, (time, value)) in part.iter().enumerate() {
                let x = across(picture.span, *time) * WIDTH / 100.0;
                let _ = write!(path, "{}{x:.1} {:.1}", if index == 0 { 'M' } else { 'L' }, y(value.unwrap_or(0.0)));
            }
            // One point alone is seen too.
            if part.len() == 1 {
                path.push_str("h2");
            }
            let _ = write!(parts, "<path class=\"{class}\" d=\"{path}\"/>");
        }
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{what}\">{parts}</svg>"
    )
}

/// Neighbours are joined if there are too many: the highest of them stays, and so does a gap.
fn thinned(line: &Line) -> Line {
    let size = line.len().div_ceil(POINTS).max(1);
    if size == 1 {
        return line.clone();
    }
    let mut thin = Line::new();
    for part in line.chunks(size) {
        let highest = part.iter().filter(|(_, value)| value.is_some()).copied();
        thin.extend(highest.reduce(|one, other| if other.1 > one.1 { other } else { one }));
        thin.extend(part.iter().find(|(_, value)| value.is_none()));
    }
    thin.sort_by_key(|(time, _)| *time);
    thin
}

#[cfg(test)]
mod tests {
    use super::super::block::Curve;
    use super::*;

    #[test]
    fn a_picture_has_gaps_where_nothing_is_known_and_covers_the_whole_period() {
        let line: Line = vec![(25, Some(1.0)), (50, Some(2.0)), (60, None), (75, Some(4.0)), (80, None)];
        let curves = vec![Curve { name: String::new(), stroke: Stroke::Dashed, line }];
        let drawn = svg(&Picture { span: (0, 100), top: 4.0, curves }, &[2.0], "it");
        assert!(
            drawn.contains(
                "<path class=\"grid\" d=\"M0 50.0H1000\"/><path class=\"dashed\" d=\"M250.0 75.0L500.0 50.0\"/>\
                 <path class=\"dashed\" d=\"M750.0 0.0h2\"/>"
            ),
            "{drawn}"
        );
    }

    #[test]
    fn a_long_curve_keeps_its_peaks_and_gaps() {
        let value = |time: u64| if time == 4321 { Some(9.0) } else { (time != 7000).then_some(1.0) };
        let line: Line = (0..9000).map(|time| (time, value(time))).collect();
        let thin = thinned(&line);
        assert!(thin.len() <= POINTS + 1 && thin.is_sorted_by_key(|(time, _)| *time), "{}", thin.len());
        assert!(thin.contains(&(4321, Some(9.0))) && thin.contains(&(7000, None)));
    }
}

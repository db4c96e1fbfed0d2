//! When a number that grows reaches its limit, with an interval. Knows nothing of what happens then.

use super::fit::Line;

/// In seconds from now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exhaustion {
    /// It is at the limit.
    Now,
    Within {
        /// By the line.
        seconds: f64,
        /// The earliest and the latest that the line's interval allows, nine times in ten; the latest is absent if it may never be.
        earliest: f64,
        latest: Option<f64>,
    },
    /// It does not grow.
    Never,
}

/// When a number at `level`, which grows along `line` (in units an hour), reaches `limit`.
pub fn exhaustion(line: &Line, level: f64, limit: f64) -> Exhaustion {
    let left = limit - level;
    if left <= 0.0 {
        return Exhaustion::Now;
    }
    let seconds = |slope: f64| (slope > 0.0).then(|| left / slope * 3600.0);
    match (seconds(line.slope), seconds(line.between[1])) {
        (Some(middle), Some(earliest)) => {
            Exhaustion::Within { seconds: middle, earliest, latest: seconds(line.between[0]) }
        }
        _ => Exhaustion::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_the_line_is_that_of_the_time() {
        let line = |slope, between| Line { slope, between, origin: 0.0, explains: 1.0 };
        let within = |seconds, earliest, latest| Exhaustion::Within { seconds, earliest, latest };
        let at = |line: Line| exhaustion(&line, 80.0, 100.0);
        assert_eq!(at(line(10.0, [5.0, 20.0])), within(7200.0, 3600.0, Some(14400.0)));
        assert_eq!(at(line(10.0, [-1.0, 20.0])), within(7200.0, 3600.0, None));
        assert_eq!(at(line(0.0, [-1.0, 1.0])), Exhaustion::Never);
        assert_eq!(at(line(-3.0, [-5.0, -1.0])), Exhaustion::Never);
        assert_eq!(exhaustion(&line(1.0, [1.0, 1.0]), 100.0, 100.0), Exhaustion::Now);
    }
}

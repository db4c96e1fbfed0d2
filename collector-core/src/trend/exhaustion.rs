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
        /// The earliest that the line's interval allows: one time in twenty it is sooner.
        earliest: f64,
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
        (Some(seconds), Some(earliest)) => Exhaustion::Within { seconds, earliest },
        _ => Exhaustion::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_the_line_is_that_of_the_time() {
        let line = |slope, between| Line { slope, between, explains: 1.0 };
        let at = |line: Line| exhaustion(&line, 80.0, 100.0);
        let within = Exhaustion::Within { seconds: 7200.0, earliest: 3600.0 };
        assert_eq!((at(line(10.0, [5.0, 20.0])), at(line(10.0, [-1.0, 20.0]))), (within, within));
        assert_eq!(at(line(0.0, [-1.0, 1.0])), Exhaustion::Never);
        assert_eq!(at(line(-3.0, [-5.0, -1.0])), Exhaustion::Never);
        assert_eq!(exhaustion(&line(1.0, [1.0, 1.0]), 100.0, 100.0), Exhaustion::Now);
    }
}

//! How many series are shown: all of them (`full`), or those that are worth their price (`usual`). Each row of the catalogue says
//! what of it is shown at the usual level, and [`Detail::shows`] decides. Rules see everything.

use crate::signal::Need;
use crate::view::coverage::Coverage;

/// The setting `metrics.detail`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    #[default]
    Usual,
    Full,
}

impl Level {
    /// The values of the setting.
    pub const NAMES: [&str; 2] = ["usual", "full"];

    pub fn find(name: &str) -> Option<Level> {
        let levels = [Level::Usual, Level::Full];
        levels.into_iter().zip(Self::NAMES).find(|(_, known)| *known == name).map(|(level, _)| level)
    }
}

/// Which series of a metric are shown at the usual level. A series that was shown stays for as long as what it is about exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// All, from the start: what rules rate, so that the first increase is not lost.
    Always,
    /// Each from the first time on that it is not zero.
    Used,
    /// The same, but none of a workload that was never busy.
    Busy,
    /// None.
    Full,
    /// None where these programs are attached, because another metric says it; else as [`Detail::Busy`].
    Without(Need),
    /// By the value of a label: the first pair that fits. An empty value fits all.
    By(&'static [(&'static str, Detail)]),
}

impl Detail {
    /// What holds for a series with these values of labels.
    pub fn of<'a>(self, labels: impl FnOnce() -> &'a [&'a str]) -> Detail {
        match self {
            Detail::By(parts) => {
                let labels = labels();
                let fits = |value: &str| value.is_empty() || labels.contains(&value);
                parts.iter().find(|(value, _)| fits(value)).map_or(Detail::Always, |(_, detail)| *detail)
            }
            detail => detail,
        }
    }

    /// What holds on a host with these programs.
    pub(super) fn on(self, coverage: &Coverage) -> Detail {
        match self {
            Detail::Without(need) if coverage.sees(need) => Detail::Full,
            Detail::Without(_) => Detail::Busy,
            detail => detail,
        }
    }

    /// Whether a series is shown at the usual level: of a workload that is or was busy, and which is or was not zero.
    pub fn shows(self, busy: bool, used: bool) -> bool {
        match self {
            Detail::Always => true,
            Detail::Used => used,
            Detail::Busy | Detail::Without(_) => busy && used,
            Detail::Full | Detail::By(_) => false,
        }
    }

    /// Whether no series is shown at the usual level.
    pub fn is_full(self) -> bool {
        match self {
            Detail::Full | Detail::Without(_) => true,
            Detail::Always | Detail::Used | Detail::Busy => false,
            Detail::By(parts) => parts.iter().all(|(_, detail)| detail.is_full()),
        }
    }

    /// For the documentation.
    pub(super) fn describe(self) -> String {
        match self {
            Detail::Always => "always".into(),
            Detail::Used => "used".into(),
            Detail::Busy => "busy".into(),
            Detail::Full => "full".into(),
            Detail::Without(need) => {
                let programs: Vec<String> =
                    need.iter().copied().flatten().map(|program| format!("`{program}`")).collect();
                format!("full; busy without {}", programs.join(" or "))
            }
            Detail::By(parts) => {
                let part = |(value, detail): &(&str, Detail)| match value.is_empty() {
                    true => format!("others: {}", detail.describe()),
                    false => format!("`{value}`: {}", detail.describe()),
                };
                parts.iter().map(part).collect::<Vec<_>>().join("; ")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::METRICS;

    #[test]
    fn what_is_shown_stays() {
        // Neither flag goes back, so neither does what follows from them.
        for detail in [Detail::Always, Detail::Used, Detail::Busy, Detail::Full] {
            for (busy, used) in [(false, false), (false, true), (true, false)] {
                assert!(!detail.shows(busy, used) || detail.shows(true, true), "{detail:?}");
                assert!(!detail.shows(busy, false) || detail.shows(busy, true), "{detail:?}");
                assert!(!detail.shows(false, used) || detail.shows(true, used), "{detail:?}");
            }
        }
    }

    #[test]
    fn a_part_is_found_by_the_value_of_its_label() {
        let detail = Detail::By(&[("memory", Detail::Always), ("cpu", Detail::Full), ("", Detail::Busy)]);
        let of = |value| detail.of(|| std::slice::from_ref(value));
        assert_eq!([of(&"memory"), of(&"cpu"), of(&"io")], [Detail::Always, Detail::Full, Detail::Busy]);
        assert!(!detail.is_full());
        assert_eq!(detail.describe(), "`memory`: always; `cpu`: full; others: busy");
        assert_eq!(Detail::Used.of(|| &["memory"]), Detail::Used);
    }

    #[test]
    fn every_part_names_a_value_and_what_is_left() {
        for metric in METRICS {
            let Detail::By(parts) = metric.detail else { continue };
            let (last, named) = parts.split_last().unwrap();
            assert!(last.0.is_empty() && named.iter().all(|(value, _)| !value.is_empty()), "{}", metric.name);
            let nested = |detail: &Detail| matches!(detail, Detail::By(_) | Detail::Without(_));
            assert!(!parts.iter().any(|(_, detail)| nested(detail)), "{}", metric.name);
        }
    }

    #[test]
    fn levels_are_found_by_name() {
        let found = Level::NAMES.map(Level::find);
        assert_eq!(found, [Some(Level::Usual), Some(Level::Full)]);
        assert_eq!(Level::find("all"), None);
    }
}

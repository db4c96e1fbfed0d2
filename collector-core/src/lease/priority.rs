//! How much a piece of work matters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// From what can wait for days to what must not wait. In JSON a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Priority {
    Background = 0,
    Low = 1,
    #[default]
    Normal = 2,
    High = 3,
    Critical = 4,
}

impl Priority {
    /// In the order of their numbers.
    pub const ALL: [Priority; 5] =
        [Priority::Background, Priority::Low, Priority::Normal, Priority::High, Priority::Critical];

    pub fn label(self) -> &'static str {
        ["background", "low", "normal", "high", "critical"][self as usize]
    }

    /// The one with this number, or the highest.
    pub fn at_most_critical(number: u64) -> Priority {
        let last = Priority::ALL.len() - 1;
        Priority::ALL[usize::try_from(number).unwrap_or(last).min(last)]
    }
}

impl TryFrom<u8> for Priority {
    type Error = String;

    fn try_from(number: u8) -> Result<Priority, String> {
        let found = Priority::ALL.get(usize::from(number));
        found.copied().ok_or_else(|| format!("a priority is a number from 0 to 4, not {number}"))
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> u8 {
        priority as u8
    }
}

impl FromStr for Priority {
    type Err = String;

    /// By name or by number.
    fn from_str(text: &str) -> Result<Priority, String> {
        let named = |priority: &&Priority| {
            priority.label() == text.to_ascii_lowercase() || u8::from(**priority).to_string() == text
        };
        let found = Priority::ALL.iter().find(named).copied();
        found.ok_or_else(|| format!("{text:?} is no priority: background, low, normal, high, critical, or 0 to 4"))
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_has_a_name_and_a_number_and_there_are_no_others() {
        for (number, priority) in Priority::ALL.into_iter().enumerate() {
            assert_eq!(priority.label().parse(), Ok(priority));
            assert_eq!(number.to_string().parse(), Ok(priority));
            assert_eq!(serde_json::to_string(&priority).unwrap(), number.to_string());
        }
        assert!("5".parse::<Priority>().is_err() && "".parse::<Priority>().is_err());
        for json in ["5", "-1", "\"high\"", "2.0", "999999999999999999999"] {
            assert!(serde_json::from_str::<Priority>(json).is_err(), "{json}");
        }
        assert_eq!(Priority::at_most_critical(u64::MAX), Priority::Critical);
    }
}

//! How a report writes counts, times and names.

use super::Count;
use crate::amount;
pub use crate::amount::duration;

/// Stands for a number that is not known.
pub const UNKNOWN: &str = "\u{2013}";

pub fn plural(count: u64, one: &str) -> String {
    let end = match count {
        1 => "",
        _ if one.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {one}{end}")
}

pub fn sum(counts: &[Count]) -> u64 {
    counts.iter().map(|count| count.count).sum()
}

pub fn shown(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or(UNKNOWN.to_owned(), show)
}

pub fn bytes(value: f64) -> String {
    amount::bytes(value as u64)
}

pub fn cpus(value: f64) -> String {
    format!("{value:.2}")
}

/// The first ones with their numbers, and how many more there are.
pub fn some(names: &[(String, u64)], most: usize) -> String {
    let mut listed: Vec<String> = names.iter().take(most).map(|(name, count)| format!("{name} ({count})")).collect();
    if names.len() > most {
        listed.push(format!("and {} more", names.len() - most));
    }
    listed.join(", ")
}

/// Markdown without its marks: the text of a link, and what is in backquotes.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((name, after)) = link.split_once("](") else { break };
        let Some((_, after)) = after.split_once(')') else { break };
        plain.push_str(before);
        plain.push_str(name);
        rest = after;
    }
    plain.push_str(rest);
    plain.replace('`', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_and_lists_an_end() {
        let times = [0.0, 90.0, 119.0 * 60.0, 7200.0, 12_000.0, 86_400.0 * 2.0, 86_400.0 * 3.5].map(duration);
        assert_eq!(times, ["0 s", "90 s", "119 min", "2 h", "3 h 20 min", "2 d", "3 d 12 h"]);
        let names = [("a".to_owned(), 3), ("b".to_owned(), 1), ("c".to_owned(), 1)];
        assert_eq!((some(&names, 3), some(&names, 1)), ("a (3), b (1), c (1)".into(), "a (3), and 2 more".into()));
        assert_eq!(plain("See [a.md](a.md#b): `x`, [y]."), "See a.md: x, [y].");
        assert_eq!((plural(1, "alert"), plural(0, "alert")), ("1 alert".into(), "0 alerts".into()));
        assert_eq!((plural(1, "process"), plural(2, "process")), ("1 process".into(), "2 processes".into()));
    }
}

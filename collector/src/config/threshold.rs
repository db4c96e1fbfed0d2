//! Thresholds of rules from the environment: `HEADROOM_RULE_HOST_MEMORY_HIGH_ABOVE=0.8`. Knows which rule a variable means, but does
//! not read the environment.

use collector_core::rule::raw::Raw;
use collector_core::rule::{Condition, Rules, Side};
use collector_core::spelling::closest;

use super::entry::Entry;
use super::error::{Error, Place};
use super::profile::over;
use super::value::Value;

const BEGIN: &str = "HEADROOM_RULE_";
const END: &str = "_ABOVE";

/// Whether this variable sets a threshold.
pub fn is_threshold(variable: &str) -> bool {
    name(variable).is_some()
}

fn name(variable: &str) -> Option<&str> {
    variable.strip_prefix(BEGIN)?.strip_suffix(END).filter(|name| !name.is_empty())
}

/// Lower case without underscores: `HostMemoryHigh` and `HOST_MEMORY_HIGH` are the same rule.
fn plain(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

/// Sets the threshold of the rule that the variable names.
///
/// # Errors
/// There is no such rule, it is not one with `above`, or the value is not a number.
pub fn set(entries: &mut Vec<Entry<Raw>>, rules: &Rules, variable: &str, value: &str) -> Result<(), Error> {
    let place = Place::Variable(variable.to_owned());
    let error = |text: String| Error { place: place.clone(), key: None, text };
    let wanted = plain(name(variable).unwrap_or_default());
    let known = || rules.0.iter().map(|rule| &*rule.name);
    let mut found = rules.0.iter().filter(|rule| plain(&rule.name) == wanted);
    let Some(rule) = found.next() else {
        let names: Vec<String> = known().map(plain).collect();
        let near = closest(&wanted, names.iter().map(String::as_str)).map(str::to_owned);
        let near = near.and_then(|near| known().find(|name| plain(name) == near));
        let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        return Err(error(format!("there is no such rule{hint} headroom rules lists all")));
    };
    if let Some(other) = found.next() {
        return Err(error(format!("both {} and {} could be meant: set it in the file", rule.name, other.name)));
    }
    match &rule.condition {
        Condition::Threshold(threshold) if threshold.side == Side::Above => {}
        _ => return Err(error(format!("{} has no `above`", rule.name))),
    }
    let above = Value::Text(value).number("a number").map_err(error)?;
    let raw = Raw { alert: rule.name.to_string(), above: Some(above), ..Raw::default() };
    let entry = Entry { value: raw, place: place.clone(), set: vec![("above", place.clone())] };
    match entries.iter_mut().find(|known| known.value.alert == entry.value.alert) {
        Some(known) => over(known, entry),
        None => entries.push(entry),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::rule;

    /// The threshold of the rule after the variable was set.
    fn threshold(alert: &str, variable: &str, value: &str) -> Result<(f64, Option<f64>), String> {
        let mut entries = Vec::new();
        set(&mut entries, &rule::rules(&[]).unwrap(), variable, value).map_err(|error| error.to_string())?;
        assert_eq!(entries[0].place("above").to_string(), variable);
        let rules = rule::rules(&entries).unwrap();
        match &rules.find(alert).unwrap().1.condition {
            Condition::Threshold(threshold) => Ok((threshold.threshold, threshold.clear)),
            Condition::Event(_) => panic!("{alert}"),
        }
    }

    #[test]
    fn both_spellings_set_the_threshold_and_drop_the_old_clear() {
        for variable in ["HEADROOM_RULE_HOST_MEMORY_HIGH_ABOVE", "HEADROOM_RULE_HOSTMEMORYHIGH_ABOVE"] {
            assert_eq!(threshold("HostMemoryHigh", variable, "0.8"), Ok((0.8, None)));
        }
    }

    #[test]
    fn what_cannot_be_set_is_an_error_with_its_variable() {
        for (variable, value, wanted) in [
            ("HEADROOM_RULE_HOST_MEMORY_HIHG_ABOVE", "0.8", "there is no such rule; did you mean HostMemoryHigh?"),
            ("HEADROOM_RULE_HOST_MEMORY_HIGH_ABOVE", "high", "\"high\" is not a number"),
            ("HEADROOM_RULE_HOST_MEMORY_HIGH_ABOVE", "nan", "\"nan\" is not a number"),
            ("HEADROOM_RULE_OOM_KILL_ABOVE", "1", "OomKill has no `above`"),
            ("HEADROOM_RULE_HOST_MEMORY_AVAILABLE_LOW_ABOVE", "1", "HostMemoryAvailableLow has no `above`"),
        ] {
            let error = threshold("HostMemoryHigh", variable, value).unwrap_err();
            assert!(error.starts_with(&format!("{variable}: {wanted}")), "{error}");
        }
        assert!(!is_threshold("HEADROOM_RULE__ABOVE") && !is_threshold("HEADROOM_RULES_X_ABOVE"));
    }
}

//! `[[rule]]` tables → the rules, merged with the default ones, and their export for Prometheus. Every accepted rule is
//! exported; every error names the rule and the reason.

#![no_main]

use collector_core::rule::document::condition;
use collector_core::rule::{Rules, export, raw};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(own) = raw::read(text) else { return };
    match Rules::new(&own) {
        Ok(rules) => {
            assert!(own.iter().all(|raw| rules.find(&raw.alert).is_some()), "{own:?}");
            assert!(rules.0.iter().all(|rule| !condition(rule).is_empty()), "{own:?}");
            drop(export::export(&rules));
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                assert!(!error.text.is_empty() && error.rule.is_some_and(|rule| rule < own.len()), "{error:?}");
                assert!(error.earlier.is_none_or(|earlier| Some(earlier) < error.rule), "{error:?}");
            }
        }
    }
});

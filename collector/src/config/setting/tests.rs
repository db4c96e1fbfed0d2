//! That every setting is declared right.

use super::*;
use crate::config::raw::Raw;
use crate::config::table::TABLES;
use crate::config::{Config, file};
use serde_json::Value;
use std::path::Path;

/// A value that is no default, as text and as TOML.
fn another(kind: &Kind) -> (String, String) {
    let (text, quoted) = match kind {
        Kind::Address(_) => ("[::1]:1", true),
        Kind::Duration(..) => ("3s", true),
        Kind::Path(_) | Kind::OptionalPath(_) => ("/elsewhere", true),
        Kind::Integer(..) | Kind::Count(..) => ("7", false),
        Kind::Ring(..) => ("8192", false),
        Kind::Switch(_) => ("true", false),
        Kind::Choice(_, words) => (words[words.len() - 1], true),
        Kind::Patterns(_) => return ("/a b/*, c".into(), r#"["/a b/*", "c"]"#.into()),
        Kind::Text(_) => ("some text", true),
        other @ (Kind::Secret(_)
        | Kind::OptionalChoice(..)
        | Kind::Number(_)
        | Kind::OptionalDuration(..)
        | Kind::OptionalSwitch(_)
        | Kind::Texts(_)) => panic!("{other:?} is for tables"),
        Kind::Probes(_) => return ("fault, block_rq_issue".into(), r#"["fault", "block_rq_issue"]"#.into()),
    };
    (text.into(), if quoted { format!("{text:?}") } else { text.into() })
}

/// That nothing but the setting's own field differs from the defaults.
fn assert_only(setting: &Setting, config: &Config) {
    let pointer = format!("/{}", setting.key.replace('.', "/"));
    let mut defaults = serde_json::to_value(Config::default()).unwrap();
    let config = serde_json::to_value(config).unwrap();
    assert_ne!(defaults.pointer(&pointer), config.pointer(&pointer), "{} was not set", setting.key);
    *defaults.pointer_mut(&pointer).unwrap() = config.pointer(&pointer).unwrap().clone();
    assert_eq!(defaults, config, "{} sets another field", setting.key);
}

#[test]
fn every_setting_arrives_from_text_and_from_a_file() {
    for setting in SETTINGS {
        let (text, toml) = another(&setting.kind);
        let mut config = Config::default();
        setting.kind.set(&mut config, Raw::Text(&text)).unwrap();
        assert_only(setting, &config);
        assert_eq!(setting.kind.show(&config), Some(toml.clone()), "{}", setting.key);

        let mut config = Config::default();
        let (set, errors) = file::apply(Path::new("a.toml"), &format!("{} = {toml}", setting.key), &mut config);
        assert_eq!(errors, []);
        assert_eq!(set.len(), 1);
        assert_only(setting, &config);
    }
}

#[test]
fn every_field_has_a_setting() {
    fn walk(prefix: &str, value: &Value) {
        for (name, value) in value.as_object().unwrap_or_else(|| panic!("no setting for {prefix}")) {
            let key = format!("{prefix}{name}");
            if find(&key).is_none() && TABLES.iter().all(|table| table.name() != key) {
                walk(&format!("{key}."), value);
            }
        }
    }
    walk("", &serde_json::to_value(Config::default()).unwrap());
}

#[test]
fn keys_differ_and_sections_are_in_one_piece() {
    for (i, setting) in SETTINGS.iter().enumerate() {
        assert!(SETTINGS[..i].iter().all(|other| other.key != setting.key), "{}", setting.key);
        assert!(SETTINGS[..i].iter().all(|other| other.variable() != setting.variable()), "{}", setting.key);
        let section = setting.section().0;
        let first = SETTINGS.iter().position(|other| other.section().0 == section).unwrap();
        assert!(SETTINGS[first..i].iter().all(|other| other.section().0 == section), "{}", setting.key);
    }
    assert_eq!(SETTINGS[0].section().0, None, "keys of no section come first");
}

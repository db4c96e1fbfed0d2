//! Checks that every setting is declared correctly.

use super::*;
use crate::config::catalogue::TABLES;
use crate::config::file;
use crate::config::section::Config;
use crate::config::value::Value;
use serde_json::Value as Json;
use std::path::Path;
use toml::de::DeValue;

/// A valid value other than the default, as text and as TOML.
fn another(kind: &Kind<Config>) -> (String, String) {
    let (text, quoted) = match kind {
        Kind::Address(_) => ("[::1]:1", true),
        Kind::Duration(..) => ("3s", true),
        Kind::Path(_) | Kind::OptionalPath(_) => ("/elsewhere", true),
        Kind::Integer(..) | Kind::Count(..) => ("7", false),
        Kind::Ring(..) => ("8192", false),
        Kind::Share(..) => ("0.5", false),
        Kind::Size(_) => ("3G", true),
        Kind::Mounts(_) => return ("/a b, /c".into(), r#"["/a b", "/c"]"#.into()),
        Kind::Switch(of) => (if *of(&mut Config::default()) { "false" } else { "true" }, false),
        Kind::Choice(_, words) => (words[words.len() - 1], true),
        Kind::Patterns(_) => return ("/a b/*, c".into(), r#"["/a b/*", "c"]"#.into()),
        Kind::Names(_) => return ("a b, c".into(), r#"["a b", "c"]"#.into()),
        Kind::Slots(_) => return ("a, b=2".into(), r#"["a", "b=2"]"#.into()),
        Kind::Text(_) | Kind::OptionalText(_) => ("some text", true),
        other @ (Kind::Secret(_)
        | Kind::Url(_)
        | Kind::OptionalChoice(..)
        | Kind::Number(_)
        | Kind::OptionalDuration(..)
        | Kind::OptionalSwitch(_)
        | Kind::Texts(_)) => panic!("{other:?} is for tables"),
        Kind::Probes(_) => return ("fault, block_rq_issue".into(), r#"["fault", "block_rq_issue"]"#.into()),
    };
    (text.into(), if quoted { format!("{text:?}") } else { text.into() })
}

/// Asserts that only the setting's own field differs from the defaults.
fn assert_only(setting: &Setting, config: &Config) {
    let pointer = format!("/{}", setting.key.replace('.', "/"));
    let mut defaults = serde_json::to_value(Config::default()).unwrap();
    let config = serde_json::to_value(config).unwrap();
    assert_ne!(defaults.pointer(&pointer), config.pointer(&pointer), "{} was not set", setting.key);
    *defaults.pointer_mut(&pointer).unwrap() = config.pointer(&pointer).unwrap().clone();
    assert_eq!(defaults, config, "{} sets another field", setting.key);
}

#[test]
fn every_setting_can_be_set_from_text_and_from_a_file() {
    for setting in SETTINGS {
        let (text, toml) = another(&setting.kind);
        let mut config = Config::default();
        setting.kind.set(&mut config, Value::Text(&text)).unwrap();
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
    fn walk(prefix: &str, value: &Json) {
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
fn keys_are_unique_and_sections_contiguous() {
    for (i, setting) in SETTINGS.iter().enumerate() {
        assert!(SETTINGS[..i].iter().all(|other| other.key != setting.key), "{}", setting.key);
        assert!(SETTINGS[..i].iter().all(|other| other.variable() != setting.variable()), "{}", setting.key);
        let section = setting.section().0;
        let first = SETTINGS.iter().position(|other| other.section().0 == section).unwrap();
        assert!(SETTINGS[first..i].iter().all(|other| other.section().0 == section), "{}", setting.key);
    }
    assert_eq!(SETTINGS[0].section().0, None, "keys of no section come first");
}

fn rejection(key: &str, value: Value<'_>) -> String {
    let mut config = Config::default();
    let rejection = find(key).unwrap().kind.set(&mut config, value).expect_err(key);
    assert_eq!(config, Config::default(), "{key} was rejected but set");
    rejection
}

#[test]
fn an_invalid_value_is_rejected_with_a_description_of_valid_ones() {
    for (key, text, wanted) in [
        ("listen", "9843", "\"9843\" is not an IP address and a port, such as 127.0.0.1:9843"),
        ("listen", "127.0.0.1:65536", "\"127.0.0.1:65536\" is not an IP"),
        ("listen", "localhost:9843", "\"localhost:9843\" is not an IP"),
        ("tick", "", "\"\" is not a duration from \"10ms\" to \"1m\""),
        ("tick", "0s", "\"0s\" is not a duration"),
        ("tick", "61s", "\"61s\" is not a duration"),
        ("tick", "-1s", "\"-1s\" is not a duration"),
        ("tick", "soon", "\"soon\" is not a duration"),
        ("tick", "99999999999999999999y", "is not a duration"),
        ("lock", "", "\"\" is not a path"),
        ("oom_score_adj", "-1001", "\"-1001\" is not an integer from -1000 to 1000"),
        ("level.memory_limit", "0", "\"0\" is not a number from 0.01 to 1"),
        ("level.memory_limit", "90", "\"90\" is not a number from 0.01 to 1"),
        ("level.filesystems", "/a,b", "\"b\" is not an absolute path"),
        ("need.memory", "16Q", "\"16Q\" is not a size, such as 16G or 512MiB: unknown unit"),
        ("workload.max", "0", "\"0\" is not an integer from 1 to 100000"),
        ("workload.max", "1e3", "\"1e3\" is not an integer"),
        ("metrics.max_series", "-1", "\"-1\" is not an integer"),
        ("kernel.bulk_ring", "4097", "\"4097\" is not a power of two from 4096 to 1073741824"),
        ("kernel.bulk_ring", "2048", "\"2048\" is not a power of two"),
        ("kernel.critical_ring", "4294967296", "\"4294967296\" is not a power of two"),
        ("kernel.debug", "yes", "\"yes\" is not true or false"),
        ("log.level", "wran", "\"wran\" is not error, warn, info, debug or trace; did you mean \"warn\"?"),
        ("log.level", "INFO", "did you mean \"info\"?"),
        ("log.format", "xml", "\"xml\" is not auto, pretty or json"),
        ("disk.exclude", "loop*,,ram*", "\"\" is not a name"),
        ("admission.high_priority", "a,b*", "\"b*\" is not a name: * has no meaning here"),
        ("admission.high_priority", "a,,b", "\"\" is not a name"),
        ("admission.slots", "a,b=x", "\"b=x\" is not a slot: NAME or NAME=PLACES"),
        ("admission.slots", "=1", "\"=1\" is not a slot"),
        ("admission.slots", "a=", "\"a=\" is not a slot"),
        ("admission.slots", "a=-1", "\"a=-1\" is not a slot"),
        ("admission.slots", "train-*", "\"train-*\" is not a name: * has no meaning here"),
        ("admission.slots", "a,a=2", "\"a\" is named twice"),
        ("pressure.memory_window", "11s", "\"11s\" is not a duration from \"500ms\" to \"10s\""),
        ("kernel.disable", "fault,,block", "\"\" is not the name of a signal or a program"),
        ("kernel.disable", "fualt", "\"fualt\" is not the name of a signal or a program; did you mean \"fault\"?"),
    ] {
        let rejection = rejection(key, Value::Text(text));
        assert!(rejection.contains(wanted), "{key}: {rejection}");
    }
}

#[test]
fn a_value_of_another_type_is_rejected() {
    for (key, toml, wanted) in [
        ("tick", "1", "1 is not a duration from \"10ms\" to \"1m\", in quotes"),
        ("lock", "true", "true is not a path, in quotes"),
        ("listen", "{}", "a section is not"),
        ("log.level", "[]", "a list is not"),
        ("workload.max", "\"7\"", "\"7\" is not an integer"),
        ("workload.max", "7.5", "7.5 is not an integer"),
        ("workload.max", "0xffffffffffffffffffff", "is not an integer"),
        ("kernel.debug", "1", "1 is not true or false"),
        ("kernel.disable", "\"fault\"", "\"fault\" is not a list of signals or programs"),
        ("kernel.disable", "[1]", "1 is not a name, in quotes"),
        ("kernel.btf", "1979-05-27", "1979-05-27 is not a path"),
    ] {
        let value = DeValue::parse(toml).unwrap();
        let rejection = rejection(key, Value::Toml(value.get_ref()));
        assert!(rejection.contains(wanted), "{key}: {rejection}");
    }
}

#[test]
fn an_empty_text_clears_a_list_and_an_optional_path() {
    let mut config = Config::default();
    config.kernel.btf = Some("/a".into());
    config.kernel.disable = vec!["fault".into()];
    for key in ["kernel.btf", "kernel.disable"] {
        find(key).unwrap().kind.set(&mut config, Value::Text("")).unwrap();
    }
    assert_eq!(config, Config::default());
}

//! [`TABLES`]: every array of tables; and the checks that span several tables.

use std::collections::BTreeSet;

use collector_core::rule::Rules;

use super::entry::AnyTable;
use super::error::Error;
use super::section::Config;
use super::table::{model, model_server, pool, reservation, rule, sink, store, target};

/// Every array of tables, in the order of the documentation.
pub const TABLES: &[&dyn AnyTable<Config>] = &[
    &rule::RULE,
    &target::TARGET,
    &pool::POOL,
    &reservation::RESERVATION,
    &model::MODEL,
    &model_server::MODEL_SERVER,
    &store::STORE,
    &sink::WEBHOOK,
    &sink::ALERTMANAGER,
    &sink::FILE,
];

/// Checks all tables and returns the rules.
///
/// # Errors
/// All mistakes. Call it only for a configuration that was read without errors; otherwise it reports false ones.
pub fn check(config: &Config) -> Result<Rules, Vec<Error>> {
    let (rules, mut errors) = match rule::rules(&config.rule) {
        Ok(rules) => (rules, Vec::new()),
        Err(errors) => (Rules::default(), errors),
    };
    errors.extend(TABLES.iter().flat_map(|table| table.check(config)));
    let mut names = BTreeSet::new();
    let posts = config.sink.webhook.iter().chain(&config.sink.alertmanager);
    let posts = posts.map(|sink| (sink.value.name(), sink.place("name")));
    let files = config.sink.file.iter().map(|sink| (sink.value.name(), sink.place("name")));
    for (name, place) in posts.chain(files) {
        if !names.insert(name.clone()) {
            let text = format!("{name:?} is used twice: give each receiver its own `name`");
            errors.push(Error { place: place.clone(), key: Some("name".to_owned()), text });
        }
    }
    if errors.is_empty() { Ok(rules) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::apply;
    use crate::config::setting::find;
    use std::path::Path;

    /// The configuration of a text, and all mistakes.
    fn read(text: &str) -> (Config, Vec<String>) {
        let mut config = Config::default();
        let (_, errors) = apply(Path::new("a.toml"), text, &mut config);
        (config, errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn tables_keep_the_file_order_and_the_place_of_each_value() {
        let text = "[[rule]]\nalert = \"B\"\nabove = 1\n\n[[rule]]\nmatch.device = \"x\"\nalert = \"A\"\n[log]\nlevel = \"warn\"\n";
        let (config, errors) = read(text);
        assert_eq!(errors, [""; 0]);
        let names: Vec<_> = config.rule.iter().map(|entry| &*entry.value.alert).collect();
        assert_eq!(names, ["B", "A"]);
        let [b, a] = &config.rule[..] else { panic!() };
        assert_eq!((b.value.above, b.place("above").to_string()), (Some(1.0), "a.toml:3:9".into()));
        assert_eq!(a.value.labels.as_ref().unwrap()["device"], "x");
        assert_eq!(a.place("above"), &a.place);
        assert_eq!(config.log.level, "warn");
    }

    #[test]
    fn each_error_names_line_column_and_key() {
        for (text, wanted) in [
            ("[[rule]]\nabove = 1\n", "a.toml:1:1: rule.alert: is missing"),
            ("[[rule]]\nalert = \"A\"\nabvoe = 1\n", "a.toml:3:1: rule.abvoe: unknown key; did you mean above?"),
            ("[[rule]]\nalert = \"A\"\nabove = \"1\"\n", "a.toml:3:9: rule.above: \"1\" is not a number"),
            ("[[rule]]\nalert = \"A\"\nabove = nan\n", "a.toml:3:9: rule.above: nan is not a number"),
            ("[[rule]]\nalert = \"\"\n", "a.toml:2:9: rule.alert: \"\" is not a non-empty string"),
            ("[[rule]]\nalert = \"A\"\nfor = \"soon\"\n", "a.toml:3:7: rule.for: \"soon\" is not a duration from"),
            ("[[rule]]\nalert = \"A\"\nfor = \"2days\"\n", "a.toml:3:7: rule.for: \"2days\" is not a duration from"),
            ("[[rule]]\nalert = \"A\"\nrate = \"0s\"\n", "a.toml:3:8: rule.rate: \"0s\" is not a duration from"),
            ("[[rule]]\nalert = \"A\"\nseverity = \"warn\"\n", "severity: \"warn\" is not info, warning or critical"),
            ("[[rule]]\nalert = \"A\"\nevent = \"oom_kill\"\n", "rule.event: \"oom_kill\" is not oom, memory_pressure"),
            ("[[rule]]\nalert = \"A\"\nenabled = 1\n", "a.toml:3:11: rule.enabled: 1 is not true or false"),
            ("[[rule]]\nalert = \"A\"\nmatch = \"x\"\n", "a.toml:3:9: rule.match: \"x\" is not a table of strings"),
            ("[[rule]]\nalert = \"A\"\n[rule.match]\ngpu = 1\n", "rule.match: gpu: 1 is not a string, in quotes"),
            ("[rule]\nalert = \"A\"\n", "a.toml:1:2: rule: is an array of tables: write [[rule]], then its keys"),
            ("rule = [1]", "a.toml:1:9: rule: 1 is not a table [[rule]]"),
            ("[[rules]]\nalert = \"A\"\n", "a.toml:1:3: rules: unknown array of tables; did you mean [[rule]]?"),
            ("[log]\n[[log.rule]]\nalert = \"A\"\n", "a.toml:2:7: log.rule: unknown array of tables"),
        ] {
            let (config, errors) = read(text);
            assert!(errors.len() == 1 && errors[0].contains(wanted), "{text:?}: {errors:#?}");
            assert_eq!(config, Config::default(), "{text:?} was rejected but applied");
        }
    }

    #[test]
    fn the_shown_text_parses_to_the_same_configuration() {
        // An empty table removes the labels of a built-in rule: it differs from no table.
        let (config, errors) = read(&format!("{}[[rule]]\nalert = \"GpuHot\"\nmatch = {{}}\n", rule::RULE.example));
        assert_eq!(errors, [""; 0]);
        let text: String = TABLES.iter().map(|table| table.show(&config)).collect();
        assert_eq!(read(&text).0, config, "{text}");
        assert!(text.contains("above = 0.92 ") && text.contains("# a.toml:3:9\n"), "{text}");
    }

    #[test]
    fn names_are_unique_and_not_settings() {
        for (index, table) in TABLES.iter().enumerate() {
            assert!(TABLES[..index].iter().all(|other| other.name() != table.name()));
            assert!(find(table.name()).is_none(), "{}", table.name());
            assert!(table.doc().ends_with('.'), "{}", table.name());
            for (index, column) in table.columns().iter().enumerate() {
                assert!(table.columns()[..index].iter().all(|other| other.name != column.name), "{}", column.name);
                assert!(column.doc.ends_with('.') && !column.doc.contains('|'), "{}", column.name);
            }
        }
    }
}

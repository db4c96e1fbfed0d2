//! The page's types of answers, compared with the API's description of itself and with answers. It need not read everything.

use std::collections::BTreeMap;
use std::fs;

use collector_core::api::gpus::GpuLine;
use collector_core::api::openapi;
use collector_core::api::report::Report;
use collector_core::api::suggestions::Suggestions;
use collector_core::api::window::{History, Recent};
use collector_core::api::workloads::{Detail, Line};
use collector_core::incident::Cause;
use serde_json::{Value, json};

use crate::tidy::root;

/// An interface: its fields with their types, and whether they may be absent.
type Fields = BTreeMap<String, (String, bool)>;

/// What the page declares: interfaces, and names for a choice of words.
fn declared() -> (BTreeMap<String, Fields>, BTreeMap<String, String>) {
    let read = |file: &str| fs::read_to_string(root().join("web/src").join(file)).unwrap();
    let text = ["type.ts", "evidence.ts", "served.ts", "suggestion.ts"].map(read).concat();
    let (mut interfaces, mut choices) = (BTreeMap::<String, Fields>::new(), BTreeMap::new());
    let mut open = String::new();
    let is_other = |line: &str| line.is_empty() || line.starts_with("//") || line.starts_with("import type ");
    for line in text.lines().filter(|line| !is_other(line)) {
        if let Some(choice) = line.strip_prefix("export type ") {
            let (name, words) = choice.trim_end_matches(';').split_once(" = ").unwrap();
            choices.insert(name.to_owned(), words.to_owned());
        } else if let Some(head) = line.strip_prefix("export interface ") {
            let head = head.trim_end_matches(" {");
            let (name, base) = head.split_once(" extends ").unwrap_or((head, ""));
            open = name.to_owned();
            interfaces.insert(open.clone(), interfaces.get(base).cloned().unwrap_or_default());
        } else if let Some(field) = line.strip_prefix("  ") {
            let (name, of) = field.trim_end_matches(';').split_once(": ").unwrap();
            let fields = interfaces.get_mut(&open).unwrap();
            fields.insert(name.trim_end_matches('?').to_owned(), (of.to_owned(), name.ends_with('?')));
        } else {
            assert_eq!(line, "}", "no test reads this line");
        }
    }
    (interfaces, choices)
}

/// The type of a schema, as the page would write it.
fn written(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str() {
        return name.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words.iter().map(ToString::to_string).collect();
        return words.join(" | ");
    }
    if let Some(one) = schema["oneOf"].as_array() {
        return one.iter().find(|of| of["type"] != "null").map(written).unwrap();
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let item = |of: &Value| match of["type"].as_array() {
        Some(_) => format!("({} | null)[]", written(of)),
        None => format!("{}[]", written(of)),
    };
    match kinds[..] {
        ["integer" | "number"] => "number".to_owned(),
        ["array"] => item(&schema["items"]),
        ["object"] => match &schema["additionalProperties"] {
            Value::Null => "Record<string, unknown>".to_owned(),
            of => format!("Record<string, {}>", written(of)),
        },
        [kind] => kind.to_owned(),
        _ => panic!("{schema}"),
    }
}

/// The properties of a schema and of those that it contains.
fn properties<'s>(schemas: &'s Value, schema: &'s Value) -> BTreeMap<&'s str, &'s Value> {
    // Of a choice between objects each property may be absent.
    let parts = ["allOf", "oneOf"].into_iter().flat_map(|of| schema[of].as_array().into_iter().flatten());
    let resolve = |part: &'s Value| match part["$ref"].as_str() {
        Some(path) => &schemas[path.rsplit('/').next().unwrap()],
        None => part,
    };
    let own = schema["properties"].as_object().into_iter().flatten().map(|(name, of)| (name.as_str(), of));
    parts.flat_map(|part| properties(schemas, resolve(part))).chain(own).collect()
}

fn is_nullable(schema: &Value) -> bool {
    let among = |of: &Value| of.as_array().is_some_and(|of| of.iter().any(|it| it == "null" || it["type"] == "null"));
    among(&schema["type"]) || among(&schema["oneOf"])
}

#[test]
fn the_page_reads_what_the_api_says_it_answers() {
    let document: Value = serde_json::from_slice(openapi::json()).unwrap();
    let schemas = &document["components"]["schemas"];
    let (interfaces, choices) = declared();
    assert!(interfaces.len() > 20);
    for (name, words) in choices.iter().filter(|(name, _)| *name != "Lines") {
        assert_eq!(&written(&schemas[name]), words, "{name}");
    }
    for (name, fields) in &interfaces {
        let known = properties(schemas, &schemas[name]);
        assert!(!known.is_empty(), "the API has no {name}");
        for (field, (of, optional)) in fields {
            let schema = known.get(field.as_str()).unwrap_or_else(|| panic!("the API has no {name}.{field}"));
            let of = choices.get(of).filter(|_| of == "Lines").unwrap_or(of);
            let mut wanted = written(schema);
            // The names of these two are not worth a type.
            if let ("kind" | "state", Some(words)) = (field.as_str(), schemas[&wanted]["enum"].as_array()) {
                wanted = if of == "string" { "string".to_owned() } else { written(&json!({"enum": words})) };
            }
            assert_eq!(of, &wanted, "{name}.{field}");
            assert!(*optional || !is_nullable(schema), "{name}.{field} may be null");
        }
    }
}

/// A field that is left out where it is empty is not there to be read.
#[test]
fn what_the_page_takes_for_granted_is_in_empty_answers_too() {
    let (interfaces, _) = declared();
    let of = |name: &str, answer: Value| {
        let missing = interfaces[name].iter().filter(|(field, (_, optional))| !optional && answer.get(field).is_none());
        let missing: Vec<_> = missing.map(|(field, _)| field).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} may be absent");
    };
    of("Report", serde_json::to_value(Report::default()).unwrap());
    of("Line", serde_json::to_value(Line::default()).unwrap());
    of("GpuLine", serde_json::to_value(GpuLine::default()).unwrap());
    of("Detail", serde_json::to_value(Detail::default()).unwrap());
    of("History", serde_json::to_value(History::default()).unwrap());
    of("Recent", serde_json::to_value(Recent::default()).unwrap());
    of("Cause", serde_json::to_value(Cause::default()).unwrap());
    of("Suggestions", serde_json::to_value(Suggestions::default()).unwrap());
}

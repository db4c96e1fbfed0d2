//! The API's description in OpenAPI 3.1, from its reads and the types of their answers.

use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use super::change::{CHANGES, Change};
use super::parameter::Parameter;
use super::problem::Problem;
use super::read::{ROOT, ROUTES, Route};
use super::schema::{Answer, Schemas, schema};

/// The types of all answers.
pub fn schemas() -> Schemas {
    let mut schemas = Schemas::default();
    schema::<Problem>(&mut schemas);
    for route in ROUTES {
        route.answer.name(&mut schemas);
    }
    for change in CHANGES {
        (change.answer)(&mut schemas);
        change.body.map(|body| body(&mut schemas));
    }
    schemas
}

/// The description as JSON, built once.
pub fn json() -> &'static [u8] {
    static JSON: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&describe()).unwrap_or_default());
    &JSON
}

fn describe() -> Value {
    let mut schemas = schemas();
    let mut paths: Map<String, Value> = ROUTES
        .iter()
        .flat_map(|route| [Some(route.path), route.alias].into_iter().flatten().map(move |path| (route, path)))
        .map(|(route, path)| (format!("{ROOT}{path}"), item(route, path, &mut schemas)))
        .collect();
    for change in CHANGES {
        let item = paths.entry(format!("{ROOT}{}", change.path)).or_insert_with(|| json!({}));
        item[change.method.to_lowercase()] = operation(change, &mut schemas);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Headroom",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "How much headroom a host has, who is eating it, and what it cost them. \
                Times are nanoseconds since the Unix epoch. What is not known is absent or null.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": schemas.0},
    })
}

fn item(route: &Route, path: &str, schemas: &mut Schemas) -> Value {
    let content = match (route.answer, route.answer.name(schemas)) {
        (Answer::Events, _) => json!({"text/event-stream": {"schema": {"type": "string"}}}),
        (Answer::Text, _) => json!({"text/plain": {"schema": {"type": "string"}}}),
        (_, None) => json!({"application/json": {"schema": {"type": "object"}}}),
        (_, Some(name)) => json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}}),
    };
    let operation = |method: &str, answer: Value| {
        let mut responses = Map::from_iter([("200".to_owned(), answer)]);
        if !route.parameters.is_empty() {
            responses.insert("400".to_owned(), problem("A parameter is unknown, or out of its bounds."));
            responses.insert("404".to_owned(), problem("There is nothing of this name."));
        }
        responses.insert("default".to_owned(), problem("It is not answered; `detail` says why."));
        json!({
            "operationId": format!("{method}_{}", path.replace(['/', '-'], "_").replace(['{', '}'], "")),
            "summary": route.help,
            "parameters": parameters(route),
            "responses": responses,
        })
    };
    json!({
        "get": operation("get", json!({"description": route.help, "content": content})),
        "head": operation("head", json!({"description": "The head of that answer."})),
    })
}

/// A request that changes something.
fn operation(change: &Change, schemas: &mut Schemas) -> Value {
    let json_of =
        |name: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
    let answer = json_of(&(change.answer)(schemas));
    let success = json!({"description": change.help, "content": answer});
    let mut responses = Map::from_iter([(change.status.to_string(), success)]);
    responses.insert("400".to_owned(), problem("The body is not what it should be."));
    responses.extend(change.problems.iter().map(|(status, says)| (status.to_string(), problem(says))));
    responses.insert("default".to_owned(), problem("It is not answered; `detail` says why."));
    let id = json!([{"name": "id", "in": "path", "required": true, "description": "The number of the lease.",
        "schema": {"type": "integer", "minimum": 0}}]);
    let mut operation = json!({
        "operationId": format!("{}_{}", change.method.to_lowercase(), change.path.replace('/', "_").replace(['{', '}'], "")),
        "summary": change.help,
        "description": "On the socket alone: the kernel says who asks.",
        "parameters": if change.path.contains("{id}") { id } else { json!([]) },
        "responses": responses,
    });
    if let Some(body) = change.body {
        operation["requestBody"] = json!({"required": true, "content": json_of(&body(schemas))});
    }
    operation
}

fn problem(description: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    json!({"description": description, "content": {"application/problem+json": {"schema": schema}}})
}

fn parameters(route: &Route) -> Vec<Value> {
    let describe = |Parameter { name, values, help }: &Parameter| {
        let in_path = route.path.contains(&format!("{{{name}}}"));
        json!({
            "name": name,
            "in": if in_path { "path" } else { "query" },
            "required": in_path,
            "description": help,
            "schema": values.schema(),
        })
    };
    route.parameters.iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reference in a value.
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_read_is_described_and_every_type_is_there() {
        let description: Value = serde_json::from_slice(json()).unwrap();
        for route in ROUTES {
            for path in [Some(route.path), route.alias].into_iter().flatten() {
                let item = &description["paths"][format!("{ROOT}{path}")];
                assert_eq!(item["get"]["parameters"].as_array().unwrap().len(), route.parameters.len(), "{path}");
            }
        }
        let mut found = Vec::new();
        references(&description, &mut found);
        assert!(found.len() > 50, "{}", found.len());
        for reference in found {
            let name = reference.strip_prefix("#/components/schemas/").unwrap();
            assert!(description["components"]["schemas"][name].is_object(), "{reference}");
        }
    }

    #[test]
    fn no_two_types_have_one_name() {
        let all = schemas().0;
        for route in ROUTES {
            let mut own = Schemas::default();
            route.answer.name(&mut own);
            for (name, schema) in own.0 {
                assert_eq!(all[&name], schema, "{name}");
            }
        }
    }
}

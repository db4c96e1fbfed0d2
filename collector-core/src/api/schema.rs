//! The types of answers as JSON schemas.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// What a read answers with.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// JSON of this type.
    Type(Type),
    /// Any JSON object.
    Object,
    /// A page of text.
    Text,
    /// Events without end.
    Events,
}

/// The name of a type, after adding it and all that it contains.
pub type Type = fn(&mut Schemas) -> Cow<'static, str>;

impl Answer {
    /// The name of the type, if it has one, after adding it and all that it contains.
    pub fn name(self, schemas: &mut Schemas) -> Option<Cow<'static, str>> {
        match self {
            Answer::Type(schema) => Some(schema(schemas)),
            Answer::Object | Answer::Text | Answer::Events => None,
        }
    }
}

/// Types by name.
#[derive(Debug, Default)]
pub struct Schemas(pub BTreeMap<String, Value>);

/// The [`Type`] of `T`.
pub fn schema<T: ToSchema>(schemas: &mut Schemas) -> Cow<'static, str> {
    let name = T::name();
    let mut all = vec![(name.to_string(), T::schema())];
    T::schemas(&mut all);
    // Types without floats that are not numbers: it cannot fail.
    schemas.0.extend(all.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())));
    name
}

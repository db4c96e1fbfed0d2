//! `/info` of text-generation-inference and of text-embeddings-inference: the model, which their metrics do not name.

use std::sync::Arc;

use serde::Deserialize;

use super::lenient::Text;
use super::read;
use crate::model::name;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Raw {
    model_id: Text,
}

pub fn model(body: &[u8]) -> Option<Arc<str>> {
    let Raw { model_id } = read(body)?;
    model_id.0.map(|model| name::base(&model)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_named() {
        assert_eq!(model(br#"{"model_id":"bigscience/bloom","max_total_tokens":2048}"#).as_deref(), Some("bloom"));
        assert_eq!((model(b"{}"), model(b"\"\""), model(br#"{"model_id":"/"}"#)), (None, None, None));
    }
}

//! The manifests for autoscalers that docs/scaling.md has, as text.

use std::fs;
use std::path::Path;

/// Each block of YAML, in the order of the page.
pub fn manifests() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scaling.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = page.split("\n```yaml\n").skip(1);
    blocks.map(|block| block.split_once("\n```\n").unwrap().0.to_owned() + "\n").collect()
}

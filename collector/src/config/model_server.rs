//! [`ModelServer`]: a model server that cannot be found, as the file has it.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::SecretUrl;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelServer {
    /// Where it is asked.
    pub url: SecretUrl,
    /// Which program it is; absent: it is recognised by its answers.
    pub kind: Option<String>,
    /// A file with the token that it asks for.
    pub token_file: Option<PathBuf>,
    /// The workload that it belongs to; empty: that of the process that listens, if it is found.
    pub workload: String,
    /// After so long without a request it sleeps.
    pub sleep: Option<Duration>,
}

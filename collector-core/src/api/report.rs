//! Everything of the host at one moment: the answer of `/api/v1/report`.

use serde::{Deserialize, Serialize};

use super::status::Status;
use super::workloads::{Line, Summary};
use crate::view::View;

/// The status, and what is too much for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    #[serde(flatten)]
    pub status: Status,
    /// Sorted by name.
    pub workloads: Vec<Line>,
}

impl Report {
    pub fn of(view: &View) -> Report {
        let Summary { workloads, .. } = Summary::of(view);
        Report { status: Status::of(view), workloads }
    }
}

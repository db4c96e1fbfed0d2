//! Everything of the host at one moment: the answer of `/api/v1/report`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::Status;
use super::window::Recent;
use super::workloads::{Line, Summary};
use crate::audit::Audited;
use crate::view::View;

/// The status, and what is too much for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Report {
    #[serde(flatten)]
    pub status: Status,
    /// Mean and maximum of the last five minutes; `null` before anything is kept.
    #[serde(default)]
    pub recent: Option<Recent>,
    /// When the numbers of workloads were last read, as in the answer of `workloads`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u64>,
    /// Sorted by name.
    pub workloads: Vec<Line>,
    /// Whether what isolates workloads acts, as in the answer of `coverage`.
    #[serde(default)]
    pub isolation: Vec<Audited>,
}

impl Report {
    pub fn of(view: &View) -> Report {
        let Summary { workloads, measured, .. } = Summary::of(view);
        let isolation = view.audit.checks.to_vec();
        Report { status: Status::of(view), recent: Recent::of(view), measured, workloads, isolation }
    }
}

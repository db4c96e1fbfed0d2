//! The evidence of a lost GPU.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A lost GPU, from its last reading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LostGpu {
    pub gpu: String,
    pub uuid: String,
    pub model: String,
    pub driver: String,
    /// Errors (XIDs) that it reported recently, oldest first.
    pub xids: Vec<u64>,
    /// GPUs lost in the same second, including this one.
    pub lost: u64,
    /// GPUs that are left.
    pub left: u64,
    /// Error of the GPU source, if it fails now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Degrees Celsius.
    pub temperature: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Watts.
    pub power: Option<f64>,
    /// Uncorrected memory errors in its lifetime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u64>,
    /// Workloads that held its memory, largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// A workload that held memory of a GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = LostGpuHolder)]
pub struct Holder {
    pub workload: String,
    /// Absent if the driver does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

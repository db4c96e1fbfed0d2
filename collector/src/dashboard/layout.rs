//! The layout of the Grafana dashboards, `layout.toml`: which panels there are, in which rows. Knows neither Grafana's format nor
//! what a metric is.

use std::collections::BTreeMap;

use serde::Deserialize;

const LAYOUT: &str = include_str!("layout.toml");

/// Parses the layout.
///
/// # Errors
/// The file has a mistake; a test shows it before anybody else.
pub fn layout() -> Result<Layout, toml::de::Error> {
    toml::from_str(LAYOUT)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub dashboard: Vec<Dashboard>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dashboard {
    /// Part of the file's name and of the `uid`.
    pub name: String,
    pub title: String,
    pub about: String,
    /// Labels that one chooses values of at the top, besides the instance.
    #[serde(default)]
    pub variables: Vec<String>,
    /// Families with these prefixes that no dashboard shows have panels in a closed row at the end of this one.
    pub rest: Vec<String>,
    pub row: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub title: String,
    pub panels: Vec<Panel>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Panel {
    /// The family that gives unit, description, thresholds and, without `query` and `queries`, the query.
    pub metric: String,
    /// By default made from the metric's name.
    pub title: Option<String>,
    #[serde(default, rename = "as")]
    pub form: Form,
    /// In Grafana's 24 columns; 8 by default.
    pub width: Option<usize>,
    /// Grafana's unit, where it is not that of the metric or its rate.
    pub unit: Option<String>,
    /// Label matchers for the usual query.
    #[serde(default, rename = "match")]
    pub matches: BTreeMap<String, String>,
    /// PromQL instead of the usual query. Every selector with braces is limited to what the dashboard's variables choose.
    pub query: Option<String>,
    pub legend: Option<String>,
    /// Several queries, each with its legend.
    #[serde(default)]
    pub queries: Vec<[String; 2]>,
    /// Orange from this value on, where no rule gives a threshold.
    pub warning: Option<f64>,
    /// Red from this value on, where no rule gives a threshold.
    pub critical: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// Lines over time.
    #[default]
    Graph,
    /// Areas on top of each other.
    Stack,
    /// Single events over time.
    Points,
    /// One number.
    Stat,
    /// A bar for each series, as of now.
    Bars,
    /// A line for each series, as of now.
    Table,
}

impl Form {
    /// Whether it shows the present alone, and no time.
    pub fn is_instant(self) -> bool {
        matches!(self, Form::Stat | Form::Bars | Form::Table)
    }
}

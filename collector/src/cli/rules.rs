//! `headroom rules`: the rules that are evaluated on this host, as its configuration makes them.

use clap::ValueEnum;
use serde::Serialize;

use super::settings::Settings;
use crate::exit::Failure;
use crate::rule::document::condition;
use crate::rule::export::export;
use crate::rule::{Rule, Rules};

/// Show the rules that alerts come from
///
/// The rules that come with the agent, as the configuration changes them and adds to them. Needs no agent and no
/// privileges.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  All rules and their conditions:
    headroom rules
  The same rules for Prometheus:
    headroom rules --format prometheus > /etc/prometheus/rules/headroom.yml
  Which rules the configuration has touched, for a script:
    headroom rules --json | jq '.rules[] | select(.origin != \"default\") | .alert'
")]
pub struct RulesArgs {
    /// The output format: a table, json, or alerting rules for Prometheus
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line each.
    Table,
    /// One object.
    Json,
    /// A file with a group of alerting rules.
    Prometheus,
}

/// Prints the rules.
pub fn run(args: &RulesArgs, rules: &Rules) -> Result<(), Failure> {
    super::print(&match args.format {
        _ if args.json => json(rules)?,
        Format::Json => json(rules)?,
        Format::Table => table(rules),
        Format::Prometheus => export(rules),
    })
}

/// A line a rule, the most urgent first.
fn table(rules: &Rules) -> String {
    let mut sorted: Vec<&Rule> = rules.0.iter().collect();
    sorted.sort_by_key(|rule| (!rule.enabled, std::cmp::Reverse(rule.severity)));
    let width = sorted.iter().map(|rule| rule.name.len()).max().unwrap_or_default();
    let mut text = format!("{:<width$}  {:<8}  {:<7}  CONDITION\n", "ALERT", "SEVERITY", "ORIGIN");
    for rule in sorted {
        let severity = if rule.enabled { rule.severity.label() } else { "off" };
        let condition = condition(rule).replace('`', "");
        text += &format!("{:<width$}  {severity:<8}  {:<7}  {condition}\n", rule.name, rule.origin.name());
    }
    text
}

fn json(rules: &Rules) -> anyhow::Result<String> {
    let shown = rules.0.iter().map(|rule| Shown {
        alert: &rule.name,
        enabled: rule.enabled,
        origin: rule.origin.name(),
        severity: rule.severity.label(),
        condition: condition(rule).replace('`', ""),
        summary: rule.summary.to_string(),
        action: rule.action.to_string(),
    });
    Ok(serde_json::to_string_pretty(&Page { rules: shown.collect() })? + "\n")
}

#[derive(Serialize)]
struct Page<'a> {
    rules: Vec<Shown<'a>>,
}

#[derive(Serialize)]
struct Shown<'a> {
    alert: &'a str,
    enabled: bool,
    origin: &'static str,
    severity: &'static str,
    condition: String,
    summary: String,
    action: String,
}

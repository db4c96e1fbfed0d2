//! `headroom rules`: the alert rules of this host, as the configuration defines them.

use clap::ValueEnum;
use collector_core::rule::document::condition;
use collector_core::rule::export::export;
use collector_core::rule::{Rule, Rules};
use serde::Serialize;

use super::settings::Settings;
use crate::exit::Failure;

/// List alert rules with severity and condition
///
/// The built-in rules, with the changes and additions of the configuration file ([[rule]]). Needs no running agent and
/// no privileges.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  List all rules and their conditions:
    headroom rules
  Export the rules for Prometheus:
    headroom rules --format prometheus > /etc/prometheus/rules/headroom.yml
  List the rules that the configuration changed or added, for a script:
    headroom rules --json | jq '.rules[] | select(.origin != \"default\") | .alert'
")]
pub struct RulesArgs {
    /// Output format
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = Format::Table)]
    pub format: Format,
    /// Same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line for each rule
    Table,
    /// One JSON object
    Json,
    /// A Prometheus rule file with one group of alerting rules
    Prometheus,
}

pub fn run(args: &RulesArgs, rules: &Rules) -> Result<(), Failure> {
    super::print(&match args.format {
        _ if args.json => json(rules)?,
        Format::Json => json(rules)?,
        Format::Table => table(rules),
        Format::Prometheus => export(rules),
    })
}

/// One line for each rule, the most severe first, disabled rules last.
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

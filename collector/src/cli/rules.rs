//! `headroom rules`: the alert rules of this host, as the configuration defines them, and the runbook of one.

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use collector_core::rule::document::condition;
use collector_core::rule::export::export;
use collector_core::rule::runbook::{page, runbooks};
use collector_core::rule::{Rule, Rules};
use collector_core::spelling::closest;
use serde::Serialize;

use super::settings::Settings;
use super::terminal::{colour, width};
use crate::exit::{Exit, Failure};

/// List alert rules with severity and condition, or print the runbook of one
///
/// The built-in rules, with the changes and additions of the configuration file ([[rule]]). With the name of an alert: what it
/// says, why it matters, how to check, what to do. Needs no running agent and no privileges.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  List all rules and their conditions:
    headroom rules
  An alert has fired: why it matters, how to check, and what to do:
    headroom rules WorkloadMemoryNearLimit
  Export the rules for Prometheus:
    headroom rules --format prometheus > /etc/prometheus/rules/headroom.yml
  List the rules that the configuration changed or added, for a script:
    headroom rules --json | jq '.rules[] | select(.origin != \"default\") | .alert'
")]
pub struct RulesArgs {
    /// Print the runbook of this alert
    #[arg(value_name = "ALERT", conflicts_with_all = ["format", "json"])]
    pub alert: Option<String>,
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
    if let Some(alert) = &args.alert {
        return super::print(&manual(alert, rules)?);
    }
    super::print(&match args.format {
        _ if args.json => json(rules)?,
        Format::Json => json(rules)?,
        Format::Table => table(rules),
        Format::Prometheus => export(rules),
    })
}

/// The runbook of a rule, whatever the case of its name.
fn manual(alert: &str, rules: &Rules) -> Result<String, Failure> {
    let names: Vec<String> = rules.0.iter().map(|rule| rule.name.to_lowercase()).collect();
    let find = |name: &str| Some(&rules.0[names.iter().position(|known| *known == name.to_lowercase())?]);
    let rule = find(alert).ok_or_else(|| {
        let near = closest(alert, names.iter().map(String::as_str)).and_then(find);
        let hint = near.map_or(String::new(), |near| format!("did you mean {}? ", near.name));
        let failure = Failure::new(Exit::Usage, anyhow!("there is no rule {alert:?}"));
        failure.hint(hint + "headroom rules lists all")
    })?;
    let runbooks = runbooks().context("read the built-in runbooks")?;
    Ok(page(rule, runbooks.get(&*rule.name), width(), colour()))
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

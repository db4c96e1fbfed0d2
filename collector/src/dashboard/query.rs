//! Queries of panels: the usual ones of a metric, and those of the layout, limited to what the dashboard's variables choose.

use std::collections::BTreeMap;

use collector_core::metric::row::{Kind, Metric, WORKLOAD};

/// Variables that limit a query: the label, and the matcher.
const CHOSEN: [(&str, &str); 3] =
    [("workload", "workload=~\"$workload\""), ("gpu", "gpu=~\"$gpu\""), ("server", "server=~\"$server\"")];
const INSTANCE: &str = "instance=~\"$instance\"";

/// A query and its legend.
pub type Query = (String, String);

/// The usual queries of a metric.
pub fn usual(metric: &Metric, matches: &BTreeMap<String, String>, variables: &[String]) -> Vec<Query> {
    let name = metric.name;
    let wanted = matches.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect::<Vec<_>>().join(",");
    let chosen = matchers(metric, &wanted, variables);
    let shown = |label: &&str| !matches.contains_key(*label);
    let legend: Vec<String> = legend(metric).filter(shown).map(|label| format!("{{{{{label}}}}}")).collect();
    let legend = legend.join(" ");
    // A panel with a thousand workloads is unreadable.
    let largest = |query: String| if about_workloads(metric) { format!("topk($top, {query})") } else { query };
    match metric.kind {
        Kind::Counter => vec![(largest(format!("rate({name}{{{chosen}}}[$__rate_interval])")), legend)],
        Kind::Gauge => vec![(largest(format!("{name}{{{chosen}}}")), legend)],
        Kind::Info => vec![(format!("{name}{{{chosen}}}"), legend)],
        Kind::Histogram => {
            let by: Vec<&str> = self::legend(metric).filter(shown).chain(["le"]).collect();
            let by = by.join(", ");
            let quantile = |share: f64| {
                let buckets = format!("sum by ({by}) (rate({name}_bucket{{{chosen}}}[$__rate_interval]))");
                (largest(format!("histogram_quantile({share}, {buckets})")), format!("{legend} p{:.0}", share * 100.0))
            };
            vec![quantile(0.5), quantile(0.99)]
        }
    }
}

/// A query of the layout, in which each selector is limited to what the variables choose.
///
/// # Errors
/// The name in front of a selector that is no metric.
pub fn limited(
    query: &str,
    variables: &[String],
    find: impl Fn(&str) -> Option<&'static Metric>,
) -> Result<String, String> {
    let mut limited = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once('{') {
        let name = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        let metric = find(name).ok_or_else(|| format!("{name:?} in {query:?} is no metric"))?;
        let (own, behind) = after.split_once('}').ok_or_else(|| format!("a brace is not closed in {query:?}"))?;
        limited += &format!("{before}{{{}}}", matchers(metric, own, variables));
        rest = behind;
    }
    Ok(limited + rest)
}

/// The labels in a panel's legend.
pub fn legend(metric: &Metric) -> impl Iterator<Item = &'static str> {
    // A workload's name includes namespace, pod and container; a GPU's index is shorter than its UUID.
    let shown = |label: &&str| !["namespace", "pod", "container", "uuid"].contains(label);
    std::iter::once("instance").chain(metric.labels.iter().copied().filter(shown))
}

pub fn about_workloads(metric: &Metric) -> bool {
    metric.labels.starts_with(&WORKLOAD)
}

fn matchers(metric: &Metric, own: &str, variables: &[String]) -> String {
    let has = |label: &str| metric.labels.contains(&label) && variables.iter().any(|variable| variable == label);
    let chosen = CHOSEN.iter().filter(|(label, _)| has(label)).map(|(_, matcher)| *matcher);
    let own = Some(own).filter(|own| !own.is_empty());
    std::iter::once(INSTANCE).chain(chosen).chain(own).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::metric::METRICS;

    fn of(name: &str) -> Option<&'static Metric> {
        METRICS.iter().find(|metric| metric.name == name)
    }

    #[test]
    fn queries_fit_the_kind_of_metric() {
        let query = |name| usual(of(name).unwrap(), &BTreeMap::new(), &["workload".to_owned()]).swap_remove(0);
        let (expr, legend) = query("headroom_workload_page_faults_total");
        let wanted = "topk($top, rate(headroom_workload_page_faults_total\
                      {instance=~\"$instance\",workload=~\"$workload\"}[$__rate_interval]))";
        assert_eq!((expr.as_str(), legend.as_str()), (wanted, "{{instance}} {{workload}} {{mode}} {{access}}"));
        assert_eq!(
            query("headroom_host_memory_used_ratio").0,
            "headroom_host_memory_used_ratio{instance=~\"$instance\"}"
        );
        let (expr, _) = query("headroom_block_io_service_seconds");
        assert_eq!(
            expr,
            "histogram_quantile(0.5, sum by (instance, device, operation, le) \
             (rate(headroom_block_io_service_seconds_bucket{instance=~\"$instance\"}[$__rate_interval])))"
        );
    }

    #[test]
    fn a_label_that_is_matched_is_not_in_the_legend() {
        let matches = BTreeMap::from([("resource".to_owned(), "memory".to_owned())]);
        let metric = of("headroom_workload_pressure_waiting_seconds_total").unwrap();
        let (query, legend) = usual(metric, &matches, &[]).swap_remove(0);
        assert_eq!(legend, "{{instance}} {{workload}}");
        assert!(query.contains("{instance=~\"$instance\",resource=\"memory\"}"), "{query}");
    }

    #[test]
    fn each_selector_is_limited_to_what_the_variables_choose() {
        let query =
            "headroom_gpu_throttle{} > 0 and on (instance) headroom_workload_cpu_seconds_total{workload!=\"/\"}";
        assert_eq!(
            limited(query, &["workload".to_owned(), "gpu".to_owned()], of).unwrap(),
            "headroom_gpu_throttle{instance=~\"$instance\",gpu=~\"$gpu\"} > 0 and on (instance) \
             headroom_workload_cpu_seconds_total{instance=~\"$instance\",workload=~\"$workload\",workload!=\"/\"}"
        );
        assert_eq!(limited("up{}", &[], of).unwrap_err(), "\"up\" in \"up{}\" is no metric");
    }
}

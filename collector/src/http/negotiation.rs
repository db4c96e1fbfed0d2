//! Content negotiation: `Accept` and `Accept-Encoding` (RFC 9110, section 12). Pure.
//!
//! A client that accepts neither format still gets text: more useful for a browser, or a scraper with an odd header, than a
//! 406.

use axum::http::header::{ACCEPT, ACCEPT_ENCODING};
use axum::http::{HeaderMap, HeaderName};

use crate::exposition::Format;

/// The format of the response.
pub fn format(headers: &HeaderMap) -> Format {
    let open_metrics = wanted(headers, ("application", "openmetrics-text"), "1.0.0");
    let text = wanted(headers, ("text", "plain"), "0.0.4");
    // A wildcard gets text, which people and older scrapers can read.
    let named = open_metrics.specificity == Specificity::Name;
    let best = open_metrics.quality > text.quality || (open_metrics.quality == text.quality && named);
    if open_metrics.quality > 0 && best { Format::OpenMetrics } else { Format::Text }
}

/// Whether the client accepts gzip.
pub fn gzip(headers: &HeaderMap) -> bool {
    let quality = |name: &str| choices(headers, ACCEPT_ENCODING).find(|choice| choice.is(name)).map(|it| it.quality);
    quality("gzip").or_else(|| quality("*")).is_some_and(|quality| quality > 0)
}

/// How specific a media range is; the most specific one decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    #[default]
    Nothing,
    Anything,
    Kind,
    Name,
}

/// The client's preference for a media type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    specificity: Specificity,
    quality: u16,
}

fn wanted(headers: &HeaderMap, (kind, subtype): (&str, &str), version: &str) -> Wanted {
    choices(headers, ACCEPT)
        .filter_map(|choice| {
            let (range_kind, range_subtype) = choice.name.split_once('/')?;
            let specificity = match (range_kind.eq_ignore_ascii_case(kind), range_subtype) {
                (true, subtype_) if subtype_.eq_ignore_ascii_case(subtype) => Specificity::Name,
                (true, "*") => Specificity::Kind,
                (false, "*") if range_kind == "*" => Specificity::Anything,
                _ => return None,
            };
            let versioned = choice.version.is_none_or(|asked| asked == version);
            versioned.then_some(Wanted { specificity, quality: choice.quality })
        })
        .max()
        .unwrap_or_default()
}

/// One element of a list header, with the quality in thousandths.
struct Choice<'a> {
    name: &'a str,
    version: Option<&'a str>,
    quality: u16,
}

impl Choice<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

fn choices(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = Choice<'_>> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(choice)
}

/// `None` for an invalid element, which is ignored.
fn choice(element: &str) -> Option<Choice<'_>> {
    let mut parts = element.split(';').map(str::trim);
    let mut choice = Choice { name: parts.next().filter(|name| !name.is_empty())?, version: None, quality: 1000 };
    for (key, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        let value = value.trim().trim_matches('"');
        if key.trim().eq_ignore_ascii_case("q") {
            let quality = value.parse::<f32>().ok().filter(|quality| (0.0..=1.0).contains(quality))?;
            choice.quality = (quality * 1000.0).round() as u16;
        } else if key.trim().eq_ignore_ascii_case("version") {
            choice.version = Some(value);
        }
    }
    Some(choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_preferred_format_is_chosen() {
        use Format::{OpenMetrics, Text};
        for (accept, expected) in [
            // Prometheus 2, Prometheus 3, and Prometheus 3 with native histograms.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
                 application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;q=0.3,*/*;q=0.2",
                OpenMetrics,
            ),
            ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("*/*", Text),
            ("", Text),
            ("application/json", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text; Version=\"1.0.0\"", OpenMetrics),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;version=2.0.0", Text),
            ("application/openmetrics-text, text/plain", OpenMetrics),
            ("application/openmetrics-text;q=0.3, text/plain;q=0.7", Text),
            ("text/plain;q=0.3, application/openmetrics-text;q=0.7", OpenMetrics),
            // The most specific range decides, regardless of quality and order.
            ("*/*;q=0.9, application/openmetrics-text;q=0.1", Text),
            ("*/*, application/openmetrics-text;q=0", Text),
            ("*/*, text/plain;q=0", OpenMetrics),
            ("application/*", OpenMetrics),
            ("application/*, text/*", Text),
            // Invalid elements are ignored.
            ("application/openmetrics-text;q=NaN", Text),
            ("application/openmetrics-text;q=1.1", Text),
            ("application/openmetrics-text;q=-1", Text),
            ("application/openmetrics-text;q=", Text),
            (";;==,,,/;q=2,application/openmetrics-text;x;=;q=1", OpenMetrics),
        ] {
            assert_eq!(format(&headers(ACCEPT, accept)), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Text);
    }

    #[test]
    fn a_list_may_span_headers() {
        let mut headers = headers(ACCEPT, "text/plain;q=0.5");
        headers.append(ACCEPT, "application/openmetrics-text".parse().unwrap());
        assert_eq!(format(&headers), Format::OpenMetrics);
    }

    #[test]
    fn gzip_is_used_where_it_is_accepted() {
        for (accepted, expected) in [
            ("gzip", true),
            ("deflate, GZip;q=0.5", true),
            ("*", true),
            ("gzip;q=0, *", false),
            ("gzip;q=0", false),
            ("*;q=0", false),
            ("identity", false),
            ("br, gzipped", false),
            ("", false),
        ] {
            assert_eq!(gzip(&headers(ACCEPT_ENCODING, accepted)), expected, "{accepted}");
        }
        assert!(!gzip(&HeaderMap::new()));
    }
}

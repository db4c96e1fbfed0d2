//! A parser of OpenMetrics, strict enough for the tests. Knows nothing of the agent's own types.

use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub struct Exposition {
    /// As received.
    pub text: String,
    /// Every sample: name, labels, value.
    pub samples: Vec<(String, Labels, f64)>,
}

impl Exposition {
    /// Panics on anything that is not OpenMetrics.
    pub fn parse(text: &str) -> Exposition {
        assert!(text.ends_with("# EOF\n"), "no EOF: {}", &text[text.len().saturating_sub(200)..]);
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        Exposition { text: text.to_owned(), samples }
    }

    /// Values of all samples with this name and at least these labels.
    pub fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let wanted = |sample: &&(String, Labels, f64)| {
            sample.0 == name && labels.iter().all(|(key, value)| sample.1.get(*key).is_some_and(|have| have == value))
        };
        self.samples.iter().filter(wanted).map(|sample| sample.2).collect()
    }

    /// Their sum; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).iter().sum()
    }

    /// What was lost at this stage.
    pub fn lost(&self, stage: &str) -> f64 {
        self.sum("headroom_lost_total", &[("stage", stage)])
    }

    /// Whether there are any.
    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        !self.values(name, labels).is_empty()
    }
}

fn sample(line: &str) -> (String, Labels, f64) {
    let (name, mut rest) = match line.split_once('{') {
        Some((name, rest)) if !name.contains(' ') => (name, rest),
        _ => {
            let (name, value) = line.split_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
            return (name.to_owned(), Labels::new(), number(value, line));
        }
    };
    let mut labels = Labels::new();
    while let Some((key, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next() {
                Some((_, '\\')) => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, character)) => value.push(character),
                    None => panic!("unfinished label: {line}"),
                },
                Some((end, '"')) => break end,
                Some((_, character)) => value.push(character),
                None => panic!("unfinished label: {line}"),
            }
        };
        assert!(labels.insert(key.trim_start_matches(',').to_owned(), value).is_none(), "label twice: {line}");
        rest = &after[end + 1..];
        if rest.starts_with('}') {
            break;
        }
    }
    let value = rest.strip_prefix("} ").unwrap_or_else(|| panic!("no value: {line}"));
    (name.to_owned(), labels, number(value, line))
}

fn number(value: &str, line: &str) -> f64 {
    let value = value.split(' ').next().unwrap_or_default();
    value.parse().unwrap_or_else(|_| panic!("not a number: {line}"))
}

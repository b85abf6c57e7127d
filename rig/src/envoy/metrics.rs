//! Metrics in the Prometheus text format.
//!
//! In: the text of `/stats/prometheus`. Out: samples, with lookup by name and labels. Not here:
//! types, help texts, timestamps (Envoy writes none).

/// All samples of one reading.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The samples in Envoy's order.
    pub samples: Vec<Sample>,
}

/// One line: a name, labels and a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name.
    pub name: String,
    /// Its labels, unescaped.
    pub labels: Vec<(String, String)>,
    /// Its value.
    pub value: f64,
}

impl Metrics {
    /// Parses `text`.
    ///
    /// # Panics
    ///
    /// If a line is neither a comment nor a sample.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples =
            lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a Prometheus sample: {line}")));
        Self { samples: samples.collect() }
    }

    /// Returns the samples that the filter writes.
    pub fn of_filter(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.name.starts_with("tollgate_"))
    }

    /// Returns the samples of this name that have all these labels.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let named = self.samples.iter().filter(move |sample| sample.name == name);
        named.filter(|sample| labels.iter().all(|(key, value)| sample.label(key) == Some(value)))
    }

    /// Returns their sum, 0 if there is none: Envoy omits a counter before its first increment.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// Returns the value of the only matching sample, if there is exactly one.
    #[must_use]
    pub fn only(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut matching = self.matching(name, labels);
        matching.next().filter(|_| matching.next().is_none()).map(|sample| sample.value)
    }
}

impl Sample {
    /// Returns the value of label `key`.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == key).map(|(_, value)| value.as_str())
    }
}

fn sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            rest = rest.trim_start_matches(',');
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let (key, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((key.to_owned(), value));
            rest = after;
        }
    }
    Some(Sample { name: name.to_owned(), labels, value: rest.trim().parse().ok()? })
}

/// Returns a label's value up to its closing quote, unescaped, and the rest of the text.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE calls counter
calls{} 3
tokens{tier="free",model="a\"b,}=\\c"} 10
tokens{tier="free",model="d"} 5
tokens{tier="pro",model="d"} 1
time_bucket{le="+Inf"} 7
"#;

    #[test]
    fn samples_are_found_by_name_and_any_of_their_labels() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.only("calls", &[]), Some(3.0));
        assert_eq!(metrics.sum("tokens", &[("tier", "free")]), 15.0);
        assert_eq!(metrics.only("tokens", &[("tier", "free")]), None);
        assert_eq!(metrics.only("tokens", &[("model", "a\"b,}=\\c")]), Some(10.0));
        assert_eq!(metrics.sum("absent", &[]), 0.0);
    }
}

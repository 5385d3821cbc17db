//! The filter's logging object without what no two runs share.

use std::collections::BTreeMap;

/// What the filter tells an access log, in both forms that Envoy has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `rh:n:0,bs:n,br:n,os:0,ds:scenario`
    pub text: String,
    /// By Envoy's names.
    pub fields: BTreeMap<String, String>,
}

impl Logging {
    /// With `n` in place of measured times and of numbers of bytes that are not zero, and one name for every destination.
    #[must_use]
    pub fn normalised(text: &str, fields: impl IntoIterator<Item = (String, String)>) -> Self {
        let parts = text.split(',').map(|part| {
            let fields: Vec<&str> = part.split(':').collect();
            match fields[..] {
                [name @ ("rh" | "rt" | "sh" | "st"), _, status] => format!("{name}:n:{status}"),
                [name @ ("rb" | "sb"), count, _, status] => format!("{name}:{count}:n:{status}"),
                // Whether there are any is among the fields.
                [name @ ("bs" | "br"), _] => format!("{name}:n"),
                ["ds", name] if !name.is_empty() => "ds:scenario".to_owned(),
                _ => part.to_owned(),
            }
        });
        let fields = fields.into_iter().map(|(name, value)| {
            let varies = name.ends_with("_latency_us") || name.starts_with("bytes_") && value != "0";
            let value = match name.as_str() {
                _ if varies => "n".to_owned(),
                "destination" if !value.is_empty() => "scenario".to_owned(),
                _ => value,
            };
            (name, value)
        });
        Self { text: parts.collect::<Vec<_>>().join(","), fields: fields.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::Logging;

    #[test]
    fn times_bytes_and_names() {
        for (text, expected) in [
            ("rh:512:0,rb:2:77:4,bs:133,br:0,os:0,ds:cluster_a", "rh:n:0,rb:2:n:4,bs:n,br:n,os:0,ds:scenario"),
            ("bs:0,br:0,os:14,ds:", "bs:n,br:n,os:14,ds:"),
        ] {
            assert_eq!(Logging::normalised(text, []).text, expected);
        }
        for (name, value, expected) in [
            ("bytes_sent", "0", "0"),
            ("bytes_sent", "7", "n"),
            ("request_body_max_latency_us", "0", "n"),
            ("request_body_call_count", "2", "2"),
            ("destination", "x", "scenario"),
            ("destination", "", ""),
        ] {
            let logging = Logging::normalised("", [(name.to_owned(), value.to_owned())]);
            assert_eq!(logging.fields[name], expected, "{name} {value}");
        }
    }
}

//! The filter's logging object without what no two runs share.

use std::collections::BTreeMap;

use extproc_core::LoggingInfo;
use extproc_core::logging::{BodyCalls, Call};

/// What the filter tells an access log, in both forms that Envoy has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// `rh:n:0,bs:n,br:n,os:0,ds:scenario`
    pub text: String,
    /// By Envoy's names.
    pub fields: BTreeMap<String, String>,
}

impl Logging {
    /// What our own filter tells.
    #[must_use]
    pub fn of(info: &LoggingInfo) -> Self {
        let mut fields = Vec::new();
        let mut put = |name: String, value: String| fields.push((name, value));
        for (direction, of) in [("request", &info.request), ("response", &info.response)] {
            let calls = [("header", of.headers), ("trailer", of.trailers)];
            for (part, Call { latency, status }) in calls.into_iter().filter_map(|(part, call)| Some((part, call?))) {
                put(format!("{direction}_{part}_latency_us"), latency.as_micros().to_string());
                put(format!("{direction}_{part}_call_status"), status.to_string());
            }
            if let Some(BodyCalls { count, total_latency, max_latency, last_status }) = of.body {
                put(format!("{direction}_body_call_count"), count.to_string());
                put(format!("{direction}_body_total_latency_us"), total_latency.as_micros().to_string());
                put(format!("{direction}_body_max_latency_us"), max_latency.as_micros().to_string());
                put(format!("{direction}_body_last_call_status"), last_status.to_string());
            }
            for (part, effect) in
                [("header", of.headers_effect), ("body", of.body_effect), ("trailer", of.trailers_effect)]
            {
                put(format!("{direction}_{part}_processing_effect"), (effect as u8).to_string());
            }
        }
        put("bytes_sent".to_owned(), info.bytes_sent.to_string());
        put("bytes_received".to_owned(), info.bytes_received.to_string());
        put("failed_open".to_owned(), info.failed_open.to_string());
        put("received_immediate_response".to_owned(), info.received_immediate_response.to_string());
        put("grpc_status_before_first_call".to_owned(), info.grpc_status_before_first_call.to_string());
        put("destination".to_owned(), info.destination.as_deref().unwrap_or_default().to_owned());
        Self::normalised(&info.to_string(), fields)
    }

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

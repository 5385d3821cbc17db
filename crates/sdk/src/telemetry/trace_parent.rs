//! The trace that an exchange belongs to, as its data plane tells it (W3C Trace Context, `traceparent`).

/// What a `traceparent` header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceParent<'a> {
    /// 32 hexadecimal digits.
    pub(crate) trace_id: &'a str,
    /// The span of the data plane, 16 hexadecimal digits.
    pub(crate) parent_id: &'a str,
    /// Whether the data plane records the trace.
    pub(crate) sampled: bool,
}

impl<'a> TraceParent<'a> {
    /// `None` for what is not valid by the specification: it must be ignored then.
    pub(crate) fn parse(header: &'a str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let valid = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace_id, 32)
            && is_hex(parent_id, 16)
            && is_hex(flags, 2)
            && trace_id.bytes().any(|byte| byte != b'0')
            && parent_id.bytes().any(|byte| byte != b'0')
            // Later versions may say more.
            && (version != "00" || parts.next().is_none());
        let sampled = u8::from_str_radix(flags, 16).ok()? & 1 == 1;
        valid.then_some(Self { trace_id, parent_id, sampled })
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn headers() {
        let yes = |sampled| Some(TraceParent { trace_id: TRACE, parent_id: SPAN, sampled });
        for (header, expected) in [
            (format!("00-{TRACE}-{SPAN}-01"), yes(true)),
            (format!(" 00-{TRACE}-{SPAN}-00 "), yes(false)),
            (format!("cc-{TRACE}-{SPAN}-03-what-follows"), yes(true)),
            (format!("00-{TRACE}-{SPAN}-01-more"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00-{TRACE}-{SPAN}"), None),
            (format!("00-{TRACE}-{SPAN}-é"), None),
            (String::new(), None),
        ] {
            assert_eq!(TraceParent::parse(&header), expected, "{header}");
        }
    }
}

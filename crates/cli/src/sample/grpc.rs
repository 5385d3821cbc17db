//! `grpc-rewrite`: changes a text field of gRPC messages, without their schema.

use bytes::{Buf, BufMut, Bytes};
use extproc::{Abort, Messages, MsgIo, Open, Processor, Request, Response, Stop};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Puts a prefix in front of one text field of each message. With generated code it is one line each to decode a
/// message, to change it and to send it; this sample takes messages of any service.
#[derive(Debug)]
pub(crate) struct GrpcRewrite {
    field: u32,
    prefix: String,
    method: Option<String>,
}

impl GrpcRewrite {
    pub(super) const KEYS: &[Key] = &[
        key("field", "NUMBER [default: 1]", "the text field, by its number"),
        key("prefix", "TEXT [default: dear]", "what goes in front, with a space behind it"),
        key("method", "SERVICE/METHOD [default: all]", "the calls whose messages change"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let field = settings.get("field")?.unwrap_or(1);
        if !(1..1 << 29).contains(&field) {
            return Err(settings.wrong("field", "must be a field number of Protocol Buffers"));
        }
        let prefix = format!("{} ", settings.text("prefix")?.unwrap_or("dear"));
        Ok(Self { field, prefix, method: settings.text("method")?.map(str::to_owned) })
    }

    fn wants(&self, call: Option<(&str, &str)>) -> bool {
        let Some(wanted) = &self.method else { return true };
        call.is_some_and(|(service, method)| {
            wanted.strip_prefix(service).and_then(|w| w.strip_prefix('/')) == Some(method)
        })
    }

    /// The message with the prefix; `None` when it has no such field or is no message.
    fn rewrite(&self, mut rest: Bytes) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(rest.len() + self.prefix.len() + 1);
        let mut found = false;
        while rest.has_remaining() {
            let start = rest.clone();
            let (tag, wire_type) = prost::encoding::decode_key(&mut rest).ok()?;
            let context = prost::encoding::DecodeContext::default();
            if tag != self.field || wire_type != prost::encoding::WireType::LengthDelimited {
                prost::encoding::skip_field(wire_type, tag, &mut rest, context).ok()?;
                out.put(start.slice(..start.len() - rest.len()));
                continue;
            }
            let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
            let text = (length <= rest.len()).then(|| rest.split_to(length))?;
            prost::encoding::encode_key(tag, wire_type, &mut out);
            prost::encoding::encode_varint((self.prefix.len() + text.len()) as u64, &mut out);
            out.put(self.prefix.as_bytes());
            out.put(text);
            found = true;
        }
        found.then_some(out)
    }
}

impl Processor for GrpcRewrite {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Messages;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, _: &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
        // A compressed message would have to be decompressed first.
        let wanted = self.wants(io.call()) && !io.is_compressed();
        match wanted.then(|| self.rewrite(io.raw())).flatten() {
            Some(message) => io.out.send_raw(message),
            None => io.out.pass(),
        }
        Ok(())
    }

    async fn response_body(&self, _: &mut (), io: &mut MsgIo<Response>) -> Result<(), Abort> {
        let wanted = self.wants(io.call()) && !io.is_compressed();
        match wanted.then(|| self.rewrite(io.raw())).flatten() {
            Some(message) => io.out.send_raw(message),
            None => io.out.pass(),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    #[test]
    fn only_the_field_changes() {
        let rewrite = GrpcRewrite::new(&Settings::test(&["field=2", "prefix=my"])).expect("valid");
        for (message, expected) in [
            (&b"\x08\x96\x01\x12\x01a\x1a\x01b"[..], Some(&b"\x08\x96\x01\x12\x04my a\x1a\x01b"[..])),
            (b"\x12\x00\x12\x01c", Some(b"\x12\x03my \x12\x04my c")),
            (b"\x0a\x01a", None),
            (b"\x10\x05", None),
            (b"\x12\x05a", None),
            (b"\xff", None),
            (b"", None),
        ] {
            assert_eq!(rewrite.rewrite(Bytes::from_static(message)).as_deref(), expected, "{message:?}");
        }
    }

    #[tokio::test]
    async fn messages_are_framed_anew_wherever_they_are_cut() {
        let headers = [(":path", "/pkg.Greeter/Hello"), ("content-type", "application/grpc")];
        let frame: &[u8] = b"\0\0\0\0\x05\x0a\x03bob\x01\0\0\0\x05\x0a\x03zip";
        for (method, changed) in [("pkg.Greeter/Hello", true), ("pkg.Greeter/Bye", false), ("pkg.Other/Hello", false)] {
            for cut in 1..frame.len() {
                let (first, second) = (Bytes::from_static(&frame[..cut]), Bytes::from_static(&frame[cut..]));
                let script = Script::new().modes(BodyMode::FullDuplexStreamed, BodyMode::None).request_headers(headers);
                let script = script.request_body(first, false).request_body(second, true);
                let rewrite = GrpcRewrite::new(&Settings::test(&[&format!("method={method}")])).expect("valid");
                let lines = script.run(rewrite).await.lines().join("\n");
                assert_eq!(lines.contains("dear bob"), changed, "{method} {cut}: {lines}");
                assert!(lines.contains("zip") && !lines.contains("dear zip"), "compressed: {lines}");
            }
        }
    }
}

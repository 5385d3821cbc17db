//! `compress`: responses in a content coding that the client takes, as they flow.

use extproc::{
    Abort, BodyMode, ChunkIo, Coding, Encoder, Open, Processor, Response, ResponseHead, Skip, Start, Stop, Stream,
};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Compresses text responses. Each chunk can be decoded as soon as it is there, so live streams stay live.
#[derive(Debug)]
pub(crate) struct Compress {
    min_length: u64,
}

/// One exchange.
#[derive(Debug, Default)]
pub(crate) struct Ctx {
    /// Every byte of the response's body comes by.
    all_of_it: bool,
    encoder: Option<Encoder>,
}

impl Compress {
    pub(super) const KEYS: &[Key] =
        &[key("min-length", "BYTES [default: 256]", "shorter bodies stay as they are, where the length is known")];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        Ok(Self { min_length: settings.get("min-length")?.unwrap_or(256) })
    }

    fn coding(&self, rsp: &Start<ResponseHead>) -> Option<Coding> {
        let has = |name: &str, word: &str| rsp.header_all(name).any(|value| value.to_ascii_lowercase().contains(word));
        let suits = rsp.content_type().is_some_and(is_compressible)
            && rsp.header("content-encoding").is_none()
            && !has("cache-control", "no-transform")
            && rsp.status() == 200
            && !rsp.is_last()
            && rsp.content_length().is_none_or(|length| length >= self.min_length);
        // Without the request it is not known what the client takes.
        let request = rsp.request().filter(|request| suits && request.method() != "HEAD")?;
        negotiate(request.header_all("accept-encoding"))
    }
}

impl Processor for Compress {
    type Ctx = Ctx;
    type RequestBody = Skip;
    type ResponseBody = Stream;

    /// The head says that the body is compressed before the body comes: so all of it must come. It would not in NONE,
    /// and of long bodies not in BUFFERED_PARTIAL.
    fn open(&self, open: &Open) -> Ctx {
        let mode = open.protocol().map(|protocol| protocol.bodies.response);
        let all_of_it = matches!(mode, Some(BodyMode::Buffered | BodyMode::Streamed | BodyMode::FullDuplexStreamed));
        Ctx { all_of_it, encoder: None }
    }

    async fn response_headers(&self, ctx: &mut Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        let Some(coding) = self.coding(rsp).filter(|_| ctx.all_of_it) else { return Ok(()) };
        ctx.encoder = Some(Encoder::new(&[coding])?);
        rsp.set("content-encoding", coding.name());
        rsp.append("vary", "accept-encoding");
        rsp.set_if_present("accept-ranges", "none");
        // The same content in other bytes.
        if let Some(etag) = rsp.header("etag").filter(|etag| !etag.starts_with("W/")).map(str::to_owned) {
            rsp.set("etag", format!("W/{etag}"));
        }
        Ok(())
    }

    async fn response_body(&self, ctx: &mut Ctx, io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        let Some(encoder) = &mut ctx.encoder else {
            io.out.pass();
            return Ok(());
        };
        io.out.push(encoder.push(&io.data)?);
        if io.last
            && let Some(encoder) = ctx.encoder.take()
        {
            io.out.push(encoder.finish()?);
        }
        Ok(())
    }
}

/// The best of what the client takes: what it prefers, then what compresses best.
fn negotiate<'a>(values: impl Iterator<Item = &'a str>) -> Option<Coding> {
    let mut best: Option<(u32, Coding)> = None;
    let offers: Vec<(&str, u32)> = values.flat_map(|value| value.split(',')).map(offer).collect();
    for coding in [Coding::Brotli, Coding::Zstd, Coding::Gzip] {
        let named = offers.iter().find(|(name, _)| name.eq_ignore_ascii_case(coding.name()));
        let weight = named.or_else(|| offers.iter().find(|(name, _)| *name == "*")).map_or(0, |(_, weight)| *weight);
        if weight > best.map_or(0, |(weight, _)| weight) {
            best = Some((weight, coding));
        }
    }
    best.map(|(_, coding)| coding)
}

/// A name of `accept-encoding` with its weight in thousandths.
fn offer(text: &str) -> (&str, u32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let weight = weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1000")]
    (name, (weight.clamp(0.0, 1.0) * 1000.0) as u32)
}

fn is_compressible(media: &str) -> bool {
    media.starts_with("text/")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(media, "application/json" | "application/javascript" | "application/xml" | "application/wasm")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use extproc::Decoder;
    use extproc::testing::Script;
    use extproc_proto::body_mutation::Mutation;
    use extproc_proto::processing_response::Response as Reply;

    use super::*;

    const TEXT: [(&str, &str); 3] = [(":status", "200"), ("content-type", "text/plain"), ("etag", "\"1\"")];

    fn script(mode: BodyMode, accept: &str, headers: &[(&str, &str)]) -> Script {
        let request = [(":method", "GET"), ("accept-encoding", accept)];
        Script::new().modes(BodyMode::None, mode).request_only(request).response_headers(headers.iter().copied())
    }

    async fn run(script: Script) -> (Vec<String>, Bytes) {
        let transcript = script.run(Compress::new(&Settings::test(&["min-length=5"])).expect("valid")).await;
        let mut body = Vec::new();
        for reply in &transcript.replies {
            let Some(Reply::ResponseBody(reply)) = &reply.response else { continue };
            match reply.response.clone().and_then(|common| common.body_mutation).and_then(|body| body.mutation) {
                Some(Mutation::Body(data)) => body.extend(data),
                Some(Mutation::StreamedResponse(chunk)) => body.extend(chunk.body),
                Some(Mutation::ClearBody(_)) | None => {}
            }
        }
        (transcript.lines(), body.into())
    }

    #[tokio::test]
    async fn bodies_are_compressed_chunk_by_chunk() {
        for (accept, coding) in
            [("gzip", Coding::Gzip), ("gzip;q=0.5, BR", Coding::Brotli), ("zstd, gzip", Coding::Zstd)]
        {
            for mode in [BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
                let script = script(mode, accept, &TEXT).response_body("hello ", false).response_body("world", true);
                let (lines, body) = run(script).await;
                let head = format!("response_headers content-encoding={coding} vary+=accept-encoding etag=W/\"1\"");
                assert_eq!(lines[1].replace('\\', ""), head, "{accept}");
                let mut decoder = Decoder::new(&[coding], 1024).expect("known");
                let plain = [decoder.push(&body).expect("sound"), decoder.finish().expect("whole")].concat();
                assert_eq!(plain, b"hello world", "{accept} {mode:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_does_not_suit_stays() {
        let with = |name, value| [&TEXT[..], &[(name, value)]].concat();
        for (mode, accept, headers) in [
            (BodyMode::Streamed, "", TEXT.to_vec()),
            (BodyMode::Streamed, "deflate, identity", TEXT.to_vec()),
            (BodyMode::Streamed, "gzip;q=0, *;q=0", TEXT.to_vec()),
            (BodyMode::Streamed, "gzip", with("content-encoding", "br")),
            (BodyMode::Streamed, "gzip", with("cache-control", "No-Transform")),
            (BodyMode::Streamed, "gzip", with("content-length", "4")),
            (BodyMode::Streamed, "gzip", vec![(":status", "200"), ("content-type", "image/png")]),
            (BodyMode::Streamed, "gzip", vec![(":status", "206"), ("content-type", "text/plain")]),
            (BodyMode::BufferedPartial, "gzip", TEXT.to_vec()),
        ] {
            let (lines, _) = run(script(mode, accept, &headers).response_body("abcd", true)).await;
            assert!(!lines.join(" ").contains("content-encoding") && lines[2] == "response_body", "{accept} {lines:?}");
        }
        let (lines, _) = run(script(BodyMode::None, "gzip", &TEXT)).await;
        assert!(!lines.join(" ").contains("content-encoding"), "{lines:?}");
    }
}

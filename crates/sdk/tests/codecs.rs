//! Content codings: whole and in pieces, stacked, broken, cut off, and bombs.
#![allow(clippy::unwrap_used, reason = "test code")]

use bytes::Bytes;
use extproc::testing::Script;
use extproc::{
    Body, BodyMode, Chain, ChunkIo, CodecError, Coding, Decoder, Encoder, Response, Stop, Stream, Whole, WholeIo,
    processor,
};
use proptest::prelude::*;

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];
const LIMIT: usize = 1 << 20;

fn encode(codings: &[Coding], pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = Encoder::new(codings).unwrap();
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(encoder.push(piece).unwrap());
    }
    out.extend(encoder.finish().unwrap());
    out
}

fn decode(codings: &[Coding], pieces: &[&[u8]], limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut decoder = Decoder::new(codings, limit)?;
    let mut out = Vec::new();
    for piece in pieces {
        out.extend(decoder.push(piece)?);
    }
    out.extend(decoder.finish()?);
    Ok(out)
}

/// Cuts at these places, in any order.
fn cut<'a>(data: &'a [u8], at: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect()
}

fn stacks() -> impl Strategy<Value = Vec<Coding>> {
    prop::collection::vec(prop::sample::select(ALL.to_vec()), 0..=4)
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_decodes_however_both_are_cut(
        codings in stacks(),
        data in prop::collection::vec(0u8..4, 0..5000),
        (ins, outs) in (cuts(), cuts()),
    ) {
        let wire = encode(&codings, &cut(&data, &ins));
        prop_assert_eq!(decode(&codings, &cut(&wire, &outs), LIMIT).unwrap(), data);
    }

    #[test]
    fn anything_at_all_is_an_error_or_bytes(codings in stacks(), data in prop::collection::vec(any::<u8>(), 0..300), at in cuts()) {
        let _ = decode(&codings, &cut(&data, &at), 1000);
    }

    #[test]
    fn a_damaged_byte_never_panics_and_never_passes_the_limit(
        coding in prop::sample::select(ALL.to_vec()), at in any::<prop::sample::Index>(), to in any::<u8>(),
    ) {
        let mut wire = encode(&[coding], &[&b"the quick brown fox ".repeat(20)]);
        let at = at.index(wire.len());
        wire[at] = to;
        if let Ok(plain) = decode(&[coding], &[&wire], 2000) {
            prop_assert!(plain.len() <= 2000);
        }
    }

    #[test]
    fn data_that_ends_early_is_an_error(coding in prop::sample::select(ALL.to_vec()), at in any::<prop::sample::Index>()) {
        let wire = encode(&[coding], &[&b"the quick brown fox ".repeat(20)]);
        let end = 1 + at.index(wire.len() - 1);
        let error = decode(&[coding], &[&wire[..end]], LIMIT).unwrap_err();
        prop_assert_eq!(error, CodecError::Incomplete { coding, at: end as u64 });
    }
}

#[test]
fn all_that_went_in_comes_out_before_the_end() {
    for coding in ALL {
        let (mut encoder, mut decoder) = (Encoder::new(&[coding]).unwrap(), Decoder::new(&[coding], LIMIT).unwrap());
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            assert_eq!(decoder.push(&encoder.push(event.as_bytes()).unwrap()).unwrap(), event, "{coding}");
        }
    }
}

#[test]
fn bombs_are_bounded() {
    let zeros = vec![0; 16 << 20];
    for coding in ALL {
        let bomb = encode(&[coding], &[&zeros]);
        assert!(bomb.len() < 50_000, "{coding}: {}", bomb.len());
        assert_eq!(
            decode(&[coding], &[&bomb], LIMIT),
            Err(CodecError::TooLong { coding, limit: LIMIT }),
            "in one piece"
        );
        let stacked = encode(&[coding, Coding::Gzip], &[&zeros]);
        assert_eq!(
            decode(&[coding, Coding::Gzip], &[&stacked], LIMIT),
            Err(CodecError::TooLong { coding, limit: LIMIT })
        );
    }
    // A zstd frame that declares a window of 128 MiB.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00];
    assert!(matches!(decode(&[Coding::Zstd], &[&wide], LIMIT), Err(CodecError::Broken { .. })));
}

#[test]
fn the_limit_is_exact() {
    for coding in ALL {
        let wire = encode(&[coding], &[&[7; 1000]]);
        assert_eq!(decode(&[coding], &[&wire], 1000).unwrap().len(), 1000, "{coding}");
        assert_eq!(decode(&[coding], &[&wire], 999), Err(CodecError::TooLong { coding, limit: 999 }));
    }
}

#[test]
fn forms_that_peers_send() {
    // Two gzip members in a row, and two zstd frames, are one body.
    for coding in [Coding::Gzip, Coding::Zstd] {
        let twice = [encode(&[coding], &[b"one"]), encode(&[coding], &[b"two"])].concat();
        assert_eq!(decode(&[coding], &[&twice], LIMIT).unwrap(), b"onetwo", "{coding}");
    }
    // `deflate` without the zlib wrapper: a stored block.
    let raw = [1, 3, 0, 0xfc, 0xff, b'r', b'a', b'w'];
    assert_eq!(decode(&[Coding::Deflate], &[&raw], LIMIT).unwrap(), b"raw");
    assert_eq!(decode(&[Coding::Deflate], &[&raw[..1], &raw[1..]], LIMIT).unwrap(), b"raw");
    for coding in ALL {
        assert_eq!(decode(&[coding], &[], LIMIT).unwrap(), b"", "{coding}: no data at all is an empty body");
        let behind = [encode(&[coding], &[b"one"]), b"and something behind".to_vec()].concat();
        assert!(matches!(decode(&[coding], &[&behind], LIMIT), Err(CodecError::Broken { .. })), "{coding}");
    }
}

#[test]
fn names() {
    use Coding::{Brotli, Deflate, Gzip, Zstd};
    let table: [(&str, Result<Vec<Coding>, CodecError>); 8] = [
        ("", Ok(vec![])),
        ("gzip", Ok(vec![Gzip])),
        (" X-GZIP ", Ok(vec![Gzip])),
        ("deflate,br , zstd", Ok(vec![Deflate, Brotli, Zstd])),
        ("identity, gzip", Ok(vec![Gzip])),
        ("gzip;q=1", Err(CodecError::Unknown("gzip;q=1".to_owned()))),
        ("compress", Err(CodecError::Unknown("compress".to_owned()))),
        ("gzip,gzip,gzip,gzip,gzip", Err(CodecError::TooMany(5))),
    ];
    for (value, expected) in table {
        assert_eq!(Coding::list(value), expected, "{value:?}");
    }
    assert_eq!(
        CodecError::Broken { coding: Gzip, at: 3, reason: "x".to_owned() }.to_string(),
        "broken gzip data within its first 3 bytes: x"
    );
}

/// Answers the whole body of a response with this head.
async fn whole(
    encoding: &str,
    body: Vec<u8>,
    handle: fn(&mut WholeIo<Response>) -> Result<(), CodecError>,
) -> Vec<String> {
    let length = body.len().to_string();
    let run = processor::<_, ()>("Run", handle).response_body(
        Whole::<{ 1 << 20 }>,
        async |handle: &fn(&mut WholeIo<Response>) -> Result<(), CodecError>,
               _: &mut (),
               io: &mut WholeIo<Response>| { Ok::<(), Stop>(handle(io)?) },
    );
    let head = [(":status", "200"), ("content-encoding", encoding), ("content-length", &length)];
    let script =
        Script::new().modes(BodyMode::None, BodyMode::Buffered).response_headers(head).response_body(body, true);
    script.run(run).await.lines()
}

#[tokio::test]
async fn py_038_a_coded_body_is_read_replaced_and_uncovered() {
    let shout = |io: &mut WholeIo<Response>| {
        let page = io.decoded(LIMIT)?;
        io.replace_encoded(page.text().unwrap_or_default().to_uppercase())
    };
    for codings in [vec![Coding::Gzip], vec![Coding::Zstd, Coding::Brotli], vec![]] {
        let names = codings.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ");
        let lines = whole(&names, encode(&codings, &[b"hello"]), shout).await;
        let said = encode(&codings, &[b"HELLO"]);
        assert_eq!(lines[1], format!("response_body content-length={} body=\"{}\"", said.len(), said.escape_ascii()));
    }
    let uncover = |io: &mut WholeIo<Response>| io.decode(LIMIT);
    let lines = whole("gzip, br", encode(&[Coding::Gzip, Coding::Brotli], &[b"hello"]), uncover).await;
    assert_eq!(lines[1], "response_body content-length=5 -content-encoding body=\"hello\"");
    assert_eq!(whole("identity", b"hello".to_vec(), uncover).await[1], "response_body", "plain stays as it is");
    for (name, encoding, body) in [
        ("unknown", "compress", b"hello".to_vec()),
        ("broken", "gzip", b"hello".to_vec()),
        ("cut off", "br", encode(&[Coding::Brotli], &[b"hello hello hello"])[..5].to_vec()),
        ("a bomb", "zstd", encode(&[Coding::Zstd], &[&[0; LIMIT + 1]])),
    ] {
        assert_eq!(whole(encoding, body, uncover).await[1], "error Internal: processor Run failed", "{name}");
    }
}

#[tokio::test]
async fn a_stream_is_recoded_piece_by_piece() {
    #[derive(Default)]
    struct Cx(Option<(Decoder, Encoder)>);
    let shout = || {
        processor::<(), Cx>("Shout", ()).response_body(
            Stream,
            async |_: &(), cx: &mut Cx, io: &mut ChunkIo<Response>| -> Result<(), extproc::Abort> {
                let (mut decoder, mut encoder) = match cx.0.take() {
                    Some(both) => both,
                    None => {
                        let codings = io.head().content_codings()?;
                        (Decoder::new(&codings, LIMIT)?, Encoder::new(&codings)?)
                    }
                };
                let plain = decoder.push(&io.data)?;
                io.out.push(encoder.push(&plain.to_ascii_uppercase())?);
                if io.last {
                    io.out.push(encoder.push(&decoder.finish()?.to_ascii_uppercase())?);
                    io.out.push(encoder.finish()?);
                } else {
                    cx.0 = Some((decoder, encoder));
                }
                Ok(())
            },
        )
    };
    let wire = encode(&[Coding::Gzip], &[b"hello ", b"world"]);
    let mut script = Script::new()
        .modes(BodyMode::None, BodyMode::FullDuplexStreamed)
        .response_headers([(":status", "200"), ("content-encoding", "gzip")]);
    for piece in wire.chunks(7) {
        script = script.response_body(piece.to_vec(), false);
    }
    let said = script.response_body("", true).run(Chain::new(shout())).await;
    let mut decoder = Decoder::new(&[Coding::Gzip], LIMIT).unwrap();
    let mut plain = Vec::new();
    for reply in &said.replies {
        plain.extend(decoder.push(&chunk(reply)).unwrap());
    }
    plain.extend(decoder.finish().unwrap());
    assert_eq!(plain, b"HELLO WORLD", "{:?}", said.lines());
}

fn chunk(reply: &extproc::proto::ProcessingResponse) -> Bytes {
    use extproc::proto::body_mutation::Mutation;
    use extproc::proto::processing_response::Response as Kind;
    let Some(Kind::ResponseBody(body)) = &reply.response else { return Bytes::new() };
    match body.response.as_ref().and_then(|common| common.body_mutation.as_ref()?.mutation.as_ref()) {
        Some(Mutation::StreamedResponse(piece)) => piece.body.clone(),
        _ => Bytes::new(),
    }
}

#[test]
fn a_body_to_try_a_handler_on() {
    assert_eq!(Body::from("hello").text(), Ok("hello"));
}

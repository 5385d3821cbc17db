//! The scripted client.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::fields::{list, map};
use super::http1::{Body, Head, Reader, write_chunk, write_end, write_fields};
use crate::scenario::Request;
use crate::transcript::{End, HeaderList, Reply};

/// The longest a scenario may take.
const LIMIT: Duration = Duration::from_secs(8);

/// Plays one request.
#[derive(Debug)]
pub struct Client<'a> {
    request: &'a Request,
}

impl<'a> Client<'a> {
    /// A client that will send this.
    #[must_use]
    pub const fn new(request: &'a Request) -> Self {
        Self { request }
    }

    /// Sends the request and takes down what comes.
    ///
    /// # Errors
    /// When the connection cannot be made, or neither an end nor `give_up` comes in time.
    pub async fn run(&self, address: SocketAddr) -> anyhow::Result<Reply> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let patience = self.request.give_up.map_or(LIMIT, |patience| patience.duration());
        let mut taken = Taken::default();
        let exchange = async {
            match self.request.http {
                2 => self.http2(stream, &mut taken).await,
                _ => self.http1(stream, &mut taken).await,
            }
        };
        match timeout(patience, exchange).await {
            Ok(done) => done?,
            Err(_) if self.request.give_up.is_some() => taken.body.end = End::GaveUp,
            Err(_) => bail!("no end of the response within {LIMIT:?}; so far: {taken:?}"),
        }
        let Taken { status, headers, body: Body { bytes, trailers, end } } = taken;
        Ok(Reply { status, headers, body: bytes.freeze(), trailers, end })
    }

    async fn http1(&self, stream: TcpStream, taken: &mut Taken) -> anyhow::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut reader = Reader::new(read);
        let receive = async {
            let head = loop {
                match reader.head().await {
                    Ok(Some(head)) if head.word(1).starts_with('1') => {}
                    Ok(Some(head)) => break head,
                    Ok(None) | Err(_) => return,
                }
            };
            taken.status = head.word(1).parse().ok();
            taken.headers.clone_from(&head.headers);
            self.read_body(&mut reader, &head, &mut taken.body).await;
        };
        // A data plane that answers early may close before all is sent: that is no failure of the client.
        if self.request.unfinished {
            tokio::select! {
                () = receive => {}
                () = async { self.send(&mut write).await.ok(); std::future::pending().await } => {}
            }
        } else {
            // What became of the sending shows in what is received.
            let _ = tokio::join!(self.send(&mut write), receive);
        }
        Ok(())
    }

    async fn read_body(&self, reader: &mut Reader<tokio::net::tcp::OwnedReadHalf>, head: &Head, body: &mut Body) {
        let bodiless = self.request.method == "HEAD" || matches!(head.word(1), "204" | "304");
        if bodiless {
            body.end = End::Complete;
            return;
        }
        reader.body(head.framing(true), body).await;
    }

    /// Writes the request with its pauses.
    async fn send(&self, io: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let request = self.request;
        let mut out =
            format!("{} {} HTTP/1.1\r\nhost: {}\r\n", request.method, request.path, request.host).into_bytes();
        write_fields(&mut out, request.headers.iter());
        let Some(chunks) = &request.chunks else {
            if let Some(body) = &request.body {
                let body = body.bytes();
                write_fields(&mut out, std::iter::once(("content-length", body.len().to_string().as_str())));
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(&body);
            } else {
                out.extend_from_slice(b"\r\n");
            }
            return io.write_all(&out).await;
        };
        out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
        io.write_all(&out).await?;
        for chunk in chunks {
            sleep(request.pause.duration()).await;
            out.clear();
            write_chunk(&mut out, &chunk.bytes());
            io.write_all(&out).await?;
        }
        if request.unfinished {
            return std::future::pending().await;
        }
        sleep(request.pause.duration()).await;
        out.clear();
        write_end(&mut out, request.trailers.iter());
        io.write_all(&out).await
    }

    async fn http2(&self, stream: TcpStream, taken: &mut Taken) -> anyhow::Result<()> {
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let request = self.request;
        let (parts, body) = mpsc::unbounded_channel();
        let uri = format!("http://{}{}", request.host, request.path);
        let mut builder = http::Request::builder().method(request.method.as_str()).uri(uri);
        for (name, value) in request.headers.iter() {
            builder = builder.header(name, value);
        }
        if let Some(body) = &request.body {
            builder = builder.header("content-length", body.bytes().len());
        }
        let body = match (&request.body, &request.chunks) {
            // The end is known with the last byte, and stands in the same frame.
            (Some(body), _) => Full::new(Bytes::from(body.bytes())).map_err(|never| match never {}).boxed_unsync(),
            (None, Some(_)) => StreamBody::new(UnboundedReceiverStream::new(body)).boxed_unsync(),
            (None, None) => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        };
        let message = builder.body(body)?;
        let exchange = async {
            let (_, response) = tokio::join!(self.send_frames(parts), sender.send_request(message));
            if let Ok(response) = response {
                take_down(response, taken).await;
            }
        };
        // The connection's own result tells nothing that the exchange does not.
        tokio::select! {
            () = exchange => {}
            _ = connection => {}
        }
        Ok(())
    }

    /// Feeds the body frames with their pauses.
    async fn send_frames(&self, parts: Parts) {
        let request = self.request;
        for chunk in request.chunks.iter().flatten() {
            sleep(request.pause.duration()).await;
            // Nobody listening any more is the data plane's right.
            let _ = parts.send(Ok(Frame::data(chunk.bytes().into())));
        }
        if request.unfinished {
            let _abort = Abort(parts);
            return std::future::pending().await;
        }
        if request.chunks.is_some() {
            sleep(request.pause.duration()).await;
        }
        if !request.trailers.is_empty() {
            let _ = parts.send(Ok(Frame::trailers(map(&request.trailers))));
        }
    }
}

async fn take_down(response: http::Response<Incoming>, taken: &mut Taken) {
    let (head, mut body) = response.into_parts();
    taken.status = Some(head.status.as_u16());
    taken.headers = list(&head.headers);
    taken.body.end = loop {
        match body.frame().await {
            None => break End::Complete,
            Some(Err(_)) => break End::Cut,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => taken.body.bytes.extend_from_slice(&data),
                Err(frame) => taken.body.trailers = frame.into_trailers().map(|map| list(&map)).unwrap_or_default(),
            },
        }
    };
}

/// What came of the response; also when the client has had enough.
#[derive(Debug, Default)]
struct Taken {
    status: Option<u16>,
    headers: HeaderList,
    body: Body,
}

type Parts = mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

/// Dropped, it breaks the request off. A sender that is merely dropped would end it.
struct Abort(Parts);

impl Drop for Abort {
    fn drop(&mut self) {
        // Nobody listening any more is the data plane's right.
        let _ = self.0.send(Err(std::io::ErrorKind::ConnectionAborted.into()));
    }
}

//! The scripted upstream.

mod http2;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::http1::{Body, Head, Reader, write_chunk, write_end, write_fields};
use crate::scenario::Upstream;
use crate::transcript::{End, HeaderList, Received};

/// An upstream that listens, answers by script and takes down the requests.
#[derive(Debug)]
pub struct UpstreamPeer {
    address: SocketAddr,
    record: Arc<Record>,
    /// Holds the port when nothing is to listen there.
    _reserved: Option<TcpSocket>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Record {
    route: usize,
    requests: Mutex<Vec<Received>>,
    /// How many requests have begun and not ended.
    open: watch::Sender<usize>,
}

impl UpstreamPeer {
    /// Starts to listen on a free port of loopback; `route` goes into the record.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(route: usize, script: &Upstream) -> std::io::Result<Self> {
        let record = Arc::new(Record { route, requests: Mutex::default(), open: watch::Sender::new(0) });
        if script.unreachable {
            let socket = reserve()?;
            return Ok(Self { address: socket.local_addr()?, record, _reserved: Some(socket), listening: None });
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let listening = tokio::spawn(listen(listener, script.clone(), Arc::clone(&record)));
        Ok(Self { address, record, _reserved: None, listening: Some(listening) })
    }

    /// Where it listens, or where nothing does.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests in order of arrival, once they have ended or the patience has.
    pub async fn finish(self, patience: Duration) -> Vec<Received> {
        let mut open = self.record.open.subscribe();
        // After this time the record shows a request that was neither finished nor cut.
        let _ = timeout(patience, open.wait_for(|open| *open == 0)).await;
        std::mem::take(&mut *self.record.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for UpstreamPeer {
    fn drop(&mut self) {
        if let Some(task) = &self.listening {
            task.abort();
        }
    }
}

/// A port that is taken but refuses connections.
pub(super) fn reserve() -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok(socket)
}

async fn listen(listener: TcpListener, script: Upstream, record: Arc<Record>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, script.clone(), Arc::clone(&record)));
    }
}

async fn serve(stream: TcpStream, script: Upstream, record: Arc<Record>) {
    // Without it the pauses of the script are stretched by delayed acknowledgements.
    let _ = stream.set_nodelay(true);
    if script.http == 2 {
        return http2::serve(stream, script, record).await;
    }
    let (read, mut write) = stream.into_split();
    let mut reader = Reader::new(read);
    while let Ok(Some(head)) = reader.head().await {
        if !one_request(&mut reader, &mut write, &head, &script, &record).await {
            return;
        }
    }
}

/// Reads the rest of a request and answers it; false when the connection is of no further use.
async fn one_request(
    reader: &mut Reader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    head: &Head,
    script: &Upstream,
    record: &Record,
) -> bool {
    record.open.send_modify(|open| *open += 1);
    let mut body = Body::default();
    let place = record.add(head.word(0), head.word(1), head.headers.clone());
    let framing = head.framing(false);
    if script.early {
        let (_, answered) = tokio::join!(reader.body(framing, &mut body), answer(write, script, head));
        record.update(place, &body);
        record.open.send_modify(|open| *open -= 1);
        return answered.is_ok() && body.end == End::Complete;
    }
    reader.body(framing, &mut body).await;
    record.update(place, &body);
    record.open.send_modify(|open| *open -= 1);
    body.end == End::Complete && answer(write, script, head).await.is_ok()
}

impl Record {
    /// Adds a request of which the head has come, and tells its place.
    fn add(&self, method: &str, path: &str, headers: HeaderList) -> usize {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(Received {
            route: self.route,
            method: method.to_owned(),
            path: path.to_owned(),
            headers,
            body: Bytes::new(),
            trailers: Vec::new(),
            end: End::Cut,
        });
        requests.len() - 1
    }

    fn update(&self, place: usize, body: &Body) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(request) = requests.get_mut(place) {
            request.body = body.bytes.clone().freeze();
            request.trailers.clone_from(&body.trailers);
            request.end = body.end;
        }
    }
}

async fn answer(write: &mut OwnedWriteHalf, script: &Upstream, request: &Head) -> std::io::Result<()> {
    sleep(script.delay.duration()).await;
    if script.hints {
        write.write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n").await?;
    }
    let mut out = format!("HTTP/1.1 {} Scripted\r\n", script.status).into_bytes();
    write_fields(&mut out, script.headers.iter());
    let bodiless = request.word(0) == "HEAD" || matches!(script.status, 204 | 304);
    if let Some(body) = script.whole_body() {
        if script.status != 204 {
            write_fields(&mut out, std::iter::once(("content-length", body.len().to_string().as_str())));
        }
        out.extend_from_slice(b"\r\n");
        if !bodiless {
            out.extend_from_slice(&body);
        }
        return write.write_all(&out).await;
    }
    out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    if bodiless {
        return write.write_all(&out).await;
    }
    for (index, chunk) in script.chunks.iter().flatten().enumerate() {
        if index > 0 {
            sleep(script.pause.duration()).await;
        }
        write_chunk(&mut out, &chunk.bytes());
        write.write_all(&out).await?;
        out.clear();
    }
    sleep(script.pause.duration()).await;
    if script.cut {
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    write_end(&mut out, script.trailers.iter());
    write.write_all(&out).await
}

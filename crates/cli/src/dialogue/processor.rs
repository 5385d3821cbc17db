//! The far end of the stream: over a connection, or in this process.

use std::fmt;
use std::pin::Pin;

use extproc::{BoxProcessor, Server, Service};
use extproc_proto::external_processor_client::ExternalProcessorClient;
use extproc_proto::external_processor_server::ExternalProcessorServer;
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint};
use tonic::{Extensions, Request, Response, Status, Streaming};

/// A processor that exchanges can be played against, many at a time.
pub(crate) struct Processor(Kind);

enum Kind {
    Remote(ExternalProcessorClient<Channel>),
    Local(ExternalProcessorClient<ExternalProcessorServer<Service<Vec<BoxProcessor>>>>),
}

pub(super) type Opening = Pin<Box<dyn Future<Output = Result<Response<Streaming<ProcessingResponse>>, Status>> + Send>>;

impl Processor {
    /// Connects to a server.
    ///
    /// # Errors
    /// Nobody answers there.
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, tonic::transport::Error> {
        let client = ExternalProcessorClient::new(endpoint.connect().await?);
        // The gateway takes messages of any size too.
        Ok(Self(Kind::Remote(client.max_decoding_message_size(usize::MAX))))
    }

    /// A chain in this process: the same service, without a connection.
    pub(crate) fn in_process(chain: Vec<BoxProcessor>) -> Self {
        let service = Server::new(chain).max_message(usize::MAX).into_service();
        Self(Kind::Local(ExternalProcessorClient::new(service).max_decoding_message_size(usize::MAX)))
    }

    /// A stream for one exchange.
    pub(super) fn open(&self, messages: UnboundedReceiver<ProcessingRequest>, metadata: MetadataMap) -> Opening {
        let messages = UnboundedReceiverStream::new(messages);
        let request = Request::from_parts(metadata, Extensions::new(), messages);
        match &self.0 {
            Kind::Remote(client) => {
                let mut client = client.clone();
                Box::pin(async move { client.process(request).await })
            }
            Kind::Local(client) => {
                let mut client = client.clone();
                Box::pin(async move { client.process(request).await })
            }
        }
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Remote(_) => "Remote",
            Kind::Local(_) => "Local",
        })
    }
}

/// What the stream brings.
pub(super) enum Inbox {
    /// There is no stream.
    Idle,
    Opening(Opening),
    Open(Box<Streaming<ProcessingResponse>>),
}

impl Inbox {
    /// The next message; may be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        loop {
            match self {
                Self::Idle => std::future::pending().await,
                Self::Opening(opening) => *self = Self::Open(Box::new(opening.await?.into_inner())),
                Self::Open(stream) => return stream.message().await,
            }
        }
    }
}

//! A body of gRPC messages, as the driver reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use extproc_core::call::{FrameError, Frames, Message};
use http::HeaderMap;
use http_body::Body as _;
use tonic::{Code, Status, body::Body};

use super::coding::{Coding, CodingError};

/// The body of one direction.
pub(super) struct Source {
    body: Body,
    frames: Frames,
    coding: Coding,
    /// The processor gets to see messages, so they have to be read.
    decodes: bool,
    limit: usize,
    /// The body has no more frames.
    end: Option<Option<HeaderMap>>,
}

/// What a body has next.
pub(super) enum Next {
    Message(Message),
    /// The end, with trailers if there are some.
    End(Option<HeaderMap>),
}

/// Why there is no next.
pub(super) enum Broken {
    /// The sender has given up, or the connection is gone.
    Peer(Status),
    /// What it sends cannot be understood.
    Content(Status),
}

impl Source {
    pub(super) fn new(body: Body, headers: &HeaderMap, decodes: bool, limit: usize) -> Self {
        Self { body, frames: Frames::default(), coding: Coding::of(headers), decodes, limit, end: None }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Broken>> {
        loop {
            if let Some(framed) = self.frames.next(self.limit).map_err(|error| unreadable(&error))? {
                let message = if framed.compressed && self.decodes {
                    let body = self.coding.decode(&framed.body, self.limit).map_err(undecodable)?;
                    Message { body, compressed: Some(framed.body) }
                } else if framed.compressed {
                    Message { body: Bytes::new(), compressed: Some(framed.body) }
                } else {
                    Message::new(framed.body)
                };
                return Poll::Ready(Ok(Next::Message(message)));
            }
            if let Some(trailers) = self.end.take() {
                self.frames.end().map_err(|error| unreadable(&error))?;
                return Poll::Ready(Ok(Next::End(trailers)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.end = Some(None),
                Some(Err(status)) => return Poll::Ready(Err(Broken::Peer(status))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.frames.push(data),
                    Err(frame) => {
                        if let Ok(trailers) = frame.into_trailers() {
                            self.end = Some(Some(trailers));
                        }
                    }
                },
            }
        }
    }
}

fn unreadable(error: &FrameError) -> Broken {
    let code = match error {
        FrameError::TooLarge(_) => Code::ResourceExhausted,
        FrameError::Flag | FrameError::Truncated => Code::Internal,
    };
    Broken::Content(Status::new(code, error.to_string()))
}

fn undecodable(error: CodingError) -> Broken {
    let code = match error {
        CodingError::Unknown => Code::Unimplemented,
        CodingError::TooLarge(_) => Code::ResourceExhausted,
        CodingError::NoCoding | CodingError::Corrupt => Code::Internal,
    };
    Broken::Content(Status::new(code, error.to_string()))
}

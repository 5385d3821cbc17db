//! What can go wrong on a stream.

use std::time::Duration;

use tonic::Code;

/// What goes wrong on the stream to a processor, whatever the processor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The stream cannot be opened.
    Unreachable,
    /// The message and all after it never arrive.
    Silent,
    /// The message arrives so late.
    Slow(Duration),
    /// The stream fails in place of the answer.
    Fails(Code),
    /// The processor ends the stream, without error, in place of the answer.
    Ends,
}

//! Another error policy for a processor.

use crate::{OnError, Processor};

/// A processor with another [`OnError`] than its own, for the place it has in a chain.
///
/// ```
/// use extproc::{Chain, Noop, OnError, Policy};
///
/// let chain = Chain::new(Policy::new(Noop, OnError::Skip)).then(Noop);
/// ```
#[derive(Clone, Debug)]
pub struct Policy<P> {
    inner: P,
    on_error: OnError,
}

impl<P: Processor> Policy<P> {
    /// Wraps a processor.
    pub const fn new(inner: P, on_error: OnError) -> Self {
        Self { inner, on_error }
    }
}

impl<P: Processor> Processor for Policy<P> {
    type Ctx = P::Ctx;

    delegate! { P, |ctx| ctx;
        open request_headers request_body request_trailers response_headers response_body response_trailers close
    }

    fn on_error(&self) -> OnError {
        self.on_error.clone()
    }
}

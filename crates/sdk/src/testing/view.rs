//! Views for calling a handler as a plain function.

use extproc_core::Headers;

use super::Plan;
use crate::head::Reach;
use crate::{RequestHead, ResponseHead, Start, Trailers};

impl Plan {
    /// The head as a request handler gets it. What the handler did is read from it afterwards; what only a data plane
    /// can do, such as a longer timeout, it refuses.
    ///
    /// ```
    /// use extproc::testing::Plan;
    /// use extproc::{RequestHead, Start, Stop};
    ///
    /// async fn greet(_: &(), _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
    ///     req.set("x-hello", "ada");
    ///     Ok(())
    /// }
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let mut req = Plan::request("GET", "/").request_view();
    /// greet(&(), &mut (), &mut req).await?;
    /// assert_eq!(req.header("x-hello"), Some("ada"));
    /// # Ok::<(), Stop>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn request_view(&self) -> Start<RequestHead> {
        Start::new(RequestHead::new(self.headers()), self.ends_with_head(), Reach::default())
    }

    /// The head as a response handler gets it, without a request.
    #[must_use]
    pub fn response_view(&self) -> Start<ResponseHead> {
        let last = self.ends_with_head();
        Start::new(ResponseHead::new(self.headers(), last), last, Reach::default())
    }

    /// The trailers as a handler gets them, without a request; empty if the plan has none.
    #[must_use]
    pub fn trailers_view(&self) -> Trailers {
        Trailers::new(self.trailer_fields().cloned().unwrap_or_else(Headers::new))
    }

    fn ends_with_head(&self) -> bool {
        self.whole_body().is_empty() && !self.has_trailers()
    }
}

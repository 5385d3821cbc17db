//! What a wrapper leaves to the processor inside.

/// The kinds, the name and the error policy of `self.inner`, and those phases that the wrapper does not touch. `|ctx| expr`
/// is the inner context.
macro_rules! delegate {
    ($inner:ident, |$ctx:ident| $expr:expr; $($phase:ident)*) => {
        type RequestBody = $inner::RequestBody;
        type ResponseBody = $inner::ResponseBody;

        fn name(&self) -> &str {
            self.inner.name()
        }

        fn on_mismatch(&self) -> Option<$crate::OnMismatch> {
            self.inner.on_mismatch()
        }

        fn wishes(&self) -> $crate::Wishes {
            self.inner.wishes()
        }

        $(delegate!(@$phase $inner $ctx $expr);)*
    };
    (@on_error $inner:ident $ctx:ident $expr:expr) => {
        fn on_error(&self) -> $crate::OnError {
            self.inner.on_error()
        }
    };
    (@open $inner:ident $ctx:ident $expr:expr) => {
        fn open(&self, open: &$crate::Open) -> Self::Ctx {
            self.inner.open(open)
        }
    };
    (@request_headers $inner:ident $ctx:ident $expr:expr) => {
        async fn request_headers(
            &self,
            $ctx: &mut Self::Ctx,
            req: &mut $crate::Start<$crate::RequestHead>,
        ) -> Result<(), $crate::Stop> {
            self.inner.request_headers($expr, req).await
        }
    };
    (@request_body $inner:ident $ctx:ident $expr:expr) => {
        async fn request_body(
            &self,
            $ctx: &mut Self::Ctx,
            io: &mut $crate::Io<$crate::Request, $inner::RequestBody>,
        ) -> Result<(), $crate::Halt<$crate::Request, $inner::RequestBody>> {
            self.inner.request_body($expr, io).await
        }
    };
    (@request_trailers $inner:ident $ctx:ident $expr:expr) => {
        async fn request_trailers(
            &self,
            $ctx: &mut Self::Ctx,
            trailers: &mut $crate::Trailers,
        ) -> Result<(), $crate::Stop> {
            self.inner.request_trailers($expr, trailers).await
        }
    };
    (@response_headers $inner:ident $ctx:ident $expr:expr) => {
        async fn response_headers(
            &self,
            $ctx: &mut Self::Ctx,
            rsp: &mut $crate::Start<$crate::ResponseHead>,
        ) -> Result<(), $crate::Stop> {
            self.inner.response_headers($expr, rsp).await
        }
    };
    (@response_body $inner:ident $ctx:ident $expr:expr) => {
        async fn response_body(
            &self,
            $ctx: &mut Self::Ctx,
            io: &mut $crate::Io<$crate::Response, $inner::ResponseBody>,
        ) -> Result<(), $crate::Halt<$crate::Response, $inner::ResponseBody>> {
            self.inner.response_body($expr, io).await
        }
    };
    (@response_trailers $inner:ident $ctx:ident $expr:expr) => {
        async fn response_trailers(
            &self,
            $ctx: &mut Self::Ctx,
            trailers: &mut $crate::Trailers,
        ) -> Result<(), $crate::Abort> {
            self.inner.response_trailers($expr, trailers).await
        }
    };
    (@close $inner:ident $ctx:ident $expr:expr) => {
        fn close(&self, ctx: Self::Ctx, end: $crate::End) {
            self.inner.close(ctx, end);
        }
    };
}

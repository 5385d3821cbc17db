//! Processors out of plain functions.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::{
    Abort, BodyKind, End, Halt, Io, OnError, Open, Processor, Request, RequestHead, Response, ResponseHead, Skip,
    Start, Stop, Trailers, Wishes,
};

/// A processor out of plain async functions or closures, one for each phase that matters.
///
/// Each takes the shared state, the exchange's context (made by `Default`), and the phase's view, all borrowed. A later
/// registration for the same phase replaces the earlier one. Naming the body kind is what enables a body function.
///
/// ```
/// use extproc::{LocalReply, RequestHead, Start, Stop, Whole, WholeIo, Request, processor};
///
/// struct Keys(&'static str);
///
/// #[derive(Default)]
/// struct Cx { size: usize }
///
/// async fn auth(keys: &Keys, _: &mut Cx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
///     let key = req.header("x-api-key").ok_or_else(LocalReply::unauthorized)?;
///     if key != keys.0 {
///         return Err(LocalReply::forbidden().details("bad_key").into());
///     }
///     Ok(())
/// }
///
/// let auth = processor::<Keys, Cx>("Auth", Keys("secret"))
///     .request_headers(auth)
///     .request_body(
///         Whole::<{ 1 << 20 }>,
///         async |_: &Keys, cx: &mut Cx, io: &mut WholeIo<Request>| -> Result<(), Stop> {
///             cx.size = io.body.len();
///             Ok(())
///         },
///     );
/// # let _ = extproc::Server::new(auth);
/// ```
///
/// It costs an allocation for each phase that has a function; a [`Processor`] of one's own does not.
pub fn processor<S, C>(name: impl Into<String>, state: S) -> Functions<S, C>
where
    S: Send + Sync + 'static,
    C: Default + Send + 'static,
{
    Functions {
        name: name.into(),
        state,
        on_error: OnError::Fail,
        wishes: Wishes::new(),
        request_headers: None,
        request_body: None,
        request_trailers: None,
        response_headers: None,
        response_body: None,
        response_trailers: None,
    }
}

/// A processor out of functions. Made by [`processor()`].
pub struct Functions<S, C, Q: BodyKind<Request> = Skip, R: BodyKind<Response> = Skip> {
    name: String,
    state: S,
    on_error: OnError,
    wishes: Wishes,
    request_headers: Option<Function<S, C, Start<RequestHead>, Stop>>,
    request_body: Option<BodyFunction<S, C, Request, Q>>,
    request_trailers: Option<Function<S, C, Trailers, Stop>>,
    response_headers: Option<Function<S, C, Start<ResponseHead>, Stop>>,
    response_body: Option<BodyFunction<S, C, Response, R>>,
    response_trailers: Option<Function<S, C, Trailers, Abort>>,
}

type Running<'a, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'a>>;
type Function<S, C, V, E> = Box<dyn for<'a> Fn(&'a S, &'a mut C, &'a mut V) -> Running<'a, E> + Send + Sync>;

type BodyFunction<S, C, D, K> = Function<S, C, Io<D, K>, Halt<D, K>>;

/// An async function of shared state, context and view: what can be registered for a phase. Implemented for every
/// `async fn` and async closure of that signature whose future is `Send`.
pub trait PhaseFn<'a, S: 'a, C: 'a, V: 'a, E>: Fn(&'a S, &'a mut C, &'a mut V) -> Self::Running {
    /// Its future.
    type Running: Future<Output = Result<(), E>> + Send + 'a;
}

impl<'a, S: 'a, C: 'a, V: 'a, E, F, T> PhaseFn<'a, S, C, V, E> for F
where
    F: Fn(&'a S, &'a mut C, &'a mut V) -> T,
    T: Future<Output = Result<(), E>> + Send + 'a,
{
    type Running = T;
}

fn boxed<S: 'static, C: 'static, V: 'static, E: 'static, F>(function: F) -> Function<S, C, V, E>
where
    F: for<'a> PhaseFn<'a, S, C, V, E> + Send + Sync + 'static,
{
    Box::new(move |state, ctx, view| Box::pin(function(state, ctx, view)))
}

macro_rules! registrations {
    ($($(#[$doc:meta])* $phase:ident($view:ty, $stop:ty);)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $phase<F>(mut self, function: F) -> Self
        where
            F: for<'a> PhaseFn<'a, S, C, $view, $stop> + Send + Sync + 'static,
        {
            self.$phase = Some(boxed(function));
            self
        })*
    };
}

impl<S, C, Q, R> Functions<S, C, Q, R>
where
    S: Send + Sync + 'static,
    C: Default + Send + 'static,
    Q: BodyKind<Request>,
    R: BodyKind<Response>,
{
    registrations! {
        /// The function for the request's head.
        request_headers(Start<RequestHead>, Stop);
        /// The function for the request's trailers.
        request_trailers(Trailers, Stop);
        /// The function for the response's head.
        response_headers(Start<ResponseHead>, Stop);
        /// The function for the response's trailers.
        response_trailers(Trailers, Abort);
    }

    /// The function for the request's body, in the form of `kind`.
    #[must_use]
    pub fn request_body<K: BodyKind<Request>, F>(self, kind: K, function: F) -> Functions<S, C, K, R>
    where
        F: for<'a> PhaseFn<'a, S, C, Io<Request, K>, Halt<Request, K>> + Send + Sync + 'static,
    {
        let _ = kind;
        Functions {
            name: self.name,
            state: self.state,
            on_error: self.on_error,
            wishes: self.wishes,
            request_headers: self.request_headers,
            request_body: Some(boxed(function)),
            request_trailers: self.request_trailers,
            response_headers: self.response_headers,
            response_body: self.response_body,
            response_trailers: self.response_trailers,
        }
    }

    /// The function for the response's body, in the form of `kind`.
    #[must_use]
    pub fn response_body<K: BodyKind<Response>, F>(self, kind: K, function: F) -> Functions<S, C, Q, K>
    where
        F: for<'a> PhaseFn<'a, S, C, Io<Response, K>, Halt<Response, K>> + Send + Sync + 'static,
    {
        let _ = kind;
        Functions {
            name: self.name,
            state: self.state,
            on_error: self.on_error,
            wishes: self.wishes,
            request_headers: self.request_headers,
            request_body: self.request_body,
            request_trailers: self.request_trailers,
            response_headers: self.response_headers,
            response_body: Some(boxed(function)),
            response_trailers: self.response_trailers,
        }
    }

    /// What an error means for its exchange. Default: the stream fails.
    #[must_use]
    pub fn on_error(mut self, policy: OnError) -> Self {
        self.on_error = policy;
        self
    }

    /// What it wants of its data plane: [`Processor::wishes`]. Trailers are wished for where a function takes them.
    #[must_use]
    pub fn wishes(mut self, wishes: Wishes) -> Self {
        self.wishes = wishes;
        self
    }
}

macro_rules! run {
    ($function:expr, $self:ident, $ctx:ident, $view:ident) => {
        match &$function {
            Some(function) => function(&$self.state, $ctx, $view).await,
            None => Ok(()),
        }
    };
}

impl<S, C, Q, R> Processor for Functions<S, C, Q, R>
where
    S: Send + Sync + 'static,
    C: Default + Send + 'static,
    Q: BodyKind<Request>,
    R: BodyKind<Response>,
{
    type Ctx = C;
    type RequestBody = Q;
    type ResponseBody = R;

    fn name(&self) -> &str {
        &self.name
    }

    fn on_error(&self) -> OnError {
        self.on_error.clone()
    }

    fn wishes(&self) -> Wishes {
        let mut wishes = self.wishes.clone();
        wishes.request_trailers |= self.request_trailers.is_some();
        wishes.response_trailers |= self.response_trailers.is_some();
        wishes
    }

    fn open(&self, _: &Open) -> C {
        C::default()
    }

    async fn request_headers(&self, ctx: &mut C, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        run!(self.request_headers, self, ctx, req)
    }

    async fn request_body(&self, ctx: &mut C, io: &mut Io<Request, Q>) -> Result<(), Halt<Request, Q>> {
        run!(self.request_body, self, ctx, io)
    }

    async fn request_trailers(&self, ctx: &mut C, trailers: &mut Trailers) -> Result<(), Stop> {
        run!(self.request_trailers, self, ctx, trailers)
    }

    async fn response_headers(&self, ctx: &mut C, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        run!(self.response_headers, self, ctx, rsp)
    }

    async fn response_body(&self, ctx: &mut C, io: &mut Io<Response, R>) -> Result<(), Halt<Response, R>> {
        run!(self.response_body, self, ctx, io)
    }

    async fn response_trailers(&self, ctx: &mut C, trailers: &mut Trailers) -> Result<(), Abort> {
        run!(self.response_trailers, self, ctx, trailers)
    }

    fn close(&self, ctx: C, end: End) {
        let _ = (ctx, end);
    }
}

impl<S, C, Q: BodyKind<Request>, R: BodyKind<Response>> fmt::Debug for Functions<S, C, Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Functions").field(&self.name).finish()
    }
}

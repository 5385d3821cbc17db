//! What authors read and edit: the heads of request and response, and trailers.

mod fields;
mod into;
mod request;
mod response;
mod start;
mod trailers;

pub use fields::{Fields, Refused};
pub use into::{IntoName, IntoValue};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use start::Start;
pub(crate) use start::{Asked, MayAsk, Reach};
pub use trailers::Trailers;

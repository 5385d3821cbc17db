//! What authors read and edit: the heads of request and response, and trailers.

mod client;
mod cookies;
mod fields;
mod into;
mod media_type;
mod request;
mod response;
mod start;
mod trailers;

pub use client::Basic;
pub use cookies::{SameSite, SetCookie};
pub use fields::{Fields, Refused};
pub use into::{IntoName, IntoValue};
pub use media_type::MediaType;
pub use request::RequestHead;
pub use response::ResponseHead;
pub use start::Start;
pub(crate) use start::{Asked, MayAsk, Reach};
pub use trailers::Trailers;

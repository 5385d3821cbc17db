//! `extproc echo`: the upstream that answers with what it got.

mod json;
mod names;
mod reply;
mod server;

pub(crate) use server::Server;

use crate::failure::Outcome;
use crate::listen::Listen;
use crate::shutdown;

/// Run the echo upstream: it answers every request with that request as JSON
///
/// Speaks HTTP/1.1 and cleartext HTTP/2, all methods. Answers by path:
///
///   /redirect?location=URL  308 to URL (any path beginning with /redirect)
///   /headers                {"headers": {Name: list of values}}, names canonical
///   /raw                    the request's body as it is, streamed, with its content type
///   anything else           {"method", "path", "headers", "body", "message"}
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(
    after_help = "Example:\n  extproc echo --listen 127.0.0.1:8000\n  curl -s -X PUT -d hello http://127.0.0.1:8000/something"
)]
pub(crate) struct Args {
    /// HOST:PORT, or :PORT for all interfaces; port 0 takes a free one [default: 127.0.0.1:8000, or all interfaces
    /// at ECHO_PORT when that is set]
    #[arg(long, value_name = "ADDR")]
    listen: Option<Listen>,
    /// Value of "message" in the answers
    #[arg(long, env = "ECHO_MESSAGE", default_value = "Hello")]
    message: String,
    /// All interfaces at this port, unless --listen is given
    #[arg(long, env = "ECHO_PORT", hide = true)]
    port: Option<u16>,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let listen = args.listen.or_else(|| args.port.map(Listen::all)).unwrap_or_else(default_listen);
    let stop = shutdown::requested()?;
    let server = Server::bind(&listen, args.message).await?;
    crate::text::println(format_args!("echo upstream at http://{}", server.local_addr()));
    server.serve(stop).await;
    Ok(())
}

fn default_listen() -> Listen {
    Listen::Tcp { host: "127.0.0.1".to_owned(), port: 8000 }
}

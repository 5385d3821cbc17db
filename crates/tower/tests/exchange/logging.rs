//! What the log tells of an exchange that is over.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::processor::{Scripted, Step, ack};
use crate::world::{Upstream, eventually, exchange, filter, get, text};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().map_err(|error| io::Error::other(error.to_string()))?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The numbers as `n`, but for 0.
fn shape(text: &str) -> String {
    let part = |part: &str| match part.split(':').collect::<Vec<_>>()[..] {
        [name @ ("rh" | "sh"), _, status] => format!("{name}:n:{status}"),
        [name @ ("bs" | "br"), bytes] if bytes != "0" => format!("{name}:n"),
        _ => part.to_owned(),
    };
    text.split(',').map(part).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_line_for_each_filter_has_calls_bytes_and_destination() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("extproc_tower::exchange=debug")
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let mut asked = filter(processor.address, |_| ());
    asked.processor = asked.processor.named("auth");
    let mut idle = filter(processor.address, |it| {
        (it.processing_mode.request_headers, it.processing_mode.response_headers) = (false, false);
    });
    idle.processor = idle.processor.named("other");
    let response = exchange(&[asked, idle], get("/"), &Upstream::echo()).await.unwrap();
    assert_eq!(text(response).await, "200 GET http://ex.com/ host=ex.com []");
    eventually("two lines", || lines.text().lines().count() == 2).await;
    let found = lines.text();
    let told = found.lines().map(|line| line.split("ext_proc=").nth(1).unwrap().split(' ').next().unwrap());
    let told: Vec<_> = told.map(shape).collect();
    assert_eq!(told, ["rh:n:0,sh:n:0,bs:n,br:n,os:0,ds:auth", "bs:0,br:0,os:0,ds:"]);
}

//! Exit codes and messages: 0 done, 1 it ran and failed, 2 bad usage or configuration.

use crate::process::{run, run_with, text};

#[tokio::test]
async fn help_and_version_succeed() {
    for args in [&["--help"][..], &["--version"], &["help", "serve"], &["call", "-h"]] {
        let output = run(args).await;
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn every_command_shows_an_example() {
    for command in ["call", "conform", "demo", "echo", "gateway", "health", "serve"] {
        let help = text(&run(&[command, "--help"]).await.stdout);
        assert!(help.contains("Example") && help.contains(&format!("  extproc {command} ")), "{command}: {help}");
    }
}

#[tokio::test]
async fn bad_usage_is_2_and_says_what_to_do() {
    for (args, part) in [
        (&[][..], "Usage"),
        (&["frobnicate"], "--help"),
        (&["echo", "--listen", "8000"], "HOST:PORT"),
        (&["echo", "--log-level", "a=b=c"], "give a level"),
        (&["conform", "--target", "other"], "use core, gateway or envoy"),
        (&["conform", "no-such-scenario"], "no scenario matches"),
        (&["conform", "--dir", "/no/such/dir"], "--dir"),
        (&["demo", "--json"], "--once"),
        (&["gateway"], "--config"),
        (&["gateway", "--config", "/no/such/file"], "/no/such/file: cannot be read: No such file"),
        (&["gateway", "--backend", "nonsense"], "host:port"),
        (&["gateway", "--backend", "127.0.0.1:1", "--body", "whole"], "BUFFERED"),
        (&["health", "nowhere"], "HOST:PORT"),
        (&["call"], "<ADDR>"),
        (&["call", "127.0.0.1"], "HOST:PORT"),
        (&["call", "http://127.0.0.1:1"], "HOST:PORT"),
        (&["call", "a b:1"], "HOST:PORT"),
        (&["call", "127.0.0.1:1", "--timeout", "5"], "200ms"),
        (&["call", "127.0.0.1:1", "--mode", "whole"], "full-duplex-streamed"),
        (&["call", "127.0.0.1:1", "-H", "novalue"], "name: value"),
        (&["call", "127.0.0.1:1", "-d", "@/no/such/file"], "/no/such/file"),
    ] {
        let output = run(args).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(part), "{args:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[tokio::test]
async fn failures_are_1_and_say_what_to_do() {
    // Port 1 needs rights to listen on; as root it is free, but nobody answers there.
    let output = run(&["call", "127.0.0.1:1", "/"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("extproc serve"), "{}", text(&output.stderr));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, part) in [
        (&["echo", "--listen", &addr][..], "--listen"),
        (&["serve", "noop", "--listen", &addr], &addr),
        (&["serve", "sink", "--listen", &addr], &addr),
        (&["gateway", "--listen", &addr, "--backend", "127.0.0.1:1"], &addr),
        (&["demo", "--port", &port], "--port"),
    ] {
        let output = run(args).await;
        let error = text(&output.stderr);
        let error = error.lines().find(|line| line.starts_with("error")).unwrap_or_default();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert!(error.contains(part) && error.matches("in use").count() == 1, "{args:?}: {error}");
    }
}

#[tokio::test]
async fn without_a_terminal_there_are_no_colours() {
    let output = run_with(&["call", "127.0.0.1:1"], &[("TERM", "xterm-256color")]).await;
    assert!(!output.stderr.contains(&0x1b), "{}", text(&output.stderr));
}

//! What a data plane tells its filters besides headers; made up, as there are no sockets.

use extproc_core::{Attribute, FilterChain};

pub(super) fn of_request(chain: &mut FilterChain) {
    tell(
        chain,
        &[
            ("request.protocol", text("HTTP/1.1")),
            ("request.time", text("2026-01-02T03:04:05.6+00:00")),
            ("response.flags", Attribute::Number(0.0)),
            ("source.address", text("127.0.0.1:1")),
            ("source.port", Attribute::Number(1.0)),
            ("destination.address", text("127.0.0.1:2")),
            ("destination.port", Attribute::Number(2.0)),
            ("connection.id", Attribute::Number(1.0)),
            ("connection.mtls", Attribute::Bool(false)),
            ("connection.requested_server_name", text("")),
            ("xds.cluster_name", text("upstream")),
        ],
    );
}

pub(super) fn of_response(chain: &mut FilterChain) {
    tell(
        chain,
        &[
            ("response.code_details", text("via_upstream")),
            ("upstream.address", text("127.0.0.1:3")),
            ("upstream.port", Attribute::Number(3.0)),
        ],
    );
}

fn tell(chain: &mut FilterChain, attributes: &[(&str, Attribute)]) {
    for (name, value) in attributes {
        chain.set_attribute(name, value);
    }
}

fn text(text: &str) -> Attribute {
    Attribute::Text(text.to_owned())
}

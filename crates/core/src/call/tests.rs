//! The rows of A93 as scripts: each line is an input, and behind `=>` exactly what comes out because of it.

mod closing;
mod configuration;
mod drain;
mod envoy;
mod failures;
mod flow_control;
mod flows;
mod immediate;
mod matrix;
mod mutations;
mod observability;
mod random;
mod script;
mod sent;

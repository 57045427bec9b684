//! Tests of the metrics: the text by a strict parser, counts against work that is known, the server against clients that
//! mean no good.

mod address;
mod counts;
mod histogram;
mod page;
mod parser;
mod server;

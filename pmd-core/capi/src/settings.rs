//! Settings that C programs say as texts. Read where engines, nodes and the like are opened.

use std::net::SocketAddr;

use pmd_host::{backend::Transport, endpoint::TransportChoice, lane::Idle};

use crate::BadCall;

/// The transport of a name, or "auto".
///
/// # Errors
/// [`BadCall::Setting`].
pub fn transport_choice(name: &str, what: &'static str) -> Result<TransportChoice, BadCall> {
    if name == "auto" {
        return Ok(TransportChoice::Auto);
    }
    let only = Transport::ALL.into_iter().find(|transport| transport.name() == name);
    only.map(TransportChoice::Only).ok_or_else(|| {
        let names: Vec<&str> = Transport::ALL.iter().map(|transport| transport.name()).collect();
        unknown(what, name, format!("auto or one of {}", names.join(", ")))
    })
}

/// What an idle lane does: "spin", "yield" or "park".
///
/// # Errors
/// [`BadCall::Setting`].
pub fn idle_policy(name: &str, what: &'static str) -> Result<Idle, BadCall> {
    match name {
        "spin" => Ok(Idle::Spin),
        "yield" => Ok(Idle::Yield),
        "park" => Ok(Idle::Park),
        _ => Err(unknown(what, name, "spin, yield or park")),
    }
}

/// An address: `ip:port` or `[ip]:port`.
///
/// # Errors
/// [`BadCall::Setting`].
pub fn socket_address(text: &str, what: &'static str) -> Result<SocketAddr, BadCall> {
    text.parse().map_err(|_| unknown(what, text, "\"ip:port\" or \"[ip]:port\""))
}

fn unknown(what: &'static str, given: &str, allowed: impl Into<String>) -> BadCall {
    BadCall::Setting { what, given: given.to_owned(), allowed: allowed.into() }
}

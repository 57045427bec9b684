//! `kv fetch` over two links at a time, of which one goes down in the middle.

use interoperation::process::{PATIENCE, Process};

use super::{Case, case};
use crate::{
    network::{Host, Network, until},
    programs::{Context, fetched, rails},
};

pub(super) const CASES: &[Case] = &[case("rails::nothing_is_lost_with_one_of_two_links", cut)];

/// Of the default model: 75 MB.
const TOKENS: u32 = 1024;
/// Less than goes over a rail at a time.
const CHUNK: u64 = 4 << 20;
/// Bytes over the second link by which a chunk has landed there: more than a rail has in hand at a time.
const LANDED: u64 = 20 << 20;

/// The second one: the control connection and all that is small are on the first.
fn cut(context: &Context) {
    let network = Network::two_links().expect("hosts");
    let (there, here) = (network.host(0), network.host(1));
    let addresses = |host: &Host| format!("{},{}", host.address(), host.second_address());
    let _server = context.programs.serve_with(there, TOKENS, &["--rails", &addresses(there)]);
    let fetch = || -> Process { context.programs.fetch_with(here, there, &["--rails", &addresses(here)]) };
    let first = fetch();
    let carried = || here.received_over_second_link().expect("the link's counters");
    until("a chunk over the second link", PATIENCE, || carried() > LANDED);
    here.set_second_link(false).expect("the link is taken down");
    let ended = first.finish();
    fetched(&ended);
    let told = rails(&ended);
    // How the rail stands depends on what was still to come when its link went down.
    assert!(told.len() == 2 && told.iter().all(|(_, chunks)| *chunks > 0), "{told:?}");
    // The server offers the rail to whoever comes when the link is back.
    here.set_second_link(true).expect("the link is taken up");
    let before = carried();
    let ended = fetch().finish();
    fetched(&ended);
    let told = rails(&ended);
    assert!(told.len() == 2 && told.iter().all(|(_, chunks)| *chunks > 0), "{told:?}");
    assert!(carried() - before > CHUNK, "{} bytes came over the second link", carried() - before);
}

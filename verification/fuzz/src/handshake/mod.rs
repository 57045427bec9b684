//! The control connection's handshake and sealed records, with somebody hostile between two sides: whatever is changed,
//! cut, left out, sent again, sent back or made up, a side hears what the other one said, in order, or hangs up; and
//! takes memory only for what has arrived.
//!
//! Input: one byte of shape (who has which key), then actions of three bytes, see [`Action`]. Where nobody meddled, all
//! that was said must have been heard in the end, or the one reason must have been told to both. With `PMD_FUZZ_TRACE` in
//! the environment the actions are printed.

mod action;
/// The channel itself is private to pmd-host, and stays so: its source is compiled into the target once more.
#[path = "../../../../pmd-core/host/src/control/channel.rs"]
#[allow(dead_code, unreachable_pub, reason = "not all of pmd-host's source is used")]
mod channel;
/// What the channel carries, which it looks for beside it: `control` has its own.
#[path = "../../../../pmd-core/host/src/control/frame.rs"]
#[allow(clippy::duplicate_mod, reason = "what it says of its items' visibility allows no other place")]
#[allow(dead_code, unreachable_pub, reason = "not all of pmd-host's source is used")]
mod frame;
mod side;

use pmd_host::control::{KeepAlive, PeerIdentity};

pub use action::{Action, Injected};
use frame::FrameError;
use side::Side;

use crate::{allocation, security::PreSharedKey};

/// Shape: both sides have the same key.
pub const SAME_KEY: u8 = 0;
/// Shape: each has another one.
pub const OTHER_KEY: u8 = 1;
/// Shape: the side that is connected to has none.
pub const NO_KEY: u8 = 2;
/// Shape: the side that connects has none.
pub const NO_KEY_THERE: u8 = 3;

/// With this in the environment every action is printed.
const TRACE: &str = "PMD_FUZZ_TRACE";
/// Actions that are carried out: ciphers take their time.
const MOST_ACTIONS: usize = 64;
/// Most bytes that are said or made up.
const MOST_BYTES: usize = 128 << 10;
/// Memory that both sides may take beyond what has arrived: keys, and room for a read, and that again while it moves.
const ROOM: usize = 1 << 20;
/// Copies of a byte that is on its way: said, sealed, on the wire, in its record, in what was heard; some grow by doubling.
const COPIES: usize = 16;

/// Two sides and what is on its way between them.
struct World {
    /// The one that connects, and the one that is connected to.
    sides: [Side; 2],
    shape: u8,
    /// Nobody has meddled.
    honest: bool,
    /// Bytes that may still be said or made up.
    left: usize,
}

/// Carries the input out.
pub fn run(data: &[u8]) {
    let [shape, actions @ ..] = data else { return };
    let traces = std::env::var_os(TRACE).is_some();
    let (arrived, peak) = allocation::peak_of(|| {
        let mut world = World::new(shape & 3);
        for action in actions.chunks_exact(3).take(MOST_ACTIONS) {
            let action = Action([action[0], action[1], action[2]]);
            if traces {
                eprintln!("{action:?}");
            }
            world.act(action);
        }
        world.settle();
        world.sides.iter().map(|side| side.arrived).sum::<usize>() + MOST_BYTES - world.left
    });
    let most = ROOM + COPIES * arrived;
    assert!(peak <= most, "{peak} bytes of memory were taken for {arrived}, at most {most}");
}

impl World {
    fn new(shape: u8) -> Self {
        let keys = match shape {
            SAME_KEY => [Some(1), Some(1)],
            OTHER_KEY => [Some(1), Some(2)],
            NO_KEY => [Some(1), None],
            _ => [None, Some(1)],
        };
        let key = |number: Option<u8>| number.map(|number| PreSharedKey([number; 32]));
        let sides = [Side::new(key(keys[0]), true), Side::new(key(keys[1]), false)];
        Self { sides, shape, honest: true, left: MOST_BYTES }
    }

    fn act(&mut self, action: Action) {
        let from = action.side();
        match action.kind() {
            0 => {
                let length = action.said().min(self.left);
                self.left -= length;
                self.sides[from].say(length);
            }
            1 => self.carry(from, action.length()),
            _ => {
                self.honest = false;
                self.meddle(from, action);
            }
        }
    }

    /// Does something to what `from` has sent.
    fn meddle(&mut self, from: usize, action: Action) {
        let side = &mut self.sides[from];
        let length = action.length();
        match action.kind() {
            2 => side.flip(length),
            3 => drop(side.take_wire(length)),
            4 => self.left -= side.send_again(length.min(self.left)),
            5 => {
                let own = side.take_wire(length);
                self.give(from, &own);
            }
            6 => {
                let mut made_up = action.injected();
                made_up.truncate(self.left);
                self.left -= made_up.len();
                self.give(1 - from, &made_up);
            }
            _ => self.sides.iter_mut().for_each(Side::start_again),
        }
    }

    /// Carries bytes from one side to the other.
    fn carry(&mut self, from: usize, most: usize) {
        let bytes = self.sides[from].take_wire(most);
        self.give(1 - from, &bytes);
    }

    fn give(&mut self, to: usize, bytes: &[u8]) {
        self.sides[to].take(bytes);
        let [one, other] = &mut self.sides;
        let (hearer, speaker) = if to == 0 { (one, other) } else { (other, one) };
        hearer.check(speaker, self.shape == SAME_KEY);
    }

    /// Carries everything, until nothing more comes; then looks whether it was heard.
    fn settle(&mut self) {
        for from in [0, 1, 0, 1, 0, 1] {
            self.sides[from].say(usize::from(self.honest));
            self.carry(from, usize::MAX);
        }
        if !self.honest {
            return;
        }
        let reasons = self.sides.each_ref().map(|side| side.down);
        match self.shape {
            SAME_KEY => {
                assert_eq!(reasons, [None; 2]);
                let [one, other] = &self.sides;
                assert!(one.heard > 0 && other.heard > 0, "nothing was heard");
                assert_eq!([one.heard, other.heard], [other.said.len(), one.said.len()]);
            }
            OTHER_KEY => assert_eq!(reasons, [Some(FrameError::WrongKey); 2]),
            shape => {
                let reason = |here| Some(FrameError::OnlyOneKey { here });
                assert_eq!(reasons, [reason(shape == NO_KEY), reason(shape != NO_KEY)]);
            }
        }
    }
}

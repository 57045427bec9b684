//! An agent as a case orders it about.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Instant,
};

use interoperation::process::{PATIENCE, Process};

use super::READY;
use crate::network::Host;

/// A user beside root, who owns nothing here.
const OTHER_USER: &str = "1";

/// An agent in a process of its own, which ends with this.
pub(crate) struct Agent(Process);

impl Agent {
    /// On a host.
    pub(crate) fn on(host: &Host) -> Self {
        Self::ready(host.start(&this(), &["agent"]))
    }

    /// Beside this process, and apart from it by what unshare(1) is told.
    pub(crate) fn apart(by: &[&str]) -> Self {
        let this = this();
        Self::ready(Process::start("unshare", &[by, &["--", &*this.to_string_lossy(), "agent"]].concat()))
    }

    /// The same, as another user than this process's, who runs a copy of this program in `folder`.
    pub(crate) fn of_another_user(by: &[&str], folder: &Path) -> Self {
        // That user may not reach the folder of this program.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a folder of this user's");
        let copy = folder.join("agent");
        fs::copy(this(), &copy).expect("room for a copy");
        let user = ["--reuid", OTHER_USER, "--regid", OTHER_USER, "--clear-groups", "unshare"];
        let program = ["--", &*copy.to_string_lossy(), "agent"];
        Self::ready(Process::start("setpriv", &[&user, by, &program].concat()))
    }

    fn ready(process: Process) -> Self {
        let mut agent = Self(process);
        assert_eq!(agent.says(), READY);
        agent
    }

    /// What it says next.
    pub(crate) fn says(&mut self) -> String {
        self.0.line()
    }

    /// What follows `word` in what it says next that begins with it.
    pub(crate) fn says_of(&mut self, word: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(rest) = self.says().strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
        panic!("an agent did not say {word} within {PATIENCE:?}");
    }

    /// Tells it to do something, whose answer is another's word or comes later.
    pub(crate) fn order(&mut self, order: &str) {
        self.0.tell(order);
    }

    /// What it answers to an order.
    pub(crate) fn asks(&mut self, order: &str) -> String {
        self.order(order);
        self.says()
    }

    /// Listens at an address with a wish; where it does.
    pub(crate) fn listens(&mut self, address: &str, wish: &str) -> String {
        self.order(&format!("listen {address} {wish}"));
        self.says_of("listens")
    }

    /// Connects to where another listens, and moves bytes there and back. The link and what was chosen, or why nothing was.
    pub(crate) fn connects(&mut self, address: &str, wish: &str) -> Result<String, String> {
        self.order(&format!("connect {address} {wish}"));
        loop {
            let said = self.says();
            match said.split_once(' ') {
                Some(("linked", choice)) => return Ok(choice.to_owned()),
                Some(("refused", why)) => return Err(why.to_owned()),
                // The endpoint before it has gone.
                Some(("down", _)) => {}
                _ => panic!("{said}"),
            }
        }
    }

    /// SIGKILL, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.0.kill();
    }
}

/// This program.
fn this() -> PathBuf {
    env::current_exe().expect("the path of this program")
}

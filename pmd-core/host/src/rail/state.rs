//! The states of a rail, and which may follow which.

/// Where a rail stands at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum RailState {
    /// It is not there.
    #[default]
    Down,
    /// Its queue pairs are being made and connected.
    Opening,
    /// It is connected; the first round trip is on its way.
    Probing,
    /// It carries chunks.
    Up,
    /// It is lost: takes nothing more, and waits until both ends are quiet.
    Quieting,
}

impl RailState {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Down, Self::Opening, Self::Probing, Self::Up, Self::Quieting];

    /// Whether one state may follow another.
    ///
    /// | from | to | |
    /// |---|---|---|
    /// | `Down` | `Opening` | it is time, or the peer opens it |
    /// | `Opening` | `Probing` | both ends are connected |
    /// | `Probing` | `Up` | a round trip has been made |
    /// | `Opening`, `Probing`, `Up` | `Quieting` | it is lost; the peer may have an end of it, even of one that never opened |
    /// | `Quieting` | `Down` | both ends are quiet |
    ///
    /// All else is prohibited: above all `Quieting` to anything that carries bytes, since stragglers of the old life could
    /// land under the new one, and `Opening` to `Up`, since what is connected need not work.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Down, Self::Opening)
                | (Self::Opening, Self::Probing)
                | (Self::Probing, Self::Up)
                | (Self::Opening | Self::Probing | Self::Up, Self::Quieting)
                | (Self::Quieting, Self::Down)
        )
    }

    /// Name in reports: `down`, `opening`, `probing`, `up`, `quieting`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Opening => "opening",
            Self::Probing => "probing",
            Self::Up => "up",
            Self::Quieting => "quieting",
        }
    }
}

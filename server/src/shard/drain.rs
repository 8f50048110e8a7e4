//! Where the node stands between its start and its end: one word that every shard reads.

use std::sync::atomic::{AtomicU8, Ordering};

/// The node's state. It only ever goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// The store is being loaded; only `/status` is answered.
    Initializing,
    /// Everything on disk is served.
    Serving,
    /// No connection is accepted; live requests go on to their end.
    Draining,
    /// The time for that is over: live requests end with an error.
    Over,
}

/// The node's state, shared by all threads.
#[derive(Debug, Default)]
pub struct Stage(AtomicU8);

impl Stage {
    /// The state now.
    pub fn get(&self) -> State {
        match self.0.load(Ordering::Acquire) {
            0 => State::Initializing,
            1 => State::Serving,
            2 => State::Draining,
            _ => State::Over,
        }
    }

    /// Goes forward to `state`; going back does nothing.
    pub fn advance(&self, state: State) {
        self.0.fetch_max(state as u8, Ordering::AcqRel);
    }

    /// Whether no new request may begin on a kept connection.
    pub fn is_draining(&self) -> bool {
        self.get() >= State::Draining
    }

    /// Whether answers under way have to end now.
    pub fn is_over(&self) -> bool {
        self.get() == State::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_never_goes_back() {
        let stage = Stage::default();
        assert_eq!(stage.get(), State::Initializing);
        stage.advance(State::Draining);
        // The store was loaded after the signal came.
        stage.advance(State::Serving);
        assert!(stage.is_draining() && !stage.is_over());
        stage.advance(State::Over);
        assert!(stage.is_draining() && stage.is_over());
    }
}

//! Decisions of synchronisation as pure machines: time and events in, effects out.

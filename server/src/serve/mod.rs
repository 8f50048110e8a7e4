//! Fetches: drives the protocol machine, plans on the owner shard, streams on the accepting one.

//! Exponential backoff with full jitter, as a value: the caller brings randomness and keeps the time.

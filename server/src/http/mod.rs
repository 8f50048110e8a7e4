//! HTTP/1.1: heads, bodies, smart-HTTP routes.

pub mod body;
pub mod chunked;
pub mod head;

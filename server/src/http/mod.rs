//! HTTP/1.1: heads, bodies, smart-HTTP routes.

//! What every end-to-end test stands on: real programs, started, watched and ended.

pub mod apache;
pub mod authority;
pub mod balancer;
pub mod compare;
pub mod conversation;
pub mod cutter;
pub mod exposition;
pub mod git;
pub mod heliostat;
pub mod http;
pub mod lfs;
pub mod process;
pub mod repositories;
pub mod sandbox;
pub mod site;
pub mod throttle;
pub mod tinyproxy;
pub mod users;
pub mod wire;

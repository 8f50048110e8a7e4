//! Measurements that need running servers: memory at scale, cost side by side with stock Git, what freshness promises and
//! what it costs far from the upstream, and what attackers do to others.
//!
//! The servers are real processes, their cost is what the kernel says it was. Nothing here decides whether a number is
//! good: the programs hold it against a bound.

pub mod apache;
pub mod attack;
pub mod distance;
pub mod freshness;
pub mod git;
pub mod heliostat;
pub mod process;
pub mod relay;
pub mod scale;
pub mod versus;

/// A temporary folder that Apache's workers, who are another user, may read.
pub fn readable_folder() -> std::io::Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(folder)
}

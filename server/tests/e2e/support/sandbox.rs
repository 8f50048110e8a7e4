//! One test's folder: repositories, homes, logs; removed at the end.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A temporary folder that a web server under another user may read.
pub struct Sandbox {
    folder: tempfile::TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("heliostat-e2e-").tempdir().expect("a temporary folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("ours");
        Self { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder in it, made if need be.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(&path).expect("the sandbox is writable");
        path
    }

    /// A path in it that does not exist yet.
    pub fn fresh(&self, name: &str) -> PathBuf {
        self.folder("fresh").join(format!("{name}-{:08x}", fastrand::u32(..)))
    }
}

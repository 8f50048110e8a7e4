//! Git LFS: Debian's client, and a small server of our own beside Apache's `git-http-backend`, since Debian has none.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SERVER: &str = include_str!("lfs_server.py");

/// Lines of Apache's configuration for a server below each repository's `info/lfs`; `folder` is for its files.
pub fn directives(folder: &Path) -> String {
    let (script, store) = (folder.join("lfs_server.py"), folder.join("store"));
    std::fs::write(&script, SERVER).expect("the sandbox is writable");
    std::fs::create_dir_all(&store).expect("the sandbox is writable");
    // It may run as another user.
    for (path, mode) in [(&script, 0o755), (&store, 0o777)] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    }
    format!(
        "SetEnv LFS_STORE {store}\nScriptAliasMatch \"^/.+/info/lfs(/.*)?$\" {script}\n",
        store = store.display(),
        script = script.display()
    )
}

/// Fails in words where the client is missing.
pub fn demand_client() {
    let there = Path::new("/usr/bin/git-lfs").exists();
    assert!(there, "/usr/bin/git-lfs is missing: the end-to-end tests need Debian's git-lfs; ./check installs it");
}

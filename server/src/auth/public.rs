//! Whether what lies in a data directory may be shown to everybody before the upstream has been asked.
//!
//! A mirror without credentials of its own holds only what the upstream shows to everybody, and serves that while the
//! upstream is away, after a restart too. Once a mirror with credentials (a certificate counts), or with a hook, has worked on the directory, that
//! cannot be told any more of what lies there: a file says so, and stays.

use crate::config::{Config, Upstream};
use std::{fs, io, path::Path};

/// In the data directory.
const FILE: &str = "private";
const WORDS: &str = "Not all that is mirrored here may be read by everybody: a mirror with credentials of its own, or with a \
                     hook, has worked here. While this file is here, a mirror without these serves nothing to callers \
                     without credentials before the upstream has confirmed it.\n";

/// Writes it down if `config` makes it so. Before anything is mirrored.
pub fn note(config: &Config) -> io::Result<()> {
    let has_credentials = matches!(&config.upstream, Upstream::Git { credentials, client, .. } if credentials.is_some() || client.is_some());
    let file = config.node.data.join(FILE);
    if (!has_credentials && config.auth.hook.is_none()) || file.exists() {
        return Ok(());
    }
    fs::write(&file, WORDS)?;
    fs::File::open(&file)?.sync_all()?;
    fs::File::open(&config.node.data)?.sync_all()
}

/// Whether all that lies in `data` is known to be for everybody.
pub fn is_all_public(data: &Path) -> bool {
    // What can't be looked at is not known.
    matches!(data.join(FILE).try_exists(), Ok(false))
}

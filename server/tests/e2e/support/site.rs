//! An upstream and its mirror, up and running: where a test begins.

use std::path::Path;

use super::apache::Apache;
use super::git::Git;
use super::heliostat::Heliostat;
use super::repositories::Upstream;
use super::sandbox::Sandbox;

/// Apache with some repositories, and a Heliostat that mirrors all of it.
pub struct Site {
    pub git: Git,
    pub apache: Apache,
    /// `None` while the harness is calibrated: see [`Site::mirror_url`].
    mirror: Option<Heliostat>,
    pub sandbox: Sandbox,
}

impl Site {
    /// `fill` makes the repositories in the folder that Apache serves.
    pub fn start(fill: impl FnOnce(&Git, &Path)) -> Self {
        Self::start_with(&[], fill)
    }

    /// The same with flags for `heliostat serve`.
    pub fn start_with(flags: &[&str], fill: impl FnOnce(&Git, &Path)) -> Self {
        let sandbox = Sandbox::new();
        let git = Git::new(&sandbox);
        let repositories = sandbox.folder("upstream");
        fill(&git, &repositories);
        let apache = Apache::start(&sandbox.folder("apache"), &repositories, &git);
        let mirror = std::env::var_os("HELIOSTAT_E2E_CALIBRATE")
            .is_none()
            .then(|| Heliostat::start(&sandbox.folder("heliostat"), &apache.url(), flags));
        Self { git, apache, mirror, sandbox }
    }

    /// The same with these lines of configuration, which begin in the one `[[mirror]]` rule.
    pub fn start_ruled(rule: &str, fill: impl FnOnce(&Git, &Path)) -> Self {
        let file = std::env::temp_dir().join(format!("heliostat-e2e-{:016x}.toml", fastrand::u64(..)));
        std::fs::write(&file, format!("[[mirror]]\ninclude = [\"*\"]\n{rule}\n")).expect("a temporary file");
        let site = Self::start_with(&["--config", &file.display().to_string()], fill);
        std::fs::remove_file(&file).expect("ours");
        site
    }

    pub fn mirror(&mut self) -> &mut Heliostat {
        self.mirror.as_mut().expect("this test needs the mirror itself and can't be calibrated without")
    }

    /// One of the upstream's repositories.
    pub fn upstream(&self, path: &str) -> Upstream {
        Upstream { git: self.git.clone(), folder: self.sandbox.path().join("upstream").join(path) }
    }

    pub fn upstream_url(&self, path: &str) -> String {
        format!("{}/{path}", self.apache.url())
    }

    /// The same repository at the mirror. With `HELIOSTAT_E2E_CALIBRATE` set it is the upstream's own URL: a case
    /// that fails then is a mistake of the case, not of the mirror.
    pub fn mirror_url(&self, path: &str) -> String {
        let base = self.mirror.as_ref().map_or_else(|| self.apache.url(), Heliostat::url);
        format!("{base}/{path}")
    }
}

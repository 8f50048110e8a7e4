//! Whether a mirror shows what has been pushed: pushes through its URL and fetches from it, by turns, with real Git and
//! passwords, and without a webhook. `heliostat_loadtest` has both the clients and the judge.

use std::io;
use std::path::{Path, PathBuf};

use heliostat_loadtest::{History, Interleaved};
use heliostat_testrepo::Spec;

use crate::apache::{Apache, PASSWORD, Readers, USER};
use crate::git::Git;
use crate::heliostat::{Heliostat, Mode, credentials};

const REPOSITORY: &str = "app.git";

/// What to do.
pub struct Freshness {
    /// The server's program.
    pub heliostat: PathBuf,
    /// How the mirror asks.
    pub mode: Mode,
    /// The repository before the first push.
    pub spec: Spec,
    /// At once.
    pub clients: u32,
    /// Of all clients together.
    pub pushes: u32,
    /// Of all clients together.
    pub fetches: u32,
}

impl Freshness {
    /// Does it in `folder`, which must be empty, and leaves it there.
    pub fn run(&self, folder: &Path) -> io::Result<History> {
        let git = Git::new(&folder.join("home"))?;
        let upstream = folder.join("upstream");
        std::fs::create_dir_all(&upstream)?;
        let repository = upstream.join(REPOSITORY);
        self.spec.write(&repository)?;
        // Two of Apache's workers that tidy up at once stumble over each other, and the pusher hears of it.
        for setting in [["core.sharedRepository", "0777"], ["receive.autogc", "false"]] {
            git.run(&repository, &["config", setting[0], setting[1]])?;
        }
        crate::git::writable_by_all(&repository)?;
        let apache = Apache::start_for(Readers::User, &folder.join("apache"), &upstream, &git)?;

        let settings = format!("freshness = {:?}\n{}", self.mode.name(), credentials(folder)?);
        // Git takes another name for another host.
        let url = apache.url().replace("127.0.0.1", "localhost");
        let heliostat = Heliostat::start_with(&self.heliostat, &folder.join("heliostat"), &url, &settings)?;
        let answer = format!("!f() {{ echo username={USER}; echo password={PASSWORD}; }}; f");
        git.run(folder, &["config", "--global", "credential.helper", &answer])?;
        let run = Interleaved {
            git: &|folder, arguments| git.run(folder, arguments),
            url: &format!("{}/{REPOSITORY}", heliostat.url()),
            clients: self.clients,
            pushes: self.pushes,
            fetches: self.fetches,
        };
        run.run(&folder.join("clients"))
    }
}

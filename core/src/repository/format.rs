//! `core.repositoryFormatVersion` and `extensions.*`: whether a repository is of a format that is understood.

use super::{
    OpenError,
    configuration::{Configuration, ConfigurationError},
};
use std::path::Path;

/// The newest version that is understood.
const VERSION_MAX: i64 = 1;
/// Extensions of version 1 alone.
const KNOWN_V1: [&str; 4] = ["noop-v1", "objectformat", "compatobjectformat", "refstorage"];
/// Extensions that are honoured in version 0 too.
const KNOWN_V0: [&str; 4] = ["noop", "preciousobjects", "partialclone", "worktreeconfig"];

/// Reads the repository's own configuration file, and only that. `shown`: what Git calls the folder.
pub(super) fn check(common_dir: &Path, shown: &Path) -> Result<(), OpenError> {
    let configuration = match Configuration::of_file(&common_dir.join("config"), &shown.join("config")) {
        // Here Git only warns. It ends when it reads all of the configuration, and so do we.
        Err(ConfigurationError::Io(..)) => return Ok(()),
        read => read?,
    };
    for setting in configuration.iter() {
        if setting.is("core", "bare")
            || setting.is("extensions", "preciousobjects")
            || setting.is("extensions", "worktreeconfig")
        {
            setting.boolean()?;
        } else if setting.is("core", "worktree") || setting.is("extensions", "partialclone") {
            setting.text()?;
        }
    }
    let Some(version) = configuration.last(|setting| setting.is("core", "repositoryformatversion")) else {
        return Ok(());
    };
    let version = version.number()?;
    if version > VERSION_MAX {
        return Err(OpenError::Unsupported(format!("Expected git repo version <= {VERSION_MAX}, found {version}")));
    }
    let (mut unknown, mut v1_only) = (Vec::new(), Vec::new());
    let (mut object_format, mut ref_storage) = (None, None);
    for setting in
        configuration.iter().filter(|setting| setting.section == "extensions" && setting.subsection.is_none())
    {
        let name = setting.name.to_string();
        if KNOWN_V0.contains(&name.as_str()) {
            continue;
        }
        if !KNOWN_V1.contains(&name.as_str()) {
            unknown.push(name);
            continue;
        }
        match name.as_str() {
            "objectformat" => object_format = Some(setting.text()?.to_string()),
            "refstorage" => ref_storage = Some(setting.text()?.to_string()),
            _ => {}
        }
        v1_only.push(name);
    }
    if version >= 1 && !unknown.is_empty() {
        return Err(listed("unknown repository extension", &unknown));
    }
    if version == 0 && !v1_only.is_empty() {
        return Err(listed("repo version is 0, but v1-only extension", &v1_only));
    }
    match object_format.as_deref() {
        None | Some("sha1") => {}
        Some("sha256") => {
            return Err(OpenError::Unsupported(
                "this repository's object format is sha256; only sha1 is served".into(),
            ));
        }
        Some(other) => {
            return Err(OpenError::Unsupported(format!("invalid value for 'extensions.objectformat': '{other}'")));
        }
    }
    match ref_storage.as_deref() {
        None | Some("files") => Ok(()),
        Some("reftable") => Err(OpenError::Unsupported(
            "this repository's references are stored as reftable; only files are served".into(),
        )),
        Some(other) => Err(OpenError::Unsupported(format!("invalid value for 'extensions.refstorage': '{other}'"))),
    }
}

fn listed(what: &str, names: &[String]) -> OpenError {
    let plural = if names.len() == 1 { "" } else { "s" };
    OpenError::Unsupported(format!("{what}{plural} found:\n\t{}", names.join("\n\t")))
}

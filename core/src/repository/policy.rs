//! What the repository's configuration makes of the protocol: `uploadpack.*`, `uploadpackfilter.*`, `lsrefs.unborn`,
//! `transfer.*`.

use super::{
    configuration::{Configuration, ConfigurationError, Setting},
    environment::Environment,
    hidden::HiddenRefs,
    meaningless,
};
use crate::protocol::{Policy, Unborn, WantPolicy};
use bstr::ByteSlice;
use std::time::Duration;

const TIP: u8 = 1;
const REACHABLE: u8 = 2;
const ANY: u8 = 7;

/// How `git upload-pack` would serve the repository.
#[derive(Debug)]
pub struct Service {
    /// What is offered and granted.
    pub policy: Policy,
    /// What is kept from clients.
    pub hidden_refs: HiddenRefs,
    /// Silence after which a keep-alive is sent; `None`: never (`uploadpack.keepAlive`).
    pub keep_alive: Option<Duration>,
    /// Whether a `session-id` is to be offered (`transfer.advertiseSID`).
    pub session_id: bool,
    /// What is wrong with the settings that only protocol version 2 reads.
    pub wrong_in_v2: Option<ConfigurationError>,
    /// Keys that are set and deliberately not honoured.
    pub ignored: Vec<&'static str>,
}

impl Service {
    /// Reads the configuration.
    pub fn from_configuration(
        configuration: &Configuration,
        environment: &Environment,
        agent: impl Into<String>,
    ) -> Result<Self, ConfigurationError> {
        let mut policy = Policy::stock(agent);
        let (mut wants, mut keep_alive, mut session_id) = (0, 5, false);
        let mut ignored = Vec::new();
        for setting in configuration.iter() {
            let mut grant = |bits: u8| -> Result<(), ConfigurationError> {
                wants = if setting.boolean()? { wants | bits } else { wants & !bits };
                Ok(())
            };
            match (setting.section.as_slice(), setting.subsection.as_ref(), setting.name.as_slice()) {
                (b"uploadpack", None, b"allowtipsha1inwant") => grant(TIP)?,
                (b"uploadpack", None, b"allowreachablesha1inwant") => grant(REACHABLE)?,
                (b"uploadpack", None, b"allowanysha1inwant") => grant(ANY)?,
                (b"uploadpack", None, b"keepalive") => keep_alive = setting.number()?,
                (b"uploadpack", None, b"allowfilter") => policy.filters = setting.boolean()?,
                (b"uploadpack", None, b"allowrefinwant") => policy.ref_in_want = setting.boolean()?,
                (b"uploadpack", None, b"allowsidebandall") => policy.sideband_all = setting.boolean()?,
                (b"uploadpack", None, b"blobpackfileuri") => ignored.push("uploadpack.blobPackfileUri"),
                (b"uploadpack", None, b"packobjectshook") => {
                    setting.text()?;
                    ignored.push("uploadpack.packObjectsHook");
                }
                (b"uploadpack", None, b"advertisebundleuris") if setting.boolean()? => {
                    ignored.push("uploadpack.advertiseBundleURIs");
                }
                (b"transfer", None, b"advertisesid") => session_id = setting.boolean()?,
                (b"uploadpackfilter", None, b"allow") => policy.filter_rules.fallback = setting.boolean()?,
                (b"uploadpackfilter", Some(filter), b"allow") => {
                    policy.filter_rules.named.insert(filter.to_str_lossy().into_owned(), setting.boolean()?);
                }
                (b"uploadpackfilter", Some(filter), b"maxdepth") if filter == "tree" => {
                    policy.filter_rules.named.insert("tree".into(), true);
                    policy.filter_rules.tree_depth_max = setting.unsigned()?;
                }
                _ => {}
            }
        }
        ignored.sort_unstable();
        ignored.dedup();
        policy.sideband_all |= environment.boolean("GIT_TEST_SIDEBAND_ALL")?.unwrap_or(false);
        policy.wants = match wants {
            ANY => WantPolicy::Any,
            bits if bits & (TIP | REACHABLE) == TIP | REACHABLE => WantPolicy::TipsAndReachable,
            bits if bits & REACHABLE != 0 => WantPolicy::Reachable,
            bits if bits & TIP != 0 => WantPolicy::Tips,
            _ => WantPolicy::Advertised,
        };
        let unborn = configuration.last(|setting| setting.is("lsrefs", "unborn")).map_or(Ok(Unborn::Advertise), unborn);
        let wrong_unborn = unborn.map(|unborn| policy.unborn = unborn).err();
        let object_info = configuration.boolean("transfer", "advertiseobjectinfo");
        let wrong_object_info = object_info.map(|offered| policy.object_info = offered.unwrap_or(false)).err();
        let wrong_in_v2 = wrong_unborn.or(wrong_object_info);
        meaningless::check(configuration)?;
        let keep_alive = u64::try_from(keep_alive).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let hidden_refs = HiddenRefs::from_configuration(configuration)?;
        Ok(Self { policy, hidden_refs, keep_alive, session_id, wrong_in_v2, ignored })
    }
}

/// `lsrefs.unborn`.
fn unborn(setting: &Setting) -> Result<Unborn, ConfigurationError> {
    let value = setting.text()?;
    match value.as_bytes() {
        b"advertise" => Ok(Unborn::Advertise),
        b"allow" => Ok(Unborn::Allow),
        b"ignore" => Ok(Unborn::Ignore),
        _ => Err(ConfigurationError::BadValue(format!("invalid value for 'lsrefs.unborn': '{value}'"))),
    }
}

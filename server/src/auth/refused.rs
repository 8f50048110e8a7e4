//! What a caller hears who is not let in: one status for each reason.

use crate::http::response::Response;
use heliostat_core::{
    fault::Fault,
    rights::{Challenges, Outcome, Refusal},
};
use std::{sync::Arc, time::Duration};

/// Seconds until a client should try again when nobody can tell what it may.
const RETRY_AFTER_SECONDS: u32 = 10;

/// Why a caller is not let in.
#[derive(Clone, Debug)]
pub enum Refused {
    /// 400: what stands behind `Authorization:` is not what it says.
    Malformed,
    /// 401, with the upstream's challenges. Whether the caller had brought something.
    NeedCredentials(Challenges, bool),
    /// 403.
    Forbidden,
    /// 404, as for any path that is unknown.
    Missing,
    /// 410 or 451.
    Gone(u16),
    /// 429.
    TooMany(Duration),
    /// 502: whoever answers is no Git host.
    Useless(Arc<Fault>),
    /// 503, never 401: at that a client would throw its user's password away.
    Unavailable(Arc<Fault>),
}

impl Refused {
    /// What `outcome` means to a caller who has `brought` a credential; nothing if it is a grant.
    pub(super) fn of(outcome: Outcome, brought: bool) -> Option<Self> {
        Some(match outcome {
            Outcome::Granted { .. } => return None,
            Outcome::Refused(Refusal::NeedCredentials(challenges)) => Self::NeedCredentials(challenges, brought),
            Outcome::Refused(Refusal::Forbidden) => Self::Forbidden,
            Outcome::Refused(Refusal::Missing) => Self::Missing,
            Outcome::Refused(Refusal::Gone(status)) => Self::Gone(status),
            Outcome::Useless(fault) => Self::Useless(fault),
            Outcome::TooMany(again) => Self::TooMany(again),
            Outcome::Unavailable(fault) => Self::Unavailable(fault),
        })
    }

    /// Whether another spelling of the path may be answered otherwise.
    pub(super) fn is_about_the_path(&self) -> bool {
        matches!(self, Self::Missing | Self::NeedCredentials(..) | Self::Forbidden | Self::Useless(_))
    }

    /// The answer.
    pub fn response(&self) -> Response {
        match self {
            Self::Malformed => Response::text(400, "the credentials are malformed"),
            Self::NeedCredentials(challenges, _) if challenges.is_empty() => Response::text(
                401,
                "the upstream wants credentials, but of no kind that this mirror can pass on (Basic or Bearer)",
            ),
            Self::NeedCredentials(challenges, brought) => {
                let words = if *brought {
                    "the upstream does not accept these credentials"
                } else {
                    "the upstream wants credentials for this repository"
                };
                let response = Response::text(401, words);
                challenges
                    .iter()
                    .fold(response, |response, challenge| response.with("WWW-Authenticate", challenge.clone()))
            }
            Self::Forbidden => Response::text(403, "the upstream refuses access to this repository"),
            Self::Missing => Response::not_found(),
            Self::Gone(451) => Response::text(451, "the upstream withholds this repository for legal reasons"),
            Self::Gone(_) => Response::text(410, "the upstream says that this repository is gone for good"),
            Self::Useless(fault) => Response::text(502, &fault.public),
            Self::TooMany(again) => {
                let seconds = again.as_secs_f64().ceil().max(1.0);
                Response::text(
                    429,
                    "too much that the upstream refuses came from here, or too much in all, try again later",
                )
                .with("Retry-After", format!("{seconds}"))
            }
            Self::Unavailable(fault) => Response::unavailable(RETRY_AFTER_SECONDS, &fault.public),
        }
    }

    /// What the operator reads.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed => Some("malformed credentials".into()),
            Self::NeedCredentials(_, true) => Some("the upstream does not accept the credentials".into()),
            Self::NeedCredentials(_, false) => Some("the upstream wants credentials".into()),
            Self::Forbidden => Some("the upstream refuses this caller (403)".into()),
            Self::Missing => None,
            Self::Gone(status) => Some(format!("the upstream answers {status}")),
            Self::TooMany(_) => Some("this source has asked too much that was refused, or all together have".into()),
            Self::Useless(fault) | Self::Unavailable(fault) => Some(fault.to_string()),
        }
    }
}

//! One conversation with one repository over smart HTTP: capabilities, references, packs.
//!
//! gix-protocol composes and reads the fetch; the reference advertisement is read here, because gix takes a list that is
//! cut by a stray delimiter for a whole one, and a name that its v0 reader does not expect for a reason to panic.

use super::advertisement::Advertisement;
use crate::upstream::{
    Advertised, Progress, UpstreamError,
    error::escaped,
    shallow_upstream,
    transport::{Control, Patience, Session},
};
use bstr::ByteSlice;
use gix_protocol::{
    Command,
    fetch::{Arguments, Response, response::Acknowledgement},
};
use gix_transport::{
    Protocol, Service,
    client::{
        Capabilities, MessageKind,
        blocking_io::{ExtendedBufRead, Transport as _, TransportV2Ext as _, http::Transport},
    },
    packetline::PacketLineRef,
};
use heliostat_core::ObjectId;
use std::{
    fmt::Debug,
    io::{self, BufRead},
    ops::ControlFlow,
    sync::{Arc, Mutex, PoisonError},
};

/// What gix may use of an upstream's fetch capabilities. The rest (filters, sideband-all, packfile-uris and the like) has no
/// place in a mirror's fetch; packfile-uris would make us ask other hosts.
const FETCH_FEATURES: [&str; 9] = [
    "multi_ack_detailed",
    "no-done",
    "side-band-64k",
    "side-band",
    "thin-pack",
    "ofs-delta",
    "shallow",
    "object-format",
    "agent",
];

/// An open conversation.
pub(super) struct Conversation {
    transport: Transport<Session>,
    control: Control,
    progress: Arc<Progress>,
    version: Protocol,
    capabilities: Capabilities,
}

/// How the upstream answered one round of haves.
pub(super) enum Round {
    /// The pack has come and was consumed.
    Pack,
    /// It wants to hear more; these it knows.
    Acknowledged(Vec<ObjectId>),
}

/// Takes a pack from the stream.
pub(super) type TakePack<'a> = dyn FnMut(&mut dyn BufRead) -> Result<(), UpstreamError> + 'a;

impl Conversation {
    /// Says hello. A v0 or v1 upstream gives its references at once; a v2 one has to be asked.
    pub(super) fn open(
        session: Session,
        control: Control,
        progress: Arc<Progress>,
    ) -> Result<(Self, Option<Advertised>), UpstreamError> {
        // The session knows its URL; this one is for gix's messages only.
        let url = gix_url::parse(b"http://upstream/repository".as_bstr())
            .map_err(|error| UpstreamError::Ours(error.to_string()))?;
        let mut transport = Transport::new_http(session, url, Protocol::V2, false);
        let (version, capabilities, refs) = hello(&mut transport, &control)?;
        Ok((Self { transport, control, progress, version, capabilities }, refs))
    }

    /// From now on: answers of at most `bytes` together, within `patience`.
    pub(super) fn allow(&self, bytes: u64, patience: Patience) {
        self.control.allow(bytes, patience);
    }

    /// Asks a v2 upstream for all its references.
    pub(super) fn ls_refs(&mut self) -> Result<Advertised, UpstreamError> {
        let mut arguments = vec!["symrefs".into(), "peel".into()];
        let ls_refs = self.capabilities.capability("ls-refs");
        if ls_refs.and_then(|capability| capability.supports("unborn")).unwrap_or_default() {
            arguments.push("unborn".into());
        }
        let mut features = vec![agent()];
        if let Some(format) = object_format(&self.capabilities) {
            features.push(("object-format", Some(format)));
        }
        let mut reader = self
            .transport
            .invoke("ls-refs", features.into_iter(), Some(arguments.into_iter()), false)
            .map_err(|error| explain(&self.control, &error))?;
        let mut advertisement = Advertisement::v2();
        while let Some(line) = reader.readline() {
            match line {
                Ok(Ok(PacketLineRef::Data(line))) => advertisement.take_v2(line)?,
                Ok(Ok(_)) => return Err(UpstreamError::Broken("a delimiter among the references".into())),
                Ok(Err(error)) => return Err(explain(&self.control, &error)),
                Err(error) => return Err(explain(&self.control, &error)),
            }
        }
        if reader.stopped_at() != Some(MessageKind::Flush) {
            return Err(UpstreamError::Broken("the list of references has no end".into()));
        }
        drop(reader);
        // An ERR packet is no reference line, and a list that is one ends up here only if it was complete.
        advertisement.finish()
    }

    /// Whether the upstream may give what no reference of its names: any object in v2, whatever it says, and in v0 if it
    /// says so.
    pub(super) fn gives_by_id(&self) -> bool {
        let says = |name: &str| self.capabilities.capability(name).is_some();
        self.version == Protocol::V2 || says("allow-tip-sha1-in-want") || says("allow-reachable-sha1-in-want")
    }

    /// A fetch that will want `wants`.
    pub(super) fn fetch<'c>(&'c mut self, wants: &[ObjectId]) -> Result<Fetch<'c>, UpstreamError> {
        let mut features = Command::Fetch.default_features(self.version, &self.capabilities);
        features.retain(|(name, _)| FETCH_FEATURES.contains(name));
        features.push(agent());
        Response::check_required_features(self.version, &features)
            .map_err(|error| UpstreamError::Unsupported(format!("the upstream is too old: {error}")))?;
        let no_done = features.iter().any(|(name, _)| *name == "no-done");
        let mut arguments = Arguments::new(self.version, features, false);
        for want in wants {
            arguments.want(want);
        }
        Ok(Fetch { conversation: self, arguments, no_done })
    }
}

/// Rounds of one fetch.
pub(super) struct Fetch<'c> {
    conversation: &'c mut Conversation,
    arguments: Arguments,
    no_done: bool,
}

impl Fetch<'_> {
    /// Tells what we have, and that this is all if `done`. `take` gets the pack, if one comes.
    pub(super) fn round(
        &mut self,
        haves: &[ObjectId],
        done: bool,
        take: &mut TakePack<'_>,
    ) -> Result<Round, UpstreamError> {
        let Conversation { transport, control, progress, version, .. } = &mut *self.conversation;
        for have in haves {
            self.arguments.have(have);
        }
        // Without haves a round that is not the last would be an error in gix, and mean nothing.
        let done = done || haves.is_empty();
        let mut reader = self.arguments.send(transport, done).map_err(|error| explain(control, &error))?;
        let response = Response::from_line_reader(*version, &mut reader, done || self.no_done, !done)
            .map_err(|error| explain(control, &error))?;
        if !response.shallow_updates().is_empty() {
            return Err(shallow_upstream());
        }
        if !response.has_pack() {
            if done {
                return Err(UpstreamError::Broken("no pack came".into()));
            }
            let known = response.acknowledgements().iter().filter_map(Acknowledgement::id).copied().collect();
            return Ok(Round::Acknowledged(known));
        }
        let fatal = Arc::new(Mutex::new(Vec::new()));
        // Setting a handler is what turns the decoding of side-bands on.
        reader.set_progress_handler(Some(Box::new({
            let (fatal, progress) = (fatal.clone(), progress.clone());
            move |is_error, text| {
                if is_error {
                    fatal.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(text);
                } else if let Some(line) = text.rsplit(|b| matches!(b, b'\r' | b'\n')).find(|line| !line.is_empty()) {
                    progress.say(escaped(line));
                }
                ControlFlow::Continue(())
            }
        })));
        let taken = take(&mut reader);
        let said = escaped(&fatal.lock().unwrap_or_else(PoisonError::into_inner));
        if !said.is_empty() {
            return Err(UpstreamError::Refused(said));
        }
        taken.map_err(|error| match control.failure() {
            Some(failure) => failure,
            None => error,
        })?;
        // The ingest stops at the trailer; what follows must be the end of the answer.
        if reader.stopped_at().is_none() {
            io::copy(&mut reader, &mut io::sink()).map_err(|error| explain(control, &error))?;
        }
        Ok(Round::Pack)
    }
}

type Hello = (Protocol, Capabilities, Option<Advertised>);

fn hello(transport: &mut Transport<Session>, control: &Control) -> Result<Hello, UpstreamError> {
    let answer = transport.handshake(Service::UploadPack, &[]).map_err(|error| explain(control, &error))?;
    if let Some(format) = object_format(&answer.capabilities)
        && format != "sha1"
    {
        let format = match format.as_str() {
            "sha256" => "SHA-256".into(),
            other => escaped(other.as_bytes()),
        };
        return Err(UpstreamError::Unsupported(format!(
            "the upstream repository names its objects with {format}, which this mirror can't hold yet"
        )));
    }
    let Some(mut lines) = answer.refs else { return Ok((answer.actual_protocol, answer.capabilities, None)) };
    let symrefs = answer.capabilities.iter().filter(|c| c.name() == "symref").filter_map(|c| c.value());
    let mut advertisement = Advertisement::v0(symrefs.map(|value| value.as_bytes()));
    while let Some(line) = lines.readline() {
        match line {
            Ok(Ok(PacketLineRef::Data(line))) => advertisement.take_v0(line)?,
            Ok(Ok(_)) => return Err(UpstreamError::Broken("a delimiter among the references".into())),
            Ok(Err(error)) => return Err(explain(control, &error)),
            Err(error) => return Err(explain(control, &error)),
        }
    }
    Ok((answer.actual_protocol, answer.capabilities.clone(), Some(advertisement.finish()?)))
}

fn object_format(capabilities: &Capabilities) -> Option<String> {
    Some(capabilities.capability("object-format")?.value()?.to_string())
}

fn agent() -> (&'static str, Option<String>) {
    ("agent", Some(concat!("heliostat/", env!("CARGO_PKG_VERSION")).to_owned()))
}

/// What really went wrong: the transport knows best; then what the upstream said; then gix.
fn explain(control: &Control, error: &dyn Debug) -> UpstreamError {
    if let Some(failure) = control.failure() {
        return failure;
    }
    let text = format!("{error:?}");
    if let Some((_, said)) = text.split_once("ERR ") {
        return UpstreamError::Refused(escaped(said.as_bytes()));
    }
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    UpstreamError::Broken(escaped(lines.join("; ").as_bytes()))
}

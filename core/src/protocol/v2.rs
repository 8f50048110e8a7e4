//! Protocol v2 around its commands: the capability advertisement and the keys that begin a request (`gitprotocol-v2`).

use super::{
    Unborn, View,
    fetch::Fetch,
    ls_refs::LsRefs,
    object_info::ObjectInfo,
    refusal::{Refused, quoted, refused},
    reply::Reply,
};
use crate::wire::capability::Capability;

/// What a request asks for, with its arguments as far as they have been read.
pub(super) enum Command {
    LsRefs(LsRefs),
    Fetch(Box<Fetch>),
    ObjectInfo(ObjectInfo),
}

impl Command {
    fn named(name: &[u8], view: &View<'_>) -> Option<Self> {
        match name {
            b"ls-refs" => Some(Self::LsRefs(LsRefs::default())),
            b"fetch" => Some(Self::Fetch(Box::default())),
            b"object-info" if view.policy.object_info => Some(Self::ObjectInfo(ObjectInfo::default())),
            _ => None,
        }
    }

    /// Its name in the protocol.
    pub fn name(&self) -> &'static str {
        match self {
            Self::LsRefs(_) => "ls-refs",
            Self::Fetch(_) => "fetch",
            Self::ObjectInfo(_) => "object-info",
        }
    }

    /// Takes one argument.
    pub fn argument(&mut self, line: &[u8], view: &View<'_>, reply: &mut Reply) -> Refused<()> {
        match self {
            Self::LsRefs(command) => command.argument(line, view),
            Self::Fetch(command) => command.argument(line, view, reply),
            Self::ObjectInfo(command) => command.argument(line, reply),
        }
    }
}

/// The keys before the arguments, as far as they have been read.
#[derive(Default)]
pub(super) struct Keys {
    command: Option<Command>,
    /// Whether there was any key: without one, a flush ends the connection.
    pub seen: bool,
    /// `session-id`, as far as an error would quote it.
    pub session_id: Option<String>,
    wrong_format: bool,
}

impl Keys {
    /// Takes one key.
    pub fn key(&mut self, line: &[u8], view: &View<'_>) -> Refused<()> {
        self.seen = true;
        if let Some(name) = line.strip_prefix(b"command=") {
            return self.command(name, view);
        }
        let Capability { name, value } = Capability::parse(line);
        match name {
            b"agent" | b"server-option" => Ok(()),
            b"session-id" if view.policy.session_id.is_some() => {
                self.session_id = value.map(quoted);
                Ok(())
            }
            b"object-format" => self.object_format(value),
            _ => refused(format!("unknown capability '{}'", quoted(line))),
        }
    }

    fn command(&mut self, name: &[u8], view: &View<'_>) -> Refused<()> {
        if let Some(present) = &self.command {
            return refused(format!(
                "command '{}' requested after already requesting command '{}'",
                quoted(name),
                present.name()
            ));
        }
        self.command = Command::named(name, view);
        match self.command {
            Some(_) => Ok(()),
            None => refused(format!("invalid command '{}'", quoted(name))),
        }
    }

    fn object_format(&mut self, value: Option<&[u8]>) -> Refused<()> {
        match value {
            Some(b"sha1") => self.wrong_format = false,
            Some(b"sha256") => self.wrong_format = true,
            Some(other) => return refused(format!("unknown object format '{}'", quoted(other))),
            None => return refused("object-format capability requires an argument"),
        }
        Ok(())
    }

    /// All keys have been read: the command.
    pub fn finish(self) -> Refused<Command> {
        let Some(command) = self.command else { return refused("no command requested") };
        if self.wrong_format {
            return refused("mismatched object format: server sha1; client sha256");
        }
        Ok(command)
    }
}

/// Writes the capability advertisement.
pub(super) fn advertise(view: &View<'_>, reply: &mut Reply) {
    let policy = view.policy;
    let when = |offered, text| if offered { text } else { "" };
    reply.line(format_args!("version 2\n"));
    reply.line(format_args!("agent={}\n", policy.agent));
    reply.line(format_args!("ls-refs{}\n", when(policy.unborn == Unborn::Advertise, "=unborn")));
    reply.line(format_args!(
        "fetch=shallow wait-for-done{}{}{}\n",
        when(policy.filters, " filter"),
        when(policy.ref_in_want, " ref-in-want"),
        when(policy.sideband_all, " sideband-all"),
    ));
    reply.line(format_args!("server-option\n"));
    reply.line(format_args!("object-format=sha1\n"));
    if let Some(id) = &policy.session_id {
        reply.line(format_args!("session-id={id}\n"));
    }
    if policy.object_info {
        reply.line(format_args!("object-info\n"));
    }
    reply.flush();
}

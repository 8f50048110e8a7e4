//! Where the work of a command is done: by a node that runs, or here.
//!
//! Who names no data directory means the node that answers at the admin address, whatever is configured here. Who names
//! one means that: a node answers for it only if it is the process that holds it, which the lock file tells (see
//! [`crate::holder`]).

use super::client::{Client, Identity, Unidentified};
use crate::{
    cli::settings::in_words,
    config::Beside,
    holder::{Holder, Kind, canonical},
};
use heliostat_core::store::{DataDirectory, Store, StoreError};
use std::path::Path;

/// Who does the work.
pub enum Place {
    /// The node that the client reaches.
    Beside(Client, Identity),
    /// This process.
    Alone(Store),
}

/// Why nobody does.
pub enum Refusal {
    /// The call is mistaken.
    Usage(Vec<String>),
    /// It can't be done now.
    Failed(String),
}

impl Place {
    /// Finds it. What asks the upstream where no node runs needs the whole configuration; what does not, a data directory
    /// that is there.
    pub fn find(asked: &Beside, asks_upstream: bool) -> Result<Self, Refusal> {
        let (data, client) = (&asked.node.data, Client::new(&asked.admin));
        let answer = client.identify();
        let other = match answer {
            Ok(identity) if !asked.data_is_said || is_on(&identity, data) => {
                same_upstream(asked, &client, &identity)?;
                return Ok(Self::Beside(client, identity));
            }
            Err(Unidentified::Token) if !asked.data_is_said => {
                return Err(Refusal::Failed(Unidentified::Token.to_string()));
            }
            other => other,
        };
        let in_use = |error| match error {
            StoreError::InUse => Refusal::Failed(held(data, &client, &other)),
            error => Refusal::Failed(format!("the data directory {}: {error}", data.display())),
        };
        match &asked.config {
            Err(missing) if asks_upstream => {
                if data.join("lock").exists() {
                    DataDirectory::lock(data).map_err(in_use)?;
                }
                let mut words = in_words(missing);
                match &other {
                    Ok(identity) => words.insert(0, elsewhere(&client, identity, data)),
                    Err(Unidentified::Token) => words.push(Unidentified::Token.to_string()),
                    Err(error) => words.push(format!("no node answers at {}: {error}", client.address())),
                }
                Err(Refusal::Usage(words))
            }
            _ if !asks_upstream && !data.join("lock").exists() => {
                let what = match &other {
                    Ok(identity) => elsewhere(&client, identity, data),
                    Err(Unidentified::Token) => Unidentified::Token.to_string(),
                    Err(error) => format!("no node answers at {}: {error}", client.address()),
                };
                let data = canonical(data);
                Err(Refusal::Failed(format!("{what}; and {} is no data directory", data.display())))
            }
            config => {
                let retention = config.as_ref().map(|config| config.store.retention()).unwrap_or_default();
                let directory = DataDirectory::lock(data).map_err(in_use)?;
                let signed = Holder::this(if asks_upstream { Kind::Sync } else { Kind::Command })
                    .sign(&directory)
                    .map_err(StoreError::from);
                signed.map_err(in_use)?;
                Store::load(directory, retention).map(Self::Alone).map_err(in_use)
            }
        }
    }
}

/// Whether the node is the process that holds `data`. Where the lock can't be read, its path has to tell.
fn is_on(identity: &Identity, data: &Path) -> bool {
    match Holder::of(data) {
        Some(holder) => holder.kind == Kind::Node && holder.instance == identity.instance,
        None => canonical(data).display().to_string() == identity.data,
    }
}

/// An upstream that is given and is not the node's would be passed over in silence.
fn same_upstream(asked: &Beside, client: &Client, identity: &Identity) -> Result<(), Refusal> {
    match asked.upstream.as_ref().map(ToString::to_string) {
        Some(upstream) if upstream != identity.upstream => Err(Refusal::Usage(vec![format!(
            "the node at {} mirrors {}, not {upstream}: leave the upstream out, or name the node with --admin-listen",
            client.address(),
            identity.upstream
        )])),
        _ => Ok(()),
    }
}

fn elsewhere(client: &Client, identity: &Identity, data: &Path) -> String {
    format!(
        "the node at {} keeps its data in {}, not in {}",
        client.address(),
        identity.data,
        canonical(data).display()
    )
}

/// The lock is held: by whom, and why it can't be asked.
fn held(data: &Path, client: &Client, answer: &Result<Identity, Unidentified>) -> String {
    let (path, data) = (data, canonical(data));
    let data = data.display();
    match (Holder::of(path), answer) {
        (Some(holder @ Holder { kind: Kind::Sync | Kind::Command, .. }), _) => {
            format!("{holder} is at work on {data}: try again when it has ended")
        }
        (_, Err(Unidentified::Token)) => Unidentified::Token.to_string(),
        (Some(holder), Ok(identity)) => format!(
            "{holder} runs on {data}, but {}: name the admin address of the one you mean with --admin-listen",
            elsewhere(client, identity, path)
        ),
        (Some(holder), Err(error)) => {
            format!("{holder} runs on {data}, but its admin API does not answer at {}: {error}", client.address())
        }
        (None, Ok(identity)) => format!("another process works on {data}, and {}", elsewhere(client, identity, path)),
        (None, Err(error)) => {
            format!("another process works on {data}, and no node answers at {}: {error}", client.address())
        }
    }
}

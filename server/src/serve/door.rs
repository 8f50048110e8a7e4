//! How far an answer is whose beginning is put off: its head is held back, so that it can still be any answer, or it has
//! been sent because the client had to hear something, and a refusal is a packet in it.

use super::{
    job::Cache,
    references::{self, headers},
    resolve::{Found, Unresolved},
};
use crate::{
    http::{
        exchange::{Answer, Exchange, Record},
        response::Response,
    },
    shard::Shard,
};
use heliostat_core::{fault::Fault, wire::pktline};
use std::{io, rc::Rc};

/// What an answer is called.
pub const RESULT: &str = "application/x-git-upload-pack-result";

/// Where an answer goes.
pub enum Door<'e, 'c> {
    /// Nothing has been sent.
    Shut(&'e mut Exchange<'c>),
    /// Status 200 and the head.
    Open(Answer<'e, 'c>),
}

impl<'e, 'c> Door<'e, 'c> {
    /// Begins the answer, if that has not been done. `cache` is left out where it is not known yet.
    pub async fn open(self, found: &Found, cache: Option<Cache>) -> io::Result<Answer<'e, 'c>> {
        match self {
            Self::Shut(exchange) => exchange.begin(200, &headers(found, cache, RESULT)).await,
            Self::Open(mut answer) => {
                answer.at_work(false);
                Ok(answer)
            }
        }
    }

    /// Begins it, and sends `bytes` at once. We are at work from here on.
    pub async fn say(self, bytes: &[u8], found: &Found) -> io::Result<Self> {
        let mut answer = self.open(found, None).await?;
        answer.at_work(true);
        answer.push(bytes).await?;
        answer.flush().await?;
        Ok(Self::Open(answer))
    }

    /// Ends it with `fault`: an `ERR` packet where it has begun, else `response`.
    pub async fn fail(mut self, fault: &Fault, response: Response) -> io::Result<()> {
        self.record().error = Some(fault.to_string());
        match self {
            Self::Shut(exchange) => exchange.respond(response).await,
            Self::Open(mut answer) => {
                answer.at_work(false);
                let mut packet = Vec::new();
                pktline::line(&mut packet, format_args!("ERR {}", fault.public));
                answer.push(&packet).await?;
                answer.finish().await
            }
        }
    }

    /// Ends it where there is nothing to answer from any more.
    pub async fn refuse(self, unresolved: Unresolved) -> io::Result<()> {
        // Which credentials the upstream wants has to be found out first.
        let unresolved = match self {
            Self::Shut(exchange) => return Box::pin(references::refuse(exchange, unresolved)).await,
            Self::Open(_) => unresolved,
        };
        let Unresolved { response, detail, .. } = unresolved;
        let public = String::from_utf8_lossy(&response.body).trim_end().to_owned();
        let detail = detail.unwrap_or_else(|| public.clone());
        self.fail(&Fault::upstream(public, detail), response).await
    }

    /// Ends when the client has gone away.
    pub async fn gone(&mut self) {
        match self {
            Self::Shut(exchange) => exchange.gone().await,
            Self::Open(answer) => answer.gone().await,
        }
    }

    /// What the log will say of the request.
    pub fn record(&mut self) -> &mut Record {
        match self {
            Self::Shut(exchange) => &mut exchange.record,
            Self::Open(answer) => answer.record(),
        }
    }

    /// The shard that accepted the connection.
    pub fn shard(&self) -> &Rc<Shard> {
        match self {
            Self::Shut(exchange) => exchange.shard,
            Self::Open(answer) => answer.shard(),
        }
    }
}

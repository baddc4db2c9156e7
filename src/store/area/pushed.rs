//! Pushed authorization requests.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Store, StoreError, Tx};
use crate::people::later;
use crate::people::pushed::{self, Pushed, PushedVerdict, SHOWN_FOR};
use crate::tokens::{TokenHash, TokenId};

/// Reads a request from seven columns.
pub(super) fn pushed_at(row: &Row, first: usize) -> Result<Pushed, StoreError> {
    Ok(Pushed {
        id: row.id(first)?,
        hash: row.hash(first + 1)?,
        client: row.text(first + 2)?,
        request: row.text(first + 3)?,
        expires_at: row.time(first + 4)?,
        presented_at: row.time_or_null(first + 5)?,
        used_at: row.time_or_null(first + 6)?,
    })
}

impl Tx {
    /// Uses up a request of `client`. Returns `false` if it was used before or is unknown.
    pub async fn use_pushed(
        &mut self,
        id: TokenId,
        client: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = [id.into(), now.into(), client.into()];
        Ok(self.row(Statement::PAR_USE, values).await?.is_some())
    }
}

/// Whose pushed requests share room in the store, and how many of them there may be.
#[derive(Clone, Debug)]
pub struct Room {
    /// The namespace of the client.
    pub namespace: String,
    /// [`pushed::site`] of the caller, if anyone can push in the name of the client. Such requests have a room of their own:
    /// strangers must not take that of clients which prove who they are.
    pub site: Option<[u8; 32]>,
    /// The largest number of one client.
    pub of_client: u32,
    /// The largest number of all clients of the namespace that share the room.
    pub of_namespace: u32,
}

impl Room {
    /// Returns the name by which requests share the room. No namespace has a slash in its name.
    fn name(&self) -> String {
        match self.site {
            None => self.namespace.clone(),
            Some(_) => format!("{}/anyone", self.namespace),
        }
    }
}

impl Store {
    /// Records a request. If its client or its namespace has no room left, a used one goes. If none was used, one of the
    /// client and site goes that hold most: anyone can push a public client's requests, so those of one site must keep out
    /// neither the next one nor what others have pushed. Of these the oldest goes that no browser has presented. Returns
    /// `false`, and records nothing, if others take its place at once. Requests that arrive on several replicas at the same
    /// time may exceed the number.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn push_request(&self, pushed: Pushed, room: &Room) -> Result<bool, StoreError> {
        let (of_client, of_namespace) = (i64::from(room.of_client), i64::from(room.of_namespace));
        let shared = room.name();
        let values: [Value; 9] = [
            pushed.id.into(),
            pushed.hash.into(),
            (&pushed.client).into(),
            (&shared).into(),
            (&pushed.request).into(),
            pushed.expires_at.into(),
            of_client.into(),
            of_namespace.into(),
            room.site.into(),
        ];
        let added = self.execute(Statement::PAR_ADD, values.clone()).await?;
        if !added.is_empty() {
            return Ok(true);
        }
        for (statement, who, most) in [
            (
                Statement::PAR_MAKE_ROOM_OF_CLIENT,
                &pushed.client,
                of_client,
            ),
            (Statement::PAR_MAKE_ROOM_OF_NAMESPACE, &shared, of_namespace),
        ] {
            self.execute(statement, [who.into(), most.into()]).await?;
        }
        let added = self.execute(Statement::PAR_ADD, values).await?;
        Ok(!added.is_empty())
    }

    /// Judges a presented reference of `client`, and records its first presentation. Returns the request if it is
    /// valid.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn present_request(
        &self,
        id: TokenId,
        reference: TokenHash,
        client: &str,
        now: Timestamp,
    ) -> Result<Option<Pushed>, StoreError> {
        let Some(row) = self.find(Statement::PAR_READ, [id.into()]).await? else {
            return Ok(None);
        };
        let pushed = pushed_at(&row, 0)?;
        let verdict = pushed::judge(&pushed, &reference, client, now);
        let is_valid = self.present(id, verdict, now).await?;
        Ok(is_valid.then_some(pushed))
    }

    /// Records the first presentation. Returns whether the request is valid.
    pub(super) async fn present(
        &self,
        id: TokenId,
        verdict: PushedVerdict,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match verdict {
            PushedVerdict::First => {
                let values = [id.into(), now.into(), later(now, SHOWN_FOR).into()];
                self.execute(Statement::PAR_PRESENT, values).await?;
                Ok(true)
            }
            PushedVerdict::Again => Ok(true),
            PushedVerdict::Used | PushedVerdict::Expired | PushedVerdict::Guessed => Ok(false),
        }
    }
}

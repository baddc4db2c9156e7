//! The gate against guessing, shared by all replicas and kept over a restart.

use std::time::Duration;

use jiff::Timestamp;

use super::super::row::Value;
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError};
use crate::people::guessing::Gate;

/// A subject that attempts are counted for, given as a hash of its kind and name.
pub type Subject = [u8; 32];

fn micros(duration: Duration) -> Value {
    i64::try_from(duration.as_micros())
        .unwrap_or(i64::MAX)
        .into()
}

impl Store {
    /// Reserves one attempt for each subject; if one is refused, none is reserved. Returns whether the attempt is
    /// admitted.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn reserve_attempt(
        &self,
        mut gates: Vec<(Subject, Gate)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // Two transactions that lock the same rows do so in the same order.
        gates.sort_unstable_by_key(|(subject, _)| *subject);
        self.write(move |tx| {
            Box::pin(async move {
                for (subject, gate) in gates {
                    let gate = gate.at(now);
                    if gate.reserve(None).is_none() {
                        return Ok(Outcome::Cancel(false));
                    }
                    let values: [Value; 4] = [
                        (&subject).into(),
                        gate.floor.into(),
                        micros(gate.interval),
                        gate.ceiling.into(),
                    ];
                    let reserved = tx.row(Statement::ATTEMPT_RESERVE, values).await?;
                    if reserved.is_none() {
                        return Ok(Outcome::Cancel(false));
                    }
                }
                Ok(Outcome::Save(true))
            })
        })
        .await
    }

    /// Takes back a reservation, because the attempt succeeded.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn refund_attempt(&self, mut gates: Vec<(Subject, Gate)>) -> Result<(), StoreError> {
        gates.sort_unstable_by_key(|(subject, _)| *subject);
        self.write(move |tx| {
            Box::pin(async move {
                for (subject, gate) in gates {
                    let values = [(&subject).into(), micros(gate.interval)];
                    tx.run(Statement::ATTEMPT_REFUND, values).await?;
                }
                Ok(Outcome::Save(()))
            })
        })
        .await
    }

    /// Returns the stored time of a subject's gate; `None` if no attempt is stored.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn attempts(&self, subject: Subject) -> Result<Option<Timestamp>, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let row = tx.row(Statement::ATTEMPT_READ, [(&subject).into()]).await?;
                row.map(|row| row.time(0)).transpose()
            })
        })
        .await
    }

    /// Opens the gate of a subject. Returns whether anything was stored.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn clear_attempts(&self, subject: Subject) -> Result<bool, StoreError> {
        self.write_single(move |tx| {
            Box::pin(async move {
                let row = tx
                    .row(Statement::ATTEMPT_CLEAR, [(&subject).into()])
                    .await?;
                Ok(row.is_some())
            })
        })
        .await
    }
}

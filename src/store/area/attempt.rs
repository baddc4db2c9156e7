//! The gate against guessing, shared by all replicas and kept over a restart.

use std::time::Duration;

use jiff::Timestamp;

use super::super::row::Value;
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use crate::people::attempt::Subject;
use crate::people::guessing::{Gate, Reservation};

/// Returns the microseconds of a duration.
fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Returns each subject once, in one order for all transactions: those that lock the same rows do not wait for each
/// other in a circle.
fn distinct(mut gates: Vec<(Subject, Gate)>) -> Vec<(Subject, Gate)> {
    gates.sort_unstable_by_key(|(subject, _)| *subject);
    gates.dedup_by_key(|(subject, _)| *subject);
    gates
}

/// Returns the subjects and the intervals, for a statement that refunds all of them.
pub(super) fn refunds(gates: Vec<(Subject, Gate)>) -> (Value, Value) {
    columns(&distinct(gates))
}

fn columns(gates: &[(Subject, Gate)]) -> (Value, Value) {
    let subjects = gates.iter().map(|(subject, _)| subject.to_vec());
    let steps = gates.iter().map(|(_, gate)| length(gate.interval));
    (
        Value::ManyBytes(subjects.collect()),
        Value::Ints(steps.collect()),
    )
}

impl Tx {
    /// Takes back a reservation of each subject.
    pub(super) async fn refund(&mut self, gates: Vec<(Subject, Gate)>) -> Result<(), StoreError> {
        for (subject, gate) in distinct(gates) {
            let values = [(&subject).into(), length(gate.interval).into()];
            self.run(Statement::ATTEMPT_REFUND, values).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Reserves one attempt for each subject, also if it is named twice; if one is refused, none is reserved. Returns whether the attempt is
    /// admitted.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn reserve_attempt(
        &self,
        gates: Vec<(Subject, Gate)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let gates = distinct(gates);
        if self.is_postgres() {
            return self.reserve_at_once(gates, now).await;
        }
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
                        length(gate.interval).into(),
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

    async fn reserve_at_once(
        &self,
        gates: Vec<(Subject, Gate)>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let at: Vec<_> = gates.iter().map(|(_, gate)| gate.at(now)).collect();
        if at.iter().any(|gate| gate.reserve(None).is_none()) {
            return Ok(false);
        }
        let (subjects, steps) = columns(&gates);
        let times = |of: fn(&Reservation) -> Timestamp| {
            Value::Ints(at.iter().map(|gate| of(gate).as_microsecond()).collect())
        };
        let (least, most) = (times(|gate| gate.floor), times(|gate| gate.ceiling));
        let values = [subjects, least, steps, most];
        let rows = self.execute(Statement::ATTEMPTS_RESERVE, values).await?;
        let reserved: Result<Vec<_>, _> = rows.iter().map(|row| row.bytes(0)).collect();
        let reserved = reserved?;
        if reserved.len() == gates.len() {
            return Ok(true);
        }
        let mut surplus = gates;
        surplus.retain(|(subject, _)| reserved.iter().any(|it| it == subject));
        if !surplus.is_empty() {
            self.refund_attempt(surplus).await?;
        }
        Ok(false)
    }

    /// Takes back a reservation, because the attempt succeeded. [`Store::begin_session`] does so as well.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn refund_attempt(&self, gates: Vec<(Subject, Gate)>) -> Result<(), StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                tx.refund(gates).await?;
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
        let row = self.find(Statement::ATTEMPT_READ, [(&subject).into()]);
        row.await?.map(|row| row.time(0)).transpose()
    }

    /// Opens the gate of a subject. Returns whether anything was stored.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn clear_attempts(&self, subject: Subject) -> Result<bool, StoreError> {
        let cleared = self.execute(Statement::ATTEMPT_CLEAR, [(&subject).into()]);
        Ok(!cleared.await?.is_empty())
    }
}

//! A connection to PostgreSQL, and how a statement runs on it.

use deadpool_postgres::Object;
use tokio_postgres::types::{ToSql, Type};

use super::StoreError;
use super::row::{Row, Value};

/// A connection of the pool. If it is dropped in the middle of a statement or of a transaction, it is closed, which rolls
/// back, and lets no other transaction wait for the statement.
pub(super) struct Connection {
    client: Option<Object>,
    is_open: bool,
    is_busy: bool,
}

impl Connection {
    pub(super) const fn new(client: Object) -> Self {
        Self {
            client: Some(client),
            is_open: false,
            is_busy: false,
        }
    }

    fn client(&self) -> Result<&Object, StoreError> {
        self.client.as_ref().ok_or(StoreError::Closed)
    }

    /// Begins a transaction.
    pub(super) async fn begin(&mut self) -> Result<(), StoreError> {
        // Set before the statement runs: if its caller gives up, it may still take effect.
        self.is_open = true;
        let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
        Ok(self.client()?.batch_execute(begin).await?)
    }

    /// Ends the transaction.
    pub(super) async fn end(&mut self, save: bool) -> Result<(), StoreError> {
        let end = if save { "COMMIT" } else { "ROLLBACK" };
        self.client()?.batch_execute(end).await?;
        self.is_open = false;
        Ok(())
    }

    /// Executes a statement, which is prepared once for each connection.
    pub(super) async fn fetch(
        &mut self,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, StoreError> {
        self.is_busy = true;
        let rows = fetch(self.client()?, sql, values).await;
        self.is_busy = false;
        rows
    }
}

async fn fetch(client: &Object, sql: &str, values: Vec<Value>) -> Result<Vec<Row>, StoreError> {
    let types: Vec<Type> = values.iter().map(Value::postgres_type).collect();
    let statement = client.prepare_typed_cached(sql, &types).await?;
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|it| it as _).collect();
    let rows = client.query(&statement, &values).await?;
    Ok(rows.into_iter().map(Row::Postgres).collect())
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (true, Some(client)) = (self.is_open || self.is_busy, self.client.take()) {
            drop(Object::take(client));
        }
    }
}

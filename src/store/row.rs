//! Values that statements take and rows that they return, the same for both engines.

use bytes::BytesMut;
use jiff::Timestamp;
use sqlx::Row as _;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

use super::StoreError;
use super::error::chain;
use crate::people::account::AccountId;
use crate::tokens::{TokenHash, TokenId};

/// A value that a statement takes. `None` is NULL, of this type.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    /// Only for PostgreSQL.
    Ints(Vec<i64>),
    /// Only for PostgreSQL.
    ManyBytes(Vec<Vec<u8>>),
}

impl Value {
    /// Returns its type in PostgreSQL.
    pub(super) const fn postgres_type(&self) -> Type {
        match self {
            Self::Int(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
            Self::Bytes(_) => Type::BYTEA,
            Self::Ints(_) => Type::INT8_ARRAY,
            Self::ManyBytes(_) => Type::BYTEA_ARRAY,
        }
    }
}

impl ToSql for Value {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self {
            Self::Int(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.to_sql(kind, out),
            Self::Ints(values) => values.to_sql(kind, out),
            Self::ManyBytes(values) => values.to_sql(kind, out),
        }
    }

    /// Each statement is prepared with the types of its values.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Timestamp> for Value {
    fn from(value: Timestamp) -> Self {
        Self::Int(Some(value.as_microsecond()))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(value: &String) -> Self {
        Self::Text(Some(value.clone()))
    }
}

impl From<&Option<String>> for Value {
    fn from(value: &Option<String>) -> Self {
        Self::Text(value.clone())
    }
}

impl From<TokenId> for Value {
    fn from(value: TokenId) -> Self {
        Self::from(value.as_str())
    }
}

impl From<Option<TokenId>> for Value {
    fn from(value: Option<TokenId>) -> Self {
        Self::Text(value.map(|id| id.as_str().to_owned()))
    }
}

impl From<Option<TokenHash>> for Value {
    fn from(value: Option<TokenHash>) -> Self {
        Self::Bytes(value.map(|hash| hash.as_bytes().to_vec()))
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<Option<Timestamp>> for Value {
    fn from(value: Option<Timestamp>) -> Self {
        Self::Int(value.map(Timestamp::as_microsecond))
    }
}

impl From<TokenHash> for Value {
    fn from(value: TokenHash) -> Self {
        Self::from(value.as_bytes())
    }
}

impl From<&[u8; 32]> for Value {
    fn from(value: &[u8; 32]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Option<[u8; 32]>> for Value {
    fn from(value: Option<[u8; 32]>) -> Self {
        Self::Bytes(value.map(Vec::from))
    }
}

impl From<AccountId> for Value {
    fn from(value: AccountId) -> Self {
        Self::Bytes(Some(value.0.as_bytes().to_vec()))
    }
}

/// A row that a statement returns.
pub(super) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(tokio_postgres::Row),
}

pub(super) fn unexpected(column: usize, reason: impl ToString) -> StoreError {
    let reason = reason.to_string();
    StoreError::Value { column, reason }
}

macro_rules! read {
    ($name:ident, $type:ty) => {
        pub(super) fn $name(&self, column: usize) -> Result<$type, StoreError> {
            match self {
                Self::Sqlite(row) => row
                    .try_get(column)
                    .map_err(|error| unexpected(column, error)),
                Self::Postgres(row) => row
                    .try_get(column)
                    .map_err(|error| unexpected(column, chain(&error))),
            }
        }
    };
}

impl Row {
    read!(int, i64);
    read!(int_or_null, Option<i64>);
    read!(text, String);
    read!(text_or_null, Option<String>);
    read!(bytes, Vec<u8>);

    pub(super) fn time(&self, column: usize) -> Result<Timestamp, StoreError> {
        Timestamp::from_microsecond(self.int(column)?).map_err(|error| unexpected(column, error))
    }

    pub(super) fn time_or_null(&self, column: usize) -> Result<Option<Timestamp>, StoreError> {
        let time = self.int_or_null(column)?.map(Timestamp::from_microsecond);
        time.transpose().map_err(|error| unexpected(column, error))
    }

    pub(super) fn id(&self, column: usize) -> Result<TokenId, StoreError> {
        let id = self.text(column)?.parse();
        id.map_err(|error| unexpected(column, error))
    }

    pub(super) fn hash(&self, column: usize) -> Result<TokenHash, StoreError> {
        let bytes: Result<[u8; 32], _> = self.bytes(column)?.try_into();
        bytes
            .map(TokenHash::from_bytes)
            .map_err(|_| unexpected(column, "a hash has 32 bytes"))
    }

    pub(super) fn account(&self, column: usize) -> Result<AccountId, StoreError> {
        let id = Uuid::from_slice(&self.bytes(column)?);
        id.map(AccountId).map_err(|error| unexpected(column, error))
    }

    /// Reads a number that fits into a smaller type.
    pub(super) fn number<T: TryFrom<i64>>(&self, column: usize) -> Result<T, StoreError>
    where
        T::Error: std::fmt::Display,
    {
        T::try_from(self.int(column)?).map_err(|error| unexpected(column, error))
    }
}

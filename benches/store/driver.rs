//! The statements of the store by the driver alone, which is the limit that the store cannot pass. Each is prepared once
//! for each connection, and commits are shared as in the store.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use futures::future::join_all;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, SqliteConnection};
use symbolon::store::texts;
use tokio::sync::{Semaphore, oneshot};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, NoTls};

/// The number of connections that read a SQLite file, as in the store.
const READERS: u32 = 4;

/// A value that a statement takes.
#[derive(Clone, Debug)]
pub enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Bytes(Option<Vec<u8>>),
    Ints(Vec<i64>),
    ManyBytes(Vec<Vec<u8>>),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_owned()))
    }
}

impl Value {
    const fn kind(&self) -> Type {
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
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Int(value) => value.to_sql(kind, out),
            Self::Text(value) => value.to_sql(kind, out),
            Self::Bytes(value) => value.to_sql(kind, out),
            Self::Ints(values) => values.to_sql(kind, out),
            Self::ManyBytes(values) => values.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A statement of the store by its name, with its values.
pub type Step = (&'static str, Vec<Value>);

/// The connections to one database.
pub enum Driver {
    Sqlite(Sqlite),
    Postgres(Postgres),
}

pub struct Sqlite {
    texts: Texts,
    /// `None` in memory, where each connection has a database of its own.
    readers: Option<SqlitePool>,
    writer: tokio::sync::Mutex<SqliteConnection>,
    waiting: Mutex<Vec<Job>>,
}

/// What one caller wants to commit.
struct Job {
    steps: Vec<Step>,
    done: oneshot::Sender<()>,
}

pub struct Postgres {
    free: Mutex<Vec<Prepared>>,
    places: Semaphore,
}

struct Prepared {
    client: Client,
    statements: HashMap<&'static str, tokio_postgres::Statement>,
    texts: Arc<Texts>,
}

/// The text of each statement.
struct Texts(HashMap<String, Arc<str>>);

impl Texts {
    fn new(qualifier: &str) -> Self {
        Self(texts(qualifier).into_iter().collect())
    }

    fn of(&self, name: &str) -> Arc<str> {
        Arc::clone(self.0.get(name).expect("a statement of the store"))
    }
}

fn options() -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .disable_statement_logging()
}

impl Driver {
    /// Opens the file of a store that is closed.
    pub async fn file(path: &Path) -> Self {
        let options = options().filename(path);
        let writer = options.clone().journal_mode(SqliteJournalMode::Wal);
        let writer = writer.connect().await.expect("the file");
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        Self::sqlite(writer, Some(readers))
    }

    /// Copies the file of a store that is closed into memory.
    pub async fn memory(path: &Path) -> Self {
        // Not `in_memory`, whose flag SQLite applies to attached files too.
        let options = options().filename(":memory:").foreign_keys(false);
        let mut connection = options.connect().await.expect("a database");
        let attach = format!("ATTACH '{}' AS file", path.display());
        run(&mut connection, &attach).await;
        let all = "SELECT type, name, sql FROM file.sqlite_master WHERE sql IS NOT NULL ORDER BY type = 'index'";
        let all = sqlx::query_as(all).fetch_all(&mut connection).await;
        let all: Vec<(String, String, String)> = all.expect("the tables");
        for (kind, name, sql) in all {
            run(&mut connection, &sql).await;
            if kind == "table" {
                let copy = format!("INSERT INTO main.{name} SELECT * FROM file.{name}");
                run(&mut connection, &copy).await;
            }
        }
        run(&mut connection, "DETACH file; PRAGMA foreign_keys = ON").await;
        Self::sqlite(connection, None)
    }

    fn sqlite(writer: SqliteConnection, readers: Option<SqlitePool>) -> Self {
        Self::Sqlite(Sqlite {
            texts: Texts::new(""),
            readers,
            writer: tokio::sync::Mutex::new(writer),
            waiting: Mutex::default(),
        })
    }

    /// Opens this many connections to the schema of a store.
    pub async fn postgres(url: &str, schema: &str, connections: usize) -> Self {
        let texts = Arc::new(Texts::new(&format!("\"{schema}\".")));
        let connected = (0..connections).map(|_| async {
            Prepared {
                client: connect(url).await,
                statements: HashMap::new(),
                texts: Arc::clone(&texts),
            }
        });
        Self::Postgres(Postgres {
            free: Mutex::new(join_all(connected).await),
            places: Semaphore::new(connections),
        })
    }

    /// Executes a statement that only reads. Returns the number of rows.
    pub async fn read(&self, step: Step) -> usize {
        match self {
            Self::Postgres(postgres) => postgres.run(step).await,
            Self::Sqlite(sqlite) => match &sqlite.readers {
                Some(readers) => {
                    let mut reader = readers.acquire().await.expect("a reader");
                    fetch(&sqlite.texts, &mut reader, step).await
                }
                None => fetch(&sqlite.texts, &mut *sqlite.writer.lock().await, step).await,
            },
        }
    }

    /// Commits statements together, each of which must return a row or return none by its nature. In PostgreSQL there is
    /// one, which commits itself.
    pub async fn write(&self, steps: Vec<Step>) {
        match self {
            Self::Postgres(postgres) => {
                for step in steps {
                    postgres.run(step).await;
                }
            }
            Self::Sqlite(sqlite) => sqlite.write(steps).await,
        }
    }
}

impl Sqlite {
    /// The first of those that wait commits for all.
    async fn write(&self, steps: Vec<Step>) {
        let (done, mut told) = oneshot::channel();
        let waiting = || self.waiting.lock().expect("the queue");
        waiting().push(Job { steps, done });
        let mut writer = self.writer.lock().await;
        if told.try_recv().is_ok() {
            return;
        }
        let jobs = std::mem::take(&mut *waiting());
        let mut replies = Vec::with_capacity(jobs.len());
        execute(&mut writer, "BEGIN IMMEDIATE").await;
        for Job { steps, done } in jobs {
            for step in steps {
                let name = step.0;
                let rows = fetch(&self.texts, &mut writer, step).await;
                let returns = self.texts.of(name).contains("RETURNING");
                assert!(
                    rows == 1 || !returns || name == "SESSION_SURPLUS",
                    "{name}: {rows}"
                );
            }
            replies.push(done);
        }
        execute(&mut writer, "COMMIT").await;
        for done in replies {
            // The caller is this task, or waits.
            let _ = done.send(());
        }
    }
}

/// Executes a statement of the transaction itself, which is prepared once.
async fn execute(connection: &mut SqliteConnection, sql: &'static str) {
    let done = sqlx::query(sql).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn fetch(texts: &Texts, connection: &mut SqliteConnection, step: Step) -> usize {
    let (name, values) = step;
    let mut query = sqlx::query(AssertSqlSafe(texts.of(name)));
    for value in values {
        query = match value {
            Value::Int(value) => query.bind(value),
            Value::Text(value) => query.bind(value),
            Value::Bytes(value) => query.bind(value),
            Value::Ints(_) | Value::ManyBytes(_) => panic!("SQLite takes no lists"),
        };
    }
    let rows = query.fetch_all(connection).await;
    rows.unwrap_or_else(|error| panic!("{name}: {error}")).len()
}

impl Postgres {
    async fn run(&self, (name, values): Step) -> usize {
        let _place = self.places.acquire().await.expect("a place");
        let free = || self.free.lock().expect("the connections");
        let mut own = free().pop().expect("a connection");
        let rows = own.run(name, values).await;
        free().push(own);
        rows
    }
}

impl Prepared {
    async fn run(&mut self, name: &'static str, values: Vec<Value>) -> usize {
        let statement = match self.statements.get(name) {
            Some(statement) => statement.clone(),
            None => {
                let types: Vec<Type> = values.iter().map(Value::kind).collect();
                let text = self.texts.of(name);
                let prepared = self.client.prepare_typed(&text, &types).await;
                let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {error:?}"));
                self.statements.insert(name, prepared.clone());
                prepared
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|it| it as _).collect();
        let rows = self.client.query(&statement, &values).await;
        rows.unwrap_or_else(|error| panic!("{name}: {error:?}"))
            .len()
    }
}

/// Connects to PostgreSQL.
pub async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.expect("PostgreSQL");
    tokio::spawn(connection);
    client
}

/// Executes any SQL.
pub async fn run(connection: &mut SqliteConnection, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    let done = done.execute(connection).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

//! Migrations of PostgreSQL, and that both engines have the same tables.

use futures::future::join_all;

use super::super::postgres::schema::MIGRATIONS;
use super::super::{Store, StoreError};
use super::world::{TABLES, World, few, new_schema, postgres_settings};

#[tokio::test]
async fn replicas_that_start_together_migrate_once() {
    let (schema, _) = new_schema();
    let all = join_all((0..8).map(|_| Store::connect(postgres_settings(&schema)))).await;
    let stores: Vec<Store> = all.into_iter().map(Result::unwrap).collect();
    let sql = format!("SELECT count(*) FROM {schema}.migration");
    let applied = stores[0].ask(&sql).await.unwrap().int(0).unwrap();
    assert_eq!(usize::try_from(applied), Ok(MIGRATIONS.len()));
    stores[0].drop_schema().await;
}

/// The next release expands the schema first, and this one goes on. When it contracts, this one refuses.
#[tokio::test]
async fn a_release_runs_on_an_expanded_schema_and_refuses_a_contracted_one() {
    let (schema, settings) = new_schema();
    let store = Store::connect(settings).await.unwrap();
    let record = |version, minimum| {
        format!("INSERT INTO {schema}.migration VALUES ({version}, {minimum}, 'later', '', now())")
    };
    store.all(&record(98, 1)).await.unwrap();
    assert!(Store::connect(postgres_settings(&schema)).await.is_ok());
    store.all(&record(99, 98)).await.unwrap();
    let refused = Store::connect(postgres_settings(&schema)).await.err();
    assert!(
        matches!(refused, Some(StoreError::NewerSchema { found: 99, .. })),
        "{refused:?}"
    );
    store.drop_schema().await;
}

#[tokio::test]
async fn a_schema_with_another_migration_is_refused() {
    let (schema, settings) = new_schema();
    let store = Store::connect(settings).await.unwrap();
    store
        .all(&format!("UPDATE {schema}.migration SET checksum = ''"))
        .await
        .unwrap();
    let refused = Store::connect(postgres_settings(&schema)).await.err();
    assert!(
        matches!(refused, Some(StoreError::OtherMigration { version: 1, .. })),
        "{refused:?}"
    );
    store.drop_schema().await;
}

#[tokio::test]
async fn both_engines_have_the_same_columns() {
    let (schema, settings) = new_schema();
    let postgres = Store::connect(settings).await.unwrap();
    let sqlite = World::in_memory().await.store;
    for table in TABLES.into_iter().chain(["store"]) {
        let sql = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY 1");
        let ours = sqlite.all(&sql).await.unwrap();
        let sql = format!(
            "SELECT column_name::text FROM information_schema.columns WHERE table_schema = '{schema}' AND table_name = '{table}' ORDER BY column_name COLLATE \"C\""
        );
        let theirs = postgres.all(&sql).await.unwrap();
        let names = |rows: Vec<super::super::row::Row>| -> Vec<String> {
            rows.iter().map(|row| row.text(0).unwrap()).collect()
        };
        assert_eq!(names(ours), names(theirs), "{table}");
    }
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    assert_eq!(
        sqlite.all(sql).await.unwrap().len(),
        TABLES.len() + 1,
        "every table is compared"
    );
    postgres.drop_schema().await;
}

#[tokio::test]
async fn an_unreachable_database_is_an_error() {
    let url = "postgres://h@127.0.0.1:1/d";
    let settings = super::super::Settings::new(url, "symbolon", few(2)).unwrap();
    let refused = Store::connect(settings).await.err().unwrap();
    assert_eq!(refused.fault(), super::super::Fault::Io, "{refused}");
}

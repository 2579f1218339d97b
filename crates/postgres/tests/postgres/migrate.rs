use millrace_postgres::{Error, check, migrate};

use millrace_testkit::Database;

const ONE: (&str, &str) = ("V1__keys", "CREATE TABLE keys (id bigint)");
const TWO: (&str, &str) = ("V2__more", "ALTER TABLE own.keys ADD COLUMN name text");
const THREE: (&str, &str) = ("V3__again", "CREATE TABLE own.again (id bigint)");

#[tokio::test]
async fn migrators_at_once_do_it_once_and_inside_their_schema() {
    let database = Database::create("postgres").await.unwrap();
    let applied = futures::future::join_all((0..4).map(|_| migrate(&database.pool, "own", &[ONE, TWO]))).await;
    let applied: usize = applied.into_iter().map(Result::unwrap).sum();
    assert_eq!(applied, 2);
    let client = database.pool.get().await.unwrap();
    let tables = "SELECT string_agg(schemaname || '.' || tablename, ' ' ORDER BY tablename) FROM pg_tables \
                  WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let tables: String = client.query_one(tables, &[]).await.unwrap().get(0);
    assert_eq!(tables, "own.keys own.schema_history");
    let timeout: String = client.query_one("SHOW statement_timeout", &[]).await.unwrap().get(0);
    assert_eq!(timeout, "30s", "a migrator's session must not go back to the pool changed");
    drop(client);
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_binary_runs_on_its_version_and_the_next_and_names_what_is_wrong_else() {
    let database = Database::create("postgres").await.unwrap();
    assert!(matches!(check(&database.pool, "own", &[ONE]).await, Err(Error::Older { found: 0, needed: 1, .. })));
    migrate(&database.pool, "own", &[ONE, TWO]).await.unwrap();
    check(&database.pool, "own", &[ONE, TWO]).await.unwrap();
    check(&database.pool, "own", &[ONE]).await.unwrap();
    assert_eq!(migrate(&database.pool, "own", &[ONE]).await.unwrap(), 0, "a rollback's migrate has nothing to do");

    migrate(&database.pool, "own", &[ONE, TWO, THREE]).await.unwrap();
    let error = check(&database.pool, "own", &[ONE]).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 3, known: 1, .. }), "{error}");
    assert!(migrate(&database.pool, "own", &[ONE]).await.is_err());
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_failed_migration_says_why_and_leaves_nothing() {
    let database = Database::create("postgres").await.unwrap();
    let error =
        migrate(&database.pool, "own", &[ONE, ("V2__bad", "CREATE TABLE half (id int); SELECT nonsense")]).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("nonsense") && error.contains("own"), "{error}");
    let client = database.pool.get().await.unwrap();
    let half: bool = client.query_one("SELECT to_regclass('own.half') IS NULL", &[]).await.unwrap().get(0);
    assert!(half);
    let changed = migrate(&database.pool, "own", &[("V1__keys", "CREATE TABLE other (id bigint)")]).await;
    assert!(changed.is_err(), "a migration that was applied must not change");
    drop(client);
    database.remove().await.unwrap();
}

//! What the suite needs to know of Postgres.

use std::path::Path;
use std::sync::Arc;
use vydra_core::api_key::Pepper;
use vydra_store::transfer::{self, Inlet, Moved, Outlet};
use vydra_store::{PostgresStore, Store};
use vydra_testkit::postgres::Postgres;

/// Takes away whatever keeps books from being wrong, for the statements behind it: triggers, references, and every check.
pub(crate) const UNGUARDED: &str = "
    SET session_replication_role = replica;
    DROP INDEX ledger_of_job;
    DO $$
    DECLARE guard record;
    BEGIN
        FOR guard IN SELECT conrelid::regclass AS relation, conname FROM pg_constraint
                     WHERE contype = 'c' AND connamespace = 'public'::regnamespace
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', guard.relation, guard.conname);
        END LOOP;
    END $$;";

/// They are triggers too.
pub(crate) const UNGUARDED_CARRIED: &str = "";

/// The store of this folder, which is empty at first.
pub(crate) async fn open(directory: &Path) -> Arc<dyn Store> {
    let settings = url(directory).parse().unwrap();
    let store = PostgresStore::open(&settings, &Pepper::new([7; 32])).await;
    Arc::new(store.unwrap())
}

/// Of the database that belongs to this folder.
pub(crate) fn url(directory: &Path) -> String {
    let file = directory.join("url");
    if let Ok(url) = std::fs::read_to_string(&file) {
        return url;
    }
    let url = server().database();
    std::fs::write(&file, &url).unwrap();
    url
}

/// There is no way to skip one test, and no test here that does without: they all end at the first that misses it.
pub(crate) fn server() -> &'static Postgres {
    Postgres::shared().unwrap_or_else(|| std::process::exit(0))
}

/// All that the database of this folder holds.
pub(crate) async fn export(directory: &Path, to: Outlet) -> transfer::Result<Moved> {
    PostgresStore::export(&url(directory).parse().unwrap(), to).await
}

/// Into the database of this folder, which may be empty.
pub(crate) async fn import(directory: &Path, from: Inlet) -> transfer::Result<Moved> {
    PostgresStore::import(&url(directory).parse().unwrap(), from).await
}

/// Every column of every table, with its table, and the tables that are not moved as they are.
pub(crate) const COLUMNS: (&str, &[&str]) = (
    "SELECT string_agg(table_name || '.' || column_name, ',') FROM information_schema.columns WHERE table_schema = 'public'",
    &["schema_version", "windows", "window_log", "incarnation"],
);

/// Runs statements behind the store's back.
pub(crate) fn execute(directory: &Path, sql: &str) {
    server().psql(&url(directory), sql);
}

/// The only text that is found.
pub(crate) fn text(directory: &Path, sql: &str) -> String {
    server().psql(&url(directory), sql)
}

/// Whether the database itself refuses these statements, as one.
pub(crate) fn refuses(directory: &Path, sql: &str) -> bool {
    let sql = sql.replace('\'', "''");
    let attempt = format!(
        "CREATE FUNCTION pg_temp.is_refused() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN
             EXECUTE '{sql}';
             RETURN false;
         EXCEPTION WHEN raise_exception OR integrity_constraint_violation THEN
             RETURN true;
         END $$;
         SELECT pg_temp.is_refused()"
    );
    server().psql(&url(directory), &attempt) == "t"
}

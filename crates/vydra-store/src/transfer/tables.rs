//! Every table that is moved, with all its columns. A test compares the list with both schemas, so that no new column is forgotten.
//!
//! Left behind is what is of one place alone: the number of the schema, and of the settings the mark that the database can be
//! written. Requests that were counted are moved moment by moment ([`ADMISSIONS`]), because each engine keeps them in its own way.
//! Who is here and who migrates are locks of connections and in no table.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Integer,
    Boolean,
    Bytes,
}

use Kind::{Boolean, Bytes, Integer, Text};

pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Kind)],
    /// Its primary key: rows are moved in this order.
    pub(crate) key: &'static str,
    /// Which rows are moved, if not all.
    pub(crate) only: &'static str,
    /// Whether its numbers are given by the database.
    pub(crate) is_numbered: bool,
}

impl Table {
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.columns.iter().map(|(name, _)| *name)
    }

    pub(crate) fn list(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn select(&self) -> String {
        let (list, name, only, key) = (self.list(), self.name, self.only, self.key);
        format!("SELECT {list} FROM {name} {only} ORDER BY {key}")
    }
}

macro_rules! tables {
    ($($name:ident ($key:literal $(, $only:literal)?) { $($column:ident: $kind:ident),* $(,)? })*) => {
        &[$(Table {
            name: stringify!($name),
            columns: &[$((stringify!($column), $kind)),*],
            key: $key,
            only: concat!($($only)?),
            is_numbered: matches!($key.as_bytes(), b"seq"),
        }),*]
    };
}

/// Whatever a row refers to comes before it.
pub(crate) const TABLES: &[Table] = tables! {
    // The secret under which keys are marked; nothing else of it belongs to another database.
    settings ("name", "WHERE name = 'pepper'") { name: Text, value: Bytes }
    organizations ("id") {
        id: Text, name: Text, plan: Text, rpm: Integer, rph: Integer, rpd: Integer, concurrent: Integer, created_at: Integer,
        updated_at: Integer, billing_email: Text, keep_assets: Integer,
    }
    users ("id") { id: Text, email: Text, password_hash: Text, created_at: Integer, updated_at: Integer }
    memberships ("user_id, org_id") { user_id: Text, org_id: Text, role: Text, created_at: Integer }
    sessions ("hash") { hash: Text, user_id: Text, org_id: Text, created_at: Integer, expires_at: Integer }
    balances ("org_id, mode") {
        org_id: Text, mode: Text, credits: Integer, charged: Integer, refunded: Integer, open: Integer, turn: Integer,
        jobs: Integer, last_job: Integer, entries: Integer, last_entry: Integer, events: Integer, last_event: Integer,
    }
    carried ("org_id, mode") {
        org_id: Text, mode: Text, job: Integer, entry: Integer, event: Integer, jobs: Integer, entries: Integer,
        events: Integer, credits: Integer, charged: Integer, refunded: Integer, until: Integer,
    }
    api_keys ("id") {
        id: Text, org_id: Text, name: Text, shown_prefix: Text, hash: Text, mode: Text, scopes: Text, created_at: Integer,
        expires_at: Integer, revoked_at: Integer, user_id: Text, request_count: Integer, last_used_at: Integer,
        origin_id: Text, replaced_by: Text,
    }
    turns ("mode") { mode: Text, turn: Integer }
    jobs ("seq") {
        seq: Integer, id: Text, previous: Integer, org_id: Text, key_id: Text, mode: Text, workflow: Text, status: Text,
        progress: Integer, status_message: Text, input: Text, call: Text, price: Integer, refunded: Integer,
        failure_code: Text, failure_message: Text, failure_reason: Text, retryable: Boolean, attempt: Integer,
        provider: Text, external_id: Text, turn: Integer, lease_token: Text, lease_until: Integer, deadline_at: Integer,
        created_at: Integer, started_at: Integer, completed_at: Integer, webhook_url: Text,
    }
    idempotency_keys ("org_id, mode, key") {
        org_id: Text, mode: Text, key: Text, fingerprint: Text, job_id: Text, status: Integer, headers: Text, body: Bytes,
        created_at: Integer, expires_at: Integer,
    }
    steps ("job_id, step") {
        job_id: Text, step: Integer, provider: Text, route: Integer, external_id: Text, finished: Boolean,
    }
    assets ("id") {
        id: Text, org_id: Text, mode: Text, job_id: Text, workflow: Text, step: Integer, place: Integer, role: Text,
        kind: Text, media_type: Text, storage_key: Text, bytes: Integer, width: Integer, height: Integer,
        duration_ms: Integer, filename: Text, upload_key: Text, created_at: Integer, deleted_at: Integer,
        erased_at: Integer, has_thumbnail: Boolean,
    }
    job_inputs ("job_id, asset_id") { job_id: Text, asset_id: Text }
    ledger ("seq") {
        seq: Integer, id: Text, previous: Integer, org_id: Text, mode: Text, kind: Text, amount: Integer,
        balance_after: Integer, job_id: Text, reason: Text, created_at: Integer,
    }
    events ("seq") {
        seq: Integer, previous: Integer, number: Integer, job_id: Text, org_id: Text, mode: Text, kind: Text,
        created_at: Integer,
    }
    event_marks ("org_id, mode, number") { org_id: Text, mode: Text, number: Integer, seq: Integer }
    webhook_secrets ("seq") { seq: Integer, org_id: Text, mode: Text, secret: Text, until: Integer }
    webhook_endpoints ("id") {
        id: Text, org_id: Text, mode: Text, url: Text, events: Text, description: Text, disabled: Text,
        disabled_at: Integer, failing_since: Integer, failures: Integer, created_at: Integer, updated_at: Integer,
        deleted_at: Integer,
    }
    deliveries ("seq") {
        seq: Integer, id: Text, org_id: Text, mode: Text, event_id: Text, kind: Text, job_id: Text, data: Text,
        endpoint_id: Text, url: Text, lane: Text, status: Text, attempts: Integer, failed: Integer, sending: Boolean,
        again: Boolean, next_at: Integer, last_at: Integer, response_status: Integer, error: Text, duration_ms: Integer,
        asked_at: Integer, created_at: Integer,
    }
    attempts ("seq") {
        seq: Integer, job_id: Text, step: Integer, provider: Text, model: Text, started_at: Integer, ended_at: Integer,
        failure: Text, accepted: Text, request_id: Text, cost: Text,
    }
    provider_days ("provider, day") { provider: Text, day: Integer, credits: Integer }
};

/// When requests were admitted, and how many at each moment: the engines keep it in tables of their own.
pub(crate) const ADMISSIONS: &Table = &Table {
    name: "admissions",
    columns: &[("org_id", Text), ("at", Integer), ("requests", Integer)],
    key: "org_id, at",
    only: "",
    is_numbered: false,
};

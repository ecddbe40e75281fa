//! What works, and may fail or do harm one day: told when a server starts, and by `vydra doctor`.

use crate::config::{Config, Database, MediaPlace, Role};
use vydra_outbound::windows::{RedisAddress, RedisReport};
use vydra_store::{PostgresReport, PostgresSettings, PostgresStore};

/// That files which one server keeps are read by another.
pub fn of_files(config: &Config) -> Option<String> {
    let Ok(Database::Postgres(_)) = config.database() else {
        return None;
    };
    let Ok(MediaPlace::Folder(folder)) = config.media_place() else {
        return None;
    };
    Some(format!(
        "files are kept in the folder {}: all servers on the database must share it, or they do not find each other's files. \
         A bucket (media.url = \"s3://…\") is made for that.",
        folder.display()
    ))
}

/// That an address which leads to one server alone stands in what others tell.
pub fn of_public_url(config: &Config) -> Option<String> {
    (config.server.role == Role::Api && config.server.public_url.is_empty()).then(|| {
        "server.public_url is empty: the addresses of files lead to this server alone. Set it to that of the load balancer."
            .to_owned()
    })
}

/// Of one database.
pub fn of_postgres(settings: &PostgresSettings, report: &PostgresReport) -> Vec<String> {
    let mut concerns = Vec::new();
    if !report.is_encrypted && !settings.is_local() {
        concerns.push(
            "what is sent to it is not encrypted: set ssl = on there, and say sslmode=verify-full in the URL, or sslmode=require"
                .to_owned(),
        );
    }
    if !report.fsync {
        concerns.push(
            "its fsync is off: when its machine breaks down, paid jobs and credits are lost, or all of it".to_owned(),
        );
    }
    if !report.full_page_writes {
        concerns.push(
            "its full_page_writes is off: a loss of power may spoil pages that nothing mends"
                .to_owned(),
        );
    }
    if report.synchronous_commit == "off" {
        concerns.push(
            "its synchronous_commit is off: vydra commits with on all the same, where jobs and credits are at stake".to_owned(),
        );
    }
    let most = PostgresStore::most_connections(settings);
    if most > report.most_connections as usize {
        concerns.push(format!(
            "this server makes up to {most} connections, and it allows {}: raise max_connections there, or lower store.connections",
            report.most_connections
        ));
    }
    concerns
}

/// Of a Redis that counts requests.
pub fn of_redis(address: &RedisAddress, report: &RedisReport) -> Vec<String> {
    let mut concerns = Vec::new();
    if report.is_replica {
        concerns.push(
            "it is a replica, on which nothing can be counted: limits.redis_url must lead to the primary".to_owned(),
        );
    }
    if !address.is_encrypted() && !address.is_local() {
        concerns.push(
            "what is sent to it is not encrypted: switch TLS on there, and say rediss:// in limits.redis_url".to_owned(),
        );
    }
    if report.most_memory > 0 && report.eviction != "noeviction" {
        concerns.push(format!(
            "when its memory is full it throws away what it holds (maxmemory-policy {}): more requests are admitted than the limits then. Set noeviction.",
            report.eviction
        ));
    }
    if !report.has_append_only_file {
        concerns.push(
            "it keeps no file of its writes: when it starts anew the limits begin anew. Set appendonly yes.".to_owned(),
        );
    }
    concerns
}

//! Who counts: what it is told before, how its time is made to go, and what it wrote down.

use super::clock::Pace;
use anyhow::Context;
use vydra_core::ids::OrgId;
use vydra_core::time::Timestamp;
use vydra_store::Store;
use vydra_store::store::Usage;
use vydra_testkit::postgres::{Options, Postgres};
use vydra_testkit::redis::Redis;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Postgres,
    Redis,
}

/// The servers of the gate.
#[derive(Debug)]
pub(super) struct Servers {
    pub(super) postgres: Postgres,
    pub(super) redis: Redis,
}

/// What was admitted: each moment, with how many were admitted before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) rows: Vec<(i64, i64)>,
    /// How many were admitted ever.
    pub(super) all: i64,
}

impl Servers {
    pub(super) fn start() -> anyhow::Result<Self> {
        let hint = |what| format!("there is no {what}: `cargo xtask programs` brings it");
        Ok(Self {
            postgres: Postgres::start(Options::default()).with_context(|| hint("Postgres"))?,
            redis: Redis::start().with_context(|| hint("Redis"))?,
        })
    }

    /// Whatever a database forgets of its log, this copy keeps; and from its next connections on its time goes by the pace.
    pub(super) fn prepare(&self, database: &str, pace: Pace) {
        let Pace { began, factor } = pace;
        let name = database.rsplit_once('/').map_or("", |(_, name)| name);
        let keep = "CREATE TABLE kept_log (org_id TEXT, at BIGINT, before BIGINT);
            CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO kept_log VALUES (NEW.org_id, NEW.at, NEW.before); RETURN NULL; END';
            CREATE TRIGGER keep AFTER INSERT ON window_log FOR EACH ROW EXECUTE FUNCTION keep();";
        // Found in place of the one of the catalog, which is looked through later.
        let go = format!(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz VOLATILE LANGUAGE sql AS $$
                 SELECT timestamptz 'epoch' + interval '1 microsecond' * ({began} + {factor} *
                     ((extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint - {began})) $$;
             ALTER DATABASE {name} SET search_path = public, pg_catalog"
        );
        self.postgres.psql(database, &format!("{keep} {go}"));
    }
}

impl Counter {
    /// What an earlier time admitted.
    pub(super) async fn remember(
        self,
        (servers, redis): (&Servers, &str),
        store: &dyn Store,
        org: &OrgId,
        moments: &[Timestamp],
    ) -> anyhow::Result<()> {
        let Some(last) = moments.last() else {
            return Ok(());
        };
        match self {
            Self::Postgres => {
                let usage = Usage {
                    admissions: vec![(org.clone(), moments.to_vec())],
                    keys: Vec::new(),
                    forget: Timestamp::from_micros(0),
                };
                store.record_usage(usage).await?;
            }
            Self::Redis => {
                let scored = moments.iter().enumerate();
                let scored = scored
                    .flat_map(|(number, at)| [at.as_micros().to_string(), number.to_string()]);
                let (known, log) = keys(org);
                let add: Vec<String> = ["ZADD".to_owned(), log].into_iter().chain(scored).collect();
                let add: Vec<&str> = add.iter().map(String::as_str).collect();
                servers.redis.ask(redis, &add);
                let (admitted, shown) = (moments.len().to_string(), last.as_micros().to_string());
                let set = ["HSET", &known, "admitted", &admitted, "shown", &shown];
                servers
                    .redis
                    .ask(redis, &[&set[..], &["ahead", "0"]].concat());
            }
        }
        Ok(())
    }

    pub(super) fn log(
        self,
        servers: &Servers,
        (database, redis): (&str, &str),
        org: &OrgId,
    ) -> anyhow::Result<Log> {
        match self {
            Self::Postgres => {
                let rows =
                    format!("SELECT at, before FROM kept_log WHERE org_id = '{org}' ORDER BY at");
                let rows = servers.postgres.psql(database, &rows);
                let rows = rows.lines().map(|line| {
                    let (at, before) = line.split_once('|').context("a row without two numbers")?;
                    Ok((at.parse()?, before.parse()?))
                });
                let all = format!("SELECT admitted FROM windows WHERE org_id = '{org}'");
                let all = servers.postgres.psql(database, &all);
                Ok(Log {
                    rows: rows.collect::<anyhow::Result<_>>()?,
                    all: number(&all)?,
                })
            }
            Self::Redis => {
                let (known, log) = keys(org);
                let log = servers
                    .redis
                    .ask(redis, &["ZRANGE", &log, "0", "-1", "WITHSCORES"]);
                let lines: Vec<&str> = log.lines().filter(|line| !line.is_empty()).collect();
                let rows = lines.chunks(2).map(|pair| match pair {
                    [number, at] => Ok((at.parse()?, number.parse()?)),
                    _ => anyhow::bail!("a member without a score"),
                });
                let mut rows: Vec<(i64, i64)> = rows.collect::<anyhow::Result<_>>()?;
                // Those of one moment are in the order of their letters.
                rows.sort_unstable();
                let all = servers.redis.ask(redis, &["HGET", &known, "admitted"]);
                Ok(Log {
                    rows,
                    all: number(&all)?,
                })
            }
        }
    }
}

/// Nothing where nobody asked.
fn number(text: &str) -> anyhow::Result<i64> {
    match text {
        "" => Ok(0),
        text => Ok(text.parse()?),
    }
}

/// As `admit.lua` is given them.
fn keys(org: &OrgId) -> (String, String) {
    (
        format!("vydra:{{{org}}}:known"),
        format!("vydra:{{{org}}}:log"),
    )
}

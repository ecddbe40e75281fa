use super::rows::first;
use super::{organizations, users};
use crate::Result;
use crate::store::NewSession;
use rusqlite::{Connection, params};
use vydra_core::organization::Organization;
use vydra_core::session::SessionMark;
use vydra_core::time::Timestamp;
use vydra_core::user::{Role, User};

/// In how many places a person can be logged in: the next login ends the oldest.
const MOST_AT_ONCE: u32 = 50;
/// How many rows that say nothing any more go with each new one: more than come, and never a long wait.
const SWEPT: u32 = 100;

pub(super) fn create(db: &Connection, new: &NewSession) -> Result<bool> {
    let begun = db
        .prepare_cached(
            "INSERT INTO sessions (hash, user_id, org_id, created_at, expires_at)
             SELECT ?1, u.id, m.org_id, ?5, ?6 FROM users u JOIN memberships m ON m.user_id = u.id
             WHERE u.id = ?2 AND m.org_id = ?3 AND u.password_hash = ?4",
        )?
        .execute(params![
            new.mark.as_str(),
            new.user_id.as_str(),
            new.org_id.as_str(),
            new.password.as_str(),
            new.now.as_micros(),
            new.expires_at.as_micros(),
        ])?;
    if begun == 0 {
        return Ok(false);
    }
    if let Some(old) = &new.replaces {
        end(db, old)?;
    }
    db.prepare_cached(
        "DELETE FROM sessions WHERE user_id = ?1 AND hash NOT IN
             (SELECT hash FROM sessions WHERE user_id = ?1 ORDER BY created_at DESC, hash LIMIT ?2)",
    )?
    .execute(params![new.user_id.as_str(), MOST_AT_ONCE])?;
    db.prepare_cached(
        "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
    )?
    .execute(params![new.now.as_micros(), SWEPT])?;
    Ok(true)
}

pub(super) fn get(
    db: &Connection,
    mark: &SessionMark,
    now: Timestamp,
) -> Result<Option<(User, Role, Organization)>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {}, m.role, {} FROM sessions s
         JOIN memberships m ON m.user_id = s.user_id AND m.org_id = s.org_id
         JOIN users u ON u.id = s.user_id JOIN organizations o ON o.id = s.org_id
         WHERE s.hash = ?1 AND s.expires_at > ?2",
        users::COLUMNS,
        organizations::COLUMNS
    ))?;
    first(
        statement.query(params![mark.as_str(), now.as_micros()])?,
        |row| {
            Ok((
                users::read(row)?,
                row.word(Role::parse)?,
                organizations::read(row)?,
            ))
        },
    )
}

pub(super) fn end(db: &Connection, mark: &SessionMark) -> Result<bool> {
    let ended = db
        .prepare_cached("DELETE FROM sessions WHERE hash = ?1")?
        .execute(params![mark.as_str()])?;
    Ok(ended > 0)
}

use super::db::Db;
use super::{organizations, rows, users};
use crate::Result;
use crate::store::NewSession;
use vydra_core::organization::Organization;
use vydra_core::session::SessionMark;
use vydra_core::time::Timestamp;
use vydra_core::user::{Role, User};

/// In how many places a person can be logged in: the next login ends the oldest.
const MOST_AT_ONCE: i64 = 50;
/// How many rows that say nothing any more go with each new one: more than come, and never a long wait.
const SWEPT: i64 = 100;

pub(super) async fn create(db: &Db, new: &NewSession) -> Result<bool> {
    if !begin(db, new).await? {
        return Ok(false);
    }
    if let Some(old) = &new.replaces {
        end(db, old).await?;
    }
    db.run(
        "DELETE FROM sessions WHERE user_id = $1 AND hash NOT IN
             (SELECT hash FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, hash LIMIT $2)",
        &[&new.user_id.as_str(), &MOST_AT_ONCE],
    )
    .await?;
    // Whatever another one sweeps is left to it.
    db.run(
        "DELETE FROM sessions WHERE hash IN
             (SELECT hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        &[&new.now.as_micros(), &SWEPT],
    )
    .await?;
    Ok(true)
}

/// Writes the session if the password is still the one that was verified.
async fn begin(db: &Db, new: &NewSession) -> Result<bool> {
    // Takes the user's row: the password stays as it is until the session is there for its change to end, and of several
    // logins at once each counts the others.
    let begun = db
        .run(
            "INSERT INTO sessions (hash, user_id, org_id, created_at, expires_at)
             SELECT $1::text, u.id, m.org_id, $5::bigint, $6::bigint FROM users u JOIN memberships m ON m.user_id = u.id
             WHERE u.id = $2 AND m.org_id = $3 AND u.password_hash = $4
             FOR NO KEY UPDATE OF u",
            &[
                &new.mark.as_str(),
                &new.user_id.as_str(),
                &new.org_id.as_str(),
                &new.password.as_str(),
                &new.now.as_micros(),
                &new.expires_at.as_micros(),
            ],
        )
        .await?;
    Ok(begun > 0)
}

pub(super) async fn get(
    db: &Db,
    mark: &SessionMark,
    now: Timestamp,
) -> Result<Option<(User, Role, Organization)>> {
    let row = db
        .first(
            &format!(
                "SELECT {}, m.role, {} FROM sessions s
                 JOIN memberships m ON m.user_id = s.user_id AND m.org_id = s.org_id
                 JOIN users u ON u.id = s.user_id JOIN organizations o ON o.id = s.org_id
                 WHERE s.hash = $1 AND s.expires_at > $2",
                users::COLUMNS,
                organizations::COLUMNS
            ),
            &[&mark.as_str(), &now.as_micros()],
        )
        .await?;
    rows::read(row.as_ref(), |row| {
        Ok((
            users::read(row)?,
            row.word(Role::parse)?,
            organizations::read(row)?,
        ))
    })
}

pub(super) async fn end(db: &Db, mark: &SessionMark) -> Result<bool> {
    let ended = db
        .run("DELETE FROM sessions WHERE hash = $1", &[&mark.as_str()])
        .await?;
    Ok(ended > 0)
}

use super::rows::{Columns, collect, first};
use crate::Result;
use crate::store::{NewUser, UserCreation};
use rusqlite::{Connection, params};
use vydra_core::ids::{OrgId, UserId};
use vydra_core::time::Timestamp;
use vydra_core::user::{Membership, PasswordHash, Role, User};

/// The columns of [`read`], from `users u`.
pub(super) const COLUMNS: &str = "u.id, u.email, u.created_at, u.updated_at";

pub(super) fn read(row: &mut Columns<'_, '_>) -> Result<User> {
    Ok(User {
        id: UserId::trusted(row.take()?),
        email: row.take()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

pub(super) fn create(db: &Connection, new: &NewUser) -> Result<UserCreation> {
    let now = new.now.as_micros();
    let inserted = db
        .prepare_cached(
            "INSERT INTO users (id, email, password_hash, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (email) DO NOTHING",
        )?
        .execute(params![
            new.id.as_str(),
            new.email,
            new.password.as_str(),
            now
        ])?;
    if inserted == 0 {
        return Ok(UserCreation::EmailTaken);
    }
    db.prepare_cached(
        "INSERT INTO memberships (user_id, org_id, role, created_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        new.id.as_str(),
        new.org_id.as_str(),
        new.role.as_str(),
        now
    ])?;
    Ok(UserCreation::Created(User {
        id: new.id.clone(),
        email: new.email.clone(),
        created_at: new.now,
        updated_at: new.now,
    }))
}

pub(super) fn set_membership(
    db: &Connection,
    user: &UserId,
    org: &OrgId,
    role: Role,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .prepare_cached(
            "INSERT INTO memberships (user_id, org_id, role, created_at)
             SELECT u.id, o.id, ?3, ?4 FROM users u, organizations o WHERE u.id = ?1 AND o.id = ?2
             ON CONFLICT (user_id, org_id) DO UPDATE SET role = excluded.role",
        )?
        .execute(params![
            user.as_str(),
            org.as_str(),
            role.as_str(),
            now.as_micros()
        ])?;
    Ok(changed > 0)
}

pub(super) fn by_email(db: &Connection, email: &str) -> Result<Option<(User, PasswordHash)>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, u.password_hash FROM users u WHERE u.email = ?1"
    ))?;
    first(statement.query(params![email])?, |row| {
        Ok((read(row)?, PasswordHash::new(row.take()?)))
    })
}

pub(super) fn memberships(db: &Connection, user: &UserId) -> Result<Vec<Membership>> {
    let mut statement = db.prepare_cached(
        "SELECT o.id, o.name, m.role FROM memberships m JOIN organizations o ON o.id = m.org_id
         WHERE m.user_id = ?1 ORDER BY m.created_at, o.id",
    )?;
    collect(statement.query(params![user.as_str()])?, |row| {
        Ok(Membership {
            org_id: OrgId::trusted(row.take()?),
            org_name: row.take()?,
            role: row.word(Role::parse)?,
        })
    })
}

pub(super) fn members(db: &Connection, org: &OrgId) -> Result<Vec<(User, Role)>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS}, m.role FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.org_id = ?1 ORDER BY u.id"
    ))?;
    collect(statement.query(params![org.as_str()])?, |row| {
        Ok((read(row)?, row.word(Role::parse)?))
    })
}

pub(super) fn set_password(
    db: &Connection,
    user: &UserId,
    password: &PasswordHash,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE users SET password_hash = ?2, updated_at = ?3 WHERE id = ?1")?
        .execute(params![user.as_str(), password.as_str(), now.as_micros()])?;
    db.prepare_cached("DELETE FROM sessions WHERE user_id = ?1")?
        .execute(params![user.as_str()])?;
    Ok(changed > 0)
}

use super::db::Db;
use super::rows::{self, Columns, collect};
use crate::Result;
use crate::store::{NewUser, UserCreation};
use vydra_core::ids::{OrgId, UserId};
use vydra_core::time::Timestamp;
use vydra_core::user::{Membership, PasswordHash, Role, User};

/// The columns of [`read`], from `users u`.
pub(super) const COLUMNS: &str = "u.id, u.email, u.created_at, u.updated_at";

pub(super) fn read(row: &mut Columns<'_>) -> Result<User> {
    Ok(User {
        id: UserId::trusted(row.take()?),
        email: row.take()?,
        created_at: row.time()?,
        updated_at: row.time()?,
    })
}

pub(super) async fn create(db: &Db, new: &NewUser) -> Result<UserCreation> {
    let now = new.now.as_micros();
    let inserted = db
        .run(
            "INSERT INTO users (id, email, password_hash, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $4) ON CONFLICT (email) DO NOTHING",
            &[&new.id.as_str(), &new.email, &new.password.as_str(), &now],
        )
        .await?;
    if inserted == 0 {
        return Ok(UserCreation::EmailTaken);
    }
    db.run(
        "INSERT INTO memberships (user_id, org_id, role, created_at) VALUES ($1, $2, $3, $4)",
        &[
            &new.id.as_str(),
            &new.org_id.as_str(),
            &new.role.as_str(),
            &now,
        ],
    )
    .await?;
    Ok(UserCreation::Created(User {
        id: new.id.clone(),
        email: new.email.clone(),
        created_at: new.now,
        updated_at: new.now,
    }))
}

pub(super) async fn set_membership(
    db: &Db,
    user: &UserId,
    org: &OrgId,
    role: Role,
    now: Timestamp,
) -> Result<bool> {
    let changed = db
        .run(
            "INSERT INTO memberships (user_id, org_id, role, created_at)
             SELECT u.id, o.id, $3::text, $4::bigint FROM users u, organizations o WHERE u.id = $1 AND o.id = $2
             ON CONFLICT (user_id, org_id) DO UPDATE SET role = excluded.role",
            &[
                &user.as_str(),
                &org.as_str(),
                &role.as_str(),
                &now.as_micros(),
            ],
        )
        .await?;
    Ok(changed > 0)
}

pub(super) async fn by_email(db: &Db, email: &str) -> Result<Option<(User, PasswordHash)>> {
    let row = db
        .first(
            &format!("SELECT {COLUMNS}, u.password_hash FROM users u WHERE u.email = $1"),
            &[&email],
        )
        .await?;
    rows::read(row.as_ref(), |row| {
        Ok((read(row)?, PasswordHash::new(row.take()?)))
    })
}

pub(super) async fn memberships(db: &Db, user: &UserId) -> Result<Vec<Membership>> {
    let rows = db
        .all(
            "SELECT o.id, o.name, m.role FROM memberships m JOIN organizations o ON o.id = m.org_id
             WHERE m.user_id = $1 ORDER BY m.created_at, o.id",
            &[&user.as_str()],
        )
        .await?;
    collect(&rows, |row| {
        Ok(Membership {
            org_id: OrgId::trusted(row.take()?),
            org_name: row.take()?,
            role: row.word(Role::parse)?,
        })
    })
}

pub(super) async fn members(db: &Db, org: &OrgId) -> Result<Vec<(User, Role)>> {
    let rows = db
        .all(
            &format!(
                "SELECT {COLUMNS}, m.role FROM memberships m JOIN users u ON u.id = m.user_id
                 WHERE m.org_id = $1 ORDER BY u.id"
            ),
            &[&org.as_str()],
        )
        .await?;
    collect(&rows, |row| Ok((read(row)?, row.word(Role::parse)?)))
}

pub(super) async fn set_password(
    db: &Db,
    user: &UserId,
    password: &PasswordHash,
    now: Timestamp,
) -> Result<bool> {
    // Takes the user's row first: a session that begins with the old password is there by then, or finds the new one.
    let changed = db
        .run(
            "UPDATE users SET password_hash = $2, updated_at = $3 WHERE id = $1",
            &[&user.as_str(), &password.as_str(), &now.as_micros()],
        )
        .await?;
    db.run("DELETE FROM sessions WHERE user_id = $1", &[&user.as_str()])
        .await?;
    Ok(changed > 0)
}

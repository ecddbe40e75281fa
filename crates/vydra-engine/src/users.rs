//! People: made and given passwords by the operator.

use crate::passwords::PasswordError;
use crate::{Engine, Error, Result};
use vydra_core::catalog::Violations;
use vydra_core::ids::{OrgId, UserId};
use vydra_core::organization::Organization;
use vydra_core::user::{Password, PasswordHash, Role, User, normal_email};
use vydra_store::store::{NewUser, UserCreation};

#[derive(Debug, Clone)]
pub struct NewUserRequest {
    pub email: String,
    /// None has one made up.
    pub password: Option<Password>,
    pub organization: OrgId,
    pub role: Role,
}

/// A user, with the password where it was made up: the one moment at which it can be shown.
#[derive(Debug)]
pub struct CreatedUser {
    pub user: User,
    pub password: Option<Password>,
}

impl Engine {
    pub async fn create_user(&self, new: NewUserRequest) -> Result<CreatedUser> {
        let email = email(&new.email)?;
        let organization = self.store().organization(&new.organization).await?;
        if organization.is_none() {
            return Err(Error::NotFound {
                what: "organization".to_owned(),
            });
        }
        let (hash, made_up) = self.new_password(new.password).await?;
        let now = self.now();
        let creation = self
            .store()
            .create_user(NewUser {
                id: UserId::new(now, self.random()),
                email: email.clone(),
                password: hash,
                org_id: new.organization,
                role: new.role,
                now,
            })
            .await?;
        match creation {
            UserCreation::Created(user) => Ok(CreatedUser {
                user,
                password: made_up,
            }),
            UserCreation::EmailTaken => Err(Error::EmailTaken(email)),
        }
    }

    /// Lets a user into an organization, or gives another role there.
    pub async fn add_member(
        &self,
        email: &str,
        organization: &Organization,
        role: Role,
    ) -> Result<User> {
        let user = self.user_by_email(email).await?;
        let there = self
            .store()
            .set_membership(&user.id, &organization.id, role, self.now())
            .await?;
        if there { Ok(user) } else { Err(no_user(email)) }
    }

    pub async fn members(&self, organization: &OrgId) -> Result<Vec<(User, Role)>> {
        Ok(self.store().members(organization).await?)
    }

    /// Ends all sessions of the user.
    pub async fn set_password(
        &self,
        email: &str,
        password: Option<Password>,
    ) -> Result<CreatedUser> {
        let user = self.user_by_email(email).await?;
        let (hash, made_up) = self.new_password(password).await?;
        let there = self
            .store()
            .set_password(&user.id, &hash, self.now())
            .await?;
        if there {
            Ok(CreatedUser {
                user,
                password: made_up,
            })
        } else {
            Err(no_user(email))
        }
    }

    async fn user_by_email(&self, text: &str) -> Result<User> {
        let found = self.store().user_by_email(&email(text)?).await?;
        found.map(|(user, _)| user).ok_or_else(|| no_user(text))
    }

    async fn new_password(
        &self,
        given: Option<Password>,
    ) -> Result<(PasswordHash, Option<Password>)> {
        let (password, made_up) = if let Some(password) = given {
            (password, None)
        } else {
            let password = Password::generate(self.random());
            (password.clone(), Some(password))
        };
        if !password.is_acceptable() {
            return Err(Violations::one("password", "not usable", Password::RULE).into());
        }
        let hash = self.passwords.hash(password, self.random()).await?;
        Ok((hash, made_up))
    }
}

/// In its one spelling.
pub(crate) fn email(text: &str) -> Result<String> {
    normal_email(text)
        .ok_or_else(|| Violations::one("email", "not usable", "an email address").into())
}

fn no_user(email: &str) -> Error {
    Error::NotFound {
        what: format!("user with the email {email:?}"),
    }
}

impl From<PasswordError> for Error {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Unavailable(Box::new(error)),
            PasswordError::Failed(_) => Self::Internal(Box::new(error)),
        }
    }
}

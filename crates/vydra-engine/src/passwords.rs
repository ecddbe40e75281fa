//! Passwords: digested slowly on purpose, by few at a time, so that logins cannot take the machine from everybody else.

use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vydra_core::random::Random;
use vydra_core::user::{Password, PasswordHash};

/// OWASP's least for argon2id.
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_LENGTH: usize = 16;
/// Digested at once: each takes a core and 19 MiB.
const AT_ONCE: usize = 2;
/// How many may wait for their turn, and for how long.
const WAITING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    #[error("too many passwords are being checked")]
    Busy,
    #[error("a password could not be digested: {0}")]
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    waiting: Semaphore,
    patience: Duration,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new(AT_ONCE, WAITING, PATIENCE)
    }
}

impl Passwords {
    fn new(at_once: usize, waiting: usize, patience: Duration) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(at_once)),
            waiting: Semaphore::new(waiting),
            patience,
        }
    }

    pub(crate) async fn hash(
        &self,
        password: Password,
        random: &dyn Random,
    ) -> Result<PasswordHash, PasswordError> {
        let mut salt = [0; SALT_LENGTH];
        random.fill(&mut salt);
        self.in_turn(move || digest(&password, &salt)).await
    }

    /// Without a hash, for a user who is not there, it takes as long and says no.
    pub(crate) async fn verify(
        &self,
        password: Password,
        hash: Option<PasswordHash>,
    ) -> Result<bool, PasswordError> {
        self.in_turn(move || match hash {
            None => digest(&password, &[0; SALT_LENGTH]).map(|_| false),
            Some(hash) => {
                match hasher()?.verify_password(password.reveal().as_bytes(), hash.as_str()) {
                    Ok(()) => Ok(true),
                    Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(error) => Err(PasswordError::Failed(error.to_string())),
                }
            }
        })
        .await
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let turn = self.turn().await?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            // Held by the work itself: whoever asked may be gone long before it ends.
            drop(turn);
            result
        })
        .await
        .map_err(|error| PasswordError::Failed(error.to_string()))?
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, PasswordError> {
        let _place = self
            .waiting
            .try_acquire()
            .map_err(|_| PasswordError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned();
        match tokio::time::timeout(self.patience, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(PasswordError::Busy),
        }
    }
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|error| PasswordError::Failed(error.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn digest(password: &Password, salt: &[u8]) -> Result<PasswordHash, PasswordError> {
    hasher()?
        .hash_password_with_salt(password.reveal().as_bytes(), salt)
        .map(|hash| PasswordHash::new(hash.to_string()))
        .map_err(|error| PasswordError::Failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vydra_testkit::SeededRandom;

    fn password(text: &str) -> Password {
        Password::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_alone() {
        let passwords = Passwords::default();
        let random = SeededRandom::new(1);
        let hash = async || {
            let word = password("correct horse battery");
            passwords.hash(word, &random).await.unwrap()
        };
        let first = hash().await;
        assert!(
            first
                .as_str()
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
        );
        assert_ne!(hash().await, first, "each has its own salt");
        let verify = async |text: &str, hash| passwords.verify(password(text), hash).await;
        assert!(
            verify("correct horse battery", Some(first.clone()))
                .await
                .unwrap()
        );
        for wrong in ["", "correct horse batter", "Correct horse battery"] {
            assert!(!verify(wrong, Some(first.clone())).await.unwrap());
        }
        assert!(!verify("correct horse battery", None).await.unwrap());
        let broken = PasswordHash::new("plain".to_owned());
        let failed = verify("plain", Some(broken)).await.unwrap_err();
        assert!(matches!(failed, PasswordError::Failed(_)), "{failed:?}");
    }

    #[tokio::test]
    async fn nobody_waits_without_end() {
        let passwords = Passwords::new(1, 1, Duration::from_millis(1));
        let turn = Arc::clone(&passwords.turns).acquire_owned().await.unwrap();
        let refused = passwords.verify(password("p"), None).await.unwrap_err();
        assert!(matches!(refused, PasswordError::Busy));
        drop(turn);
        assert!(!passwords.verify(password("p"), None).await.unwrap());
        // One place to wait: the second one is told at once.
        let place = passwords.waiting.try_acquire().unwrap();
        let refused = passwords.verify(password("p"), None).await.unwrap_err();
        assert!(matches!(refused, PasswordError::Busy));
        drop(place);
    }
}

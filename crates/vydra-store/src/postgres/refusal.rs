//! Why a database does not let us in although it is there: what a person must change.

use crate::StoreError;
use std::error::Error;
use tokio_postgres::error::SqlState;

/// None when it may pass by itself.
pub(super) fn refusal(error: &tokio_postgres::Error) -> Option<StoreError> {
    let sentence = match error.as_db_error() {
        Some(answer) => {
            let message = answer.message();
            match *answer.code() {
                SqlState::INVALID_PASSWORD => {
                    format!("it lets nobody in with this name and password ({message})")
                }
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION => format!(
                    "it does not let this user in ({message}): see its roles and its pg_hba.conf"
                ),
                SqlState::INVALID_CATALOG_NAME => {
                    format!("{message}: create it, or name another one in the URL")
                }
                SqlState::INSUFFICIENT_PRIVILEGE => {
                    format!("{message}: its owner must GRANT that to this user")
                }
                _ => return None,
            }
        }
        None => match error.source() {
            Some(source) if source.to_string() == "password missing" => {
                "it asks for a password, and the URL has none".to_owned()
            }
            _ => return None,
        },
    };
    Some(StoreError::Refused(sentence))
}

/// While the schema is brought up to date.
pub(super) fn refused_change(error: StoreError) -> StoreError {
    let StoreError::Database(source) = &error else {
        return error;
    };
    let state = source
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::code);
    if state == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return StoreError::Refused(
            "this user may not make tables there: make it the owner of the database, or GRANT CREATE ON SCHEMA public to it"
                .to_owned(),
        );
    }
    error
}

//! Why a command could not be carried out. What a caller can expect, such as too few credits, is an outcome instead.

pub type Result<T> = std::result::Result<T, StoreError>;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The job is no longer this worker's: drop everything.
    #[error("the lease on the job is lost")]
    LeaseLost,
    /// Too many commands wait, or another process holds the database; nothing was done.
    #[error("the store is too busy")]
    Busy,
    /// The disk is full, read-only or failing; nothing was done.
    #[error("the store cannot be written")]
    Unwritable(#[source] Source),
    /// The connection broke while a change was made final, and nobody could say whether it was: it may be, or not.
    #[error("it is not known whether the store has written it")]
    Unknown,
    /// The database does not let us in, or is none that we can work with: a person must change something. What is to be
    /// changed follows in words.
    #[error("{0}")]
    Refused(String),
    /// The database was made by a newer version of this program.
    #[error(
        "the database has schema {found}, newer than {known}, the newest that this version knows: start the newer version"
    )]
    SchemaTooNew { found: u32, known: u32 },
    /// A row holds what we never write.
    #[error("the database holds a value that cannot be: {0}")]
    Corrupt(String),
    #[error("the database failed")]
    Database(#[source] Source),
}

/// The driver's own error, for the log.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Whether the same command may succeed later without anybody mending anything but the disk or the load.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Busy | Self::Unwritable(_) => true,
            Self::LeaseLost
            | Self::Unknown
            | Self::Refused(_)
            | Self::SchemaTooNew { .. }
            | Self::Corrupt(_)
            | Self::Database(_) => false,
        }
    }

    /// For whoever has worked with the database before: one that lets nobody in any more is as good as away.
    pub(crate) fn away(self) -> Self {
        match self {
            Self::Refused(_) => Self::Unwritable(Box::new(self)),
            other => other,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Sqlite;
        match error.sqlite_error_code() {
            Some(Sqlite::DatabaseBusy | Sqlite::DatabaseLocked) => Self::Busy,
            Some(
                Sqlite::DiskFull
                | Sqlite::ReadOnly
                | Sqlite::SystemIoFailure
                | Sqlite::CannotOpen
                | Sqlite::PermissionDenied,
            ) => Self::Unwritable(Box::new(error)),
            Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            _ => Self::Database(Box::new(error)),
        }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        let Some(state) = error.code() else {
            use std::error::Error as _;
            let is_of_connection = error.is_closed()
                || error
                    .source()
                    .is_some_and(|source| source.downcast_ref::<std::io::Error>().is_some());
            // What else has no code is our own mistake about types and rows.
            return if is_of_connection {
                Self::Unwritable(Box::new(error))
            } else {
                Self::Database(Box::new(error))
            };
        };
        match state {
            &SqlState::T_R_SERIALIZATION_FAILURE
            | &SqlState::T_R_DEADLOCK_DETECTED
            | &SqlState::LOCK_NOT_AVAILABLE
            | &SqlState::QUERY_CANCELED
            | &SqlState::OUT_OF_MEMORY
            | &SqlState::TOO_MANY_CONNECTIONS => Self::Busy,
            &SqlState::DISK_FULL
            | &SqlState::READ_ONLY_SQL_TRANSACTION
            | &SqlState::ADMIN_SHUTDOWN
            | &SqlState::CRASH_SHUTDOWN
            | &SqlState::CANNOT_CONNECT_NOW
            | &SqlState::IDLE_SESSION_TIMEOUT
            | &SqlState::CONNECTION_EXCEPTION
            | &SqlState::CONNECTION_FAILURE
            | &SqlState::IO_ERROR => Self::Unwritable(Box::new(error)),
            _ => Self::Database(Box::new(error)),
        }
    }
}

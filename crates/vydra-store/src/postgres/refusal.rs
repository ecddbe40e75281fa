//! Why a database does not let us in although it is there: what a person must change.

use crate::StoreError;
use std::error::Error;
use std::io;
use tokio_postgres::error::{DbError, SqlState};

/// None when it may pass by itself.
pub(super) fn refusal(error: &tokio_postgres::Error) -> Option<StoreError> {
    let sentence = match error.as_db_error() {
        Some(answer) => answered(answer),
        None => unanswered(error.source()?),
    };
    sentence.map(StoreError::Refused)
}

fn answered(answer: &DbError) -> Option<String> {
    let message = answer.message();
    match *answer.code() {
        SqlState::INVALID_PASSWORD => Some(format!(
            "it lets nobody in with this name and password ({message})"
        )),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Some(format!(
            "it does not let this user in ({message}): see its roles and its pg_hba.conf"
        )),
        SqlState::INVALID_CATALOG_NAME => Some(format!(
            "{message}: create it, or name another one in the URL"
        )),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            Some(format!("{message}: its owner must GRANT that to this user"))
        }
        _ => None,
    }
}

/// The driver's own words are all that tells these apart.
fn unanswered(source: &(dyn Error + 'static)) -> Option<String> {
    if let Some(broken) = source.downcast_ref::<io::Error>() {
        return encryption(broken.get_ref()?.downcast_ref()?);
    }
    let sentence = match source.to_string().as_str() {
        "password missing" => "it asks for a password, and the URL has none",
        "server does not support TLS" => {
            "it does not speak TLS, for which sslmode in the URL asks: set ssl = on there, or say sslmode=disable if nobody stands between"
        }
        _ => return None,
    };
    Some(sentence.to_owned())
}

/// None for what a broken connection may be the reason of.
fn encryption(error: &rustls::Error) -> Option<String> {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else {
        return None;
    };
    Some(match bad {
        // The latter where another authority has the same name.
        Bad::UnknownIssuer | Bad::BadSignature => {
            "no authority that is trusted here vouches for its certificate: name the one that has signed it by sslrootcert"
                .to_owned()
        }
        Bad::NotValidForName => "its certificate is for another name".to_owned(),
        Bad::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "its certificate is not for {} but for {}: call it by a name of its certificate, or say sslmode=verify-ca",
            expected.to_str(),
            if presented.is_empty() {
                "nobody, having no subjectAltName".to_owned()
            } else {
                presented.join(", ")
            }
        ),
        Bad::Expired | Bad::ExpiredContext { .. } => {
            "its certificate has expired: give it a new one".to_owned()
        }
        Bad::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is that of an authority: let the authority sign another one for the server".to_owned()
        }
        bad => format!("its certificate is refused: {bad}"),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{CertificateError, Error};

    /// What cannot be made here: a certificate of yesterday.
    #[test]
    fn each_certificate_that_is_refused_is_told_why() {
        for (bad, told) in [
            (CertificateError::Expired, "has expired"),
            (CertificateError::UnknownIssuer, "sslrootcert"),
            (CertificateError::Revoked, "refused: "),
        ] {
            let sentence = encryption(&Error::InvalidCertificate(bad)).unwrap();
            assert!(sentence.contains(told), "{sentence}");
        }
        assert_eq!(encryption(&Error::HandshakeNotComplete), None);
    }
}

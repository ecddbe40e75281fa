//! `X-Vydra-Simulate`: a test key makes an outcome happen for real, through the same path (contract, section 12).

use crate::{Access, Caller, Error, Exceeded, KeyConflict, LimitKind, Result};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::Violations;
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{JobStatus, Mode, Script, ScriptedFailure};
use vydra_core::scope::Scope;

const HEADER: &str = "X-Vydra-Simulate";

/// A job of the sandbox may be slow, but not for ever.
const MAX_SLOW_MS: u64 = 10 * 60 * 1_000;

/// What the header asks for.
#[derive(Debug, Default)]
struct Wishes {
    /// The answer, before anything is done.
    refusal: Option<ErrorCode>,
    /// What the provider shall do; None where nothing was said of it.
    script: Option<Script>,
}

impl Caller {
    /// Refuses what was asked to be refused, for any operation. What a provider shall do only a call that charges can
    /// bring about.
    pub fn simulate(&self, header: Option<&str>, access: Access, charges: bool) -> Result<()> {
        let Some(wishes) = self.wishes(header)? else {
            return Ok(());
        };
        match wishes.refusal {
            // Its figures are known when the price is.
            Some(ErrorCode::InsufficientCredits) if charges => Ok(()),
            Some(code) => Err(refusal(self, code, access, Credits::new(1).unwrap_or_default())),
            None if wishes.script.is_some() && !charges => Err(Error::InvalidInput {
                sentence: "X-Vydra-Simulate makes a provider's outcome only of calls that charge; here it takes the codes in details.allowed".to_owned(),
                fields: Vec::new(),
                allowed: ErrorCode::ALL
                    .into_iter()
                    .filter(|code| failure(code.as_str()).is_none())
                    .map(|code| code.as_str().to_owned())
                    .collect(),
            }),
            None => Ok(()),
        }
    }

    fn wishes(&self, header: Option<&str>) -> Result<Option<Wishes>> {
        let Some(header) = header else {
            return Ok(None);
        };
        match self.mode() {
            Mode::Test => read(header).map(Some),
            Mode::Live => Err(Error::invalid(
                "X-Vydra-Simulate needs a test key (vydra_test_…); this is a live one",
            )),
        }
    }
}

/// For a call that charges: a refusal now, or a script for the provider.
pub(crate) fn script(caller: &Caller, header: Option<&str>, price: Credits) -> Result<Script> {
    let wishes = caller.wishes(header)?.unwrap_or_default();
    match wishes.refusal {
        Some(code) => Err(refusal(
            caller,
            code,
            Access::Scope(Scope::ModelsWrite),
            price,
        )),
        None => Ok(wishes.script.unwrap_or_default()),
    }
}

fn read(header: &str) -> Result<Wishes> {
    let mut wishes = Wishes::default();
    for wish in header
        .split(',')
        .map(str::trim)
        .filter(|wish| !wish.is_empty())
    {
        let number = |text: &str| text.parse::<u32>().map_err(|_| unknown(wish));
        let script = wishes.script.get_or_insert_default();
        match wish.split_once('=') {
            None => {
                if let Some(failure) = failure(wish) {
                    script.fail = Some(failure);
                } else {
                    let code = ErrorCode::parse(wish).ok_or_else(|| unknown(wish))?;
                    wishes.refusal.get_or_insert(code);
                }
            }
            Some(("SLOW", span)) => {
                script.slow_ms = milliseconds(span)
                    .ok_or_else(|| unknown(wish))?
                    .min(MAX_SLOW_MS);
            }
            Some(("PARTIAL", count)) => script.deliver = Some(number(count)?),
            Some(("FLAKY", times)) => script.flaky = number(times)?,
            Some(_) => return Err(unknown(wish)),
        }
    }
    Ok(wishes)
}

fn failure(wish: &str) -> Option<ScriptedFailure> {
    match wish {
        "GENERATION_FAILED" => Some(ScriptedFailure::GenerationFailed),
        "CONTENT_POLICY" => Some(ScriptedFailure::ContentPolicy),
        "PROCESSING_TIMEOUT" => Some(ScriptedFailure::ProcessingTimeout),
        "LOST" => Some(ScriptedFailure::Lost),
        _ => None,
    }
}

/// `5s`, `250ms` or `2m`.
fn milliseconds(span: &str) -> Option<u64> {
    let (number, factor) = if let Some(number) = span.strip_suffix("ms") {
        (number, 1)
    } else if let Some(number) = span.strip_suffix('s') {
        (number, 1_000)
    } else {
        (span.strip_suffix('m')?, 60_000)
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn unknown(wish: &str) -> Error {
    Error::invalid(format!("X-Vydra-Simulate does not know {wish:?}"))
}

/// The refusal with all the fields that the real one has.
fn refusal(caller: &Caller, code: ErrorCode, access: Access, price: Credits) -> Error {
    match code {
        ErrorCode::MissingAuth => Error::MissingAuth,
        ErrorCode::InvalidFormat => Error::InvalidFormat,
        ErrorCode::KeyNotFound => Error::KeyNotFound,
        ErrorCode::KeyRevoked => Error::KeyRevoked,
        ErrorCode::KeyExpired => Error::KeyExpired,
        ErrorCode::InsufficientScope => Error::InsufficientScope {
            required: match access {
                Access::Scope(scope) => scope.as_str(),
                Access::OwnJobs => Scope::JobsRead.as_str(),
                Access::Public | Access::Person => "session",
            },
            granted: caller.granted().words().to_vec(),
        },
        ErrorCode::InvalidInput => {
            Violations::one(HEADER, "simulated", "a request without this header").into()
        }
        ErrorCode::InvalidUrl => Error::InvalidUrl {
            field: "imageUrl".to_owned(),
            sentence: "Invalid URL in imageUrl: the address cannot be reached".to_owned(),
        },
        ErrorCode::IdempotencyConflict => Error::IdempotencyConflict(KeyConflict::InProgress),
        ErrorCode::InvalidFileType => Error::InvalidFileType(MediaKind::Image),
        ErrorCode::FileTooLarge => crate::upload_too_large(MediaKind::Image),
        ErrorCode::InsufficientCredits => Error::InsufficientCredits {
            required: price,
            remaining: Credits::ZERO,
        },
        ErrorCode::RateLimitExceeded => Error::RateLimited(Exceeded {
            kind: LimitKind::Minute,
            limit: caller.limits.rpm,
            used: caller.limits.rpm.saturating_add(1),
            retry_after_s: 30,
            standing: Some(caller.standing),
        }),
        ErrorCode::NotFound => Error::NotFound {
            what: "resource".to_owned(),
        },
        ErrorCode::ModelNotFound => Error::ModelNotFound {
            model: "simulated".to_owned(),
            hint: "GET /api/v1/models lists the models of this server.".to_owned(),
        },
        ErrorCode::JobNotFound => Error::JobNotFound,
        ErrorCode::JobNotCancellable => Error::JobNotCancellable(JobStatus::Completed),
        // The real ones come from outside of the engine, are worth a line in the log, or follow a charge.
        ErrorCode::MethodNotAllowed
        | ErrorCode::GenerationFailed
        | ErrorCode::ProcessingTimeout
        | ErrorCode::InternalError
        | ErrorCode::Unavailable => Error::Simulated(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        assert_eq!(milliseconds("5s"), Some(5_000));
        assert_eq!(milliseconds("250ms"), Some(250));
        assert_eq!(milliseconds("2m"), Some(120_000));
        for wrong in ["", "s", "-1s", "5", "5h", "99999999999999999999s"] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }
}

//! `X-Vydra-Simulate`: a test key makes an outcome happen for real, through the same path (contract, section 12).

use crate::{Caller, Error, Exceeded, LimitKind, Result};
use vydra_core::credits::Credits;
use vydra_core::error_code::ErrorCode;
use vydra_core::job::{Mode, Script, ScriptedFailure};
use vydra_core::scope::Scope;

/// A job of the sandbox may be slow, but not for ever.
const MAX_SLOW_MS: u64 = 10 * 60 * 1_000;

/// What the header asks for: a refusal now, or a script for the provider.
pub(crate) fn script(caller: &Caller, header: Option<&str>, price: Credits) -> Result<Script> {
    let Some(header) = header else {
        return Ok(Script::default());
    };
    if caller.mode() == Mode::Live {
        return Err(Error::invalid(
            "X-Vydra-Simulate needs a test key (vydra_test_…); this is a live one",
        ));
    }
    let mut script = Script::default();
    for wish in header
        .split(',')
        .map(str::trim)
        .filter(|wish| !wish.is_empty())
    {
        let number = |text: &str| text.parse::<u32>().map_err(|_| unknown(wish));
        match wish.split_once('=') {
            None => match failure(wish) {
                Some(failure) => script.fail = Some(failure),
                None => {
                    return Err(refusal(
                        caller,
                        ErrorCode::parse(wish).ok_or_else(|| unknown(wish))?,
                        price,
                    ));
                }
            },
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
    Ok(script)
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
fn refusal(caller: &Caller, code: ErrorCode, price: Credits) -> Error {
    match code {
        ErrorCode::MissingAuth => Error::MissingAuth,
        ErrorCode::InvalidFormat => Error::InvalidFormat,
        ErrorCode::KeyNotFound => Error::KeyNotFound,
        ErrorCode::KeyRevoked => Error::KeyRevoked,
        ErrorCode::KeyExpired => Error::KeyExpired,
        ErrorCode::InsufficientScope => Error::InsufficientScope {
            required: Scope::ModelsWrite.as_str(),
            granted: caller.granted().words().to_vec(),
        },
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
        ErrorCode::InvalidInput
        | ErrorCode::InvalidFileType
        | ErrorCode::FileTooLarge
        | ErrorCode::InvalidUrl
        | ErrorCode::NotFound
        | ErrorCode::ModelNotFound
        | ErrorCode::JobNotFound
        | ErrorCode::MethodNotAllowed
        | ErrorCode::IdempotencyConflict
        | ErrorCode::JobNotCancellable
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

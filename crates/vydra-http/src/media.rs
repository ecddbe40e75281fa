//! Media files: readable by whoever has the URL, with ranges, and harmless in a browser (contract, section 9).

use crate::ApiState;
use crate::auth;
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::ops::Range;
use vydra_core::asset::{Asset, is_only_shown};
use vydra_engine::Error;

pub(crate) async fn get(
    State(state): State<ApiState>,
    Path(key): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let found = match state.engine.thumbnail(&key).await {
        Ok(None) => state.engine.media_asset(&key).await,
        Ok(Some(thumbnail)) => Ok(thumbnail),
        Err(error) => Err(error),
    };
    let asset = match found {
        Err(error @ Error::NotFound { .. }) => {
            // Whoever guesses at keys is counted; whoever has one is not.
            auth::count_in_vain(&parts, &state).await?;
            return Err(ApiError(error));
        }
        found => found?,
    };
    serve(&state, &key, asset, &parts).await
}

async fn serve(
    state: &ApiState,
    key: &str,
    asset: Asset,
    asked: &Parts,
) -> Result<Response, ApiError> {
    // A file under a key never changes, so the key is its tag.
    let name = key.rsplit('/').next().unwrap_or("file");
    let tag = format!("\"{name}\"");
    let mut out = HeaderMap::new();
    let mut put = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            out.insert(name, value);
        }
    };
    put(header::ETAG, &tag);
    put(header::CACHE_CONTROL, "public, max-age=31536000, immutable");
    put(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; sandbox",
    );
    put(
        header::HeaderName::from_static("cross-origin-resource-policy"),
        "cross-origin",
    );
    put(header::ACCEPT_RANGES, "bytes");
    put(header::CONTENT_TYPE, &asset.media_type);
    let way = if is_only_shown(&asset.media_type) {
        "inline"
    } else {
        "attachment"
    };
    let disposition = format!("{way}; filename=\"{name}\"");
    put(header::CONTENT_DISPOSITION, &disposition);
    let text = |name: header::HeaderName| {
        asked
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    if text(header::IF_NONE_MATCH).is_some_and(|tags| {
        tags.split(',')
            .any(|one| matches!(one.trim(), "*") || one.trim().trim_start_matches("W/") == tag)
    }) {
        out.remove(header::CONTENT_TYPE);
        return Ok((StatusCode::NOT_MODIFIED, out).into_response());
    }
    // What tells of a file needs none of its bytes, and a link is good for reading alone.
    let method = &asked.method;
    if method != Method::HEAD
        && let Some(link) = state.engine.media_link(&asset, &disposition).await?
    {
        // The link ends soon, so nobody may keep it.
        let fields = [
            (header::LOCATION, link),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        return Ok((StatusCode::TEMPORARY_REDIRECT, fields).into_response());
    }
    let size = asset.bytes;
    // A part of another version must not be glued to this one.
    let range_applies = text(header::IF_RANGE).is_none_or(|condition| condition == tag);
    let asked = text(header::RANGE)
        .filter(|_| range_applies)
        .map_or(Asked::Whole, |range| parse_range(range, size));
    let (status, range) = match asked {
        Asked::Whole => (StatusCode::OK, None),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
        Asked::Impossible => {
            let range = HeaderValue::from_str(&format!("bytes */{size}")).ok();
            out.remove(header::CONTENT_TYPE);
            out.extend(range.map(|range| (header::CONTENT_RANGE, range)));
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, out).into_response());
        }
    };
    // A file under a key never changes, so the row tells all of it but the bytes.
    let (sent, body) = if method == Method::HEAD {
        (range.unwrap_or(0..size), Body::empty())
    } else {
        let opened = state.engine.open_media(asset, range).await?;
        let body = Body::from_stream(opened.stream.stream);
        (opened.stream.range, body)
    };
    out.insert(
        header::CONTENT_LENGTH,
        HeaderValue::from(sent.end - sent.start),
    );
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(range) = HeaderValue::from_str(&format!(
            "bytes {}-{}/{size}",
            sent.start,
            sent.end.saturating_sub(1)
        ))
    {
        out.insert(header::CONTENT_RANGE, range);
    }
    Ok((status, out, body).into_response())
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    Impossible,
}

/// RFC 9110, section 14: one range of bytes. Several, or one that is not understood, are ignored, as the RFC allows.
fn parse_range(header: &str, size: u64) -> Asked {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .filter(|set| !set.contains(','))
        .and_then(|set| set.split_once('-'))
    else {
        return Asked::Whole;
    };
    let (first, last) = (first.trim(), last.trim());
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.is_empty() => first..size,
        (Err(_), Ok(count)) if first.is_empty() => size.saturating_sub(count)..size,
        _ => return Asked::Whole,
    };
    if range.start >= range.end {
        Asked::Impossible
    } else {
        Asked::Part(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        assert_eq!(parse_range("bytes=0-0", 10), Asked::Part(0..1));
        assert_eq!(parse_range("bytes=2-", 10), Asked::Part(2..10));
        assert_eq!(parse_range("bytes=2-99", 10), Asked::Part(2..10));
        assert_eq!(parse_range("bytes=-3", 10), Asked::Part(7..10));
        assert_eq!(parse_range("bytes=-99", 10), Asked::Part(0..10));
        assert_eq!(parse_range("bytes=10-", 10), Asked::Impossible);
        assert_eq!(parse_range("bytes=-0", 10), Asked::Impossible);
        for ignored in [
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "lines=1-2",
            "0-1",
        ] {
            assert_eq!(parse_range(ignored, 10), Asked::Whole, "{ignored}");
        }
    }
}

use super::jobs::url_of;
use crate::ApiState;
use crate::auth::Authorized;
use crate::error::{ApiError, ErrorBody};
use crate::extract::ApiQuery;
use axum::Json;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::multipart::{Field, Multipart, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Request, State};
use axum::http::StatusCode;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};
use vydra_core::asset::{Asset, MediaKind};
use vydra_core::catalog::Violations;
use vydra_engine::{Caller, Error, Upload, max_upload, no_file, upload_too_large};

/// The field that holds the file.
const FIELD: &str = "file";
/// What a form may weigh besides its file.
const ENVELOPE: u64 = 64 * 1_024;
/// As slow as a caller may send.
const PATIENCE: Duration = Duration::from_mins(5);

#[derive(Debug, ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "describes a body that is read part by part")]
pub(crate) struct UploadBody {
    /// By what its bytes are: a jpeg, png, webp or gif of at most 20 MiB, 8,192 pixels a side and 40 megapixels; with
    /// `type=video` an mp4, webm or mov of at most 100 MiB; with `type=audio` an mp3, wav, flac, ogg, m4a or aac of at most
    /// 50 MiB.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// What it is to be: image when absent.
    #[serde(rename = "type")]
    #[param(pattern = "^(image|video|audio)$")]
    kind: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UploadView {
    /// Readable without a key. To be given wherever the URL of such a file is asked for.
    url: String,
    /// The name that the file had, cleaned, with the ending of its true type.
    #[schema(example = "lake.png")]
    filename: String,
    /// In bytes.
    size: u64,
    /// The true media type.
    #[serde(rename = "type")]
    #[schema(example = "image/png")]
    media_type: String,
    /// Can be given in place of the url.
    key: String,
}

impl UploadView {
    fn of(asset: Asset, public_url: &str) -> Self {
        Self {
            url: url_of(&asset, public_url),
            filename: asset.filename.unwrap_or_default(),
            size: asset.bytes,
            media_type: asset.media_type,
            key: asset.upload_key.unwrap_or_default(),
        }
    }
}

/// Sends a file in. Where an image was taken and with what is removed from it; its orientation is kept. Video and audio are kept as
/// they come, with whatever they tell of their place. Nothing is charged.
#[utoipa::path(post, path = "/api/v1/upload", operation_id = "upload", tag = "Files", params(UploadQuery), request_body(content = UploadBody, content_type = "multipart/form-data"), responses(
    (status = 200, description = "The file as it is known from now on", body = UploadView),
    (status = 400, description = "INVALID_INPUT, INVALID_FILE_TYPE, FILE_TOO_LARGE", body = ErrorBody),
))]
pub(crate) async fn create(
    State(state): State<ApiState>,
    auth: Authorized,
    ApiQuery(query): ApiQuery<UploadQuery>,
    mut request: Request,
) -> Result<Json<UploadView>, ApiError> {
    let kind = match query.kind.as_deref().map(MediaKind::parse) {
        None => MediaKind::Image,
        Some(Some(kind)) => kind,
        Some(None) => {
            let words = "image, video, audio";
            let refused = Violations::one("type", "not one of the allowed values", words);
            return Err(Error::from(refused).into());
        }
    };
    let limit = usize::try_from(max_upload(kind) + ENVELOPE).unwrap_or(usize::MAX);
    DefaultBodyLimit::max(limit).apply(&mut request);
    let request = request.map(|body| {
        Body::from_stream(OneByOne {
            body: body.into_data_stream(),
            rest: Bytes::new(),
            given: false,
        })
    });
    let form = Multipart::from_request(request, &state)
        .await
        .map_err(|_| Error::invalid("The Content-Type must be multipart/form-data"))?;
    let asset = tokio::time::timeout(PATIENCE, receive(&state, &auth.caller, kind, form))
        .await
        .map_err(|_| Error::invalid("The upload took longer than 5 minutes"))??;
    let public_url = &state.engine.settings().public_url;
    Ok(Json(UploadView::of(asset, public_url)))
}

/// The reader of forms takes all that has come before it gives anything away: of many senders at once that is much memory. Here it
/// finds one small piece at a time.
struct OneByOne {
    body: BodyDataStream,
    /// Of the last piece that came.
    rest: Bytes,
    given: bool,
}

const PIECE: usize = 16 * 1_024;

impl Stream for OneByOne {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.given) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                Some(Ok(piece)) => self.rest = piece,
                end => return Poll::Ready(end),
            }
        }
        self.given = true;
        let size = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(size))))
    }
}

/// Reads the form to its end before the file counts: what is cut off is no upload.
async fn receive(
    state: &ApiState,
    caller: &Caller,
    kind: MediaKind,
    mut form: Multipart,
) -> Result<Asset, Error> {
    let mut upload: Option<Upload> = None;
    while let Some(mut part) = form
        .next_field()
        .await
        .map_err(|error| unreadable(kind, &error))?
    {
        if part.name() != Some(FIELD) {
            continue;
        }
        if upload.is_some() {
            return Err(Error::invalid("Only one file can be sent at a time"));
        }
        let begun = state.engine.begin_upload(caller, kind, part.file_name());
        upload = Some(read(begun, kind, &mut part).await?);
    }
    upload.ok_or_else(no_file)?.finish().await
}

async fn read(mut upload: Upload, kind: MediaKind, part: &mut Field<'_>) -> Result<Upload, Error> {
    let broken = |error| unreadable(kind, &error);
    while let Some(bytes) = part.chunk().await.map_err(broken)? {
        upload.write(&bytes).await?;
    }
    Ok(upload)
}

fn unreadable(kind: MediaKind, error: &MultipartError) -> Error {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return upload_too_large(kind);
    }
    tracing::debug!(
        error = error as &dyn std::error::Error,
        "a form could not be read"
    );
    Error::invalid("The multipart body could not be read: it is cut off or broken")
}

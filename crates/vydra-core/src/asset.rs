//! Assets: the media files that we keep.

use crate::ids::{AssetId, JobId, OrgId};
use crate::job::Mode;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What a file is, and what a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
}

impl MediaKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Video => "video",
            Self::Audio => "audio",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Image, Self::Video, Self::Audio]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// All that are known by their first bytes, and none that a browser would run.
    pub const fn media_types(self) -> &'static [&'static str] {
        match self {
            Self::Image => &["image/jpeg", "image/png", "image/webp", "image/gif"],
            Self::Video => &["video/mp4", "video/webm", "video/quicktime"],
            Self::Audio => &[
                "audio/mpeg",
                "audio/wav",
                "audio/flac",
                "audio/ogg",
                "audio/mp4",
                "audio/aac",
            ],
        }
    }

    /// The kind of a true media type such as `image/png`.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        media_type.split('/').next().and_then(Self::parse)
    }
}

/// Whether a browser draws or plays it and never runs it. Whatever else finds its way in is saved, not opened: a drawing in
/// SVG, for one, is a document that may hold scripts.
pub fn is_only_shown(media_type: &str) -> bool {
    [MediaKind::Image, MediaKind::Video, MediaKind::Audio]
        .iter()
        .any(|kind| kind.media_types().contains(&media_type))
}

/// Why a file is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssetRole {
    /// A job made it.
    Output,
    /// A caller named it in a request, and we fetched it once.
    Input,
    /// A caller sent it.
    Upload,
    /// A step of a job made it for the steps behind it.
    Step,
    /// It came after its job had ended: the operator's, and no caller's.
    Late,
}

impl AssetRole {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Input => "input",
            Self::Upload => "upload",
            Self::Step => "step",
            Self::Late => "late",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Output,
            Self::Input,
            Self::Upload,
            Self::Step,
            Self::Late,
        ]
        .into_iter()
        .find(|role| role.as_str() == text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    pub id: AssetId,
    pub org_id: OrgId,
    /// The sandbox and the real thing do not see each other's.
    pub mode: Mode,
    pub job_id: Option<JobId>,
    pub role: AssetRole,
    pub kind: MediaKind,
    pub media_type: String,
    /// Where the bytes are in media storage, and the part of the public URL that cannot be guessed.
    pub storage_key: String,
    pub bytes: u64,
    pub dimensions: Option<(u32, u32)>,
    pub duration_ms: Option<u64>,
    /// Of an upload: its name, cleaned.
    pub filename: Option<String>,
    /// Of an upload, and of nothing else: what its organization calls it, `uploads/<user>/<ms>-<name>`.
    pub upload_key: Option<String>,
    /// False once a small picture of it could not be made; true says that it may be tried.
    pub has_thumbnail: bool,
    pub created_at: Timestamp,
}

/// A file as its organization sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAsset {
    pub asset: Asset,
    /// Of the job that made it.
    pub workflow: Option<String>,
}

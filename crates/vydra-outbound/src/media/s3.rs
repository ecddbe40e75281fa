//! Media files in a bucket: of AWS, or of any other store that speaks S3.
//!
//! The operator names it, so it may have any address: nothing here comes from a caller.

use super::{MediaError, MediaStore, Portions};
use crate::http::{ClientFactory, SetupError};
use async_trait::async_trait;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use object_store::path::Path as StorePath;
use object_store::signer::{SignedUrlOptions, Signer};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;
use url::Url;
use vydra_core::asset::is_only_shown;

/// The smallest part that S3 takes, so that a writer holds no more. 10,000 of them, 48 GiB, make the largest file.
const PART: usize = 5 * 1_024 * 1_024;
const CONNECT: Duration = Duration::from_secs(3);
/// How long one try may take until the answer begins, beside what its body takes at [`PACE`].
const ANSWER: Duration = Duration::from_secs(10);
/// As slow as a body may go out, in bytes a second: a part takes 20 seconds then.
const PACE: f64 = 256.0 * 1_024.0;
/// How long an answer that has begun may say nothing. The client counts the time until it begins in the same way, so it
/// is no less than what a part may take.
const SILENCE: Duration = Duration::from_secs(30);
/// Two more tries, of which none begins later than this: within some 10 seconds it is told that nobody answers.
const RETRIES: usize = 2;
const RETRY_WITHIN: Duration = Duration::from_secs(10);
/// A bucket charges for each request, and anybody may ask how we are.
const CHECK_HOLDS: Duration = Duration::from_secs(10);

/// How long a link to a file can be begun to be read.
const LINK_HOLDS: Duration = Duration::from_mins(10);

/// `s3://bucket` or `s3://bucket/folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    name: String,
    /// In front of every key: empty, or with a slash at its end.
    prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be s3:// and the name of a bucket, and may go on with a folder in it: s3://my-bucket/vydra"
)]
pub struct NotABucket;

impl FromStr for Bucket {
    type Err = NotABucket;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("s3://").ok_or(NotABucket)?;
        let (name, folder) = path.split_once('/').unwrap_or((path, ""));
        let is_alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let name_is_good = (3..=63).contains(&name.len())
            && name
                .bytes()
                .all(|b| is_alphanumeric(&b) || matches!(b, b'.' | b'-'))
            && !name.contains("..")
            && name.as_bytes().first().is_some_and(is_alphanumeric)
            && name.as_bytes().last().is_some_and(is_alphanumeric);
        if !name_is_good {
            return Err(NotABucket);
        }
        let folder = folder.strip_suffix('/').unwrap_or(folder);
        let folder_is_good = folder.is_empty()
            || folder.split('/').all(|segment| {
                !matches!(segment, "" | "." | "..")
                    && segment
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            });
        if !folder_is_good || StorePath::parse(folder).is_err() {
            return Err(NotABucket);
        }
        Ok(Self {
            name: name.to_owned(),
            prefix: if folder.is_empty() {
                String::new()
            } else {
                format!("{folder}/")
            },
        })
    }
}

/// Where the store answers, when it is not AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an address such as https://minio.example:9000, without a name, a password and a query"
)]
pub struct NotAnEndpoint;

impl FromStr for Endpoint {
    type Err = NotAnEndpoint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| NotAnEndpoint)?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if is_plain {
            Ok(Self(url))
        } else {
            Err(NotAnEndpoint)
        }
    }
}

impl Endpoint {
    fn is_encrypted(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// With the bucket as the first part of the host's name, where the store wants it there.
    fn address(&self, bucket: Option<&str>) -> String {
        let text = self.0.as_str().trim_end_matches('/');
        match (bucket, text.split_once("://")) {
            (Some(bucket), Some((scheme, rest))) => format!("{scheme}://{bucket}.{rest}"),
            _ => text.to_owned(),
        }
    }
}

#[derive(Clone)]
pub struct S3Settings {
    pub bucket: Bucket,
    /// None for AWS.
    pub endpoint: Option<Endpoint>,
    pub region: String,
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Whether a store that is not AWS wants the bucket in the host's name rather than in the path.
    pub virtual_hosted: bool,
    /// Whether readers are sent to the bucket, in place of getting the bytes from us.
    pub redirects: bool,
}

impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

/// As the operator wrote it.
impl fmt::Display for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bucket { name, prefix } = &self.bucket;
        write!(f, "s3://{name}/{prefix}")?;
        match &self.endpoint {
            Some(endpoint) => write!(f, " at {}", endpoint.address(None)),
            None => write!(f, " at AWS, {}", self.region),
        }
    }
}

impl MediaStore {
    /// Keeps the files in a bucket. Nothing is asked of it before the first file.
    pub fn s3(settings: &S3Settings) -> Result<Self, MediaError> {
        let Bucket { name, prefix } = &settings.bucket;
        // AWS has certificates for one name below its own: a bucket with a dot can only stand in the path there.
        let virtual_hosted = match &settings.endpoint {
            Some(_) => settings.virtual_hosted,
            None => !name.contains('.'),
        };
        let http = Http::new(settings.endpoint.as_ref())
            .map_err(|error| MediaError::Storage(Box::new(error)))?;
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(name)
            .with_region(&settings.region)
            .with_access_key_id(&settings.access_key_id)
            .with_secret_access_key(&settings.secret_access_key)
            .with_virtual_hosted_style_request(virtual_hosted)
            // Not every store knows the request that deletes many files at once, and we delete one.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: RETRY_WITHIN,
            })
            .with_http_connector(http);
        if let Some(endpoint) = &settings.endpoint {
            builder =
                builder.with_endpoint(endpoint.address(virtual_hosted.then_some(name.as_str())));
        }
        let store = Arc::new(builder.build()?);
        Ok(Self {
            links: settings
                .redirects
                .then(|| Arc::clone(&store) as Arc<dyn Signer>),
            store,
            prefix: prefix.clone(),
            portions: Portions {
                part: PART,
                whole: PART,
            },
            check_holds: CHECK_HOLDS,
            leftovers: TaskTracker::new(),
            root: None,
        })
    }
}

impl MediaStore {
    /// Where the file can be read from the storage itself, by whoever has the link, for ten minutes. None where the bytes
    /// go through us.
    pub async fn link(
        &self,
        key: &str,
        media_type: &str,
        disposition: &str,
    ) -> Result<Option<String>, MediaError> {
        // The storage says of what type a file is, and not that a browser must take its word: only for what cannot act.
        let Some(links) = self.links.as_ref().filter(|_| is_only_shown(media_type)) else {
            return Ok(None);
        };
        let options = SignedUrlOptions::default().with_query([
            ("response-content-type", media_type),
            ("response-content-disposition", disposition),
        ]);
        let location = self.location(key)?;
        let link = links.signed_url_opts(reqwest::Method::GET, &location, LINK_HOLDS, &options);
        Ok(Some(link.await?.into()))
    }
}

/// Our own client in place of `object_store`'s: the same TLS as everywhere, and a bound on each try.
#[derive(Debug, Clone)]
struct Http(reqwest::Client);

impl Http {
    fn new(endpoint: Option<&Endpoint>) -> Result<Self, SetupError> {
        let client = ClientFactory::new()?
            .http1()
            .builder(CONNECT)
            .read_timeout(SILENCE)
            .https_only(endpoint.is_none_or(Endpoint::is_encrypted))
            .build()?;
        Ok(Self(client))
    }
}

impl HttpConnector for Http {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let body = u32::try_from(request.body().content_length()).unwrap_or(u32::MAX);
        let patience = ANSWER + Duration::from_secs_f64(f64::from(body) / PACE);
        tokio::time::timeout(patience, self.0.call(request))
            .await
            .unwrap_or_else(|elapsed| Err(HttpError::new(HttpErrorKind::Timeout, elapsed)))
    }
}

#[cfg(test)]
mod tests;

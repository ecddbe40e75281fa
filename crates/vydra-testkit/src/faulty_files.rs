//! Files behind points at which something can go wrong.

use crate::faults::Life;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct FaultyFiles {
    pub(crate) inner: Arc<dyn ObjectStore>,
    pub(crate) life: Life,
}

impl std::fmt::Display for FaultyFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

fn failed(done: bool) -> Error {
    Error::Generic {
        store: "faulty",
        source: if done {
            "the answer was lost"
        } else {
            "not done"
        }
        .into(),
    }
}

#[async_trait]
impl ObjectStore for FaultyFiles {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        let call = self.inner.put_opts(location, payload, options);
        self.life.pass("media.put", call, failed).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let call = self.inner.put_multipart_opts(location, options);
        self.life.pass("media.create", call, failed).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let call = self.inner.get_opts(location, options);
        self.life.pass("media.read", call, failed).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let (inner, life) = (Arc::clone(&self.inner), self.life.clone());
        locations
            .then(move |location| {
                let (inner, life) = (Arc::clone(&inner), life.clone());
                async move {
                    let one = futures_util::stream::iter([location]).boxed();
                    let call = async { inner.delete_stream(one).next().await.unwrap() };
                    life.pass("media.delete", call, failed).await
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

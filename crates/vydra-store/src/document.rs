//! Documents, which every database keeps as our text.

use crate::{Result, StoreError};
use serde::Serialize;

pub(crate) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| StoreError::Database(Box::new(error)))
}

//! Lists, a page at a time: what is asked for, and how the page is told (contract, sections 7 to 9).

use crate::error::ApiError;
use crate::extract::number;
use serde::Serialize;
use std::ops::RangeInclusive;
use utoipa::ToSchema;

/// What every list shows that is not told otherwise.
pub(crate) const USUAL: u64 = 20;
pub(crate) const LIMITS: RangeInclusive<u64> = 1..=100;

/// The page that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) limit: u32,
    pub(crate) offset: u32,
}

/// The page that was given.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    limit: u32,
    offset: u32,
    /// How many there are in all.
    count: u64,
    /// For `after`; null at the end.
    pub(crate) next_cursor: Option<String>,
}

impl Page {
    pub(crate) fn read(limit: Option<&str>, offset: Option<&str>) -> Result<Self, ApiError> {
        Self::within(limit, offset, USUAL, LIMITS)
    }

    /// The same for a list of another size.
    pub(crate) fn within(
        limit: Option<&str>,
        offset: Option<&str>,
        usual: u64,
        limits: RangeInclusive<u64>,
    ) -> Result<Self, ApiError> {
        let to_u32 = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (least, most) = limits.into_inner();
        Ok(Self {
            limit: to_u32(number("limit", limit, usual, least, most)?),
            offset: to_u32(number("offset", offset, 0, 0, u64::from(u32::MAX))?),
        })
    }

    /// How many to look for: one more tells whether there is a next page.
    pub(crate) const fn and_one(self) -> u32 {
        self.limit + 1
    }

    /// Cuts what was found to the page; whether there was more.
    pub(crate) fn cut<T>(self, found: &mut Vec<T>) -> bool {
        let shown = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = found.len() > shown;
        found.truncate(shown);
        more
    }

    /// The same, and how the page is told; `count` is of all pages.
    pub(crate) fn told<T>(
        self,
        found: &mut Vec<T>,
        count: u64,
        cursor: impl Fn(&T) -> String,
    ) -> Pagination {
        let more = self.cut(found);
        Pagination {
            limit: self.limit,
            offset: self.offset,
            count,
            next_cursor: found.last().filter(|_| more).map(cursor),
        }
    }
}

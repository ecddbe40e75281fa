//! Who counts requests, where the store does not.

use super::{Purpose, concerns};
use crate::config::Config;
use anyhow::Context;
use vydra_outbound::windows::RedisWindows;

pub(super) async fn windows(
    config: &Config,
    purpose: Purpose,
) -> anyhow::Result<Option<RedisWindows>> {
    // Whoever answers nobody counts nobody, and is well without it.
    let Some(address) = config.redis()?.filter(|_| config.server.role.answers()) else {
        return Ok(None);
    };
    let windows = RedisWindows::new(address).context("the client for Redis could not be set up")?;
    if let Purpose::Server(_) = purpose {
        introduce(&windows).await;
    }
    Ok(Some(windows))
}

/// What the log of a server says of it. A server begins without it, and refuses requests until it is there.
async fn introduce(windows: &RedisWindows) {
    let address = windows.address();
    match windows.report().await {
        Ok(report) => {
            tracing::info!(version = %report.version, "requests are counted at {address}");
            for concern in concerns::of_redis(address, &report) {
                tracing::warn!("{address}: {concern}");
            }
        }
        Err(error) => tracing::error!(
            error = &error as &dyn std::error::Error,
            "requests are counted at {address}, which does not answer: they are refused until it does"
        ),
    }
}

//! What an orchestrator and a load balancer ask of a process. Not of the API: nothing is counted, and no key is asked for.

use crate::error::ErrorBody;
use vydra_core::error_code::ErrorCode;

/// For whoever asks a worker for more than how it is.
pub(crate) async fn not_here() -> ErrorBody {
    ErrorBody::of(ErrorCode::NotFound).saying(
        "This node is a worker: it answers only /livez, /readyz and /api/v1/health. Ask a node whose role is api or both",
    )
}

//! What organizations of tests may do.

use vydra_core::plan::{Limits, Plans};

/// Contract, section 4.
pub(crate) fn plans() -> Plans {
    let plan = |name: &str, rpm, rph, rpd, concurrent| {
        let limits = Limits {
            rpm,
            rph,
            rpd,
            concurrent,
        };
        (name.to_owned(), limits)
    };
    Plans::new(
        [
            plan("free", 10, 100, 500, 2),
            plan("starter", 30, 500, 5_000, 5),
            plan("creator", 60, 1_500, 20_000, 10),
            plan("enterprise", 6_000, 100_000, 1_000_000, 100),
        ]
        .into(),
    )
}

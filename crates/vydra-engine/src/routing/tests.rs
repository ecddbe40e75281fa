use super::*;
use vydra_core::catalog::Route;
use vydra_outbound::registry::Bounds;
use vydra_testkit::ScriptedProvider;

fn routes(weights: &[u32]) -> Vec<Working> {
    (0..)
        .zip(weights)
        .map(|(number, weight)| Working {
            route: Route {
                weight: *weight,
                ..Route::default()
            },
            number,
            provider: ScriptedProvider::new("p", true),
            bounds: Bounds::default(),
            is_hosted: true,
        })
        .collect()
}

fn order(weights: &[u32], job: &str) -> Vec<u32> {
    let ordered = in_order(routes(weights), job);
    ordered.iter().map(|working| working.number).collect()
}

#[test]
fn routes_without_weights_stay_in_their_order() {
    for job in ["job_a", "job_b", "job_c"] {
        assert_eq!(order(&[0, 0, 0], job), [0, 1, 2]);
    }
    assert!(order(&[], "job_a").is_empty());
}

#[test]
fn neighbours_with_weights_share_as_they_say_and_the_others_keep_their_places() {
    let mut first = [0_u32; 4];
    for number in 0..4_000 {
        let job = format!("job_{number:026}");
        let order = order(&[0, 3, 1, 0], &job);
        assert_eq!((order[0], order[3]), (0, 3));
        first[usize::try_from(order[1]).unwrap()] += 1;
        assert_eq!(
            order,
            self::order(&[0, 3, 1, 0], &job),
            "the same at each attempt"
        );
    }
    // Three quarters of 4,000, give or take five standard deviations.
    assert!((2_863..=3_137).contains(&first[1]), "{first:?}");
    assert_eq!(first[1] + first[2], 4_000);
}

#[test]
fn a_pause_is_told_and_ends_with_one_probe() {
    let routing = Routing::default();
    let start = Timestamp::from_micros(1_000_000);
    let refused = ProviderError::new(ErrorKind::QuotaExhausted, Accepted::No, "");
    for _ in 0..REFUSALS {
        routing.is_open_to("p", start).unwrap();
        routing.learn("p", Some(&refused), start);
    }
    let told = routing
        .is_open_to("p", start.plus(Duration::from_secs(20)))
        .unwrap_err();
    assert_eq!(
        (told.kind, told.accepted),
        (ErrorKind::QuotaExhausted, Accepted::No)
    );
    assert_eq!(told.retry_after, Some(Duration::from_secs(40)));
    let later = start.plus(LONG_PAUSE);
    routing.is_open_to("p", later).unwrap();
    routing.is_open_to("p", later).unwrap_err();
    routing.is_open_to("another", later).unwrap();
    routing.learn("p", None, later);
    routing.is_open_to("p", later).unwrap();
}

/// Otherwise nobody else would be asked while it is left alone.
#[test]
fn whoever_is_left_alone_has_bought_nothing() {
    let routing = Routing::default();
    let now = Timestamp::from_micros(0);
    let broken = ProviderError::new(ErrorKind::Unknown, Accepted::Unknown, "");
    for _ in 0..FAILURES {
        routing.learn("p", Some(&broken), now);
    }
    assert!(routing.is_open_to("p", now).unwrap_err().lets_another_try());
    // What is about our own input says nothing of it.
    let ours = ProviderError::new(ErrorKind::InputUnreadable, Accepted::No, "");
    routing.learn("p", Some(&ours), now);
    routing.is_open_to("p", now).unwrap_err();
}

#[test]
fn what_one_request_did_wrong_closes_nothing() {
    let routing = Routing::default();
    let now = Timestamp::from_micros(0);
    for kind in [
        ErrorKind::ContentRefused,
        ErrorKind::InvalidRequest,
        ErrorKind::RateLimited,
    ] {
        for _ in 0..20 {
            routing.learn("p", Some(&ProviderError::new(kind, Accepted::No, "")), now);
        }
        routing.is_open_to("p", now).unwrap();
    }
}

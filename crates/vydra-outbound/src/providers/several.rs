//! One request that is several calls, where a model makes one file a call: what was bought of it is delivered, and what is missing
//! refunded.

use crate::provider::{Context, Polled, ProviderError};

/// Buys so many, one after the other. The first must succeed; nothing more is bought once one fails, or nobody wants it.
pub(super) async fn buy<T, F>(
    context: &Context,
    calls: u32,
    mut one: impl FnMut() -> F,
) -> Result<Vec<T>, ProviderError>
where
    F: Future<Output = Result<T, ProviderError>>,
{
    let mut bought = Vec::new();
    for _ in 0..calls.max(1) {
        if !bought.is_empty() && context.stop.is_cancelled() {
            break;
        }
        match one().await {
            Ok(one) => bought.push(one),
            Err(error) if bought.is_empty() => return Err(error),
            Err(_) => break,
        }
    }
    Ok(bought)
}

/// Done when all of them have ended, with the files of those that made some.
pub(super) async fn poll<'a, F>(
    tasks: &[&'a str],
    look: impl Fn(&'a str) -> F,
) -> Result<Polled, ProviderError>
where
    F: Future<Output = Result<Polled, ProviderError>>,
{
    let mut made = Vec::new();
    let mut failure = None;
    for task in tasks {
        match look(task).await {
            Ok(Polled::Done(outputs)) => made.extend(outputs),
            Ok(Polled::Pending { progress }) => {
                // That of one says nothing of the others.
                let progress = progress.filter(|_| tasks.len() == 1);
                return Ok(Polled::Pending { progress });
            }
            Err(error) if error.is_of_the_poll() => return Err(error),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if made.is_empty() => Err(error),
        _ => Ok(Polled::Done(made)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Accepted, ErrorKind, Output};
    use std::cell::Cell;
    use std::sync::Arc;
    use std::time::Duration;
    use tokio_util::sync::CancellationToken;

    fn context() -> Context {
        Context {
            attempt: 1,
            progress: Arc::new(|_| {}),
            stop: CancellationToken::new(),
            time_left: Duration::from_mins(1),
            receipt: Arc::default(),
        }
    }

    fn error(kind: ErrorKind, accepted: Accepted) -> ProviderError {
        ProviderError::new(kind, accepted, "")
    }

    /// What each task says: made, still running, or an error.
    async fn polled(told: [Result<Option<u8>, ErrorKind>; 2]) -> Result<Polled, ProviderError> {
        const TASKS: [&str; 2] = ["0", "1"];
        poll(&TASKS, |task| {
            let answer = match told[usize::from(task == TASKS[1])] {
                Ok(None) => Ok(Polled::Done(vec![Output::bytes(vec![1], None)])),
                Ok(progress) => Ok(Polled::Pending { progress }),
                Err(ErrorKind::NoOutput) => Err(error(ErrorKind::NoOutput, Accepted::Yes)),
                Err(kind) => Err(error(kind, Accepted::No)),
            };
            async { answer }
        })
        .await
    }

    #[tokio::test]
    async fn nothing_more_is_bought_after_a_failure_or_a_cancel() {
        let context = context();
        let tries = Cell::new(0);
        let one = |fails_at: u32| {
            tries.set(tries.get() + 1);
            let fails = tries.get() == fails_at;
            async move {
                if fails {
                    return Err(error(ErrorKind::Unavailable, Accepted::No));
                }
                Ok(())
            }
        };
        assert_eq!(buy(&context, 3, || one(9)).await.unwrap().len(), 3);
        tries.set(0);
        assert_eq!(buy(&context, 3, || one(2)).await.unwrap().len(), 1);
        tries.set(0);
        buy(&context, 3, || one(1)).await.unwrap_err();
        assert_eq!(tries.get(), 1);
        context.stop.cancel();
        tries.set(0);
        assert_eq!(buy(&context, 3, || one(9)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_poll_that_is_refused_says_nothing_of_what_another_task_made() {
        for kind in [
            ErrorKind::Auth,
            ErrorKind::QuotaExhausted,
            ErrorKind::Unavailable,
        ] {
            let refused = polled([Ok(None), Err(kind)]).await.unwrap_err();
            assert!(refused.is_of_the_poll(), "{kind:?}");
        }
    }

    #[tokio::test]
    async fn all_have_to_end_and_those_that_failed_are_missing() {
        let files = |polled| match polled {
            Ok(Polled::Done(outputs)) => outputs.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(files(polled([Ok(None), Ok(None)]).await), 2);
        assert_eq!(files(polled([Err(ErrorKind::NoOutput), Ok(None)]).await), 1);
        let running = polled([Ok(None), Ok(Some(50))]).await.unwrap();
        assert!(matches!(running, Polled::Pending { progress: None }));
        let failed = polled([Err(ErrorKind::NoOutput), Err(ErrorKind::ContentRefused)]).await;
        assert_eq!(failed.unwrap_err().kind, ErrorKind::ContentRefused);
    }
}

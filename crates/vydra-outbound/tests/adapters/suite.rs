//! The cases. What an adapter cannot do it says in its harness, and the case says it aloud.

use crate::harness::{Delivery, Harness, Made, Task, context};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use vydra_outbound::provider::{
    Accepted, ErrorKind, Next, Output, OutputSource, Polled, Provider, ProviderError, Request,
    Submitted,
};
use vydra_testkit::upstream::{Ending, KEY, Recorded, Reply, Stub};

/// Polls until a task is over, or a test has waited long enough.
const POLLS: u32 = 20;

pub(crate) async fn run(
    provider: &dyn Provider,
    request: Request,
) -> Result<Vec<Output>, ProviderError> {
    let context = context();
    let task = match provider.submit(&context, request).await? {
        Submitted::Done(outputs) => return Ok(outputs),
        Submitted::Accepted(task) => task,
    };
    for _ in 0..POLLS {
        match provider.poll(&context, &task).await? {
            Polled::Done(outputs) => return Ok(outputs),
            Polled::Pending { .. } => {}
        }
    }
    panic!("{task} does not end");
}

/// A server that answers what is asked before a purchase, and then this.
async fn stub(harness: &Harness, replies: impl IntoIterator<Item = Reply>) -> Stub {
    Stub::replying((harness.before)().into_iter().chain(replies)).await
}

async fn talk(
    harness: &Harness,
    replies: Vec<Reply>,
) -> (Stub, Result<Vec<Output>, ProviderError>) {
    let stub = stub(harness, replies).await;
    let provider = (harness.provider)(&stub.url);
    let result = run(provider.as_ref(), (harness.request)()).await;
    (stub, result)
}

fn file() -> Bytes {
    Bytes::from_static(b"\x89PNG what was made")
}

pub(crate) fn made(harness: &Harness, number: usize) -> Made {
    match harness.delivery {
        Delivery::Addresses => Made::At(format!("https://files.example/{number}.png")),
        Delivery::Base64 | Delivery::Raw | Delivery::Own => Made::File(file()),
    }
}

/// Files that are read by the outputs themselves, behind the replies of a conversation.
pub(crate) fn with_files(harness: &Harness, mut replies: Vec<Reply>, count: usize) -> Vec<Reply> {
    if harness.delivery == Delivery::Own {
        replies.extend(vec![Reply::new(200, "image/png", file()); count]);
    }
    replies
}

async fn check_output(harness: &Harness, output: &Output) {
    match (&output.source, harness.delivery) {
        (OutputSource::Url(url), Delivery::Addresses) => {
            assert!(url.starts_with("https://files.example/"), "{url}");
        }
        (OutputSource::Bytes(bytes), Delivery::Base64 | Delivery::Raw) => {
            assert_eq!(bytes, &file());
        }
        (OutputSource::Own(upstream, path), Delivery::Own) => {
            let mut body = upstream.open(path, 1024).await.unwrap();
            assert_eq!(body.piece().await.unwrap(), Some(file()));
        }
        (other, delivery) => panic!("{other:?} of {delivery:?}"),
    }
}

/// 1. The request is the one that the provider documents, and its files come through.
pub(crate) async fn happy_path(harness: &Harness) {
    let replies = with_files(harness, (harness.works)(&[made(harness, 0)]), 1);
    let (stub, result) = talk(harness, replies).await;
    let outputs = result.unwrap();
    assert_eq!(outputs.len(), 1);
    check_output(harness, &outputs[0]).await;
    (harness.golden)(&stub.requests()[(harness.before)().len()]);
}

/// 2. What is missing of several files is missing, and the others are there.
pub(crate) async fn partial(harness: &Harness) {
    let partial = match harness.partial {
        Ok(partial) => partial,
        Err(why) => return println!("no partial results: {why}"),
    };
    let (request, replies) = partial(&[made(harness, 0), made(harness, 2)]);
    assert_eq!(request.outputs, 3);
    let stub = stub(harness, with_files(harness, replies, 2)).await;
    let provider = (harness.provider)(&stub.url);
    let outputs = run(provider.as_ref(), request).await.unwrap();
    assert_eq!(outputs.len(), 2);
    for output in &outputs {
        check_output(harness, output).await;
    }
}

/// 3. Every row of the error table.
pub(crate) async fn errors(harness: &Harness) {
    let rows = (harness.errors)();
    assert!(rows.len() >= 4, "a table of errors is longer than that");
    for row in rows {
        let shown = format!("{:?}", row.replies.last());
        let (_stub, result) = talk(harness, row.replies).await;
        let error = result.expect_err(&shown);
        assert_eq!(
            (error.kind, error.accepted),
            (row.kind, row.accepted),
            "{shown}: {error}"
        );
    }
}

/// 4. A refusal that comes as a success.
pub(crate) async fn refusal_inside_a_success(harness: &Harness) {
    let refusals = match harness.refusals {
        Ok(refusals) => refusals,
        Err(why) => return println!("no refusals inside a success: {why}"),
    };
    for replies in refusals() {
        let shown = format!("{:?}", replies.last());
        let (_stub, result) = talk(harness, replies).await;
        let error = result.expect_err(&shown);
        assert_eq!(error.kind, ErrorKind::ContentRefused, "{shown}: {error}");
        assert_eq!(error.next(), Next::Fail);
        assert!(!error.may_succeed_later());
    }
}

/// 5. A limit, with each way to say when it ends.
pub(crate) async fn limits(harness: &Harness) {
    for (name, value, expected) in [
        ("retry-after", "7", Some(Duration::from_secs(7))),
        ("retry-after", "1.5", Some(Duration::from_millis(1500))),
        ("retry-after-ms", "250", Some(Duration::from_millis(250))),
        ("retry-after", "86400", Some(Duration::from_mins(2))),
        ("retry-after", "never", None),
        ("x-other", "1", None),
    ] {
        let reply = (harness.limited)().with(name, value);
        let (_stub, result) = talk(harness, vec![reply]).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::RateLimited, Accepted::No),
            "{error}"
        );
        assert_eq!(error.next(), Next::Retry);
        assert_eq!(error.retry_after, expected, "{name}: {value}");
    }
}

/// 6. A connection that breaks before, in and after the head of the answer to a purchase: nobody knows, and nobody asks twice.
pub(crate) async fn broken_connections(harness: &Harness) {
    for ending in [Ending::Nothing, Ending::InTheHead, Ending::InTheBody] {
        let reply = (harness.works)(&[made(harness, 0)])
            .remove(0)
            .ending(ending);
        let (stub, result) = talk(harness, vec![reply]).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::Unknown, Accepted::Unknown),
            "{ending:?}: {error}"
        );
        assert_eq!(error.next(), Next::Fail);
        let asked = (harness.before)().len();
        assert_eq!(stub.requests().len(), asked + 1, "{ending:?}");
    }
    // Nobody listens: nothing was sent.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let provider = (harness.provider)(&format!("http://{free}"));
    let error = run(provider.as_ref(), (harness.request)())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::Unavailable, Accepted::No),
        "{error}"
    );
}

/// Answers that nobody should send.
fn garbage() -> Vec<Reply> {
    let deep = "[".repeat(100_000);
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(10_000_000));
    let json = |body: &str| Reply::new(200, "application/json", body.as_bytes().to_vec());
    vec![
        Reply::new(200, "text/html", "<html><body>Welcome</body></html>"),
        Reply::new(502, "text/html", "<html><body>Bad gateway</body></html>"),
        json(""),
        json("{"),
        json("null"),
        json("[]"),
        json("{}"),
        json("\"done\""),
        json("{\"status\": 5, \"data\": 7, \"error\": []}"),
        json("{\"data\": [{\"b64_json\": 5}], \"images\": {}}"),
        json("{\"a\": 1, \"a\": 2}"),
        json(&deep),
        json(&long),
        Reply::new(
            200,
            "application/json",
            b"{\"status\": \"\xff\xfe\"}".to_vec(),
        ),
        Reply::new(200, "image/png", Bytes::new()),
        Reply::new(204, "application/json", Bytes::new()),
        Reply::new(302, "text/plain", "").with("location", "http://127.0.0.1:9/"),
        Reply::new(
            418,
            "application/json",
            "{\"error\": {\"code\": {}, \"message\": []}}",
        ),
    ]
}

/// 7. What nobody can understand ends as a failure, without a panic, and is never bought again.
pub(crate) async fn garbage_is_survived(harness: &Harness) {
    for reply in garbage() {
        let shown = format!(
            "{} {:?}",
            reply.status,
            &reply.body[..reply.body.len().min(60)]
        );
        // A raw file that is no file is found out where files are stored.
        if harness.delivery == Delivery::Raw && reply.status == 200 {
            continue;
        }
        let (_stub, result) = talk(harness, vec![reply]).await;
        let error = result.expect_err(&shown);
        assert_eq!(error.next(), Next::Fail, "{shown}: {error}");
        assert!(error.to_string().len() < 400, "{shown}");
    }
    let Ok(task) = &harness.task else { return };
    for reply in garbage() {
        let shown = format!(
            "{} {:?}",
            reply.status,
            &reply.body[..reply.body.len().min(60)]
        );
        let stub = stub(harness, [(task.accepted)()]).await;
        let provider = (harness.provider)(&stub.url);
        let name = submitted(provider.as_ref(), (harness.request)()).await;
        let garbled = Stub::answering(move |_| reply.clone()).await;
        let provider = (harness.provider)(&garbled.url);
        // Whether it is told as pending or as a trouble of the question: the task is not given up by itself.
        match provider.poll(&context(), &name).await {
            Ok(Polled::Pending { .. }) => {}
            Ok(Polled::Done(outputs)) => panic!("{shown}: {outputs:?}"),
            Err(error) => assert!(error.to_string().len() < 400, "{shown}"),
        }
    }
}

pub(crate) async fn submitted(provider: &dyn Provider, request: Request) -> String {
    match provider.submit(&context(), request).await.unwrap() {
        Submitted::Accepted(task) => task,
        Submitted::Done(outputs) => panic!("{outputs:?}"),
    }
}

/// 8. A word that is new to us means that it still runs.
pub(crate) async fn unknown_words(harness: &Harness) {
    let task = match &harness.task {
        Ok(task) => task,
        Err(why) => return println!("no tasks: {why}"),
    };
    let mut replies = vec![(task.accepted)()];
    for _ in 0..3 {
        replies.extend((task.unknown_word)());
    }
    replies.extend((task.done)(&[made(harness, 0)]));
    let (_stub, result) = talk(harness, replies).await;
    assert_eq!(result.unwrap().len(), 1);
}

/// 9. Done, and nothing is there.
pub(crate) async fn done_without_output(harness: &Harness) {
    for replies in (harness.empty)() {
        let shown = format!("{:?}", replies.last());
        let (_stub, result) = talk(harness, replies).await;
        let error = result.expect_err(&shown);
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::NoOutput, Accepted::Yes),
            "{shown}: {error}"
        );
    }
}

/// 10. A file on another server is read by whoever has no key; ours goes nowhere else.
pub(crate) async fn other_origins(harness: &Harness) {
    if harness.delivery != Delivery::Addresses {
        return println!("no addresses in its answers");
    }
    let foreign = Stub::foreign(Reply::new(200, "image/png", file())).await;
    for url in [
        format!("{}/file.png", foreign.url),
        "http://10.0.0.1/file.png".to_owned(),
        "http://[::1]/file.png".to_owned(),
        "https://user@files.example/file.png".to_owned(),
    ] {
        let (_stub, result) = talk(harness, (harness.works)(&[Made::At(url.clone())])).await;
        let outputs = result.unwrap();
        assert!(
            matches!(&outputs[0].source, OutputSource::Url(found) if *found == url),
            "{url}: {outputs:?}"
        );
    }
    for nonsense in [
        "",
        "file.png",
        "ftp://files.example/x",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ] {
        let (_stub, result) =
            talk(harness, (harness.works)(&[Made::At(nonsense.to_owned())])).await;
        let error = result.expect_err(nonsense);
        assert_eq!(error.kind, ErrorKind::NoOutput, "{nonsense}: {error}");
    }
    assert!(
        foreign.requests().is_empty(),
        "an adapter fetches no file itself"
    );
}

/// 11. Base64 as every hand writes it.
pub(crate) async fn base64_of_every_hand(harness: &Harness) {
    if harness.delivery != Delivery::Base64 && harness.delivery != Delivery::Addresses {
        return println!("no base64 in its answers");
    }
    let plain = base64::prelude::BASE64_STANDARD.encode(file());
    let url_safe = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(file());
    let (one, other) = plain.split_at(8);
    for text in [
        plain.clone(),
        plain.trim_end_matches('=').to_owned(),
        url_safe,
        format!("{one}\r\n{other}\n"),
        format!("data:image/png;base64,{plain}"),
    ] {
        // Where an address is expected, only a `data:` URI is a file.
        let text = match harness.delivery {
            Delivery::Addresses if !text.starts_with("data:") => {
                format!("data:image/png;base64,{text}")
            }
            _ => text,
        };
        let (_stub, result) = talk(harness, (harness.works)(&[Made::At(text.clone())])).await;
        let outputs = result.expect(&text);
        assert!(
            matches!(&outputs[0].source, OutputSource::Bytes(bytes) if *bytes == file()),
            "{text}"
        );
    }
    let (_stub, result) = talk(
        harness,
        (harness.works)(&[Made::At("data:image/png;base64,***".to_owned())]),
    )
    .await;
    assert_eq!(result.unwrap_err().kind, ErrorKind::NoOutput);
}

/// 12. A cancel is sent once, and whatever is answered, nothing follows from it.
pub(crate) async fn cancel(harness: &Harness) {
    let (task, cancel) = match &harness.task {
        Ok(Task {
            cancel: Err(why), ..
        })
        | Err(why) => return println!("no cancel: {why}"),
        Ok(task) => (
            task,
            task.cancel.as_ref().unwrap_or_else(|why| panic!("{why}")),
        ),
    };
    for replies in [(cancel.in_time)(), (cancel.too_late)()] {
        let stub = stub(harness, std::iter::once((task.accepted)()).chain(replies)).await;
        let provider = (harness.provider)(&stub.url);
        let name = submitted(provider.as_ref(), (harness.request)()).await;
        let bought = stub.requests().len();
        provider.cancel(&name).await;
        (cancel.golden)(&stub.requests()[bought..]);
    }
    // A server that is gone is no failure either.
    let stub = stub(harness, [(task.accepted)()]).await;
    let name = submitted((harness.provider)(&stub.url).as_ref(), (harness.request)()).await;
    (harness.provider)("http://127.0.0.1:9").cancel(&name).await;
}

/// 13. One submit is one purchase, and a task is found again by whoever knows its name alone.
pub(crate) async fn one_purchase(harness: &Harness) {
    let stub = stub(harness, (harness.works)(&[made(harness, 0)])).await;
    let provider = (harness.provider)(&stub.url);
    let first = provider
        .submit(&context(), (harness.request)())
        .await
        .unwrap();
    let bought = stub.requests().len();
    let Submitted::Accepted(task) = first else {
        return assert!(bought >= 1 && harness.task.is_err());
    };
    drop(provider);
    // Another process, which has read the name of the task from the store.
    let provider = (harness.provider)(&stub.url);
    let mut polls = 0;
    while let Polled::Pending { .. } = provider.poll(&context(), &task).await.unwrap() {
        polls += 1;
        assert!(polls < POLLS, "{task} does not end");
    }
    let sent = stub.requests();
    let (submits, others) = sent.split_at(bought);
    // A poll may be a POST as well, but not to where things are bought.
    let is_purchase = |request: &&Recorded| {
        let mut bought = submits.iter().filter(|submit| submit.method == "POST");
        request.method == "POST" && bought.any(|submit| submit.path == request.path)
    };
    assert!(submits.iter().any(|request| request.method == "POST"));
    assert_eq!(
        others.iter().filter(is_purchase).count(),
        0,
        "a poll buys nothing"
    );
}

/// 14. A task that nobody knows any more is told as such, so that two such answers end its job.
pub(crate) async fn lost_tasks(harness: &Harness) {
    let task = match &harness.task {
        Ok(task) => task,
        Err(why) => return println!("no tasks: {why}"),
    };
    let stub = stub(
        harness,
        std::iter::once((task.accepted)()).chain((task.gone)()),
    )
    .await;
    let provider = (harness.provider)(&stub.url);
    let name = submitted(provider.as_ref(), (harness.request)()).await;
    let error = provider.poll(&context(), &name).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TaskGone, "{error}");
    // A key that is not taken any more says nothing of the task: it is asked for again, and bought nowhere else.
    let refusing = Stub::answering(|_| Reply::json(401, &json!({"detail": "no"}))).await;
    let provider = (harness.provider)(&refusing.url);
    let error = provider.poll(&context(), &name).await.unwrap_err();
    assert!(error.is_of_the_poll(), "{error}");
    // A name that is none of ours, as another version may have written it.
    for nonsense in ["", "?", "a/b/../c", "{\"a\":", "x#y#z,#"] {
        let nowhere = (harness.provider)("http://127.0.0.1:9");
        nowhere.poll(&context(), nonsense).await.unwrap_err();
        nowhere.cancel(nonsense).await;
    }
}

/// 15. No key, prompt or address stands in what an error or a provider shows of itself.
pub(crate) async fn secrets(harness: &Harness) {
    let told = format!("{KEY} and a secret prompt at https://files.example/signed?key=1");
    let mut shown = Vec::new();
    for status in [200, 400, 401, 403, 404, 422, 429, 500, 503] {
        for body in [
            json!({"error": told}),
            json!({"error": {"message": told, "code": told, "type": told, "status": told}}),
            json!({"detail": told}),
            json!({"detail": {"status": told, "message": told}}),
            json!({"detail": [{"type": told, "msg": told, "loc": [told]}]}),
            json!({"title": told, "detail": told, "code": told, "error_type": told}),
        ] {
            let (stub, result) = talk(harness, vec![Reply::json(status, &body); 3]).await;
            match result {
                Err(error) => shown.push(format!("{error} {error:?}")),
                Ok(outputs) => shown.push(format!("{outputs:?}")),
            }
            drop(stub);
        }
    }
    let provider = (harness.provider)("http://127.0.0.1:9");
    shown.push(format!("{provider:?} {provider:#?}"));
    let error = run(provider.as_ref(), (harness.request)())
        .await
        .unwrap_err();
    shown.push(format!("{error} {error:?}"));
    for text in shown {
        for secret in [KEY, "secret prompt", "signed?"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

/// 16. What the model answers is the same whoever asks: nothing of one request is left for the next, also at the same time.
pub(crate) async fn no_state_between_requests(harness: &Harness) {
    let (before, works) = (harness.before, harness.works);
    let file = made(harness, 0);
    let replies: Arc<Mutex<Vec<Reply>>> = Arc::default();
    let stub = {
        let replies = Arc::clone(&replies);
        Stub::answering(move |_| {
            let mut replies = replies.lock().unwrap();
            if replies.is_empty() {
                *replies = before();
                replies.extend(works(std::slice::from_ref(&file)));
            }
            replies.remove(0)
        })
        .await
    };
    let provider = (harness.provider)(&stub.url);
    let mut sent = Vec::new();
    for _ in 0..2 {
        let bought = stub.requests().len() + before().len();
        run(provider.as_ref(), (harness.request)()).await.unwrap();
        sent.push(stub.requests()[bought].clone());
    }
    let without_boundary = |request: &Recorded| {
        let boundary = request
            .header("content-type")
            .and_then(|value| value.split_once("boundary="))
            .map_or(String::new(), |(_, boundary)| boundary.to_owned());
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if boundary.is_empty() {
            body
        } else {
            body.replace(&boundary, "")
        }
    };
    assert_eq!(sent[0].path, sent[1].path);
    assert_eq!(without_boundary(&sent[0]), without_boundary(&sent[1]));
}

/// 17. A check says whether the key is taken, and a server that is gone fails it.
pub(crate) async fn check(harness: &Harness) {
    let gone = (harness.provider)("http://127.0.0.1:9");
    gone.check().await.unwrap_err();
    let refusing = Stub::answering(|_| Reply::json(401, &json!({"detail": "no"}))).await;
    let error = (harness.provider)(&refusing.url).check().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Auth, "{error}");
}

/// The tests of one adapter.
macro_rules! adapter {
    ($harness:expr) => {
        $crate::suite::adapter!($harness,
            happy_path, partial, errors, refusal_inside_a_success, limits, broken_connections, garbage_is_survived,
            unknown_words, done_without_output, other_origins, base64_of_every_hand, cancel, one_purchase, lost_tasks,
            secrets, no_state_between_requests, check);
        #[tokio::test]
        async fn answers_of_chance() {
            $crate::chance::answers_of_chance(&$harness).await;
        }
    };
    ($harness:expr, $($case:ident),+) => {
        mod cases {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    $crate::suite::$case(&$harness).await;
                }
            )+
        }
    };
}
pub(crate) use adapter;

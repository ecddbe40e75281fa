//! A graph that was sent: asked for twice, listened to, read and stopped.

use super::{ID, accepted, comfyui, found, plain, queue, success, unheard};
use crate::harness;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::TaskTracker;
use vydra_outbound::provider::{ErrorKind, OutputSource, Polled, Provider, Receipt, Submitted};
use vydra_testkit::upstream::{Ending, KEY, Recorded, Reply, Stub};

fn task() -> String {
    format!("{ID}#9")
}

async fn poll(replies: Vec<Reply>, task: &str) -> (Stub, Polled) {
    let stub = Stub::replying(replies).await;
    let polled = comfyui(&stub.url).poll(&harness::context(), task).await;
    (stub, polled.unwrap())
}

/// A server with one queue, which runs nothing, and whose answer to the first submit breaks off.
#[tokio::test]
async fn a_submit_whose_answer_broke_off_is_repeated_and_runs_once() {
    let waiting: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = Arc::clone(&waiting);
    let stub = Stub::answering(move |request| {
        let mut waiting = waiting.lock().unwrap();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/queue") => {
                let ids: Vec<&str> = waiting.iter().map(String::as_str).collect();
                queue(&["other"], &ids)
            }
            ("POST", "/prompt") => {
                waiting.push(request.json()["prompt_id"].as_str().unwrap().to_owned());
                accepted().ending(Ending::InTheBody)
            }
            _ => Reply::json(200, &json!({})),
        }
    })
    .await;
    let provider = comfyui(&stub.url);
    assert!(provider.is_repeatable());
    let error = provider.submit(&harness::context(), plain()).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::Unknown);
    let context = harness::context();
    for _ in 0..2 {
        let again = provider.submit(&context, plain()).await.unwrap();
        assert!(matches!(again, Submitted::Accepted(name) if name == task()));
    }
    assert_eq!(*taken.lock().unwrap(), [ID]);
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(
        receipt,
        Receipt {
            request_id: Some(ID.to_owned()),
            cost: None
        }
    );
}

#[tokio::test]
async fn a_graph_that_runs_or_has_ended_is_not_sent_again() {
    for replies in [vec![queue(&[ID], &[])], found(&success(&json!({})))] {
        let stub = Stub::replying(replies).await;
        let submitted = comfyui(&stub.url)
            .submit(&harness::context(), plain())
            .await;
        assert!(matches!(submitted.unwrap(), Submitted::Accepted(name) if name == task()));
        assert!(stub.requests().iter().all(|sent| sent.method == "GET"));
    }
}

/// Older servers choose the id themselves.
#[tokio::test]
async fn the_id_of_the_answer_is_the_one_to_ask_for() {
    let other = "0b0d7ccf-3a52-4d3f-8a86-2cb1c1a80e11";
    let reply = |id: &str| Reply::json(200, &json!({"prompt_id": id, "number": 1}));
    let submit = async |id: &str| {
        let stub = Stub::replying(unheard().into_iter().chain([reply(id)])).await;
        comfyui(&stub.url)
            .submit(&harness::context(), plain())
            .await
    };
    let Submitted::Accepted(name) = submit(other).await.unwrap() else {
        panic!("a queue accepts");
    };
    assert_eq!(name, format!("{other}#9"));
    let error = submit("../interrupt").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Protocol);
}

#[tokio::test]
async fn files_lie_on_the_server_itself_and_are_read_with_the_key() {
    let outputs = json!({
        "5": {"images": [{"filename": "mask.png", "subfolder": "", "type": "output"}]},
        "9": {
            "images": [{"filename": "preview.png", "subfolder": "", "type": "temp"}],
            "gifs": [{"filename": "a&b c.mp4", "subfolder": "video/ä", "type": "output", "format": "video/h264-mp4"}],
            "audio": [{"filename": "a.flac", "subfolder": "audio", "type": "output"}],
        },
    });
    let file = Reply::new(200, "video/mp4", "a film");
    let mut replies = found(&success(&outputs));
    replies.push(file);
    let (stub, polled) = poll(replies, &task()).await;
    let Polled::Done(outputs) = polled else {
        panic!("it has ended");
    };
    let paths: Vec<&str> = outputs
        .iter()
        .map(|output| match &output.source {
            OutputSource::Own(_, path) => path.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    let film = "view?filename=a%26b%20c.mp4&subfolder=video%2F%C3%A4&type=output";
    assert_eq!(
        paths,
        [film, "view?filename=a.flac&subfolder=audio&type=output"]
    );
    let OutputSource::Own(upstream, path) = &outputs[0].source else {
        unreachable!("seen above");
    };
    let mut body = upstream.open(path, 1024).await.unwrap();
    assert_eq!(body.piece().await.unwrap().unwrap(), "a film");
    let sent = stub.requests();
    let read = sent.last().unwrap();
    assert_eq!(read.path, format!("/{film}"));
    assert_eq!(
        read.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
}

#[tokio::test]
async fn previews_count_only_when_there_is_nothing_else() {
    let preview = json!({"images": [{"filename": "p.png", "subfolder": "", "type": "temp"}]});
    let kept = json!({"images": [{"filename": "k.png", "subfolder": "", "type": "output"}]});
    for (outputs, nodes, expected) in [
        (json!({"5": preview, "9": kept}), "", "filename=k.png"),
        (json!({"5": preview, "9": kept}), "9", "filename=k.png"),
        (json!({"5": preview, "9": kept}), "5", "filename=p.png"),
        (json!({"5": preview}), "", "filename=p.png"),
    ] {
        let name = format!("{ID}#{nodes}");
        let (_stub, polled) = poll(found(&success(&outputs)), &name).await;
        let Polled::Done(made) = polled else {
            panic!("it has ended");
        };
        assert_eq!(made.len(), 1, "{outputs} {nodes}");
        assert!(
            matches!(&made[0].source, OutputSource::Own(_, path) if path.contains(expected)),
            "{outputs} {nodes}"
        );
    }
}

/// Frames of a server, which masks none.
fn frames(messages: &[Value]) -> Vec<u8> {
    // A picture of how far it is, as a binary message.
    let mut frames = vec![0x82, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0xff];
    for message in messages {
        let text = message.to_string();
        frames.extend([0x81, 126, 0, u8::try_from(text.len()).unwrap()]);
        frames.extend(text.as_bytes());
    }
    frames
}

fn switched(request: &Recorded, frames: Vec<u8>) -> Reply {
    let key = request.header("sec-websocket-key").unwrap();
    Reply::new(101, "text/plain", frames)
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-accept", &derive_accept_key(key.as_bytes()))
}

async fn progress(socket: impl Fn(&Recorded) -> Reply + Send + Sync + 'static) -> Option<u8> {
    let stub = Stub::answering(move |request| match request.path.as_str() {
        "/queue" => queue(&[ID], &[]),
        path if path == format!("/ws?clientId={ID}") => socket(request),
        other => panic!("nobody expected {other}"),
    })
    .await;
    match comfyui(&stub.url).poll(&harness::context(), &task()).await {
        Ok(Polled::Pending { progress }) => {
            let sent = stub.requests();
            let socket = sent.last().unwrap();
            assert_eq!(socket.header("upgrade"), Some("websocket"));
            assert_eq!(socket.header("origin"), None);
            progress
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_poll_listens_for_the_progress_of_its_own_graph() {
    let told = |id: &str, value: u32| {
        let data = json!({"value": value, "max": 20, "node": "3", "prompt_id": id});
        json!({"type": "progress", "data": data})
    };
    let status =
        json!({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 1}}}});
    let messages = frames(&[status.clone(), told("other", 19), told(ID, 5)]);
    let heard = progress(move |request| switched(request, messages.clone())).await;
    assert_eq!(heard, Some(25));
    // A socket that ends too soon, speaks nonsense, is another's or is refused is no failure.
    let ended = frames(&[status]);
    let heard = progress(move |request| switched(request, ended.clone())).await;
    assert_eq!(heard, None);
    let heard = progress(|request| switched(request, b"HTTP/1.1 what".to_vec())).await;
    assert_eq!(heard, None);
    let mine = frames(&[told(ID, 5)]);
    let heard = progress(move |request| {
        let reply = switched(request, mine.clone());
        Reply {
            headers: reply
                .headers
                .into_iter()
                .filter(|(name, _)| name != "sec-websocket-accept")
                .collect(),
            ..reply
        }
        .with("sec-websocket-accept", "another's")
    })
    .await;
    assert_eq!(heard, None);
    for status in [200, 302, 403, 500] {
        assert_eq!(
            progress(move |_| Reply::json(status, &json!({}))).await,
            None
        );
    }
}

#[tokio::test]
async fn a_socket_that_is_silent_does_not_hold_up_a_poll() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = json!({"queue_running": [[1, ID]], "queue_pending": []}).to_string();
    let serving = TaskTracker::new().spawn(async move {
        let mut held = Vec::new();
        loop {
            let mut connection = listener.accept().await.unwrap().0;
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(connection.read_u8().await.unwrap());
            }
            if head.starts_with(b"GET /ws") {
                held.push(connection);
                continue;
            }
            let length = body.len();
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            );
            connection.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let provider = comfyui(&url);
    let context = harness::context();
    let name = task();
    let polled = tokio::time::timeout(
        std::time::Duration::from_secs(10),
        provider.poll(&context, &name),
    );
    assert!(matches!(
        polled.await.unwrap().unwrap(),
        Polled::Pending { progress: None }
    ));
    serving.abort();
}

#[tokio::test]
async fn only_what_is_ours_is_interrupted() {
    let cancel = async |replies: Vec<Reply>| {
        let stub = Stub::replying(replies).await;
        comfyui(&stub.url).cancel(&task()).await;
        let calls = stub.requests();
        let calls = calls.iter().skip(1).map(|sent| {
            let body = if sent.body.is_empty() {
                Value::Null
            } else {
                sent.json()
            };
            (format!("{} {}", sent.method, sent.path), body)
        });
        calls.collect::<Vec<_>>()
    };
    let ok = || Reply::new(200, "text/plain", "");
    let interrupt = ("POST /interrupt".to_owned(), json!({"prompt_id": ID}));
    let delete = ("POST /queue".to_owned(), json!({"delete": [ID]}));
    let look = ("GET /queue".to_owned(), Value::Null);
    assert_eq!(
        cancel(vec![queue(&[ID], &[]), ok()]).await,
        std::slice::from_ref(&interrupt)
    );
    assert!(
        cancel(vec![queue(&["other"], &["another"])])
            .await
            .is_empty()
    );
    // It began between the look and the removal.
    let lost = vec![queue(&[], &[ID]), ok(), queue(&[ID], &[]), ok()];
    assert_eq!(cancel(lost).await, [delete, look, interrupt]);
    assert!(
        cancel(vec![Reply::json(500, &Value::Null)])
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_check_reads_the_state_of_the_server() {
    let stats = json!({"system": {"os": "posix"}, "devices": []});
    let stub = Stub::replying([Reply::json(200, &stats)]).await;
    let checkup = comfyui(&stub.url).check().await.unwrap();
    assert_eq!(checkup.models, None);
    assert_eq!(stub.requests()[0].path, "/system_stats");
    let page = Stub::replying([Reply::new(200, "text/html", "<html>")]).await;
    comfyui(&page.url).check().await.unwrap_err();
}

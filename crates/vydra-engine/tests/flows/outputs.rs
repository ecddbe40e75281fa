//! What a provider delivers, and what of it is paid.

use crate::fixture::{CREDITS, Flow, reason};
use serde_json::json;
use vydra_core::job::{Job, JobStatus};
use vydra_testkit::{FileServer, PollReply, Reply, Served, files, filler};

/// What [`Flow::images`] costs besides: the picture that they start from.
const PICTURE: i64 = 5;

#[tokio::test]
async fn each_output_becomes_an_asset_in_order() {
    let flow = Flow::new().await;
    let job = flow.images(3).await;
    let made = [1, 2, 3].map(|size| files::png(size, size));
    flow.provider.next(Reply::Files(made.to_vec()));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 45)
        .await;
    let sizes: Vec<_> = job.outputs.iter().map(|asset| asset.dimensions).collect();
    assert_eq!(sizes, [1, 2, 3].map(|size| Some((size, size))));
}

#[tokio::test]
async fn what_is_missing_is_refunded() {
    let flow = Flow::new().await;
    let job = flow.images(4).await;
    flow.provider
        .next(Reply::Files(vec![files::png(1, 1), files::png(2, 2)]));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 30)
        .await;
    assert_eq!((job.outputs.len(), job.refunded.get()), (2, 30));
}

#[tokio::test]
async fn nothing_delivered_is_a_failure() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Files(Vec::new()));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("no_output", true));
}

#[tokio::test]
async fn a_file_of_the_wrong_kind_is_not_delivered() {
    for wrong in [
        files::mp4(),
        files::wav(),
        "<html>sorry</html>".into(),
        "{}".into(),
        "".into(),
    ] {
        let flow = Flow::new().await;
        flow.provider.next(Reply::Files(vec![wrong.clone()]));
        let job = flow.image().await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
        assert_eq!(reason(&job), ("no_output", true), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_wrong_file_among_right_ones_counts_as_missing() {
    let flow = Flow::new().await;
    let job = flow.images(2).await;
    flow.provider
        .next(Reply::Files(vec!["oops".into(), files::png(9, 9)]));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 15)
        .await;
    assert_eq!(job.outputs[0].dimensions, Some((9, 9)));
    assert_eq!(job.refunded.get(), 15);
}

#[tokio::test]
async fn more_than_was_paid_is_not_delivered() {
    let flow = Flow::new().await;
    flow.provider
        .next(Reply::Files(vec![files::png(1, 1), files::png(2, 2)]));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.outputs.len(), 1);
}

#[tokio::test]
async fn a_wrong_file_before_one_too_many_does_not_cost_the_caller() {
    let flow = Flow::new().await;
    flow.provider
        .next(Reply::Files(vec!["a caption".into(), files::png(2, 2)]));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.outputs[0].dimensions, Some((2, 2)));
}

#[tokio::test]
async fn video_and_speech_keep_their_length() {
    let flow = Flow::new().await;
    let video = flow.call("veo3", json!({"prompt": "p"})).await;
    let speech = flow.call("elevenlabs/tts", json!({"text": "p"})).await;
    flow.step().await;
    for (job, media_type) in [(video, "video/mp4"), (speech, "audio/wav")] {
        let job = flow
            .expect(&job, JobStatus::Completed, CREDITS - 175 - 5)
            .await;
        assert_eq!(job.outputs[0].media_type, media_type);
        assert_eq!(job.outputs[0].duration_ms, Some(4_000));
    }
}

#[tokio::test]
async fn every_file_lies_under_a_key_of_its_own_that_nobody_guesses() {
    let flow = Flow::new().await;
    let job = flow.images(4).await;
    flow.step().await;
    let outputs = flow.now(&job).await.outputs;
    let mut keys: Vec<&str> = outputs
        .iter()
        .map(|asset| asset.storage_key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    for key in keys {
        let name = key.split(['/', '.']).nth(1).unwrap();
        assert_eq!(name.len(), 40, "160 bits in hex: {key}");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refunded() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    flow.break_media();
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("storage_unavailable", true));
    flow.mend_media();
    let job = flow.image().await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}

/// May read from the test's own servers.
async fn reading() -> Flow {
    Flow::with(|setup| setup.readable = vec!["127.0.0.1"]).await
}

/// Files that are given up are removed in the background.
async fn nothing_is_left(flow: &Flow) {
    while !flow.media_files().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Nothing was delivered, kept or charged.
async fn is_refunded(flow: &Flow, job: &Job) {
    let job = flow.expect(job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("no_output", true));
    assert_eq!(flow.provider.submitted().len(), 1, "bought once");
    nothing_is_left(flow).await;
}

/// The file as it lies in the storage.
fn kept(flow: &Flow) -> Vec<u8> {
    let files = flow.media_files();
    assert_eq!(files.len(), 1, "{files:?}");
    std::fs::read(&files[0]).unwrap()
}

#[tokio::test]
async fn a_file_that_the_provider_names_by_url_is_taken_in() {
    let flow = reading().await;
    let file = files::png(300, 200);
    let server = FileServer::of(file.clone()).await;
    flow.provider.next(Reply::Urls(vec![server.url.clone()]));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    let asset = &job.outputs[0];
    assert_eq!(asset.media_type, "image/png");
    assert_eq!(asset.dimensions, Some((300, 200)));
    assert_eq!(asset.bytes, u64::try_from(file.len()).unwrap());
    assert_eq!(kept(&flow), file);
}

/// More than any buffer holds, and of a kind that is told by more than its first bytes.
#[tokio::test]
async fn a_long_film_arrives_byte_by_byte() {
    const LENGTH: u64 = 3_000_001;
    let flow = reading().await;
    let head = files::mp4();
    let server = FileServer::serving([Served::Long(head.clone(), LENGTH)]).await;
    flow.provider.next(Reply::Task("up-1"));
    flow.provider
        .next_poll(PollReply::Urls(vec![server.url.clone()]));
    let job = flow.call("veo3", json!({"prompt": "p"})).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 175).await;
    assert_eq!(job.outputs[0].bytes, LENGTH);
    let mut sent = head.to_vec();
    while let Some(left) = LENGTH
        .checked_sub(sent.len() as u64)
        .filter(|left| *left > 0)
    {
        sent.extend(filler(sent.len() as u64, left));
    }
    assert!(kept(&flow) == sent, "other bytes than were sent");
}

#[tokio::test]
async fn a_url_that_leads_inside_is_not_called() {
    let flow = Flow::new().await;
    // Nobody allowed 127.0.0.1 here.
    let server = FileServer::of(files::png(1, 1)).await;
    let port = server.url.trim_end_matches("/file").rsplit(':').next();
    for url in [
        server.url.clone(),
        format!("http://[::ffff:127.0.0.1]:{}/", port.unwrap()),
        "http://private.test/a.png".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/hostname".to_owned(),
        "no URL".to_owned(),
    ] {
        let before = flow.provider.submitted().len();
        flow.provider.next(Reply::Urls(vec![url.clone()]));
        let job = flow.image().await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
        assert_eq!(reason(&job), ("no_output", true), "{url}");
        assert_eq!(flow.provider.submitted().len(), before + 1, "{url}");
    }
    assert_eq!(server.requests(), 0);
    nothing_is_left(&flow).await;
}

#[tokio::test]
async fn a_redirect_of_an_output_leads_not_inside_either() {
    let flow = reading().await;
    // On an address that is not allowed.
    let Ok(inside) = std::net::TcpListener::bind("127.0.0.2:0") else {
        println!("skipped: no second loopback address");
        return;
    };
    inside.set_nonblocking(true).unwrap();
    let target = format!("http://{}/", inside.local_addr().unwrap());
    let server = FileServer::serving([Served::redirect(&target)]).await;
    flow.provider.next(Reply::Urls(vec![server.url.clone()]));
    let job = flow.image().await;
    flow.step().await;
    is_refunded(&flow, &job).await;
    assert_eq!(server.requests(), 1, "a refusal is not asked for again");
    let called = inside.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(called, Err(std::io::ErrorKind::WouldBlock));
}

#[tokio::test]
async fn what_a_url_gives_must_be_what_was_asked_for() {
    for wrong in [
        "<!doctype html><title>Your link has expired</title>".into(),
        files::wav(),
        files::mp4(),
        "".into(),
    ] {
        let flow = reading().await;
        let server = FileServer::of(wrong).await;
        flow.provider.next(Reply::Urls(vec![server.url.clone()]));
        let job = flow.image().await;
        flow.step().await;
        is_refunded(&flow, &job).await;
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn a_file_that_is_cut_off_is_asked_for_again_and_never_bought_again() {
    let flow = reading().await;
    let file = files::png(600, 400);
    let part = Served::Raw(Served::cut_off(&file[..100_000], file.len()));
    let away = Served::Raw(b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n".to_vec());
    let server = FileServer::serving([part.clone(), away, Served::Whole(file.clone())]).await;
    flow.provider.next(Reply::Urls(vec![server.url.clone()]));
    let job = flow.image().await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(flow.provider.submitted().len(), 1);
    while flow.media_files().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(kept(&flow), file);

    let flow = reading().await;
    let server = FileServer::serving([part]).await;
    flow.provider.next(Reply::Urls(vec![server.url.clone()]));
    let job = flow.image().await;
    flow.step().await;
    is_refunded(&flow, &job).await;
    assert_eq!(server.requests(), 3, "and then it is given up");
}

#[tokio::test]
async fn a_file_that_says_that_it_is_too_large_is_not_read() {
    let flow = reading().await;
    let film = Served::cut_off(&files::mp4(), 3 * 1_024 * 1_024 * 1_024);
    let server = FileServer::serving([Served::Stalled(film)]).await;
    flow.provider.next(Reply::Urls(vec![server.url.clone()]));
    let job = flow.call("veo3", json!({"prompt": "p"})).await;
    flow.step().await;
    is_refunded(&flow, &job).await;
    server.hung_up().await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_url_that_fails_among_good_ones_is_refunded_alone() {
    let flow = reading().await;
    let job = flow.images(3).await;
    let server = FileServer::of(files::png(4, 5)).await;
    let urls = [server.url.as_str(), "http://10.0.0.7/", &server.url];
    flow.provider
        .next(Reply::Urls(urls.map(str::to_owned).to_vec()));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 30)
        .await;
    assert_eq!((job.outputs.len(), job.refunded.get()), (2, 15));
}

/// One picture is in the storage already, and the next one is on its way.
async fn in_the_middle_of_a_download(flow: &Flow) -> (Job, FileServer) {
    let job = flow.images(2).await;
    let start = flow.media_files();
    let file = files::png(600, 400);
    let server = FileServer::serving([
        Served::Whole(file.clone()),
        Served::Stalled(Served::cut_off(&file[..200_000], file.len())),
    ])
    .await;
    flow.provider
        .next(Reply::Urls(vec![server.url.clone(), server.url.clone()]));
    flow.work();
    // The start, the first picture, and what has come of the second.
    while server.requests() < 2 || flow.media_files().len() < start.len() + 2 {
        tokio::task::yield_now().await;
    }
    (job, server)
}

#[tokio::test]
async fn a_cancel_stops_the_download_and_leaves_nothing() {
    let flow = reading().await;
    let (job, server) = in_the_middle_of_a_download(&flow).await;
    flow.cancel(&job).await.unwrap();
    server.hung_up().await;
    flow.expect(&job, JobStatus::Cancelled, CREDITS - PICTURE)
        .await;
    while flow.media_files().len() > 1 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lost_lease_stops_the_download_and_leaves_nothing() {
    let flow = Flow::with(|setup| {
        setup.readable = vec!["127.0.0.1"];
        // It is looked after three times as often.
        setup.worker.lease = std::time::Duration::from_millis(900);
    })
    .await;
    let (job, server) = in_the_middle_of_a_download(&flow).await;
    flow.cancel_elsewhere(&job).await;
    server.hung_up().await;
    while flow.media_files().len() > 1 {
        tokio::task::yield_now().await;
    }
    flow.expect(&job, JobStatus::Cancelled, CREDITS - PICTURE)
        .await;
}

#[tokio::test]
async fn a_stop_leaves_nothing_of_a_download() {
    let mut flow = reading().await;
    let (job, server) = in_the_middle_of_a_download(&flow).await;
    flow.stop_working().await;
    flow.engine.settle_files().await;
    server.hung_up().await;
    // What is still being written has another name.
    let is_whole = |path: &std::path::PathBuf| !path.to_string_lossy().contains('#');
    let whole = flow.media_files().into_iter().filter(is_whole).count();
    assert_eq!(whole, 1, "the picture that it starts from");
    let job = flow.now(&job).await;
    assert!(!job.status.is_final(), "the next attempt ends it: {job:?}");
}

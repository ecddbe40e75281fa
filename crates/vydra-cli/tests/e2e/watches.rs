//! Jobs at the command line of whoever bought them.

use crate::person::{PROMPT, Person, acme, is_image};
use crate::programs::until;
use crate::server::{Server, text};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_shown_watched_and_cancelled() {
    let (_data, server, key) = acme(&["--test"]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let ran = person.run(&["jobs", "list"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("vydra generate image"), "{ran:?}");

    let start = async |outcome: &str| {
        let words = [
            "generate",
            "image",
            PROMPT,
            "--no-wait",
            "--simulate",
            outcome,
        ];
        let ran = person.run(&words).await;
        let id = ran.stdout.trim_end().to_owned();
        assert!(id.starts_with("job_") && !id.contains('\n'), "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("vydra jobs watch {id}")),
            "{ran:?}"
        );
        id
    };
    let slow = start("SLOW=600s").await;
    let shown = person.prose(&["jobs", "show", &slow]).await;
    assert!(
        shown.starts_with(&slow) && shown.contains("cost      5 credits"),
        "{shown}"
    );
    let impatient = ["jobs", "watch", &slow, "--timeout", "1ms"];
    person
        .refused(&impatient, 12, &["vydra jobs watch", "goes on"])
        .await;
    let told = person.prose(&["jobs", "cancel", &slow]).await;
    assert_eq!(told, format!("{slow} is cancelled: 5 credits came back.\n"));
    assert_eq!(
        person.json(&["jobs", "cancel", &slow]).await["status"],
        "cancelled"
    );
    person
        .refused(&["jobs", "watch", &slow], 13, &["cancelled"])
        .await;

    let failing = start("GENERATION_FAILED").await;
    person
        .refused(&["jobs", "watch", &failing], 10, &["GENERATION_FAILED"])
        .await;
    let done = start("SLOW=1ms").await;
    let ran = person.run(&["jobs", "watch", &done, "-o", "fox.png"]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "fox.png\n"),
        "{ran:?}"
    );
    assert!(is_image(&person.path("fox.png")));
    let job = person.json(&["jobs", "watch", &done]).await;
    assert_eq!((&job["id"], &job["files"]), (&json!(done), &json!([])));
    assert_eq!(
        person.json(&["jobs", "show", &done]).await["status"],
        "completed"
    );
    person
        .refused(&["jobs", "cancel", &done], 7, &["JOB_NOT_CANCELLABLE"])
        .await;
    let told = person.prose(&["jobs", "show", &slow, "--charges"]).await;
    assert!(
        told.contains("cost 0 credits: charged 5, refunded 5"),
        "{told}"
    );
    let told = person.json(&["jobs", "show", &done, "--charges"]).await;
    assert_eq!(told["creditsNet"], 5);

    let asset = text(&job["output"]["assets"][0]["id"]);
    api.delete(&format!("assets/{asset}")).await.expect(200);
    let ran = person
        .run(&["jobs", "watch", &done, "-o", "gone.png"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(6), ""), "{ran:?}");
    assert!(ran.stderr.contains("were deleted"), "{ran:?}");
    let ran = person.run(&["jobs", "watch", &done]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{ran:?}");
    assert!(ran.stderr.contains("deleted since"), "{ran:?}");

    let table = person.prose(&["jobs", "list"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines.len() == 4, "{table}");
    assert!(
        lines[1].starts_with(&done) && lines[1].ends_with(PROMPT),
        "{table}"
    );
    let failed = person.json(&["jobs", "list", "--status", "failed"]).await;
    assert_eq!(
        (&failed["count"], &failed["data"][0]["id"]),
        (&json!(1), &json!(failing))
    );
    let first = person.json(&["jobs", "list", "--limit", "2"]).await;
    let cursor = text(&first["nextCursor"]);
    let rest = person.json(&["jobs", "list", "--after", &cursor]).await;
    assert_eq!((&first["count"], &rest["count"]), (&json!(2), &json!(1)));
    assert_eq!(
        (&rest["data"][0]["id"], &rest["nextCursor"]),
        (&json!(slow), &Value::Null)
    );

    // Others' words do not move the cursor of whoever lists them.
    let sly = json!({"workflow": "generate_image", "input": {"prompt": "a\u{1b}[31m\u{7}b"}});
    api.post("jobs", &sly).await.expect(201);
    let table = person.prose(&["jobs", "list", "--limit", "1"]).await;
    assert!(table.contains("a [31m b"), "{table}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_the_job_alone_or_cancels_it() {
    let (_data, server, key) = acme(&["--test"]).await;
    let person = Person::new(&server.url, &key);
    let api = server.api(&key);
    let words = ["generate", "image", PROMPT, "--simulate", "SLOW=600s"];
    let interrupted = async |words: &[&str], jobs: usize| {
        let mut waiting = Server::begin(person.vydra(words));
        until("it waits", async || {
            (waiting.log().matches(" running").count() == jobs).then_some(())
        })
        .await;
        waiting.signal("-INT").await;
        let status = waiting.ended().await;
        assert_eq!(status.code(), Some(130), "{}", waiting.log());
        waiting.log()
    };
    let latest = async || api.get("jobs?limit=1").await.expect(200)["data"][0].clone();

    let told = interrupted(&words, 1).await;
    let job = latest().await;
    let id = text(&job["id"]);
    assert!(told.contains(&format!("{id} goes on")), "{told}");
    assert!(told.contains(&format!("`vydra jobs watch {id}`")), "{told}");
    assert_eq!(job["status"], "running");
    let told = interrupted(&["jobs", "watch", &id, "--cancel-on-interrupt"], 1).await;
    assert!(
        told.contains(&format!("{id} is cancelled: 5 credits came back.")),
        "{told}"
    );
    assert_eq!(latest().await["status"], "cancelled");

    let two = [&words[..], &["-n", "2", "--cancel-on-interrupt"]].concat();
    interrupted(&two, 2).await;
    let open = api.get("jobs?status=running").await.expect(200);
    assert_eq!(open["pagination"]["count"], 0);
    assert_eq!(api.credits().await, 10_000);
    server.stop().await;
}

//! The command line beside a running server, which sees each change at its next request.

use crate::api::Api;
use crate::programs::run;
use crate::server::{Data, text};
use serde_json::{Value, json};

const PROMPT: &str = "a small boat";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_holds_from_the_next_request_on_until_it_is_revoked() {
    let data = Data::new();
    let server = data.serve().await;
    let org = data.org("acme", 100).await;
    let created = data
        .json(&["key", "create", "--org", "acme", "--name", "backend"])
        .await;
    let (key, id) = (text(&created["key"]), text(&created["id"]));
    let prefix = format!("{}...", &key[..14]);
    assert_eq!(created["keyPrefix"], prefix);
    let api = server.api(&key);
    let shown = api.get("organization").await.expect(200);
    assert_eq!(
        (&shown["id"], &shown["name"]),
        (&json!(org), &json!("acme"))
    );
    assert_eq!(shown["creditsRemaining"], 100);

    let listed = data.json(&["key", "list", "--org", &org]).await;
    assert_eq!(
        (&listed["count"], &listed["data"][0]["id"]),
        (&json!(1), &json!(id))
    );
    assert!(
        !listed.to_string().contains(&key),
        "a key is shown once only"
    );
    let revoked = data.json(&["key", "revoke", &id]).await;
    assert_eq!(
        (&revoked["id"], &revoked["isActive"]),
        (&json!(id), &json!(false))
    );
    api.get("organization").await.refused(401, "KEY_REVOKED");
    let listed = data.prose(&["key", "list", "--org", "acme"]).await;
    assert!(
        listed.contains("revoked") && listed.contains(&id),
        "{listed}"
    );
    server.stop().await;
}

/// The session that a login gives.
async fn login(api: &Api, email: &str, password: &str) -> String {
    let body = json!({"email": email, "password": password});
    let answer = api.browse("auth/login", "", Some(&body)).await;
    answer.expect(200);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"),
        "no Secure over plain http: {cookie}"
    );
    let value = cookie.strip_prefix("__session=").unwrap();
    value.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_logs_in_makes_a_key_and_is_logged_out_by_a_new_password() {
    let data = Data::new();
    let server = data.serve().await;
    let org = data.org("acme", 100).await;
    let words = [
        "user",
        "create",
        "--email",
        "Ada@Example.com",
        "--org",
        "acme",
    ];
    let created = data.json(&words).await;
    assert_eq!(
        (
            &created["email"],
            &created["role"],
            &created["organization"]["id"]
        ),
        (&json!("ada@example.com"), &json!("owner"), &json!(org))
    );
    let password = text(&created["password"]);
    let api = server.api("");
    let session = login(&api, "ada@example.com", &password).await;
    let me = api.browse("auth/me", &session, None).await.expect(200);
    assert_eq!(me["user"]["id"], created["id"]);
    let new = json!({"name": "backend"});
    let made = api
        .browse("api-keys", &session, Some(&new))
        .await
        .expect(201);
    let (id, key) = (text(&made["id"]), text(&made["key"]));
    api.with_key(&key).get("organization").await.expect(200);

    let rotated = data.json(&["key", "rotate", &id, "--overlap", "24h"]).await;
    assert_eq!(rotated["replaces"]["isActive"], true);
    let next = text(&rotated["key"]);
    for key in [&key, &next] {
        api.with_key(key).get("organization").await.expect(200);
    }
    data.json(&["key", "revoke", &id]).await;
    let refused = api.with_key(&key).get("organization").await;
    refused.refused(401, "KEY_REVOKED");
    let told = data.prose(&["key", "rotate", &text(&rotated["id"])]).await;
    assert!(told.contains("has ended"), "{told}");
    let refused = api.with_key(&next).get("organization").await;
    refused.refused(401, "KEY_REVOKED");

    let listed = data.json(&["user", "list", "--org", "acme"]).await;
    assert_eq!(
        (&listed["count"], &listed["data"][0]["email"]),
        (&json!(1), &json!("ada@example.com"))
    );
    std::fs::write(
        data.path("password.txt"),
        "a horse of another colour\nsecond line\n",
    )
    .unwrap();
    let words = [
        "user",
        "set-password",
        "--email",
        "ada@example.com",
        "--password-stdin",
        "--json",
    ];
    let changed = run(data.vydra_after(
        &format!(
            "exec < '{}'",
            data.path("password.txt")
                .display()
                .to_string()
                .replace('\'', "'\\''")
        ),
        &words,
    ))
    .await;
    assert_eq!(changed.code, Some(0), "{changed:?}");
    assert!(!changed.stdout.contains("horse"), "{changed:?}");
    let out = api.browse("auth/me", &session, None).await;
    out.refused(401, "MISSING_AUTH");
    login(&api, "ada@example.com", "a horse of another colour").await;
    let made_up = data
        .prose(&["user", "set-password", "--email", "ada@example.com"])
        .await;
    assert!(made_up.contains("  password  "), "{made_up}");

    let log = server.stop().await;
    for secret in [&password, &session, &key, &next] {
        assert!(!log.contains(secret.as_str()), "a secret in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_belong_to_organizations_with_a_role_in_each() {
    let data = Data::new();
    data.org("acme", 0).await;
    data.org("globex", 0).await;
    let create = [
        "user",
        "create",
        "--email",
        "ada@example.com",
        "--org",
        "acme",
    ];
    let told = data
        .prose(&[&create[..], &["--role", "member"]].concat())
        .await;
    assert!(told.contains("member of acme"), "{told}");
    let add = [
        "user",
        "add",
        "--email",
        "ada@example.com",
        "--org",
        "globex",
    ];
    let told = data.prose(&add).await;
    assert_eq!(told, "ada@example.com is owner of globex now.\n");
    let listed = data.prose(&["user", "list", "--org", "acme"]).await;
    assert!(listed.contains("member"), "{listed}");

    for (words, complaint) in [
        (&create[..], "there is already a user"),
        (
            &["user", "create", "--email", "nobody", "--org", "acme"],
            "email is not usable",
        ),
        (
            &[
                "user",
                "create",
                "--email",
                "b@example.com",
                "--org",
                "acme",
                "--password-stdin",
            ],
            "12 to 128 characters",
        ),
        (
            &[
                "user",
                "create",
                "--email",
                "b@example.com",
                "--org",
                "nothing",
            ],
            "there is no organization",
        ),
        (
            &["user", "add", "--email", "b@example.com", "--org", "acme"],
            "there is no user",
        ),
        (
            &["user", "set-password", "--email", "b@example.com"],
            "there is no user",
        ),
        (
            &["key", "rotate", "key_00000000000000000000000000"],
            "there is no key",
        ),
        (&["key", "rotate", "nonsense"], "is no key id"),
        (
            &[
                "key",
                "rotate",
                "key_00000000000000000000000000",
                "--overlap",
                "169h",
            ],
            "168 hours",
        ),
    ] {
        let ran = data.run(words).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(1), ""),
            "{words:?}: {ran:?}"
        );
        assert!(ran.stderr.contains(complaint), "{words:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_scope_and_mode_of_a_key_hold() {
    let data = Data::new();
    let server = data.serve().await;
    let org = data.org("acme", 100).await;
    let api = server.api("");

    let expired = data.key(&org, &["--expires-in-days", "0"]).await;
    api.with_key(&expired)
        .get("organization")
        .await
        .refused(401, "KEY_EXPIRED");
    let listed = data.prose(&["key", "list", "--org", "acme"]).await;
    assert!(listed.contains("expired"), "{listed}");
    let lasting = data.key(&org, &["--expires-in-days", "1"]).await;
    api.with_key(&lasting).get("organization").await.expect(200);

    let reader = data
        .key(&org, &["--scope", "models:read", "--scope", "jobs:read"])
        .await;
    let reader = api.with_key(&reader);
    reader.get("models").await.expect(200);
    let input = json!({"prompt": PROMPT});
    let refused = reader
        .post("models/gemini/generate", &input)
        .await
        .refused(403, "INSUFFICIENT_SCOPE");
    assert_eq!(refused["details"]["required"], json!(["models:write"]));
    assert_eq!(
        refused["details"]["granted"],
        json!(["models:read", "jobs:read"])
    );

    let test = data.key(&org, &["--test"]).await;
    assert!(test.starts_with("vydra_test_"), "{test}");
    assert_eq!(api.with_key(&test).credits().await, 10_000);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credits_are_there_at_the_next_request() {
    let data = Data::new();
    let org = data.org("acme", 0).await;
    let (live, test) = (data.key(&org, &[]).await, data.key(&org, &["--test"]).await);
    let server = data.serve().await;
    let api = server.api(&live);
    let input = json!({"prompt": PROMPT});
    let refused = api
        .post("models/gemini/generate", &input)
        .await
        .refused(402, "INSUFFICIENT_CREDITS");
    assert_eq!(
        (&refused["creditsRequired"], &refused["creditsRemaining"]),
        (&json!(5), &json!(0))
    );

    let granted = data
        .json(&[
            "credits", "grant", "--org", "acme", "--amount", "7", "--reason", "goodwill",
        ])
        .await;
    assert_eq!(
        (&granted["granted"], &granted["creditsRemaining"]),
        (&json!(7), &json!(7))
    );
    let made = api.post("models/gemini/generate", &input).await;
    assert_eq!(made.header("x-credits-remaining"), Some("2"));
    made.expect(200);
    api.post("models/gemini/generate", &input)
        .await
        .refused(402, "INSUFFICIENT_CREDITS");

    let told = data
        .prose(&[
            "credits", "grant", "--org", &org, "--amount", "5", "--reason", "more", "--test",
        ])
        .await;
    assert_eq!(told, "acme has 10005 test credits now.\n");
    assert_eq!(api.with_key(&test).credits().await, 10_005);
    assert_eq!(
        api.credits().await,
        2,
        "the sandbox's credits are not real ones"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_at_the_next_request_and_forget_nothing() {
    let data = Data::new();
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    api.get("organization").await.expect(200);

    let plan = ["org", "set-plan", "--org", "acme", "--plan", "enterprise"];
    let changed = data.json(&[&plan[..], &["--rpm", "1"]].concat()).await;
    assert_eq!(
        (&changed["plan"], &changed["limits"]["rpm"]),
        (&json!("enterprise"), &json!(1))
    );
    let answer = api.get("organization").await;
    let refused = answer.refused(429, "RATE_LIMIT_EXCEEDED");
    assert_eq!(
        refused["limits"],
        json!({"type": "minute", "limit": 1, "used": 2})
    );
    let wait = refused["retryAfter"].as_u64().unwrap();
    assert!((1..=61).contains(&wait), "{wait}");
    assert_eq!(
        answer.header("retry-after"),
        Some(wait.to_string().as_str())
    );

    let concurrent = [&plan[..], &["--concurrent", "1"]].concat();
    data.json(&concurrent).await;
    let test = api.with_key(&data.key(&org, &["--test"]).await);
    let input = json!({"prompt": PROMPT});
    let slow = test
        .simulate("SLOW=30s", "models/veo3", &input)
        .await
        .expect(202);
    let refused = test
        .post("models/veo3", &input)
        .await
        .refused(429, "RATE_LIMIT_EXCEEDED");
    assert_eq!(
        refused["limits"],
        json!({"type": "concurrent", "limit": 1, "used": 2})
    );
    let path = format!("jobs/{}", slow["jobId"].as_str().unwrap());
    assert_eq!(test.delete(&path).await.expect(200)["status"], "cancelled");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_are_shown_to_people_and_to_programs() {
    let data = Data::new();
    let created = data
        .json(&[
            "org",
            "create",
            "--name",
            "acme",
            "--plan",
            "creator",
            "--credits",
            "5000",
        ])
        .await;
    let id = text(&created["id"]);
    assert_eq!(
        (&created["plan"], &created["credits"]),
        (&json!("creator"), &json!(5_000))
    );
    let told = data
        .prose(&["org", "create", "--name", "Beta & Söhne"])
        .await;
    assert!(
        told.contains("Beta & Söhne") && told.contains("free"),
        "{told}"
    );

    for word in ["acme", &id] {
        assert_eq!(data.json(&["org", "show", "--org", word]).await, created);
        let told = data.prose(&["org", "show", "--org", word]).await;
        for part in [
            id.as_str(),
            "acme",
            "creator",
            "60 a minute",
            "5000 live, 10000 test",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
    }
    let listed = data.json(&["org", "list"]).await;
    assert_eq!(listed["count"], 2);
    assert!(listed["data"].as_array().unwrap().contains(&created));
    let table = data.prose(&["org", "list"]).await;
    assert_eq!(table.lines().count(), 3, "{table}");
    assert!(
        table.starts_with("ID ") && table.contains("Beta & Söhne"),
        "{table}"
    );
    let changed = data
        .prose(&["org", "set-plan", "--org", "acme", "--plan", "starter"])
        .await;
    assert!(changed.contains("starter (30 a minute"), "{changed}");
    let keep = ["org", "set-retention", "--org", "acme", "--keep-assets"];
    let changed = data.json(&[&keep[..], &["36h"]].concat()).await;
    assert_eq!(changed["keepAssetsSeconds"], 36 * 3_600);
    let changed = data.prose(&[&keep[..], &["30d"]].concat()).await;
    assert!(changed.contains("kept 30 days"), "{changed}");
    let changed = data.prose(&[&keep[..], &["forever"]].concat()).await;
    assert!(changed.contains("kept for ever"), "{changed}");

    let key = data.prose(&["key", "create", "--org", "acme"]).await;
    assert!(key.contains("vydra_live_user_"), "{key}");
    let audit = data.json(&["ledger", "audit"]).await;
    let expected = json!({
        "balanced": true, "organizations": 2, "entries": 3, "jobs": 0,
        "carriedEntries": 0, "carriedJobs": 0, "imbalances": [],
    });
    assert_eq!(audit, expected);
    let audit = data.prose(&["ledger", "audit"]).await;
    assert!(audit.starts_with("The books agree"), "{audit}");
}

/// Exit code 1 and a sentence on the error stream: a script that reads the output gets nothing wrong.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_said_in_a_sentence() {
    let data = Data::new();
    let grant = [
        "credits", "grant", "--amount", "5", "--reason", "x", "--org",
    ];
    for words in [
        &["org", "show", "--org", "acme"][..],
        &["org", "list"],
        &["key", "list", "--org", "acme"],
        &["key", "create", "--org", "acme"],
        &["key", "revoke", "key_01jd3x0v8kq6w5r4t3y2z1a0bc"],
        &[&grant[..], &["acme"]].concat(),
        &["ledger", "audit"],
    ] {
        refuse(&data, words, "there is no database at ").await;
        assert!(!data.path("vydra.db").exists(), "{words:?} has made one");
    }
    data.org("acme", 0).await;
    let nobody = "there is no organization \"nobody\"";
    for (words, sentence) in [
        (&["org", "show", "--org", "nobody"][..], nobody),
        (
            &["org", "set-plan", "--org", "nobody", "--plan", "free"],
            nobody,
        ),
        (&["key", "list", "--org", "nobody"], nobody),
        (&["key", "create", "--org", "nobody"], nobody),
        (&[&grant[..], &["nobody"]].concat(), nobody),
        (
            &["org", "create", "--name", "acme"],
            "there is already an organization named \"acme\"",
        ),
        (&["org", "create", "--name", " "], "name is not usable"),
        (&["org", "create", "--name", "b", "--plan", "gold"], "gold"),
        (
            &["org", "set-plan", "--org", "acme", "--plan", "gold"],
            "gold",
        ),
        (
            &[
                "org",
                "set-retention",
                "--org",
                "acme",
                "--keep-assets",
                "5m",
            ],
            "expected 1h to 36500d, or forever",
        ),
        (
            &["key", "create", "--org", "acme", "--scope", "models:dance"],
            "models:dance",
        ),
        (&["key", "revoke", "acme"], "is no key id"),
        (
            &["key", "revoke", "key_01jd3x0v8kq6w5r4t3y2z1a0bc"],
            "there is no ",
        ),
    ] {
        refuse(&data, words, sentence).await;
    }
    // Nothing of it was done by half.
    let orgs = data.json(&["org", "list"]).await;
    assert_eq!(
        (&orgs["count"], &orgs["data"][0]["credits"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        data.json(&["key", "list", "--org", "acme"]).await["count"],
        0
    );
}

async fn refuse(data: &Data, words: &[&str], sentence: &str) {
    for words in [words.to_vec(), [words, &["--json"]].concat()] {
        let ran = data.run(&words).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(1), ""),
            "{words:?}: {ran:?}"
        );
        let lines: Vec<&str> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{words:?}: {ran:?}");
        assert!(
            lines[0].starts_with("error: ") && lines[0].contains(sentence),
            "{words:?}: {ran:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_finds_a_balance_that_is_not_the_sum_of_its_rows() {
    let data = Data::new().unaudited();
    let org = data.org("acme", 100).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    server
        .api(&key)
        .post("models/elevenlabs/tts", &json!({"text": "hi"}))
        .await
        .expect(200);
    server.stop().await;
    assert!(data.prose(&["ledger", "audit"]).await.contains("agree"));

    let database = rusqlite::Connection::open(data.path("vydra.db")).unwrap();
    let doctor = data.run(&["doctor"]).await;
    assert!(!doctor.stdout.contains("late results"), "{doctor:?}");
    let late = "INSERT INTO assets (id, org_id, job_id, role, kind, media_type, storage_key, bytes, created_at)
                SELECT 'ast_late', org_id, id, 'late', 'image', 'image/png', 'aa/late.png', 1, 1 FROM jobs LIMIT 1";
    assert_eq!(database.execute(late, []).unwrap(), 1);
    let doctor = data.run(&["doctor"]).await;
    assert!(
        doctor.stdout.contains("note  late results   1 job was"),
        "{doctor:?}"
    );
    let spoil = "UPDATE balances SET credits = credits + 7 WHERE mode = 'live'";
    assert_eq!(database.execute(spoil, []).unwrap(), 1);
    drop(database);
    let told = data.run(&["ledger", "audit"]).await;
    assert_eq!(told.code, Some(1));
    assert!(
        told.stdout.contains("do NOT agree") && told.stdout.contains(&org),
        "{told:?}"
    );
    assert!(
        told.stdout
            .contains("expected 95, found 102 (difference 7)"),
        "{told:?}"
    );
    let told = data.run(&["ledger", "audit", "--json"]).await;
    assert_eq!(told.code, Some(1));
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["balanced"], false);
    let found = told["imbalances"].as_array().unwrap();
    assert!(
        found
            .iter()
            .any(|one| one["org"] == org && one["difference"] == 7),
        "{told}"
    );

    let doctor = data.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(1));
    assert!(doctor.stdout.contains("bad   ledger"), "{doctor:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_pruned_beside_a_running_server() {
    let data = Data::new();
    let server = data.serve().await;
    let org = data.org("acme", 100).await;
    let api = server.api(&data.key(&org, &[]).await);
    let input = json!({"prompt": PROMPT});
    let made = api.post("models/gemini/generate", &input).await.expect(200);
    let media = data.path("media");
    let old = media.join(format!("aa/aa{:038x}.png", 1));
    std::fs::create_dir_all(old.parent().unwrap()).unwrap();
    std::fs::write(&old, "12345").unwrap();
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    file.set_modified(long_ago).unwrap();

    let looked = data.json(&["assets", "prune", "--dry-run"]).await;
    assert_eq!(
        (
            &looked["orphans"],
            &looked["orphanBytes"],
            &looked["removed"]
        ),
        (&json!(1), &json!(5), &json!(0))
    );
    let told = data.prose(&["assets", "prune"]).await;
    assert!(told.contains("1 were removed"), "{told}");
    assert!(told.contains("The files of all 1 rows are there"), "{told}");
    assert!(!old.exists());

    let url = text(&made["imageUrl"]);
    let (_, key) = url.split_once("/media/").unwrap();
    std::fs::remove_file(media.join(key)).unwrap();
    let told = data.run(&["assets", "prune", "--json"]).await;
    assert_eq!(told.code, Some(1), "a script sees that files are missing");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["missing"], 1);
    server.stop().await;
}

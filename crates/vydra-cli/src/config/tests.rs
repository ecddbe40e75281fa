use super::*;

fn load(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vydra.toml");
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
    }
    Config::load(&Sources {
        file: file.map(|_| path.clone()),
        data_dir: "data".into(),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Sources::default()
    })
}

#[test]
fn the_defaults_load_and_are_the_contracts_plans() {
    let config = load(None, &[]).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8787");
    assert!(!config.local_is_fallback());
    let plans = config.plans();
    assert_eq!(
        plans.get("free"),
        Some(Limits {
            rpm: 10,
            rph: 100,
            rpd: 500,
            concurrent: 2
        })
    );
    assert_eq!(
        plans.get("starter"),
        Some(Limits {
            rpm: 30,
            rph: 500,
            rpd: 5_000,
            concurrent: 5
        })
    );
    assert_eq!(
        plans.get("creator"),
        Some(Limits {
            rpm: 60,
            rph: 1_500,
            rpd: 20_000,
            concurrent: 10
        })
    );
    assert_eq!(
        plans.get("enterprise"),
        Some(Limits {
            rpm: 6_000,
            rph: 100_000,
            rpd: 1_000_000,
            concurrent: 100
        })
    );
    assert_eq!(config.database().unwrap().to_string(), "data/vydra.db");
    let media = config.media_place().unwrap();
    assert_eq!(media.to_string(), "data/media");
}

#[test]
fn who_logs_in_and_how_agents_come_in_is_bounded() {
    let config = load(None, &[]).unwrap();
    assert_eq!(config.auth.session_lifetime.0, Duration::from_hours(720));
    assert!(!config.auth.bot_register);
    assert_eq!(config.auth.bot_plan, "free");
    for (text, key) in [
        ("session_lifetime = \"0s\"", "auth.session_lifetime"),
        ("session_lifetime = \"59s\"", "auth.session_lifetime"),
        ("session_lifetime = \"8761h\"", "auth.session_lifetime"),
        ("bot_plan = \"golden\"", "auth.bot_plan"),
        ("bots = true", "auth"),
    ] {
        let error = load(Some(&format!("[auth]\n{text}\n")), &[]).unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
    load(
        Some("[auth]\nbot_register = true\nbot_plan = \"starter\"\n"),
        &[],
    )
    .unwrap();
}

#[test]
fn a_later_source_covers_an_earlier_one_and_leaves_the_rest() {
    let config = load(
        Some("[server]\nlisten = \"127.0.0.1:1\"\nsync_wait = \"2s\"\n[plans.free]\nrpm = 11\n"),
        &[
            ("VYDRA__SERVER__LISTEN", "127.0.0.1:2"),
            ("VYDRA__PROVIDERS__LOCAL__ENABLED", "true"),
            ("HOME", "/x"),
            ("VYDRA_API_KEY", "k"),
        ],
    )
    .unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.sync_wait.0, Duration::from_secs(2));
    assert!(config.local_is_fallback());
    assert_eq!(
        config.plans().get("free"),
        Some(Limits {
            rpm: 11,
            rph: 100,
            rpd: 500,
            concurrent: 2
        })
    );
}

#[test]
fn what_is_wrong_is_refused_with_the_keys_name() {
    for (text, named) in [
        ("[server]\nlisen = \"x\"", "lisen"),
        ("[sever]\nlisten = \"x\"", "sever"),
        ("[server]\nlisten = \"nowhere\"", "server.listen"),
        ("[server]\nlisten = 5", "server.listen"),
        ("[outbound]\nproxy = \"10.0.0.9:3128\"", "outbound.proxy"),
        (
            "[outbound]\nproxy = \"socks5://10.0.0.9\"",
            "outbound.proxy",
        ),
        ("[server]\nsync_wait = \"soon\"", "server.sync_wait"),
        ("[server]\nmax_connections = 0", "server.max_connections"),
        ("[server]\nmax_connections = -1", "server.max_connections"),
        ("[server]\nbody_timeout = \"0s\"", "server.body_timeout"),
        ("[server]\nbody_timeout = \"long\"", "server.body_timeout"),
        ("[server]\ndrain_delay = \"11m\"", "server.drain_delay"),
        (
            "[server]\npublic_url = \"example.com\"",
            "server.public_url",
        ),
        ("[worker]\nconcurrency = 0", "worker.concurrency"),
        ("[webhooks]\ntimeout = \"99ms\"", "webhooks.timeout"),
        ("[webhooks]\ntimeout = \"61s\"", "webhooks.timeout"),
        ("[webhooks]\nretries = [\"5\"]", "webhooks.retries[0]"),
        ("[webhooks]\nretries = [\"25h\"]", "webhooks.retries"),
        ("[webhooks]\nconcurrency = 0", "webhooks.concurrency"),
        (
            "[worker]\nconcurrency = 1000000000000000000",
            "worker.concurrency",
        ),
        ("[worker]\nmax_wait = \"0s\"", "worker.max_wait"),
        ("[worker]\nmax_wait = \"100000000h\"", "worker.max_wait"),
        ("[worker]\nlease = \"1s\"", "worker.lease"),
        ("[providers.fall]\nenabled = true", "providers.fall"),
        ("[providers.local]\nenabld = true", "enabld"),
        (
            "[providers.local]\nbase_url = \"http://a\"",
            "providers.local",
        ),
        ("[providers.fal]\nenabled = true", "providers.fal.api_key"),
        ("[providers.mine]\nkind = \"fall\"", "providers.mine.kind"),
        (
            "[providers.mine]\nkind = \"a1111\"",
            "providers.mine.base_url",
        ),
        (
            "[providers.fal]\napi_key = \"k\"\napi_key_file = \"f\"",
            "providers.fal.api_key",
        ),
        (
            "[providers.fal]\napi_key_file = \"none\"",
            "providers.fal.api_key_file",
        ),
        (
            "[providers.fal]\napi_key = \"k\"\ninstant = true",
            "providers.fal.instant",
        ),
        (
            "[providers.fal]\napi_key = \"k\"\ntimeout = \"1s\"",
            "providers.fal.timeout",
        ),
        (
            "[providers.fal]\napi_key = \"k\"\nauth = \"basic\"",
            "providers.fal.auth",
        ),
        (
            "[providers.fal]\napi_key = \"k\"\ncheck_path = \"x\"",
            "providers.fal.check_path",
        ),
        (
            "[providers.fal]\napi_key = \"k\"\nconcurrency = 20000",
            "providers.fal.concurrency",
        ),
        (
            "[outbound]\ninput_allow_networks = [\"everything\"]",
            "outbound.input_allow_networks",
        ),
        (
            "[limits]\nunauthenticated_per_minute = 0",
            "limits.unauthenticated_per_minute",
        ),
        (
            "[limits]\ntrusted_proxies = [\"10.0.0.5/8\"]",
            "limits.trusted_proxies",
        ),
        ("[limits]\nbackend = \"memcached\"", "limits.backend"),
        ("[limits]\nbackend = \"redis\"", "limits.redis_url"),
        (
            "[limits]\nredis_url = \"redis://localhost\"",
            "limits.backend is not redis",
        ),
        (
            "[limits]\nbackend = \"redis\"\nredis_url = \"http://localhost\"",
            "limits.redis_url",
        ),
        (
            "[limits]\nbackend = \"redis\"\nredis_url_file = \"nowhere\"",
            "limits.redis_url_file",
        ),
        (
            "[limits]\nbackend = \"redis\"\nredis_url = \"redis://localhost\"\nredis_url_file = \"nowhere\"",
            "given beside limits.redis_url",
        ),
        ("[plans.free]\nrpm = -1", "plans.free.rpm"),
        ("[plans.mine]\nrpm = 1", "plans.mine"),
        ("[media]\nurl = \"ftp://x\"", "media.url"),
        ("[media]\nreads = \"redirect\"", "media.reads"),
        ("[log]\nformat = \"xml\"", "log.format"),
        ("server = 1", "server"),
    ] {
        let error = load(Some(text), &[]).unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
    let error = load(None, &[("VYDRA__SERVER__PORT", "1")])
        .unwrap_err()
        .to_string();
    assert!(error.contains("port"), "{error}");
    assert!(
        load(Some("[server\n"), &[])
            .unwrap_err()
            .to_string()
            .contains("not valid TOML")
    );
}

#[test]
fn a_secret_is_not_shown() {
    let config = load(Some("[providers.local]\napi_key = \"hush-hush\"\n"), &[]).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
    let unclosed = load(Some("[providers.local]\napi_key = \"hush-hush\n"), &[]).unwrap_err();
    assert!(!unclosed.to_string().contains("hush"), "{unclosed}");
    assert!(unclosed.to_string().contains("line 2"), "{unclosed}");
    let number = load(Some("[providers.local]\napi_key = 987654321\n"), &[]).unwrap_err();
    assert!(!number.to_string().contains("987654321"), "{number}");
    load(None, &[("VYDRA__PROVIDERS__LOCAL__API_KEY", "987654321")]).unwrap();
}

#[test]
fn a_key_in_the_environment_sets_a_provider_up() {
    let config = load(None, &[("VYDRA__PROVIDERS__FAL__API_KEY", "id:hush-hush")]).unwrap();
    let hosted = config.hosted_providers().unwrap();
    assert_eq!(hosted.len(), 1);
    assert_eq!(hosted[0].name, "fal");
    assert_eq!(hosted[0].base_url, "https://queue.fal.run");
    assert_eq!(hosted[0].key.reveal(), "id:hush-hush");
    assert!(!format!("{hosted:?}").contains("hush"));
    assert!(
        load(None, &[])
            .unwrap()
            .hosted_providers()
            .unwrap()
            .is_empty()
    );
    let off = "[providers.fal]\nenabled = false";
    assert!(
        load(Some(off), &[])
            .unwrap()
            .hosted_providers()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_proxy_may_have_a_password_and_nobody_sees_it() {
    let config = |proxy: &str| load(Some(&format!("[outbound]\nproxy = \"{proxy}\"")), &[]);
    assert!(config("").unwrap().egress_proxy().unwrap().is_none());
    let good = config("http://me:hidden@10.0.0.9:3128").unwrap();
    assert!(good.egress_proxy().unwrap().is_some());
    assert!(!format!("{good:?}").contains("hidden"));
    let refused = config("http://me:hidden@10.0.0.9/path").unwrap_err();
    assert!(!format!("{refused:?}{refused}").contains("hidden"));
}

/// A bucket with all that it needs, and what a test changes about it.
fn bucket(more: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut keys = BTreeMap::from([
        ("url", "\"s3://my-bucket/vydra\""),
        ("endpoint", "\"http://10.0.0.7:9000\""),
        ("access_key_id", "\"me\""),
        ("secret_access_key", "\"hush-hush\""),
    ]);
    keys.extend(more.iter().copied());
    let lines: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("{key} = {value}"))
        .collect();
    load(Some(&format!("[media]\n{}\n", lines.join("\n"))), &[])
}

#[test]
fn media_may_be_kept_in_a_bucket() {
    let place = |more: &[(&str, &str)]| bucket(more).unwrap().media_place().unwrap().to_string();
    assert_eq!(place(&[]), "s3://my-bucket/vydra/ at http://10.0.0.7:9000");
    assert_eq!(
        place(&[
            ("url", "\"s3://my.bucket\""),
            ("endpoint", "\"\""),
            ("region", "\"eu-central-1\"")
        ]),
        "s3://my.bucket/ at AWS, eu-central-1"
    );
    place(&[("virtual_hosted", "true"), ("reads", "\"redirect\"")]);
}

#[test]
fn a_bucket_that_cannot_be_is_refused_with_the_keys_name() {
    for (key, value, named) in [
        ("url", "s3:", "media.url"),
        ("url", "s3://", "media.url"),
        ("url", "s3:///folder", "media.url"),
        ("url", "s3://My-Bucket", "media.url"),
        ("url", "s3://me:word@bucket", "media.url"),
        ("url", "s3://bucket?region=x", "media.url"),
        ("url", "s3://bucket/../other", "media.url"),
        ("url", "s3://bucket//folder", "media.url"),
        ("url", "", "media.endpoint: is for a bucket"),
        ("url", "file:media", "media.endpoint: is for a bucket"),
        ("endpoint", "10.0.0.7:9000", "media.endpoint"),
        ("endpoint", "ftp://10.0.0.7", "media.endpoint"),
        ("endpoint", "http://me:hush-hush@10.0.0.7", "media.endpoint"),
        ("endpoint", "http://10.0.0.7/?a", "media.endpoint"),
        ("reads", "stream", "media.reads"),
        ("region", "", "media.region"),
        ("region", "eu\\ncentral", "media.region"),
        ("access_key_id", "", "media.access_key_id"),
        ("access_key_id", "m e", "media.access_key_id"),
        ("secret_access_key", "", "media.secret_access_key:"),
        (
            "secret_access_key_file",
            "also",
            "given beside media.secret_access_key",
        ),
    ] {
        let error = bucket(&[(key, &format!("\"{value}\""))]).unwrap_err();
        assert!(error.to_string().contains(named), "{named}: {error}");
        assert!(!format!("{error:?}{error}").contains("hush"), "{error}");
    }
    let aws = [("endpoint", "\"\""), ("virtual_hosted", "true")];
    let error = bucket(&aws).unwrap_err().to_string();
    assert!(error.contains("media.virtual_hosted"), "{error}");
    let number = bucket(&[("secret_access_key", "987654321")]).unwrap_err();
    assert!(!number.to_string().contains("987654321"), "{number}");
}

#[test]
fn the_secret_of_a_bucket_is_not_shown_and_may_be_in_a_file_or_in_the_environment() {
    let secret = |config: Config| {
        let place = config.media_place().unwrap();
        assert!(!format!("{config:?}{place:?}{place}").contains("8642"));
        match place {
            MediaPlace::Bucket(settings) => settings.secret_access_key,
            MediaPlace::Folder(path) => panic!("{}", path.display()),
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let named = format!("{:?}", path.display().to_string());
    let from_file = [
        ("secret_access_key", "\"\""),
        ("secret_access_key_file", named.as_str()),
    ];
    let error = bucket(&from_file).unwrap_err().to_string();
    assert!(error.contains("media.secret_access_key_file"), "{error}");
    std::fs::write(&path, "\n").unwrap();
    let error = bucket(&from_file).unwrap_err().to_string();
    assert!(error.contains("media.secret_access_key_file"), "{error}");
    std::fs::write(&path, "8642/+=\r\n").unwrap();
    assert_eq!(secret(bucket(&from_file).unwrap()), "8642/+=");

    let environment = [
        ("VYDRA__MEDIA__URL", "s3://bucket"),
        ("VYDRA__MEDIA__ACCESS_KEY_ID", "1234"),
        ("VYDRA__MEDIA__SECRET_ACCESS_KEY", "8642"),
    ];
    assert_eq!(secret(load(None, &environment).unwrap()), "8642");
}

#[test]
fn the_database_may_be_a_file_or_that_of_a_server() {
    let shown = |url: &str| {
        let config = load(None, &[("VYDRA__STORE__URL", url)]).unwrap();
        let database = config.database().unwrap();
        assert!(!format!("{config:?}{database:?}{database}").contains("hush"));
        database.to_string()
    };
    assert_eq!(shown("sqlite:"), "data/vydra.db");
    assert_eq!(shown("sqlite:other.db"), "data/other.db");
    assert_eq!(shown("sqlite:///srv/vydra.db"), "/srv/vydra.db");
    assert_eq!(
        shown("postgres://ada:hush@db:6432/vydra?connect_timeout=2"),
        "postgres://ada@db:6432/vydra"
    );
    for url in [
        "mysql://ada:hush@db/vydra",
        "postgres:db",
        "postgres://ada:hu@hush@db/vydra",
    ] {
        let error = load(None, &[("VYDRA__STORE__URL", url)]).unwrap_err();
        assert!(error.to_string().contains("store.url: "), "{error}");
        assert!(!format!("{error:?}{error}").contains("hush"), "{error}");
    }
}

#[test]
fn the_address_of_the_database_may_be_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    let named = path.display().to_string();
    let from_file = || load(None, &[("VYDRA__STORE__URL_FILE", named.as_str())]);
    for text in [None, Some("\n"), Some("mysql://ada:hush@db\n")] {
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let error = from_file().unwrap_err();
        assert!(error.to_string().contains("store.url_file: "), "{error}");
        assert!(!format!("{error:?}{error}").contains("hush"), "{error}");
    }
    std::fs::write(&path, "postgres://ada:hush@db/vydra\r\n").unwrap();
    let database = from_file().unwrap().database().unwrap();
    assert_eq!(database.to_string(), "postgres://ada@db/vydra");

    let both = [
        ("VYDRA__STORE__URL_FILE", named.as_str()),
        ("VYDRA__STORE__URL", "sqlite:"),
    ];
    let error = load(None, &both).unwrap_err().to_string();
    assert!(error.contains("store.url_file: is given beside"), "{error}");
}

#[test]
fn what_cannot_be_of_a_database_is_refused() {
    for (text, named) in [
        ("url = 5", "store.url: must be text"),
        ("connections = 0", "store.connections"),
        ("connections = 1001", "store.connections"),
        ("connect_timeout = \"2h\"", "store.connect_timeout"),
    ] {
        let error = load(Some(&format!("[store]\n{text}\n")), &[]).unwrap_err();
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_role_of_its_own_needs_a_database_that_is_shared() {
    let role = |role, url, public| {
        let environment = [
            ("VYDRA__SERVER__ROLE", role),
            ("VYDRA__STORE__URL", url),
            ("VYDRA__SERVER__PUBLIC_URL", public),
        ];
        load(None, &environment).map_err(|error| error.to_string())
    };
    let (shared, public) = ("postgres://db/vydra", "https://api.example");
    for (name, url, public_url) in [
        ("both", "sqlite:", ""),
        ("both", shared, ""),
        ("api", shared, ""),
        ("worker", shared, public),
    ] {
        role(name, url, public_url).unwrap();
    }
    for (name, url, public_url, named) in [
        ("api", "sqlite:", public, "server.role: must be both"),
        ("worker", "", public, "server.role: must be both"),
        ("worker", shared, "", "server.public_url: must be given"),
        ("queen", shared, public, "server.role"),
    ] {
        let error = role(name, url, public_url).unwrap_err();
        assert!(error.contains(named), "{error}");
    }
}

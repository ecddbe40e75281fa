//! Where the server and the key come from, as far as the shared cases do not reach it.

use crate::support::KEY;
use tempfile::TempDir;
use vydra_client::{Builder, Client, Credentials, Environment, Error};

#[test]
fn what_was_given_wrongly_is_told_apart_from_what_is_not_set_up() {
    let build = |url: Option<&str>, key: Option<&str>, environment: &Environment| {
        let mut builder = Client::builder().environment(environment.clone());
        builder = url.into_iter().fold(builder, Builder::base_url);
        builder = key.into_iter().fold(builder, Builder::api_key);
        builder.build().unwrap_err()
    };
    let server = "https://api.example.com";
    let nothing = Environment::default();
    for (url, key) in [("api.example.com", KEY), (server, "a\nb")] {
        let error = build(Some(url), Some(key), &nothing);
        assert!(matches!(error, Error::Request(_)), "{error:?}");
        assert!(!error.retryable());
        assert_ne!(
            error.friendly(),
            Error::Configuration(String::new()).friendly()
        );
        let around = Environment {
            base_url: Some(url.into()),
            api_key: Some(key.into()),
            ..Environment::default()
        };
        let error = build(None, None, &around);
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    }
    for error in [
        build(None, Some(KEY), &nothing),
        build(Some(server), None, &nothing),
    ] {
        assert!(matches!(error, Error::Configuration(_)), "{error:?}");
    }
    let one_form = vydra_client::base_url(" https://API.example.com/api/v1/ ").unwrap();
    assert_eq!(one_form, server);
    let error = vydra_client::base_url("ftp://api.example.com").unwrap_err();
    assert!(matches!(error, Error::Request(_)), "{error:?}");
}

#[test]
fn credentials_are_for_their_owner_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("vydra/credentials.json");
    assert_eq!(Credentials::load_from(&path).unwrap(), None);
    for key in ["one", "two"] {
        let credentials = Credentials {
            base_url: "https://api.example.com".into(),
            api_key: key.into(),
        };
        credentials.save_to(&path).unwrap();
        assert_eq!(Credentials::load_from(&path).unwrap(), Some(credentials));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode =
            |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    }
    // Nothing else is left.
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[cfg(unix)]
#[test]
fn credentials_are_written_where_a_link_leads() {
    let folder = TempDir::new().unwrap();
    let (link, file) = (
        folder.path().join("credentials.json"),
        folder.path().join("elsewhere.json"),
    );
    std::os::unix::fs::symlink("elsewhere.json", &link).unwrap();
    let credentials = Credentials {
        base_url: "https://api.example.com".into(),
        api_key: "one".into(),
    };
    // Where there is nothing yet, and where there is.
    for _ in 0..2 {
        credentials.save_to(&link).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        let kept = Credentials::load_from(&file).unwrap();
        assert_eq!(kept.as_ref(), Some(&credentials));
    }
    assert!(Credentials::remove_from(&link).unwrap());
    assert!(!file.exists());
    assert!(!Credentials::remove_from(&link).unwrap());
}

#[cfg(unix)]
#[test]
fn credentials_that_others_can_read_are_noticed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("credentials.json");
    assert!(!Credentials::is_open_at(&path).unwrap());
    let credentials = Credentials {
        base_url: "https://api.example.com".into(),
        api_key: "one".into(),
    };
    credentials.save_to(&path).unwrap();
    assert!(!Credentials::is_open_at(&path).unwrap());
    for mode in [0o644, 0o640, 0o604] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert!(Credentials::is_open_at(&path).unwrap(), "{mode:o}");
    }
}

#[test]
fn a_key_that_everybody_could_read_is_noticed() {
    let is_in_the_clear = |url: &str| {
        let builder = Client::builder().environment(Environment::default());
        let client = builder.base_url(url).api_key(KEY).build().unwrap();
        client.is_in_the_clear()
    };
    assert!(is_in_the_clear("http://api.example.com"));
    assert!(!is_in_the_clear("https://api.example.com"));
    assert!(!is_in_the_clear("http://localhost:8787"));
}

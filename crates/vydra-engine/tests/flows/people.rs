//! People and keys: what several do at once, and what no log may ever show.

use crate::fixture::Flow;
use tokio::task::JoinSet;
use vydra_core::job::Mode;
use vydra_core::scope::Scope;
use vydra_core::user::{Password, Role};
use vydra_engine::{
    Access, Caller, Credentials, Error, LoginRequest, NewOwnKey, NewUserRequest, Result,
};
use vydra_testkit::PASSWORD;

const ADA: &str = "ada@example.com";

fn request<'a>(email: &'a str, password: &str, session: Option<&'a str>) -> LoginRequest<'a> {
    LoginRequest {
        email,
        password: Password::new(password.to_owned()),
        organization: None,
        session,
        address: None,
    }
}

impl Flow {
    async fn session(&self, email: &str) -> String {
        let logged_in = self.engine.login(request(email, PASSWORD, None)).await;
        logged_in.unwrap().token.reveal().to_owned()
    }

    async fn by_session(&self, session: &str) -> Result<Caller> {
        let credentials = Credentials {
            session: Some(session),
            ..Credentials::default()
        };
        self.engine.authenticate(Access::Public, credentials).await
    }
}

#[tokio::test]
async fn logins_at_once_with_one_session_leave_that_one_to_nobody() {
    let flow = Flow::new().await;
    flow.user(&flow.org, ADA, Role::Owner).await;
    let first = flow.session(ADA).await;
    let mut logins = JoinSet::new();
    for _ in 0..6 {
        let (engine, first) = (std::sync::Arc::clone(&flow.engine), first.clone());
        logins.spawn(async move {
            let login = engine.login(request(ADA, PASSWORD, Some(&first))).await;
            login.unwrap().token.reveal().to_owned()
        });
    }
    for session in logins.join_all().await {
        flow.by_session(&session).await.unwrap();
    }
    let ended = flow.by_session(&first).await;
    assert!(matches!(ended, Err(Error::NotLoggedIn)), "{ended:?}");
}

#[tokio::test]
async fn a_member_uses_everything_and_hands_nothing_out() {
    let flow = Flow::new().await;
    flow.user(&flow.org, ADA, Role::Member).await;
    let session = flow.session(ADA).await;
    let caller = flow.by_session(&session).await.unwrap();
    caller.permit(Access::Person).unwrap();
    caller.permit(Access::Scope(Scope::KeysRead)).unwrap();
    let new = NewOwnKey {
        name: "k".to_owned(),
        scopes: vec!["models:read".to_owned()],
        expires_in_days: None,
        mode: Mode::Live,
    };
    let refused = flow.engine.create_own_key(&caller, new.clone()).await;
    assert!(
        matches!(
            &refused,
            Err(Error::InsufficientScope {
                required: "keys:write",
                ..
            })
        ),
        "{refused:?}"
    );
    // A promotion holds from the next request on.
    let promoted = flow.engine.add_member(ADA, &flow.org, Role::Owner).await;
    promoted.unwrap();
    let caller = flow.by_session(&session).await.unwrap();
    flow.engine.create_own_key(&caller, new).await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_too_short_makes_no_user() {
    let flow = Flow::new().await;
    for wrong in ["", "short", &"x".repeat(11), &"x".repeat(129)] {
        let new = NewUserRequest {
            email: ADA.to_owned(),
            password: Some(Password::new(wrong.to_owned())),
            organization: flow.org.id.clone(),
            role: Role::Owner,
        };
        let refused = flow.engine.create_user(new).await;
        assert!(
            matches!(&refused, Err(Error::InvalidInput { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(flow.engine.members(&flow.org.id).await.unwrap(), []);
}

#[tokio::test]
async fn no_secret_shows_where_values_are_logged() {
    let flow = Flow::new().await;
    flow.user(&flow.org, ADA, Role::Owner).await;
    let login = request(ADA, PASSWORD, Some("0123456789abcdef0123456789abcdef"));
    let mut shown = vec![format!("{login:?}")];
    let logged_in = flow.engine.login(login).await.unwrap();
    let session = logged_in.token.reveal().to_owned();
    shown.push(format!("{logged_in:?}"));
    let header = format!("Bearer {session}");
    let credentials = Credentials {
        authorization: Some(&header),
        session: Some(&session),
        address: None,
    };
    shown.push(format!("{credentials:?}"));
    let caller = flow.by_session(&session).await.unwrap();
    shown.push(format!("{caller:?}"));
    let new = NewOwnKey {
        name: "k".to_owned(),
        scopes: vec!["*".to_owned()],
        expires_in_days: None,
        mode: Mode::Live,
    };
    let created = flow.engine.create_own_key(&caller, new).await.unwrap();
    let key = created.secret.reveal().to_owned();
    shown.push(format!("{created:?}"));
    let rotated = flow
        .engine
        .rotate_own_key(&caller, created.key.id.as_str(), std::time::Duration::ZERO)
        .await
        .unwrap();
    let next = rotated.created.secret.reveal().to_owned();
    shown.push(format!("{rotated:?}"));
    let changed = flow.engine.set_password(ADA, None).await.unwrap();
    let made_up = changed.password.as_ref().unwrap().reveal().to_owned();
    shown.push(format!("{changed:?} {:?}", flow.engine));
    for text in shown {
        for secret in [
            PASSWORD,
            &session,
            &key[40..],
            &next[40..],
            &made_up,
            "0123456789abcdef",
        ] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

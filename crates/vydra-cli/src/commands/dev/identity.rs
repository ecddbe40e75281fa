//! Who one is in `vydra dev`: the organization `dev` and its two keys, made at the first start and kept.

use crate::commands::told;
use anyhow::Context;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use vydra_core::credits::Credits;
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_engine::{Credentials, Engine, Error, NewKey, NewOrganizationRequest};

const NAME: &str = "dev";
const CREDITS: i64 = 10_000;

pub(super) struct Identity {
    pub(super) live_key: String,
    pub(super) test_key: String,
    pub(super) credits: Credits,
    /// Holds both keys, in a form that a shell can source.
    pub(super) file: PathBuf,
}

impl Identity {
    pub(super) async fn prepare(engine: &Engine, data_dir: &Path) -> anyhow::Result<Self> {
        let folder =
            std::path::absolute(data_dir).context("the data directory has no absolute path")?;
        let file = folder.join("dev-keys.env");
        let organization = match engine.find_organization(NAME).await {
            Ok(organization) => organization,
            Err(Error::NotFound { .. }) => {
                let credits = Credits::new(CREDITS).unwrap_or_default();
                let new = NewOrganizationRequest {
                    name: NAME.to_owned(),
                    plan: "enterprise".to_owned(),
                    credits,
                };
                engine.create_organization(new).await.map_err(told)?
            }
            Err(other) => return Err(told(other)),
        };
        let credits = organization.live_credits;
        if let Some((live_key, test_key)) = kept(engine, &file).await {
            return Ok(Self {
                live_key,
                test_key,
                credits,
                file,
            });
        }
        let live_key = new_key(engine, &organization, Mode::Live).await?;
        let test_key = new_key(engine, &organization, Mode::Test).await?;
        let text = format!("VYDRA_API_KEY={live_key}\nVYDRA_TEST_KEY={test_key}\n");
        // The database and the files may be elsewhere.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot create the folder {}", folder.display()))?;
        OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            // Keys are for their owner's eyes.
            .mode(0o600)
            .open(&file)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("cannot write the keys to {}", file.display()))?;
        Ok(Self {
            live_key,
            test_key,
            credits,
            file,
        })
    }
}

/// The keys of an earlier start, if both still hold.
async fn kept(engine: &Engine, file: &Path) -> Option<(String, String)> {
    let text = std::fs::read_to_string(file).ok()?;
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let (live, test) = (value("VYDRA_API_KEY")?, value("VYDRA_TEST_KEY")?);
    for key in [&live, &test] {
        engine
            .authenticate(
                vydra_engine::Access::Public,
                Credentials {
                    authorization: Some(&format!("Bearer {key}")),
                    ..Credentials::default()
                },
            )
            .await
            .ok()?;
    }
    Some((live, test))
}

async fn new_key(
    engine: &Engine,
    organization: &Organization,
    mode: Mode,
) -> anyhow::Result<String> {
    let new = NewKey {
        organization: organization.id.clone(),
        name: format!("vydra dev ({})", mode.as_str()),
        scopes: vec!["*".to_owned()],
        expires_in_days: None,
        mode,
    };
    Ok(engine
        .create_key(new)
        .await
        .map_err(told)?
        .secret
        .reveal()
        .to_owned())
}

//! Who one is for a server, kept in the credentials file that all our clients read.

use crate::caller::end;
use crate::caller::failure::Failure;
use crate::caller::follow::Interrupt;
use crate::output;
use anyhow::Context as _;
use clap::Args;
use console::Term;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;
use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;
use vydra_client::{Client, Credentials, Error, ErrorClass, base_url};

/// Longer than any key.
const LONGEST_LINE: u64 = 4_096;
const KEY: &str = "VYDRA_API_KEY";
const SERVER: &str = "VYDRA_BASE_URL";

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vydra login https://api.example.com\n  pass show vydra | vydra login https://api.example.com --api-key-stdin\n  vydra login http://127.0.0.1:8787 --api-key-stdin < key.txt\n\nIt takes the key from VYDRA_API_KEY or asks for it on a terminal, tries it, and keeps both, for\nthis user alone, in vydra/credentials.json of $XDG_CONFIG_HOME or ~/.config. A key is no argument,\nas everybody on a machine can read those. VYDRA_BASE_URL and VYDRA_API_KEY go before the file."
)]
pub struct Login {
    /// The server's address [default: `VYDRA_BASE_URL`, then that of the last login]
    #[arg(value_name = "SERVER")]
    server: Option<String>,
    /// Read the key from the first line of stdin
    #[arg(long)]
    api_key_stdin: bool,
    /// Print one JSON object, on stderr if it is an error
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  vydra logout\n\nThe key itself stays good: `vydra key revoke`, or the dashboard, ends it."
)]
pub struct Logout {
    /// Print one JSON object, on stderr if it is an error
    #[arg(long)]
    json: bool,
}

fn from_environment(name: &str) -> Option<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a key on the command line could be read by everybody on the machine"
    )]
    let value = std::env::var(name).ok();
    value.filter(|value| !value.is_empty())
}

impl Login {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        Ok(end(self.json, self.login().await))
    }

    async fn login(&self) -> Result<(), Failure> {
        // Nobody types a secret for an address that is none.
        let server = base_url(&self.server()?)?;
        let key = self.key(&server).await?;
        let client = Client::builder().base_url(&server).api_key(&key).build()?;
        if client.is_in_the_clear() && !self.json {
            output::note(&format!(
                "The key goes to {} without encryption: https:// hides it from whoever is on the way.",
                output::clean(&server)
            ));
        }
        let organization = readable(client.organization().await)?;
        // A key that nobody has tried is not kept.
        if organization.as_ref().is_some_and(|it| it.id.is_empty()) {
            return Err(Failure::no_server(&server));
        }
        let credits = readable(client.credits().await)?;
        let credentials = Credentials {
            base_url: client.base_url().to_owned(),
            api_key: key.clone(),
        };
        credentials.save()?;
        let path = Credentials::path()?;
        let mode = if key.starts_with("vydra_test_") {
            "test"
        } else {
            "live"
        };
        let left = credits.map(|credits| credits.credits_remaining);
        if self.json {
            output::json(&json!({
                "server": credentials.base_url,
                "organization": organization.as_ref().map(|it| json!({"id": it.id, "name": it.name, "plan": it.plan})),
                "mode": mode,
                "creditsRemaining": left,
                "credentials": path,
            }));
        } else {
            let who = match &organization {
                Some(it) => format!(
                    " as {}, plan {}",
                    output::clean(&it.name),
                    output::clean(&it.plan)
                ),
                None => ", with a key that may not tell whose it is".to_owned(),
            };
            output::line(&format!("Logged in to {}{who}.", credentials.base_url));
            if let Some(left) = left {
                output::line(&format!("  {left} {mode} credits are left"));
            }
            output::line(&format!("  kept in {}", path.display()));
        }
        self.warn(&credentials);
        Ok(())
    }

    /// What is set goes before what was just kept.
    fn warn(&self, credentials: &Credentials) {
        for (name, kept) in [(SERVER, &credentials.base_url), (KEY, &credentials.api_key)] {
            if !self.json && from_environment(name).is_some_and(|set| set.trim() != kept) {
                output::note(&format!(
                    "{name} is set to something else, and goes before what was kept: unset {name}"
                ));
            }
        }
    }

    fn server(&self) -> Result<String, Failure> {
        if let Some(server) = self.server.clone().or_else(|| from_environment(SERVER)) {
            return Ok(server);
        }
        match Credentials::load()? {
            Some(last) => Ok(last.base_url),
            None => Err(Failure::usage("which server?").advise(
                "`vydra login https://api.example.com` names one; of `vydra dev` it is http://127.0.0.1:8787.",
            )),
        }
    }

    async fn key(&self, server: &str) -> Result<String, Failure> {
        let key = if self.api_key_stdin {
            let mut line = String::new();
            std::io::stdin()
                .lock()
                .take(LONGEST_LINE)
                .read_line(&mut line)
                .context("the key could not be read from stdin")?;
            line
        } else if let Some(key) = from_environment(KEY) {
            key
        } else if std::io::stdin().is_terminal() {
            ask(server).await?
        } else {
            return Err(Failure::usage("there is no key, and nobody to ask for it")
                .advise("--api-key-stdin reads it from stdin; or set VYDRA_API_KEY."));
        };
        let key = key.trim();
        if key.is_empty() {
            return Err(Failure::usage("the key is empty"));
        }
        Ok(key.to_owned())
    }
}

/// Asks on the terminal, which shows what is typed again however that ends.
async fn ask(server: &str) -> Result<String, Failure> {
    let failed = "the key could not be read";
    let before = tcgetattr(std::io::stdin()).context(failed)?;
    let mut interrupt = Interrupt::listen()?;
    let prompt = format!("API key for {}: ", output::clean(server));
    let asking = tokio::task::spawn_blocking(move || {
        let terminal = Term::stderr();
        terminal.write_str(&prompt)?;
        terminal.read_secure_line()
    });
    tokio::select! {
        typed = asking => Ok(typed.map_err(std::io::Error::other).flatten().context(failed)?),
        () = interrupt.heard() => {
            tcsetattr(std::io::stdin(), OptionalActions::Now, &before).context(failed)?;
            output::note("");
            Err(Failure::interrupted("Interrupted. Nothing was kept.", Vec::new()))
        }
    }
}

/// A key that may not read something is a good key all the same.
fn readable<T>(answer: Result<T, Error>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Api(error)) if error.class() == ErrorClass::PermissionDenied => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Logout {
    pub fn run(&self) -> ExitCode {
        end(self.json, self.logout())
    }

    fn logout(&self) -> Result<(), Failure> {
        let was = Credentials::remove()?;
        if self.json {
            output::json(&json!({"loggedOut": was}));
        } else if was {
            output::line("Logged out. The key itself stays good until it is revoked.");
        } else {
            output::line("Nobody was logged in.");
        }
        Ok(())
    }
}

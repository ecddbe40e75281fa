//! The quick start: a server with made-up data that does the main job once before a newcomer's eyes, then serves on.

mod identity;
mod show;

use super::DataArguments;
use super::serve::Server;
use crate::output;
use clap::Args;
use identity::Identity;
use std::process::ExitCode;
use toml::Value;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vydra dev
  vydra dev --listen 127.0.0.1:0 --data-dir /tmp/try
  vydra dev --quiet-start          serve at once, without the show

The data stay in the data directory; remove it to begin anew.")]
pub struct Dev {
    #[command(flatten)]
    data: DataArguments,
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Do not generate anything at the start
    #[arg(long)]
    quiet_start: bool,
}

impl Dev {
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let mut sources = self.data.sources();
        sources
            .presets
            .push(("providers.local.enabled", Value::Boolean(true)));
        // The show is for a person: the log speaks only when something is wrong.
        sources
            .presets
            .push(("log.level", Value::String("warn".to_owned())));
        sources
            .flags
            .extend(self.listen.map(|listen| ("server.listen", listen)));
        // What is shown is done by this process.
        sources.flags.push(("server.role", "both".to_owned()));
        let Some(mut server) = Server::start(&sources).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        let identity = Identity::prepare(&server.engine, &server.config.data_dir).await?;
        introduce(&server, &identity);
        if !self.quiet_start {
            tokio::select! {
                () = show::run(&server.url, &identity) => {}
                () = server.signal.heard() => {
                    return server.stop().await;
                }
            }
        }
        output::line("");
        output::line(&format!(
            "Serving on {} until Ctrl-C. API reference: {}/docs",
            server.url, server.url
        ));
        server.until_stopped().await
    }
}

fn introduce(server: &Server, identity: &Identity) {
    let (url, file) = (&server.url, identity.file.display().to_string());
    let key = format!("$(. {}; echo $VYDRA_API_KEY)", shell_word(&file));
    output::line(&format!(
        "vydra {} is listening on {url}",
        env!("CARGO_PKG_VERSION")
    ));
    output::line(&format!(
        "  organization   dev ({} credits)",
        identity.credits
    ));
    output::line(&format!(
        "  keys           {file} (VYDRA_API_KEY, VYDRA_TEST_KEY)"
    ));
    output::line("");
    output::line("Try it, in another terminal:");
    output::line("");
    output::line(&format!(
        "  curl -s {url}/api/v1/models/gemini/generate -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' -d '{{\"prompt\": \"a fox in the snow at dawn\"}}'"
    ));
    output::line("");
    output::line(&format!(
        "  curl -s {url}/api/v1/models/veo3 -H \"Authorization: Bearer {key}\" -H 'Content-Type: application/json' -d '{{\"prompt\": \"waves under a full moon\", \"duration\": 4}}'"
    ));
    output::line("");
    output::line(&format!(
        "  curl -s '{url}/api/v1/jobs?limit=3' -H \"Authorization: Bearer {key}\""
    ));
    output::line("");
    output::line("Or log in once, and use the command line:");
    output::line("");
    output::line(&format!(
        "  (. {}; echo $VYDRA_API_KEY) | vydra login {url} --api-key-stdin",
        shell_word(&file)
    ));
    output::line("");
    output::line("  vydra generate image \"a fox in the snow at dawn\" -o fox.png");
    output::line("");
}

/// The text as one word of a shell, whatever it holds: a folder's name may have spaces and quotes.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

use crate::output;
use clap::Args;
use clap_complete::Shell;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mkdir -p ~/.local/share/bash-completion/completions\n  vydra completion bash > ~/.local/share/bash-completion/completions/vydra\n  vydra completion zsh > \"${fpath[1]}/_vydra\"\n  vydra completion fish > ~/.config/fish/completions/vydra.fish"
)]
pub struct Completion {
    /// Which shell
    shell: Shell,
}

impl Completion {
    pub fn run(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command_line(), "vydra", &mut script);
        output::text(String::from_utf8_lossy(&script).trim_end());
        ExitCode::SUCCESS
    }
}
